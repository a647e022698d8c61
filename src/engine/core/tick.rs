//! Time passes: what is due happens, a turn each.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::engine::core::state::Engine;
use crate::time::Time;

impl Engine {
    /// Timers that run: 0 when there is no session and nothing waits for its time.
    pub fn timers_running(&self) -> usize {
        self.timers.len()
    }

    /// When [`Engine::tick`] is to be called next: when the next timer is due, or before.
    pub fn next_tick(&self) -> Option<Time> {
        self.timers.next()
    }

    /// Lets everything happen whose time has come. Returns when to call again; `None`: when the alarm says so.
    pub fn tick(&self, now: Time) -> Option<Time> {
        for timer in self.timers.due(now) {
            // A panic costs what it happens in, not the timers behind it and not those to come.
            let _survived = catch_unwind(AssertUnwindSafe(|| {
                let mut turn = self.turn(now);
                self.fire(&mut turn, timer);
            }));
        }
        self.timers.next()
    }
}
