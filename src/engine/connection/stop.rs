//! The stop of the broker: clients are told, and new ones are refused.

use std::sync::atomic::Ordering;

use crate::engine::core::state::Engine;
use crate::engine::core::turn::Turn;
use crate::session::link::Cause;

/// Events that are told together.
const PORTION: usize = 64;

impl Engine {
    /// Whether the broker stops or has stopped. A turn that begins after that finds it so, if it looks after its beginning.
    #[inline]
    pub fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::SeqCst)
    }

    /// Tells the sinks all that has happened. Not for code of the host that the engine calls.
    pub fn tell_rest(&self, turn: &mut Turn) {
        self.tell_all(turn);
    }

    /// Ends every connection, with 0x8B Server shutting down in MQTT 5, and refuses new ones. Wills are not published:
    /// those of sessions that a store keeps are when the broker has started again, the others never.
    ///
    /// The sinks are told of all ends, however many wait to be told: this waits for the thread that tells now.
    pub fn stop(&self, turn: &mut Turn) {
        self.stopping.store(true, Ordering::SeqCst);
        // So few that they find room in the host's queue, and those of one more session.
        let portion = PORTION.min(self.options.hooks_max_waiting / 4).max(1);
        for session in self.sessions.all() {
            if turn.events.len() >= portion {
                self.tell_all(turn);
            }
            let mut control = session.control.lock();
            // The store has it: it is published after the restart (MQTT 5, section 3.1.2.5).
            control.will = None;
            let epoch = control.epoch;
            self.detach(turn, &session, &mut control, epoch, Cause::ServerShuttingDown);
        }
    }
}
