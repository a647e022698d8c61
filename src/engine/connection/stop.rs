//! The stop of the broker: clients are told, and new ones are refused.

use std::sync::atomic::Ordering;

use crate::engine::core::state::Engine;
use crate::engine::core::turn::Turn;
use crate::session::link::Cause;

impl Engine {
    /// Ends every connection, with 0x8B Server shutting down in MQTT 5, and refuses new ones. Wills are not published,
    /// because the server closes the connections.
    pub fn stop(&self, turn: &mut Turn) {
        self.stopping.store(true, Ordering::SeqCst);
        for session in self.sessions.all() {
            let mut control = session.control.lock();
            self.delete_will(turn, &session, &mut control);
            let epoch = control.epoch;
            self.detach(turn, &session, &mut control, epoch, Cause::ServerShuttingDown);
        }
    }
}
