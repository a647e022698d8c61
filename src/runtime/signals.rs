//! Signals belong to the host program: Midge's threads handle no signal that is directed at the process.

use nix::sys::signal::{SigSet, SigmaskHow, Signal};

/// The signals that Midge's threads block. SIGPIPE, because a write to a closed peer must not end the host; the
/// others, because the host's own threads handle them. Fault signals (SEGV, BUS, FPE, ILL, ABRT) are never blocked.
const BLOCKED: [Signal; 8] = [
    Signal::SIGPIPE,
    Signal::SIGINT,
    Signal::SIGTERM,
    Signal::SIGHUP,
    Signal::SIGUSR1,
    Signal::SIGUSR2,
    Signal::SIGALRM,
    Signal::SIGCHLD,
];

/// Runs `start` with the signals blocked on this thread, so that the threads it starts inherit the mask. Then it
/// restores this thread's mask.
pub(super) fn with_signals_blocked<T>(start: impl FnOnce() -> T) -> T {
    if cfg!(miri) {
        // Miri does not support signals.
        return start();
    }
    let blocked = SigSet::from_iter(BLOCKED);
    let _restored = Restore(blocked.thread_swap_mask(SigmaskHow::SIG_BLOCK).ok());
    start()
}

/// A thread's signal mask, if it could be read. Dropping this restores it, also in a panic.
struct Restore(Option<SigSet>);

impl Drop for Restore {
    fn drop(&mut self) {
        if let Some(before) = &self.0 {
            let _restored = before.thread_set_mask();
        }
    }
}

#[cfg(test)]
mod tests {
    use nix::sys::signal::{SigSet, Signal};

    use super::{BLOCKED, with_signals_blocked};

    fn is_blocked(signal: Signal) -> bool {
        SigSet::thread_get_mask().unwrap().contains(signal)
    }

    #[test]
    fn threads_started_inside_are_born_with_the_signals_blocked_and_the_mask_is_restored() {
        let before: Vec<bool> = BLOCKED.iter().map(|signal| is_blocked(*signal)).collect();
        let inside = with_signals_blocked(|| {
            std::thread::spawn(|| BLOCKED.iter().all(|signal| is_blocked(*signal))).join().unwrap()
        });
        assert!(inside);
        let after: Vec<bool> = BLOCKED.iter().map(|signal| is_blocked(*signal)).collect();
        assert_eq!(before, after);
        assert!(!with_signals_blocked(|| is_blocked(Signal::SIGSEGV)));
    }

    #[test]
    fn the_mask_is_restored_after_a_panic() {
        let before: Vec<bool> = BLOCKED.iter().map(|signal| is_blocked(*signal)).collect();
        assert!(std::panic::catch_unwind(|| with_signals_blocked(|| panic!("no thread"))).is_err());
        let after: Vec<bool> = BLOCKED.iter().map(|signal| is_blocked(*signal)).collect();
        assert_eq!(before, after);
    }
}
