//! A pool of buffers for outboxes and windows: one per thread, so that an idle session holds none.

use crate::message::MessagePool;
use crate::session::inflight::Window;

/// The largest capacity of a buffer that is kept.
const LARGEST_KEPT: usize = 64 * 1024;
/// The most bytes of capacity that a pool keeps.
const KEPT_BYTES: usize = 4 * 1024 * 1024;

/// The largest capacity, in deliveries, of a window that is kept.
const LARGEST_WINDOW: usize = 1024;
/// The most windows that are kept.
const MOST_WINDOWS: usize = 64;

/// Empty buffers, kept for their next use.
#[derive(Debug, Default)]
pub struct Pool {
    buffers: Vec<Vec<u8>>,
    bytes: usize,
    #[allow(clippy::vec_box, reason = "a session holds a window by one pointer, and returns it in its box")]
    windows: Vec<Box<Window>>,
    /// The memory of messages that are no longer needed.
    pub messages: MessagePool,
}

impl Pool {
    /// A pool without buffers.
    pub fn new() -> Pool {
        Pool::default()
    }

    /// An empty buffer: a kept one if there is one, else a new one without capacity.
    pub fn take(&mut self) -> Vec<u8> {
        match self.buffers.pop() {
            Some(buffer) => {
                self.bytes -= buffer.capacity();
                buffer
            }
            None => Vec::new(),
        }
    }

    /// Keeps a buffer for its next use, or frees it if it is too large or the pool is full.
    pub fn put(&mut self, mut buffer: Vec<u8>) {
        let capacity = buffer.capacity();
        if capacity == 0 || capacity > LARGEST_KEPT || self.bytes + capacity > KEPT_BYTES {
            return;
        }
        buffer.clear();
        self.bytes += capacity;
        self.buffers.push(buffer);
    }

    /// An empty window.
    pub fn take_window(&mut self) -> Box<Window> {
        self.windows.pop().unwrap_or_default()
    }

    /// Keeps an empty window for its next use, or frees it if it is too large or the pool is full.
    pub fn put_window(&mut self, window: Box<Window>) {
        if window.capacity() <= LARGEST_WINDOW && self.windows.len() < MOST_WINDOWS {
            self.windows.push(window);
        }
    }

    /// Frees everything.
    pub fn clear(&mut self) {
        *self = Pool::new();
    }
}

#[cfg(test)]
mod tests {
    use super::{KEPT_BYTES, LARGEST_KEPT, MOST_WINDOWS, Pool};

    #[test]
    fn a_buffer_comes_back_empty_with_its_capacity() {
        let mut pool = Pool::new();
        let mut buffer = Vec::with_capacity(100);
        buffer.push(1);
        pool.put(buffer);
        let again = pool.take();
        assert!(again.is_empty() && again.capacity() >= 100);
        assert_eq!(pool.take().capacity(), 0);
    }

    #[test]
    fn the_pool_is_bounded() {
        let mut pool = Pool::new();
        pool.put(Vec::with_capacity(LARGEST_KEPT + 1));
        assert_eq!(pool.buffers.len(), 0);
        for _ in 0..KEPT_BYTES / LARGEST_KEPT + 10 {
            pool.put(Vec::with_capacity(LARGEST_KEPT));
        }
        assert_eq!(pool.bytes, KEPT_BYTES);
    }

    #[test]
    fn windows_are_kept_up_to_a_number() {
        let mut pool = Pool::new();
        for _ in 0..2 * MOST_WINDOWS {
            pool.put_window(Box::default());
        }
        assert_eq!(pool.windows.len(), MOST_WINDOWS);
    }
}
