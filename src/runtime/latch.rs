//! A latch that any thread or signal handler sets once, and that any number of threads can wait for.

use std::io::{self, PipeReader, PipeWriter, Write};
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, poll};

/// Longest single wait of poll(2), in milliseconds.
const SLICE: u16 = 60_000;

/// A flag that stays set once it is set.
#[derive(Debug)]
pub struct Latch {
    set: AtomicBool,
    /// Holds one byte once the latch is set. The byte is never read, so every waiter sees it.
    reader: PipeReader,
    writer: PipeWriter,
}

impl Latch {
    /// A latch that is not set.
    ///
    /// # Errors
    /// The system has no more descriptors; the latch takes two.
    pub fn new() -> io::Result<Latch> {
        let (reader, writer) = io::pipe()?;
        Ok(Latch { set: AtomicBool::new(false), reader, writer })
    }

    /// Sets the latch. Async-signal-safe: an atomic, and at the first call a write of one byte that cannot block.
    pub fn set(&self) {
        if !self.set.swap(true, Ordering::AcqRel) {
            // An empty pipe takes a byte, and its reader lives as long as its writer.
            let _written = (&self.writer).write(&[1]);
        }
    }

    /// Whether the latch is set.
    pub fn is_set(&self) -> bool {
        self.set.load(Ordering::Acquire)
    }

    /// Waits until the latch is set; false if `timeout` passed first. `None` waits forever.
    pub fn wait(&self, timeout: Option<Duration>) -> bool {
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        loop {
            if self.is_set() {
                return true;
            }
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            if left == Some(Duration::ZERO) {
                return false;
            }
            if cfg!(miri) {
                // Miri does not support poll.
                std::thread::yield_now();
                continue;
            }
            // A signal may end the wait early. A fraction of a millisecond is rounded up.
            let slice = left.and_then(|left| u16::try_from(left.as_micros().div_ceil(1000)).ok());
            let slice = slice.map_or(SLICE, |slice| slice.min(SLICE));
            let _readable = poll(&mut [PollFd::new(self.reader.as_fd(), PollFlags::POLLIN)], slice);
        }
    }
}

/// The descriptor stays readable once the latch is set.
impl AsRawFd for Latch {
    fn as_raw_fd(&self) -> RawFd {
        self.reader.as_raw_fd()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::Latch;

    #[test]
    fn it_opens_for_all_and_stays_open() {
        let latch = Latch::new().unwrap();
        assert!(!latch.wait(Some(Duration::ZERO)));
        assert!(!latch.wait(Some(Duration::from_millis(1))));
        std::thread::scope(|scope| {
            let waiting: Vec<_> = (0..3).map(|_| scope.spawn(|| latch.wait(None))).collect();
            latch.set();
            latch.set();
            assert!(waiting.into_iter().all(|thread| thread.join().unwrap()));
        });
        assert!(latch.wait(Some(Duration::ZERO)));
    }
}
