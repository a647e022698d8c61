//! Signals belong to the host program: Midge's threads handle no signal that is directed at the process.
#![allow(unsafe_code, reason = "std has no signal masks; on the short list of docs/design.md")]

use std::mem::MaybeUninit;

/// The signals that Midge's threads block. SIGPIPE, because a write to a closed peer must not end the host; the
/// others, because the host's own threads handle them. Fault signals (SEGV, BUS, FPE, ILL, ABRT) are never blocked.
const BLOCKED: [libc::c_int; 8] = [
    libc::SIGPIPE,
    libc::SIGINT,
    libc::SIGTERM,
    libc::SIGHUP,
    libc::SIGUSR1,
    libc::SIGUSR2,
    libc::SIGALRM,
    libc::SIGCHLD,
];

/// Runs `start` with the signals blocked on this thread, so that the threads it starts inherit the mask. Then it
/// restores this thread's mask.
pub(super) fn with_signals_blocked<T>(start: impl FnOnce() -> T) -> T {
    if cfg!(miri) {
        // Miri does not support signals.
        return start();
    }
    let _restored = Restore(block());
    start()
}

/// A thread's signal mask, if it could be read. Dropping this restores it, also in a panic.
struct Restore(Option<libc::sigset_t>);

impl Drop for Restore {
    fn drop(&mut self) {
        if let Some(before) = &self.0 {
            // SAFETY: `before` was written by pthread_sigmask; the third argument may be null.
            unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, before, std::ptr::null_mut()) };
        }
    }
}

/// Blocks the signals on this thread; returns the mask before, if it could be read.
fn block() -> Option<libc::sigset_t> {
    let mut set = MaybeUninit::<libc::sigset_t>::uninit();
    let mut before = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: sigemptyset initialises `set`. sigaddset and pthread_sigmask get pointers to live values. `before` is
    // read only after pthread_sigmask has succeeded, which writes it.
    unsafe {
        libc::sigemptyset(set.as_mut_ptr());
        for signal in BLOCKED {
            libc::sigaddset(set.as_mut_ptr(), signal);
        }
        (libc::pthread_sigmask(libc::SIG_BLOCK, set.as_ptr(), before.as_mut_ptr()) == 0)
            .then(|| before.assume_init())
    }
}

#[cfg(test)]
mod tests {
    use super::{BLOCKED, with_signals_blocked};

    fn is_blocked(signal: libc::c_int) -> bool {
        let mut now = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
        // SAFETY: with a null new mask pthread_sigmask only writes the present one to `now`.
        unsafe {
            libc::pthread_sigmask(libc::SIG_BLOCK, std::ptr::null(), now.as_mut_ptr());
            libc::sigismember(now.as_ptr(), signal) == 1
        }
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
        assert!(!with_signals_blocked(|| is_blocked(libc::SIGSEGV)));
    }

    #[test]
    fn the_mask_is_restored_after_a_panic() {
        let before: Vec<bool> = BLOCKED.iter().map(|signal| is_blocked(*signal)).collect();
        assert!(std::panic::catch_unwind(|| with_signals_blocked(|| panic!("no thread"))).is_err());
        let after: Vec<bool> = BLOCKED.iter().map(|signal| is_blocked(*signal)).collect();
        assert_eq!(before, after);
    }
}
