//! The states of a network connection.

use std::sync::Arc;

use crate::codec::connect::Connect;
use crate::engine::access::pending_decisions::PendingDecisions;
use crate::engine::connection::auth::Authentication;
use crate::engine::parts::attached::AttachedConnection;
use crate::engine::parts::origin::Origin;
use crate::session::link::Link;
use crate::time::TimerId;

/// The packet type of CONNECT.
pub(super) const CONNECT: u8 = 1;

/// A network connection as the engine sees it; its task owns it.
pub struct Connection {
    pub(super) link: Arc<dyn Link>,
    pub(super) origin: Origin,
    pub(super) state: ConnectionState,
    /// Bytes of an unfinished packet that were counted and will be handed over again.
    pub(super) counted: usize,
    /// What the host was asked about the packet that waits for an answer; none if no packet does.
    pub(super) decisions: Option<Box<PendingDecisions>>,
}

pub(super) enum ConnectionState {
    /// CONNECT has not come.
    Opening { deadline: TimerId },
    /// CONNECT has come, and the client has to prove who it is.
    Authenticating(Box<Authenticating>),
    /// The connection has a session.
    Open(AttachedConnection),
    /// The same, after an enhanced authentication, which the client may repeat.
    Authenticated(Box<(AttachedConnection, Authentication)>),
    /// No packet is taken any more.
    Closed,
}

/// How far the handling of received bytes came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Bytes that were handled; the rest is the beginning of a packet.
    pub consumed: usize,
    /// Bytes that the unfinished packet has in all, as far as that is known.
    pub need: usize,
    /// Whether more packets are taken.
    pub open: bool,
    /// Whether a packet waits for a decision of the host: the rest is to be handed over again when
    /// [`Connection::awaits_host`] says so, and nothing more is to be read until then.
    pub waiting: bool,
}

impl Progress {
    /// The last packet, of so many bytes, waits.
    pub(super) fn wait(&mut self, size: usize) {
        self.consumed -= size;
        self.need = size;
        self.waiting = true;
    }
}

/// A connection between CONNECT and CONNACK.
pub(super) struct Authenticating {
    pub(super) deadline: TimerId,
    /// The CONNECT packet.
    pub(super) connect: Vec<u8>,
    pub(super) form: ConnackForm,
    pub(super) authentication: Authentication,
}

/// What is known of how a client wants to be refused.
#[derive(Clone, Copy)]
pub(super) struct ConnackForm {
    /// The protocol level that it has named.
    pub(super) level: Option<u8>,
    pub(super) maximum_packet_size: u32,
    pub(super) wants_sentences: bool,
}

impl ConnackForm {
    /// That of a client of whose CONNECT only this is known.
    pub(super) fn of(level: Option<u8>) -> ConnackForm {
        ConnackForm { level, maximum_packet_size: u32::MAX, wants_sentences: true }
    }

    pub(super) fn learn(&mut self, connect: &Connect<'_>) {
        self.maximum_packet_size = connect.properties.maximum_packet_size().unwrap_or(u32::MAX);
        self.wants_sentences = connect.properties.request_problem_information() != Some(false);
    }
}

#[cfg(test)]
mod tests {
    use super::{AttachedConnection, ConnectionState};

    /// An idle connection pays nothing for what few use: enhanced authentication is in a box.
    #[test]
    fn the_state_of_a_connection_is_no_larger_than_its_hold_on_the_session() {
        assert_eq!(size_of::<ConnectionState>(), size_of::<AttachedConnection>());
    }
}
