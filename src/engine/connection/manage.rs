//! What the host or an administrator does with a session: ends it, looks into its queue, or clears that.

use std::sync::Arc;

use crate::engine::core::state::Engine;
use crate::engine::core::turn::Turn;
use crate::session::event::Level;
use crate::session::link::Cause;
use crate::session::pending::Pending;
use crate::session::state::Mark;

/// The queue of a session at one moment.
#[derive(Debug)]
pub struct QueueView {
    /// The number of queued messages.
    pub total: usize,
    /// The oldest of them, oldest first, but for those that the store cannot give.
    pub oldest: Vec<Pending>,
}

impl Engine {
    /// Ends the session of a client as its expiry would; a client that is connected is disconnected. False if there is no
    /// such session.
    pub fn discard_session(&self, turn: &mut Turn, client_id: &str) -> bool {
        let Some(session) = self.sessions.get(client_id) else {
            return false;
        };
        // A connection in the middle of a turn makes changes, which are recorded before the end.
        let _inbound = session.inbound.lock();
        let mut control = session.control.lock();
        if control.ended {
            return false;
        }
        self.log(turn, Level::Info, Some(client_id), || {
            format!("client {client_id:?}: the host ends its session")
        });
        match control.connected.is_some() {
            true => {
                control.expiry_interval = 0;
                let epoch = control.epoch;
                self.detach(turn, &session, &mut control, epoch, Cause::Kicked);
            }
            false => self.end_session(turn, &session, &mut control),
        }
        true
    }

    /// Disconnects the clients whose connection a listener of this very name has accepted; returns their number.
    pub(crate) fn end_clients_of(&self, turn: &mut Turn, listener: &Arc<str>) -> usize {
        let mut ended = 0;
        for session in self.sessions.all() {
            let mut control = session.control.lock();
            let is_its = session.outbound.lock().link().is_some_and(|link| link.is_of(listener));
            if is_its && control.connected.is_some() {
                let epoch = control.epoch;
                self.detach(turn, &session, &mut control, epoch, Cause::Kicked);
                ended += 1;
            }
        }
        ended
    }

    /// Whether a client has a session that the store keeps, and the store takes no changes of it any more.
    pub fn is_lost_to_store(&self, client_id: &str) -> bool {
        self.recorder.store().failed().is_some()
            && self.sessions.get(client_id).is_some_and(|session| {
                let control = session.control.lock();
                control.kept && !control.ended
            })
    }

    /// Drops what waits in the queue of a client's session, and returns the number of messages; `None` if there is no
    /// such session. Messages that were sent and are not acknowledged stay.
    pub fn clear_queue(&self, turn: &mut Turn, client_id: &str) -> Option<usize> {
        let session = self.sessions.get(client_id)?;
        self.begin_group(turn);
        let mut outbound = session.outbound.lock();
        let is_ended = outbound.has_ended();
        let cleared = outbound.clear_queue(&mut self.context(turn, &session));
        drop(outbound);
        self.end_group(turn);
        if session.is_marked(Mark::AWAITED) {
            self.release_publishers(turn, &session);
        }
        (!is_ended).then(|| cleared.len())
    }

    /// The queue of a client's session with its oldest messages, at most `most`; `None` if there is no such session. What the
    /// store alone has is read there, which waits for the disk.
    pub fn queue(&self, client_id: &str, most: usize) -> Option<QueueView> {
        let session = self.sessions.get(client_id)?;
        let outbound = session.outbound.lock();
        let (total, oldest) = (outbound.queue_len(), outbound.oldest_queued(most));
        drop(outbound);
        Some(QueueView { total, oldest: self.read_entries(client_id, oldest) })
    }
}
