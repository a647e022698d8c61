//! Buffers lent by the host: they are released when the thread holds none of the broker's locks.

use std::any::Any;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use parking_lot::Mutex;

thread_local! {
    /// Whether this thread is inside a turn, in which it may hold locks.
    static IN_TURN: Cell<bool> = const { Cell::new(false) };
}

/// Buffers of one broker whose last use ended during a turn, to be released after it.
///
/// Releasing a buffer runs code of the host, which may take a lock of its own. The host may hold that lock when it
/// calls the broker. So the code must not run while a lock of the broker is held.
#[derive(Default)]
pub struct HostBuffers {
    any: AtomicBool,
    over: Mutex<Vec<Box<dyn Any + Send>>>,
}

impl HostBuffers {
    /// Marks the start of a turn: this thread may hold locks from now on.
    #[inline]
    pub fn turn_begins() {
        IN_TURN.set(true);
    }

    /// Marks the end of a turn: this thread holds no lock any more.
    #[inline]
    pub fn turn_ends() {
        IN_TURN.set(false);
    }

    /// Releases the buffers whose last use ended during a turn.
    #[inline]
    pub fn give_back(&self) {
        if self.any.load(Ordering::Relaxed) {
            self.give_all_back();
        }
    }

    #[cold]
    fn give_all_back(&self) {
        let mut over = self.over.lock();
        self.any.store(false, Ordering::Relaxed);
        let list = std::mem::take(&mut *over);
        drop(over);
        for buffer in list {
            // A panic of the host must not prevent the release of the other buffers.
            let _given = catch_unwind(AssertUnwindSafe(|| drop(buffer)));
        }
    }

    /// The host's buffer, not copied. It is dropped once, after the result and all its clones.
    pub fn share<T: AsRef<[u8]> + Send + 'static>(self: &Arc<Self>, buffer: T) -> Bytes {
        Bytes::from_owner(Held { buffer: Some(buffer), host_buffers: Arc::clone(self) })
    }
}

/// A buffer of the host, in use.
struct Held<T: Send + 'static> {
    buffer: Option<T>,
    host_buffers: Arc<HostBuffers>,
}

impl<T: AsRef<[u8]> + Send + 'static> AsRef<[u8]> for Held<T> {
    fn as_ref(&self) -> &[u8] {
        self.buffer.as_ref().map(AsRef::as_ref).unwrap_or_default()
    }
}

impl<T: Send + 'static> Drop for Held<T> {
    fn drop(&mut self) {
        // Outside a turn it is dropped as a field.
        if IN_TURN.get()
            && let Some(buffer) = self.buffer.take()
        {
            let mut over = self.host_buffers.over.lock();
            over.push(Box::new(buffer));
            self.host_buffers.any.store(true, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::HostBuffers;

    struct Counted(Arc<AtomicUsize>, bool);

    impl AsRef<[u8]> for Counted {
        fn as_ref(&self) -> &[u8] {
            b"payload"
        }
    }

    impl Drop for Counted {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::Relaxed);
            assert!(!self.1, "a panic of the host, for the test");
        }
    }

    #[test]
    fn a_buffer_is_given_back_once_and_not_in_a_turn() {
        let (host_buffers, count) = (Arc::new(HostBuffers::default()), Arc::new(AtomicUsize::new(0)));
        let given = || count.load(Ordering::Relaxed);
        let bytes = host_buffers.share(Counted(Arc::clone(&count), false));
        let clone = bytes.clone();
        assert_eq!((&clone[..], &bytes[3..]), (&b"payload"[..], &b"load"[..]));
        drop(bytes);
        assert_eq!(given(), 0);
        drop(clone);
        assert_eq!(given(), 1);
        for panics in [true, false] {
            let bytes = host_buffers.share(Counted(Arc::clone(&count), panics));
            HostBuffers::turn_begins();
            drop(bytes);
            host_buffers.give_back();
            HostBuffers::turn_ends();
        }
        assert_eq!(given(), 3);
        let [panics, sound] =
            [true, false].map(|panics| host_buffers.share(Counted(Arc::clone(&count), panics)));
        HostBuffers::turn_begins();
        drop((panics, sound));
        assert_eq!(given(), 3);
        HostBuffers::turn_ends();
        host_buffers.give_back();
        assert_eq!(given(), 5);
        host_buffers.give_back();
        assert_eq!(given(), 5);
    }
}
