//! What an acknowledgement of the client does to a delivery, and the acknowledgements to the client that wait for the
//! store.

use std::sync::Arc;

use crate::codec::packet_id::PacketId;
use crate::codec::qos::QoS;
use crate::codec::reason::ReasonCode;
use crate::message::SharedMessage;
use crate::session::inflight::Awaits;
use crate::session::outbound::{Context, Outbound};

/// What an acknowledgement meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acknowledged {
    /// The delivery is complete.
    Complete,
    /// The delivery goes on.
    Progress,
    /// No delivery has this identifier.
    Unknown,
    /// The delivery with this identifier awaits another packet.
    Unexpected,
}

impl Outbound {
    /// The message of a delivery that has not been acknowledged, with its QoS.
    pub fn unacknowledged(&mut self, id: PacketId) -> Option<(SharedMessage, QoS)> {
        let pending = self.inflight.get_mut(id)?.pending.as_ref()?;
        Some((Arc::clone(&pending.message), pending.qos))
    }

    /// PUBACK: ends a QoS 1 delivery.
    /// [MQTT-4.3.2-3]
    pub fn puback(&mut self, id: PacketId) -> Acknowledged {
        match self.inflight.get_mut(id).map(|d| d.awaits) {
            None => Acknowledged::Unknown,
            Some(Awaits::Puback) => self.complete(id),
            Some(_) => Acknowledged::Unexpected,
        }
    }

    /// PUBREC: the client owns the message, or refuses it with an error code [MQTT-4.3.3-4].
    /// [MQTT-4.3.3-3]
    pub fn pubrec(&mut self, id: PacketId, reason: ReasonCode) -> Acknowledged {
        match self.inflight.get_mut(id) {
            None => Acknowledged::Unknown,
            Some(delivery) if delivery.awaits == Awaits::Puback => Acknowledged::Unexpected,
            Some(_) if reason.is_error() => self.complete(id),
            Some(delivery) => {
                delivery.awaits = Awaits::Pubcomp;
                delivery.pending = None;
                Acknowledged::Progress
            }
        }
    }

    /// PUBCOMP: ends a QoS 2 delivery.
    /// [MQTT-4.3.3-5]
    pub fn pubcomp(&mut self, id: PacketId) -> Acknowledged {
        match self.inflight.get_mut(id).map(|d| d.awaits) {
            None => Acknowledged::Unknown,
            Some(Awaits::Pubcomp) => self.complete(id),
            Some(_) => Acknowledged::Unexpected,
        }
    }

    /// An acknowledgement of this connection waits for the store.
    pub fn park(&mut self) {
        self.parked += 1;
    }

    /// Whether an acknowledgement waits for the store: a younger one must not overtake it [MQTT-4.6.0-2].
    pub fn has_parked(&self) -> bool {
        self.parked > 0
    }

    /// Releases one acknowledgement of the connection `epoch`. Whether the caller has to see to the flush.
    pub fn unpark(&mut self, cx: &mut Context<'_>, epoch: u32, packet: &[u8]) -> bool {
        if self.epoch() != epoch || self.parked == 0 {
            return false;
        }
        self.parked -= 1;
        self.send(cx, |_, out| out.extend_from_slice(packet))
    }

    fn complete(&mut self, id: PacketId) -> Acknowledged {
        self.inflight.complete(id);
        Acknowledged::Complete
    }
}
