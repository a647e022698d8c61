//! A descriptor for event loops of the host: readable while the event is raised.

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
        use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
        poll(&mut [PollFd::new(self.as_fd(), PollFlags::POLLIN)], PollTimeout::ZERO) == Ok(1)
    }
}

impl AsFd for Event {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inner.as_fd()
    }
}

#[cfg(any(target_os = "linux", target_os = "android"))]
mod system {
    use std::io;
    use std::os::fd::{AsFd, BorrowedFd};

    use nix::sys::eventfd::{EfdFlags, EventFd};

    /// An eventfd: a counter, readable when it is not 0.
    #[derive(Debug)]
    pub(super) struct Inner(EventFd);

    impl Inner {
        pub(super) fn new() -> io::Result<Inner> {
            let flags = EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC;
            Ok(Inner(EventFd::from_value_and_flags(0, flags)?))
        }

        pub(super) fn raise(&self) {
            // It fails only when the counter is at its end, and then the descriptor is readable.
            let _raised = self.0.write(1);
        }

        pub(super) fn lower(&self) {
            // It fails if the counter is 0, which is what is wanted.
            let _lowered = self.0.read();
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
        let about = format!("/proc/self/fdinfo/{}", event.as_fd().as_raw_fd());
        let about = std::fs::read_to_string(about).unwrap();
        let flags = about.lines().find_map(|line| line.strip_prefix("flags:")).unwrap();
        let flags = libc::c_int::from_str_radix(flags.trim(), 8).unwrap();
        assert_eq!(flags & libc::O_CLOEXEC, libc::O_CLOEXEC);
    }
}
