//! Resident memory of this process.

use std::fs;

/// Bytes of it.
pub fn resident() -> isize {
    // The second number is of pages.
    let statm = fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<isize>().unwrap() * 4096
}

/// Has the system's allocator give back what it keeps.
#[allow(unsafe_code, reason = "a call of C")]
pub fn trim() {
    #[cfg(target_env = "gnu")]
    // SAFETY: it has no precondition.
    unsafe {
        libc::malloc_trim(0);
    }
}
