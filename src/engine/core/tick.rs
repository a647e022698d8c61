//! Handling of due timers, each in its own turn.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::engine::core::state::Engine;
use crate::time::Time;

impl Engine {
    /// The number of running timers.
    pub fn timers_running(&self) -> usize {
        self.timers.len()
    }

    /// When [`Engine::tick`] must be called next: when the next timer is due, or earlier.
    pub fn next_tick(&self) -> Option<Time> {
        self.timers.next()
    }

    /// Handles all due timers, and some of the events that threads have left. Returns when to call it again; `None` if
    /// only the alarm decides.
    pub fn tick(&self, now: Time) -> Option<Time> {
        for timer in self.timers.due(now) {
            // A panic in one timer does not affect the others.
            let _survived = catch_unwind(AssertUnwindSafe(|| {
                let mut turn = self.turn(now);
                self.fire(&mut turn, timer);
            }));
        }
        match self.events.has_left() {
            true => self.tick_events(now),
            false => self.timers.next(),
        }
    }

    #[cold]
    fn tick_events(&self, now: Time) -> Option<Time> {
        self.tell_left(&mut self.turn(now));
        if self.events.has_left() { Some(now) } else { self.timers.next() }
    }
}
