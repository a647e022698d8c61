// Written by tools/mutants into a copy of the sources: says which mutant is on, and notes those that are reached.

#[doc(hidden)]
pub mod mutant_switch {
    use std::fs::OpenOptions;
    use std::os::unix::fs::FileExt;
    use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};

    const MUTANTS: usize = 0;
    const NOTING: u32 = u32::MAX - 1;
    const UNKNOWN: u32 = u32::MAX;

    static ACTIVE: AtomicU32 = AtomicU32::new(UNKNOWN);
    static REACHED: [AtomicBool; MUTANTS + 1] = [const { AtomicBool::new(false) }; MUTANTS + 1];

    #[inline]
    pub fn on(number: u32) -> bool {
        let active = ACTIVE.load(Relaxed);
        if active >= NOTING { slow(number) } else { active == number }
    }

    #[cold]
    fn slow(number: u32) -> bool {
        if ACTIVE.load(Relaxed) == UNKNOWN {
            let active = std::env::var("MIDGE_MUTANT").ok().and_then(|text| text.parse().ok());
            let noting = std::env::var_os("MIDGE_MUTANT_HITS").is_some();
            ACTIVE.store(active.unwrap_or(if noting { NOTING } else { 0 }), Relaxed);
            return on(number);
        }
        if !REACHED[number as usize].swap(true, Relaxed) {
            // Not kept open: some tests count the descriptors of their process.
            let file = std::env::var_os("MIDGE_MUTANT_HITS")
                .and_then(|path| OpenOptions::new().write(true).open(path).ok());
            if let Some(file) = file {
                let _ = file.write_all_at(b"1", u64::from(number));
            }
        }
        false
    }
}
