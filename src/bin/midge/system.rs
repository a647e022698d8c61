//! Calls of the operating system that std does not offer: waiting for signals, the limit of open files, settings of the
//! allocator.
#![allow(
    unsafe_code,
    reason = "std has no signal masks, resource limits or settings of malloc; on the short list of docs/design.md"
)]

use std::io;
use std::mem::MaybeUninit;

/// SIGINT and SIGTERM, blocked so that the process can wait for them.
pub(crate) struct StopSignals {
    set: libc::sigset_t,
}

impl StopSignals {
    /// Blocks the signals on this thread and on the threads that it starts from now on.
    pub(crate) fn block() -> io::Result<StopSignals> {
        let mut set = MaybeUninit::<libc::sigset_t>::uninit();
        // SAFETY: sigemptyset initialises `set`, and cannot fail on a valid pointer; the other calls read it. The third
        // argument of pthread_sigmask may be null.
        let (outcome, set) = unsafe {
            libc::sigemptyset(set.as_mut_ptr());
            libc::sigaddset(set.as_mut_ptr(), libc::SIGINT);
            libc::sigaddset(set.as_mut_ptr(), libc::SIGTERM);
            let outcome = libc::pthread_sigmask(libc::SIG_BLOCK, set.as_ptr(), std::ptr::null_mut());
            (outcome, set.assume_init())
        };
        answer(outcome).map(|()| StopSignals { set })
    }

    /// Waits for one of them; a signal that arrived after `block` counts.
    pub(crate) fn wait(&self) -> io::Result<()> {
        let mut signal = 0;
        // SAFETY: both pointers are to live values; the set was initialised by `block`.
        answer(unsafe { libc::sigwait(&self.set, &mut signal) })
    }
}

/// Raises the soft limit of open files to the hard limit, because each connection is an open file. If that is
/// refused, the limit is unchanged.
pub(crate) fn raise_descriptor_limit() {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the pointers are to a live value; setrlimit reads it after getrlimit has written it.
    unsafe {
        if libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) == 0 && limit.rlim_cur < limit.rlim_max {
            limit.rlim_cur = limit.rlim_max;
            libc::setrlimit(libc::RLIMIT_NOFILE, &limit);
        }
    }
}

/// Makes the allocator join neighbouring free chunks at once, also small ones: only joined memory can be returned to
/// the system. Called before the first thread starts.
pub(crate) fn join_free_memory() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: mallopt has no precondition but that no other thread allocates, and there is none yet.
    unsafe {
        libc::mallopt(libc::M_MXFAST, 0);
    }
}

/// Makes the allocator return every free page to the system.
pub(crate) fn give_back_memory() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: malloc_trim has no precondition; it takes the locks of malloc.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// The result of a call that returns an error number.
fn answer(outcome: libc::c_int) -> io::Result<()> {
    if outcome == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(outcome)) }
}
