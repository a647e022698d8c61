//! A value that one thread at a time has, perhaps for long; another may give up waiting for it.

use std::ops::{Deref, DerefMut};
use std::time::Duration;

use crate::locks::{Condvar, Mutex, MutexGuard};

/// The value. Its place has the default while a thread has it.
pub(super) struct Exclusive<T> {
    place: Mutex<Place<T>>,
    free: Condvar,
}

struct Place<T> {
    value: T,
    is_taken: bool,
}

/// The value, until this is dropped.
pub(super) struct Taken<'e, T: Default> {
    from: &'e Exclusive<T>,
    value: T,
}

impl<T: Default> Exclusive<T> {
    pub(super) fn new(value: T) -> Exclusive<T> {
        Exclusive { place: Mutex::new(Place { value, is_taken: false }), free: Condvar::new() }
    }

    /// Waits for the value.
    pub(super) fn lock(&self) -> Taken<'_, T> {
        let mut place = self.place.lock();
        while place.is_taken {
            self.free.wait(&mut place);
        }
        self.take(place)
    }

    /// Waits for the value, but not longer than `time`.
    pub(super) fn lock_for(&self, time: Duration) -> Option<Taken<'_, T>> {
        let mut place = self.place.lock();
        while place.is_taken {
            if self.free.wait_for(&mut place, time).timed_out() && place.is_taken {
                return None;
            }
        }
        Some(self.take(place))
    }

    fn take(&self, mut place: MutexGuard<'_, Place<T>>) -> Taken<'_, T> {
        place.is_taken = true;
        Taken { from: self, value: std::mem::take(&mut place.value) }
    }
}

impl<T: Default> Drop for Taken<'_, T> {
    fn drop(&mut self) {
        let mut place = self.from.place.lock();
        place.value = std::mem::take(&mut self.value);
        place.is_taken = false;
        drop(place);
        self.from.free.notify_one();
    }
}

impl<T: Default> Deref for Taken<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T: Default> DerefMut for Taken<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.value
    }
}
