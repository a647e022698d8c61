//! Calls of the operating system that std does not offer: waiting for signals, the limit of open files, settings of the
//! allocator.
#![allow(unsafe_code, reason = "std has no settings of malloc; on the short list of docs/design.md")]

use std::io;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{SigSet, Signal};

/// SIGINT, SIGTERM and SIGHUP, blocked so that the process can wait for them.
pub(crate) struct Signals(SigSet);

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    /// SIGINT or SIGTERM.
    Stop,
    /// SIGHUP.
    Reload,
}

impl Signals {
    /// Blocks the signals on this thread and on the threads that it starts from now on.
    pub(crate) fn block() -> io::Result<Signals> {
        let signals = SigSet::from_iter([Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP]);
        signals.thread_block()?;
        Ok(Signals(signals))
    }

    /// Waits for one of them; a signal that arrived after `block` counts.
    pub(crate) fn wait(&self) -> io::Result<Asked> {
        Ok(if self.0.wait()? == Signal::SIGHUP { Asked::Reload } else { Asked::Stop })
    }
}

/// Raises the soft limit of open files to the hard limit, because each connection is an open file. If that is
/// refused, the limit is unchanged.
pub(crate) fn raise_descriptor_limit() {
    if let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE)
        && soft < hard
    {
        let _refused = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
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

/// Bytes that are free in the allocator's heaps, whether their pages were returned or not.
pub(crate) fn free_memory() -> usize {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        // SAFETY: mallinfo2 has no precondition; it takes the locks of malloc.
        unsafe { libc::mallinfo2() }.fordblks
    }
    #[cfg(not(all(target_os = "linux", target_env = "gnu")))]
    {
        0
    }
}
