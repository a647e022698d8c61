//! Buffers lent by the host: they are released when the thread holds none of the broker's locks.

use std::any::Any;
use std::cell::Cell;
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::locks::Mutex;
use bytes::Bytes;

thread_local! {
    /// The turns that this thread is inside of and in which it may hold locks.
    static TURNS: Cell<u32> = const { Cell::new(0) };
}

/// The mark of a turn: until it is dropped, its thread may hold locks of the broker. A turn in a hook of another has its
/// own.
#[derive(Debug)]
pub(crate) struct TurnMark(PhantomData<*const ()>);

impl Drop for TurnMark {
    #[inline]
    fn drop(&mut self) {
        TURNS.set(TURNS.get().wrapping_sub(1));
    }
}

/// What is put back when the host's code has returned or panicked.
struct Turns(u32);

impl Drop for Turns {
    fn drop(&mut self) {
        TURNS.set(self.0);
    }
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
    /// Marks the start of a turn: this thread may hold locks as long as the mark is kept.
    #[inline]
    pub(crate) fn turn_begins() -> TurnMark {
        TURNS.set(TURNS.get().wrapping_add(1));
        TurnMark(PhantomData)
    }

    /// Calls code of the host in the middle of a turn, while the thread holds no lock: what it frees is released at once.
    pub(crate) fn outside<T>(host: impl FnOnce() -> T) -> T {
        let _turns = Turns(TURNS.replace(0));
        host()
    }

    /// Runs `body`, which takes locks outside a turn, and then releases the buffers whose last use it has ended.
    #[cfg(any(test, feature = "console"))]
    pub(crate) fn keep_during<T>(&self, body: impl FnOnce() -> T) -> T {
        let mark = HostBuffers::turn_begins();
        let outcome = body();
        drop(mark);
        self.give_back();
        outcome
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
        if TURNS.get() > 0
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
            let mark = HostBuffers::turn_begins();
            drop(bytes);
            host_buffers.give_back();
            drop(mark);
        }
        assert_eq!(given(), 3);
        let [panics, sound] =
            [true, false].map(|panics| host_buffers.share(Counted(Arc::clone(&count), panics)));
        let mark = HostBuffers::turn_begins();
        drop((panics, sound));
        assert_eq!(given(), 3);
        drop(mark);
        host_buffers.give_back();
        assert_eq!(given(), 5);
        host_buffers.give_back();
        assert_eq!(given(), 5);
    }

    #[test]
    fn a_turn_inside_another_leaves_the_mark_of_the_outer_one() {
        let (host_buffers, count) = (Arc::new(HostBuffers::default()), Arc::new(AtomicUsize::new(0)));
        let given = || count.load(Ordering::Relaxed);
        let share = || host_buffers.share(Counted(Arc::clone(&count), false));
        let (of_the_hook, later) = (share(), share());
        let outer = HostBuffers::turn_begins();
        HostBuffers::outside(|| {
            drop(of_the_hook);
            assert_eq!(given(), 1, "the hook holds no lock of the broker");
            drop(HostBuffers::turn_begins());
        });
        drop(HostBuffers::turn_begins());
        drop(later);
        assert_eq!(given(), 1, "the outer turn may hold a lock");
        drop(outer);
        host_buffers.give_back();
        assert_eq!(given(), 2);
        let kept = share();
        host_buffers.keep_during(|| {
            drop(kept);
            assert_eq!(given(), 2);
        });
        assert_eq!(given(), 3);
    }
}
