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

/// A network connection as the engine sees it, owned by its task.
pub struct Connection {
    pub(super) link: Arc<dyn Link>,
    pub(super) origin: Origin,
    pub(super) state: ConnectionState,
    /// Bytes of an incomplete packet that were counted and will be passed again.
    pub(super) counted: usize,
    /// The decisions of the packet that waits for one; `None` if no packet waits.
    pub(super) decisions: Option<Box<PendingDecisions>>,
}

pub(super) enum ConnectionState {
    /// CONNECT was not received yet.
    Opening { deadline: TimerId },
    /// CONNECT was received, and the enhanced authentication is in progress.
    Authenticating(Box<Authenticating>),
    /// The connection has a session.
    Open(AttachedConnection),
    /// The connection has a session, after an enhanced authentication, which the client may repeat.
    Authenticated(Box<(AttachedConnection, Authentication)>),
    /// No more packets are handled.
    Closed,
}

/// The result of handling received bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// The number of bytes that were handled; the rest is the beginning of a packet.
    pub consumed: usize,
    /// The total length of the incomplete packet, as far as it is known.
    pub need: usize,
    /// Whether more packets are accepted.
    pub open: bool,
    /// Whether a packet waits for a decision. The caller reads no more, and passes the rest again when
    /// [`Connection::awaits_host`] returns `Some(false)`.
    pub waiting: bool,
}

impl Progress {
    /// Lets the last packet, of `size` bytes, wait.
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

/// The parts of a CONNECT that decide how a refusal is sent.
#[derive(Clone, Copy)]
pub(super) struct ConnackForm {
    /// The protocol level.
    pub(super) level: Option<u8>,
    pub(super) maximum_packet_size: u32,
    pub(super) wants_sentences: bool,
}

impl ConnackForm {
    /// The form for a CONNECT of which only the level is known.
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

    /// Enhanced authentication is boxed, so that a connection without it stays small.
    #[test]
    fn the_state_of_a_connection_is_no_larger_than_its_hold_on_the_session() {
        assert_eq!(size_of::<ConnectionState>(), size_of::<AttachedConnection>());
    }
}
