//! A latch that any thread or signal handler sets once, and that any number of threads can wait for.

use std::io::{self, PipeReader, PipeWriter, Write};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::locks::Mutex;
use nix::poll::{PollFd, PollFlags, poll};

/// Longest single wait of poll(2), in milliseconds.
const SLICE: u16 = 60_000;

/// A flag that stays set once it is set.
#[derive(Debug)]
pub struct Latch {
    set: AtomicBool,
    /// Holds one byte once the latch is set. The byte is never read, so every waiter sees it. `None` after
    /// [`Latch::close`].
    reader: Mutex<Option<Arc<PipeReader>>>,
    /// `None` once the byte is written. The lock is only tried, because a signal handler may take it.
    writer: Mutex<Option<PipeWriter>>,
}

impl Latch {
    /// A latch that is not set.
    ///
    /// # Errors
    /// The system has no more descriptors; the latch takes two.
    pub fn new() -> io::Result<Latch> {
        let (reader, writer) = io::pipe()?;
        Ok(Latch {
            set: AtomicBool::new(false),
            reader: Mutex::new(Some(Arc::new(reader))),
            writer: Mutex::new(Some(writer)),
        })
    }

    /// Sets the latch. Async-signal-safe: atomics, and at the first call a write of one byte that cannot block, and a close.
    pub fn set(&self) {
        if !self.set.swap(true, Ordering::AcqRel) {
            self.tell();
        }
    }

    /// Sets the latch, and gives up its descriptors. Threads that still wait keep theirs until they return.
    pub fn close(&self) {
        self.set();
        // A write without a reader would raise SIGPIPE. If a signal handler is just about to write, the reader stays.
        if self.tell() {
            drop(self.reader.lock().take());
        }
    }

    /// Writes the byte, and gives up the writer. False if another thread does so at this moment.
    fn tell(&self) -> bool {
        let Some(mut writer) = self.writer.try_lock() else {
            return false;
        };
        if let Some(mut writer) = writer.take() {
            // An empty pipe takes a byte, and its reader lives at least as long as its writer.
            let _written = writer.write(&[1]);
        }
        true
    }

    /// The end of the pipe that stays readable once the latch is set; `None` after [`Latch::close`].
    pub(super) fn reader(&self) -> Option<Arc<PipeReader>> {
        self.reader.lock().clone()
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
            let Some(reader) = self.reader() else {
                return true;
            };
            // A signal may end the wait early. A fraction of a millisecond is rounded up.
            let slice = left.and_then(|left| u16::try_from(left.as_micros().div_ceil(1000)).ok());
            let slice = slice.map_or(SLICE, |slice| slice.min(SLICE));
            let _readable = poll(&mut [PollFd::new(reader.as_fd(), PollFlags::POLLIN)], slice);
        }
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

    #[test]
    fn a_closed_latch_is_set_and_holds_no_descriptor() {
        let latch = Latch::new().unwrap();
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| latch.wait(None));
            latch.close();
            latch.close();
            latch.set();
            assert!(waiting.join().unwrap());
        });
        assert!(latch.is_set() && latch.wait(None));
        assert!(latch.reader().is_none() && latch.writer.lock().is_none());
    }

    /// As a signal handler in the middle of its call.
    #[test]
    fn a_latch_that_is_closed_while_another_thread_writes_keeps_its_reader() {
        let latch = Latch::new().unwrap();
        let writing = latch.writer.lock();
        latch.close();
        assert!(latch.is_set() && latch.reader().is_some());
        drop(writing);
        latch.close();
        assert!(latch.reader().is_none());
    }
}
