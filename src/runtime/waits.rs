//! Threads that wait for the end of a call that another thread runs. A circle of them would wait for ever.

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::runtime::threads::thread_mark;

/// Threads that wait at once, of which circles are found.
const PLACES: usize = 64;

/// The waits of this process. There is no lock: a forked child may have the memory of a thread that is changing them.
static WAITS: [Place; PLACES] = [const { Place::free() }; PLACES];

/// A wait; threads are told by their marks.
#[derive(Debug)]
struct Place {
    /// The thread that waits; 0 if the place is free.
    waiter: AtomicUsize,
    /// The thread that runs the call; 0 before the wait begins, and when the call is over.
    runner: AtomicUsize,
}

impl Place {
    const fn free() -> Place {
        Place { waiter: AtomicUsize::new(0), runner: AtomicUsize::new(0) }
    }
}

/// The calling thread waits for a call, until this is dropped.
#[derive(Debug)]
#[must_use = "dropping it ends the wait"]
pub struct CallWait(Option<&'static Place>);

/// A wait, for the thread that runs the call.
#[derive(Clone, Copy, Debug)]
pub struct Waiter(Option<&'static Place>);

impl CallWait {
    /// Notes that the calling thread waits for a call that the thread `runner` runs. `None` if that one waits for the
    /// calling thread, perhaps by way of others: the call would not end before the wait.
    pub fn begin(runner: usize) -> Option<CallWait> {
        let own = thread_mark();
        let free = |place: &&Place| {
            place.waiter.compare_exchange(0, own, Ordering::SeqCst, Ordering::SeqCst).is_ok()
        };
        let wait = CallWait(WAITS.iter().find(free));
        if let Some(place) = wait.0 {
            place.runner.store(runner, Ordering::SeqCst);
        }
        // Noted before it is looked at: of the threads of a circle, the last one finds it. What is found twice is no
        // place that has changed its owner meanwhile.
        let circle = waits_for(runner, own) && waits_for(runner, own);
        (!circle).then_some(wait)
    }

    /// The wait, for the thread that runs the call.
    pub fn waiter(&self) -> Waiter {
        Waiter(self.0)
    }
}

impl Drop for CallWait {
    fn drop(&mut self) {
        if let Some(place) = self.0 {
            place.runner.store(0, Ordering::SeqCst);
            place.waiter.store(0, Ordering::SeqCst);
        }
    }
}

impl Waiter {
    /// Notes that the call is over. The waiting thread must be unable to end its wait meanwhile.
    pub fn released(self) {
        if let Some(place) = self.0 {
            place.runner.store(0, Ordering::SeqCst);
        }
    }
}

/// Whether the thread `from` waits for `to`, perhaps by way of others.
fn waits_for(from: usize, to: usize) -> bool {
    let mut at = from;
    for _ in 0..=PLACES {
        if at == to {
            return true;
        }
        let Some(place) = WAITS.iter().find(|place| place.waiter.load(Ordering::SeqCst) == at) else {
            return false;
        };
        match place.runner.load(Ordering::SeqCst) {
            0 => return false,
            runner => at = runner,
        }
    }
    false
}

/// Forgets the waits of threads that a forked child does not have. Async-signal-safe.
pub(super) fn forget_waits() {
    for place in &WAITS {
        place.runner.store(0, Ordering::SeqCst);
        place.waiter.store(0, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, Sender, channel};
    use std::thread::JoinHandle;

    use super::{CallWait, Waiter};
    use crate::runtime::threads::thread_mark;

    /// A thread that begins waits when it is told to.
    struct Waits {
        mark: usize,
        begin: Sender<usize>,
        began: Receiver<Option<Waiter>>,
        thread: JoinHandle<()>,
    }

    impl Waits {
        fn new() -> Waits {
            let ((begin, begins), (told, began), (mark, marks)) = (channel(), channel(), channel());
            let thread = std::thread::spawn(move || {
                mark.send(thread_mark()).unwrap();
                let mut waits = Vec::new();
                for runner in begins {
                    let wait = CallWait::begin(runner);
                    told.send(wait.as_ref().map(CallWait::waiter)).unwrap();
                    waits.extend(wait);
                }
            });
            Waits { mark: marks.recv().unwrap(), begin, began, thread }
        }

        fn begin(&self, runner: &Waits) -> Option<Waiter> {
            self.begin.send(runner.mark).unwrap();
            self.began.recv().unwrap()
        }

        fn end(self) {
            drop(self.begin);
            self.thread.join().unwrap();
        }
    }

    #[test]
    fn a_thread_does_not_begin_a_wait_that_closes_a_circle() {
        let [one, two, three, other] = [(); 4].map(|()| Waits::new());
        assert!(one.begin(&two).is_some());
        let of_two = two.begin(&three).expect("there is no circle of two");
        assert!(other.begin(&one).is_some(), "a thread in no circle waits");
        assert!(three.begin(&one).is_none(), "one, two and three would wait for each other");
        // The call for which the second one waits is over, though it does not run again yet.
        of_two.released();
        assert!(three.begin(&one).is_some());
        // What has ended is forgotten.
        two.end();
        three.end();
        let last = Waits::new();
        assert!(last.begin(&one).is_some());
        [one, other, last].into_iter().for_each(Waits::end);
    }
}
