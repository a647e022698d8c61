//! Tasks of the host that wait for the broker, on whatever executor.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use smallvec::SmallVec;

use crate::embed::error::Error;
use crate::engine::core::durability::{Durability, DurabilityWaiter};
use crate::locks::Mutex;
use crate::runtime::{generation, in_callback};

/// Those that wait for one thing, each in a place of its own.
#[derive(Default)]
pub(super) struct Tasks {
    last: u64,
    waiting: SmallVec<[(u64, Waker); 1]>,
}

impl Tasks {
    /// Wakes a task the next time. `place` is where it waits, if it does. The waker that it had before is returned,
    /// to be dropped when no lock is held.
    pub(super) fn put(&mut self, place: &mut Option<u64>, waker: Waker) -> Option<Waker> {
        match self.waiting.iter_mut().find(|(taken, _)| Some(*taken) == *place) {
            Some((_, before)) => Some(std::mem::replace(before, waker)),
            None => {
                self.last += 1;
                *place = Some(self.last);
                self.waiting.push((self.last, waker));
                None
            }
        }
    }

    /// Forgets a task; its waker, unless it was woken.
    pub(super) fn remove(&mut self, place: u64) -> Option<Waker> {
        let index = self.waiting.iter().position(|(taken, _)| *taken == place)?;
        Some(self.waiting.swap_remove(index).1)
    }

    /// How many wait.
    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Takes all out, to be woken when no lock is held.
    pub(super) fn take(&mut self) -> Woken {
        Woken(std::mem::take(&mut self.waiting))
    }
}

/// Tasks that are to be woken.
#[must_use]
pub(super) struct Woken(SmallVec<[(u64, Waker); 1]>);

impl Woken {
    pub(super) fn wake(self) {
        self.0.into_iter().for_each(|(_, waker)| wake(waker));
    }
}

/// A waker is the host's code: nothing that it does unwinds into the broker, or stops the broker that calls it.
fn wake(waker: Waker) {
    let _inside = in_callback();
    // What it has panicked with may panic when it is dropped.
    let _survived = catch_unwind(AssertUnwindSafe(|| waker.wake())).map_err(std::mem::forget);
}

/// A value that one task waits for.
pub(super) struct Promise<T> {
    state: Mutex<(Option<T>, Option<Waker>)>,
}

impl<T> Promise<T> {
    pub(super) fn new() -> Arc<Promise<T>> {
        Arc::new(Promise { state: Mutex::new((None, None)) })
    }

    /// Gives the value to who waits.
    pub(super) fn keep(&self, value: T) {
        let mut state = self.state.lock();
        state.0 = Some(value);
        let waker = state.1.take();
        drop(state);
        waker.into_iter().for_each(wake);
    }

    /// Waits for the value; an error in a child that is forked meanwhile. A future that is dropped leaves no waker behind.
    pub(super) async fn kept(&self) -> Result<T, Error> {
        let waiting = PromiseWait { promise: self, generation: generation() };
        std::future::poll_fn(|context| match waiting.is_forked() {
            true => Poll::Ready(Err(Error::Forked)),
            false => self.poll(context).map(Ok),
        })
        .await
    }

    fn poll(&self, context: &mut Context<'_>) -> Poll<T> {
        let waker = context.waker().clone();
        let mut state = self.state.lock();
        if let Some(value) = state.0.take() {
            return Poll::Ready(value);
        }
        let before = state.1.replace(waker);
        drop(state);
        drop(before);
        Poll::Pending
    }
}

/// The task that waits for a promise.
struct PromiseWait<'p, T> {
    promise: &'p Promise<T>,
    generation: u32,
}

impl<T> PromiseWait<'_, T> {
    fn is_forked(&self) -> bool {
        generation() != self.generation
    }
}

impl<T> Drop for PromiseWait<'_, T> {
    fn drop(&mut self) {
        if !self.is_forked() {
            let waker = self.promise.state.lock().1.take();
            drop(waker);
        }
    }
}

impl DurabilityWaiter for Promise<Durability> {
    fn tell(&self, safe: Durability) {
        self.keep(safe);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
    use std::task::{Context, Wake, Waker};

    use super::{Promise, Tasks};

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            let before = self.0.fetch_add(1, Ordering::SeqCst);
            assert!(before != 0, "a defect of the host, for the test");
        }
    }

    /// Looks, when it is dropped, whether the promise is free.
    struct Looks {
        promise: Arc<Promise<()>>,
        was_free: Arc<AtomicBool>,
    }

    impl Wake for Looks {
        fn wake(self: Arc<Self>) {}
    }

    impl Drop for Looks {
        fn drop(&mut self) {
            self.was_free.store(self.promise.state.try_lock().is_some(), Ordering::SeqCst);
        }
    }

    #[test]
    fn a_waker_is_dropped_while_no_lock_is_held() {
        let (promise, was_free) = (Promise::new(), Arc::new(AtomicBool::new(false)));
        let looks = Looks { promise: Arc::clone(&promise), was_free: Arc::clone(&was_free) };
        let first = Waker::from(Arc::new(looks));
        assert!(promise.poll(&mut Context::from_waker(&first)).is_pending());
        drop(first);
        assert!(promise.poll(&mut Context::from_waker(Waker::noop())).is_pending());
        assert!(was_free.load(Ordering::SeqCst));
    }

    #[test]
    fn a_future_that_is_dropped_leaves_no_waker_behind() {
        let (promise, count) = (Promise::<()>::new(), Arc::new(Count::default()));
        let waker = Waker::from(Arc::clone(&count));
        let mut waiting = Box::pin(promise.kept());
        assert!(waiting.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        assert_eq!(Arc::strong_count(&count), 3);
        drop(waiting);
        assert_eq!(Arc::strong_count(&count), 2);
        promise.keep(());
        assert_eq!(count.0.load(Ordering::SeqCst), 0);
    }

    #[test]
    fn each_task_has_one_place_and_is_woken_once() {
        let count = Arc::new(Count::default());
        let mut tasks = Tasks::default();
        let mut places = [None; 3];
        for _ in 0..2 {
            for place in &mut places {
                tasks.put(place, Waker::from(Arc::clone(&count)));
            }
        }
        assert_eq!(tasks.len(), 3);
        let [first, second, _] = places.map(Option::unwrap);
        assert!(tasks.remove(second).is_some());
        assert!(tasks.remove(second).is_none());
        // One that panics keeps no other asleep.
        tasks.take().wake();
        assert_eq!(count.0.load(Ordering::SeqCst), 2);
        assert_eq!(tasks.len(), 0);
        // A place that was woken is not another's.
        let mut other = None;
        tasks.put(&mut other, Waker::from(count));
        assert!(tasks.remove(first).is_none());
        assert_eq!(tasks.len(), 1);
    }
}
