//! The end of the broker: clients are told, and no new one is taken.

use std::sync::atomic::Ordering;

use crate::engine::core::state::Engine;
use crate::engine::core::turn::Turn;
use crate::session::link::Cause;

impl Engine {
    /// Ends every connection, with 0x8B Server shutting down where the version can say it, and refuses new ones.
    /// Wills are not published: the server closes, not the client's connection.
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
