//! Lets threads wait for a change without polling.

use std::time::Instant;

use crate::locks::{Condvar, Mutex};

/// Wakes waiting threads whenever something has changed.
#[derive(Default)]
pub(super) struct Pulse {
    beats: Mutex<u64>,
    beat: Condvar,
}

impl Pulse {
    /// Reports a change.
    pub(super) fn beat(&self) {
        *self.beats.lock() += 1;
        self.beat.notify_all();
    }

    /// Calls `look` now and after each change until it finds something, at most until `by`; `None` waits without limit.
    pub(super) fn wait<T>(&self, by: Option<Instant>, mut look: impl FnMut() -> Option<T>) -> Option<T> {
        loop {
            let seen = *self.beats.lock();
            if let Some(found) = look() {
                return Some(found);
            }
            let mut beats = self.beats.lock();
            while *beats == seen {
                match by {
                    None => self.beat.wait(&mut beats),
                    Some(by) => {
                        let left = by.saturating_duration_since(Instant::now());
                        if self.beat.wait_for(&mut beats, left).timed_out() {
                            let missed = *beats != seen;
                            drop(beats);
                            return missed.then(look).flatten();
                        }
                    }
                }
            }
        }
    }
}
