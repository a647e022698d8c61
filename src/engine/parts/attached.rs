//! What the verbs share: the connection, the received packet, and what handling it comes to.

use std::sync::Arc;

use bytes::Bytes;

use crate::codec::error::DecodeError;
use crate::codec::version::Version;
use crate::session::state::Session;
use crate::time::Time;

/// A connection's hold on its session.
#[derive(Clone)]
pub(crate) struct AttachedConnection {
    pub session: Arc<Session>,
    pub epoch: u32,
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

/// One packet's surroundings: the bytes it came in.
#[derive(Clone, Copy)]
pub(crate) struct ReceivedPacket<'r> {
    pub whole: &'r [u8],
    pub owner: Option<&'r Bytes>,
}

/// Why a connection ends in the middle of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ConnectionEnd {
    /// The client broke a rule, or wants what it cannot have.
    Refused(DecodeError),
    /// The client said goodbye; true: with its will.
    Disconnected { with_will: bool },
    /// It has ended while the host was asked.
    Gone,
}

impl From<DecodeError> for ConnectionEnd {
    fn from(error: DecodeError) -> ConnectionEnd {
        ConnectionEnd::Refused(error)
    }
}

/// What a packet that asks comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Handled {
    /// It is done.
    Done,
    /// An answer is awaited: nothing was done, and the packet is to be handled again.
    Suspended,
}
