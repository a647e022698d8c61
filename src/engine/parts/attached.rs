//! Types that the verbs share: the attached connection, the received packet, and the result of handling it.

use std::sync::Arc;

use bytes::Bytes;

use crate::codec::error::DecodeError;
use crate::codec::version::Version;
use crate::session::epoch::Epoch;
use crate::session::state::Session;
use crate::time::Time;

/// A connection that is attached to a session.
#[derive(Clone)]
pub(crate) struct AttachedConnection {
    pub session: Arc<Session>,
    pub epoch: Epoch,
    pub version: Version,
    /// Whether the client is a bridge of MQTT 3 and has said so.
    pub is_bridge: bool,
}

impl AttachedConnection {
    /// Notes that the client has sent something, unless another connection has the session by now.
    pub fn heard(&self, now: Time) {
        if self.session.is_attached(self.epoch) {
            self.session.heard(now);
        }
    }
}

/// The bytes of a received packet.
#[derive(Clone, Copy)]
pub(crate) struct ReceivedPacket<'r> {
    pub whole: &'r [u8],
    pub owner: Option<&'r Bytes>,
}

/// Why a connection ends while a packet is handled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ConnectionEnd {
    /// The client broke a rule, or a limit or the host refuses its request.
    Refused(DecodeError),
    /// The client sent DISCONNECT. `with_will`: its will is published.
    Disconnected { with_will: bool },
    /// The connection has ended while the host was asked.
    Gone,
}

impl From<DecodeError> for ConnectionEnd {
    fn from(error: DecodeError) -> ConnectionEnd {
        ConnectionEnd::Refused(error)
    }
}

/// The result of handling a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Handled {
    /// The packet is handled.
    Done,
    /// A decision is awaited: nothing was done, and the packet must be handled again.
    Suspended,
}
