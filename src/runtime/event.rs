//! A descriptor for event loops of the host: readable while the event is raised.
#![allow(unsafe_code, reason = "std has no eventfd(2); on the short list of docs/design.md")]

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

/// An event that any thread raises and lowers, without blocking.
#[derive(Debug)]
pub struct Event {
    inner: system::Inner,
}

impl Event {
    /// An event that is not raised.
    ///
    /// # Errors
    /// The system has no more descriptors.
    pub fn new() -> io::Result<Event> {
        Ok(Event { inner: system::Inner::new()? })
    }

    /// Makes the descriptor readable.
    pub fn raise(&self) {
        self.inner.raise();
    }

    /// Makes the descriptor unreadable, even after several raises.
    pub fn lower(&self) {
        self.inner.lower();
    }

    /// Whether the descriptor is readable.
    #[cfg(test)]
    pub fn is_raised(&self) -> bool {
        use std::os::fd::AsRawFd;
        let mut descriptor = libc::pollfd { fd: self.as_fd().as_raw_fd(), events: libc::POLLIN, revents: 0 };
        // SAFETY: the pointer is to one live pollfd, whose descriptor is open.
        unsafe { libc::poll(&mut descriptor, 1, 0) == 1 }
    }
}

impl AsFd for Event {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inner.as_fd()
    }
}

#[cfg(any(target_os = "linux", target_os = "android"))]
mod system {
    use std::fs::File;
    use std::io::{self, Read, Write};
    use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd};

    /// An eventfd: a counter, readable when it is not 0.
    #[derive(Debug)]
    pub(super) struct Inner(File);

    impl Inner {
        pub(super) fn new() -> io::Result<Inner> {
            // SAFETY: eventfd takes two numbers.
            let raw = unsafe { libc::eventfd(0, libc::EFD_NONBLOCK | libc::EFD_CLOEXEC) };
            if raw < 0 {
                return Err(io::Error::last_os_error());
            }
            // SAFETY: the descriptor was just created, and has no other owner.
            Ok(Inner(File::from(unsafe { OwnedFd::from_raw_fd(raw) })))
        }

        pub(super) fn raise(&self) {
            // It fails only when the counter is at its maximum, and then the descriptor is readable.
            let _raised = (&self.0).write(&1u64.to_ne_bytes());
        }

        pub(super) fn lower(&self) {
            // It fails if the counter is 0, and then the descriptor is unreadable already.
            let _lowered = (&self.0).read(&mut [0; 8]);
        }
    }

    impl AsFd for Inner {
        fn as_fd(&self) -> BorrowedFd<'_> {
            self.0.as_fd()
        }
    }
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
mod system {
    use std::io::{self, Read, Write};
    use std::os::fd::{AsFd, BorrowedFd};
    use std::os::unix::net::UnixStream;

    /// A pair of sockets: the first is readable while it holds bytes written to the second.
    #[derive(Debug)]
    pub(super) struct Inner(UnixStream, UnixStream);

    impl Inner {
        pub(super) fn new() -> io::Result<Inner> {
            let (reader, writer) = UnixStream::pair()?;
            reader.set_nonblocking(true)?;
            writer.set_nonblocking(true)?;
            Ok(Inner(reader, writer))
        }

        pub(super) fn raise(&self) {
            // It fails only when the socket is full, and then the other one is readable.
            let _raised = (&self.1).write(&[1]);
        }

        pub(super) fn lower(&self) {
            let mut discarded = [0; 256];
            while (&self.0).read(&mut discarded).is_ok_and(|count| count == discarded.len()) {}
        }
    }

    impl AsFd for Inner {
        fn as_fd(&self) -> BorrowedFd<'_> {
            self.0.as_fd()
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::{AsFd, AsRawFd};

    use super::Event;

    #[test]
    fn it_is_readable_from_the_first_raising_to_the_next_lowering() {
        let event = Event::new().unwrap();
        assert!(!event.is_raised());
        event.lower();
        assert!(!event.is_raised());
        for _ in 0..1000 {
            event.raise();
            assert!(event.is_raised());
        }
        event.lower();
        assert!(!event.is_raised());
        event.raise();
        assert!(event.is_raised());
    }

    #[test]
    fn it_is_closed_in_programs_that_the_host_starts() {
        let event = Event::new().unwrap();
        // SAFETY: the descriptor is open.
        let flags = unsafe { libc::fcntl(event.as_fd().as_raw_fd(), libc::F_GETFD) };
        assert_eq!(flags & libc::FD_CLOEXEC, libc::FD_CLOEXEC);
    }
}
