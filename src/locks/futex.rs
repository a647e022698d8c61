//! A condition variable that is one number: a waiting thread sleeps while nobody has changed it.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use rustix::thread::futex::{Flags, Timespec, wait, wake};
use rustix_futex_sync::MutexGuard;

/// Wakes threads that wait for a change of what a [`Mutex`](super::Mutex) guards. A thread may wake without a notice.
#[derive(Debug, Default)]
pub struct Condvar {
    /// Changed by each notice.
    notices: AtomicU32,
    /// Threads that wait. They are counted under the lock, and so seen by whoever changes what it guards.
    waiting: AtomicU32,
}

/// Whether a wait has ended because its time was over.
#[derive(Clone, Copy, Debug)]
pub struct WaitTimeoutResult(bool);

impl WaitTimeoutResult {
    /// Whether the time was over.
    pub fn timed_out(self) -> bool {
        self.0
    }
}

impl Condvar {
    /// A condition variable that nobody waits for.
    pub const fn new() -> Condvar {
        Condvar { notices: AtomicU32::new(0), waiting: AtomicU32::new(0) }
    }

    /// Waits for a notice. The lock is free meanwhile.
    pub fn wait<T: ?Sized>(&self, guard: &mut MutexGuard<'_, T>) {
        self.sleep(guard, None);
    }

    /// Waits for a notice, but no longer than `time`.
    pub fn wait_for<T: ?Sized>(&self, guard: &mut MutexGuard<'_, T>, time: Duration) -> WaitTimeoutResult {
        // What is too long for the system is longer than a process lives.
        let whole = time.as_secs().try_into().ok();
        let time = whole.map(|tv_sec| Timespec { tv_sec, tv_nsec: i64::from(time.subsec_nanos()) });
        WaitTimeoutResult(self.sleep(guard, time.as_ref()))
    }

    /// Wakes one thread that waits.
    pub fn notify_one(&self) {
        self.notify(1);
    }

    /// Wakes all threads that wait.
    pub fn notify_all(&self) {
        self.notify(u32::MAX >> 1);
    }

    fn notify(&self, most: u32) {
        if self.waiting.load(Ordering::Relaxed) != 0 {
            self.notices.fetch_add(1, Ordering::Relaxed);
            // It fails for no address of ours.
            let _woken = wake(&self.notices, Flags::PRIVATE, most);
        }
    }

    /// Whether the time was over.
    fn sleep<T: ?Sized>(&self, guard: &mut MutexGuard<'_, T>, time: Option<&Timespec>) -> bool {
        let seen = self.notices.load(Ordering::Relaxed);
        self.waiting.fetch_add(1, Ordering::Relaxed);
        // A notice between the unlocking and the sleep has changed the number, and the system does not let it sleep.
        let ended = MutexGuard::unlocked(guard, || wait(&self.notices, Flags::PRIVATE, seen, time));
        self.waiting.fetch_sub(1, Ordering::Relaxed);
        ended == Err(rustix::io::Errno::TIMEDOUT)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::thread;
    use std::time::Duration;

    use super::Condvar;
    use crate::locks::Mutex;

    /// Two threads hand a number to each other: a lost notice would stop them.
    #[test]
    fn no_notice_is_lost() {
        const TURNS: u32 = 20_000;
        let shared = Arc::new((Mutex::new(0), Condvar::new()));
        let other = Arc::clone(&shared);
        let play = |shared: &(Mutex<u32>, Condvar), own: u32| {
            let (number, changed) = shared;
            let mut number = number.lock();
            while *number < TURNS {
                if *number % 2 == own {
                    *number += 1;
                    changed.notify_one();
                } else {
                    changed.wait(&mut number);
                }
            }
        };
        let thread = thread::spawn(move || play(&other, 1));
        play(&shared, 0);
        thread.join().unwrap();
        assert_eq!(*shared.0.lock(), TURNS);
    }

    #[test]
    fn a_notice_for_all_wakes_all() {
        let shared = Arc::new((Mutex::new((0, false)), Condvar::new()));
        let threads: Vec<_> = (0..4)
            .map(|_| {
                let shared = Arc::clone(&shared);
                thread::spawn(move || {
                    let mut state = shared.0.lock();
                    state.0 += 1;
                    shared.1.notify_all();
                    while !state.1 {
                        shared.1.wait(&mut state);
                    }
                })
            })
            .collect();
        let mut state = shared.0.lock();
        while state.0 < 4 {
            shared.1.wait(&mut state);
        }
        state.1 = true;
        drop(state);
        shared.1.notify_all();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    }

    #[test]
    fn a_wait_ends_with_its_time() {
        let (lock, condvar) = (Mutex::new(()), Condvar::new());
        let mut guard = lock.lock();
        while !condvar.wait_for(&mut guard, Duration::from_millis(1)).timed_out() {}
        while !condvar.wait_for(&mut guard, Duration::ZERO).timed_out() {}
        drop(guard);
        condvar.notify_all();
        assert!(lock.try_lock().is_some());
    }
}
