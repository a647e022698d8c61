//! The effect of a client's acknowledgement on a delivery, and the acknowledgements to the client that wait for the
//! store.

use std::sync::Arc;

use crate::codec::packet_id::PacketId;
use crate::codec::qos::QoS;
use crate::codec::reason::ReasonCode;
use crate::message::SharedMessage;
use crate::session::delivery::Context;
use crate::session::epoch::Epoch;
use crate::session::inflight::Awaits;
use crate::session::outbound::Outbound;
use crate::session::pool::Pool;

/// The effect of an acknowledgement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acknowledged {
    /// The delivery is complete.
    Complete,
    /// The delivery has advanced to its next packet.
    Progress,
    /// No delivery has this identifier.
    Unknown,
    /// The delivery with this identifier awaits another packet.
    Unexpected,
}

impl Outbound {
    /// The message of the delivery, with its QoS; `None` if the client has acknowledged it, or there is no such
    /// delivery.
    pub fn unacknowledged(&mut self, id: PacketId) -> Option<(SharedMessage, QoS)> {
        let (_, delivery) = self.inflight.find(id)?;
        let pending = delivery.pending()?;
        Some((Arc::clone(&pending.message), pending.qos))
    }

    /// PUBACK: ends a QoS 1 delivery.
    /// [MQTT-4.3.2-3]
    pub fn puback(&mut self, pool: &mut Pool, id: PacketId) -> Acknowledged {
        self.end_if(pool, id, Awaits::Puback)
    }

    /// PUBREC: the client owns the message, or refuses it with an error code [MQTT-4.3.3-4].
    /// [MQTT-4.3.3-3]
    pub fn pubrec(&mut self, pool: &mut Pool, id: PacketId, reason: ReasonCode) -> Acknowledged {
        match self.inflight.find(id) {
            None => Acknowledged::Unknown,
            Some((_, delivery)) if delivery.awaits == Awaits::Puback => Acknowledged::Unexpected,
            Some((at, _)) if reason.is_error() => {
                self.inflight.complete(pool, at);
                Acknowledged::Complete
            }
            Some((at, delivery)) => {
                delivery.awaits = Awaits::Pubcomp;
                if let Some(pending) = self.inflight.take_message(at) {
                    pool.messages.give(pending.message);
                }
                Acknowledged::Progress
            }
        }
    }

    /// PUBCOMP: ends a QoS 2 delivery.
    /// [MQTT-4.3.3-5]
    pub fn pubcomp(&mut self, pool: &mut Pool, id: PacketId) -> Acknowledged {
        self.end_if(pool, id, Awaits::Pubcomp)
    }

    /// Counts an acknowledgement of this connection that waits for the store; returns how many wait.
    pub fn await_commit(&mut self) -> usize {
        self.awaiting_commit += 1;
        self.acks_awaiting_commit()
    }

    /// The number of acknowledgements of this connection that wait for the store.
    pub fn acks_awaiting_commit(&self) -> usize {
        self.awaiting_commit as usize
    }

    /// Whether an acknowledgement waits for the store: a later one must not overtake it [MQTT-4.6.0-2].
    pub fn awaits_commit(&self) -> bool {
        self.awaiting_commit > 0
    }

    /// Sends an acknowledgement of the connection `epoch` that waited for the store. Returns whether the caller must
    /// flush.
    pub fn commit_done(&mut self, cx: &mut Context<'_>, epoch: Epoch, packet: &[u8]) -> bool {
        if self.epoch() != epoch || self.awaiting_commit == 0 {
            return false;
        }
        self.awaiting_commit -= 1;
        self.send(cx, |_, out| out.extend_from_slice(packet))
    }

    /// Ends the delivery if `awaits` is the packet that it awaits.
    fn end_if(&mut self, pool: &mut Pool, id: PacketId, awaits: Awaits) -> Acknowledged {
        match self.inflight.find(id) {
            None => Acknowledged::Unknown,
            Some((at, delivery)) if delivery.awaits == awaits => {
                self.inflight.complete(pool, at);
                Acknowledged::Complete
            }
            Some(_) => Acknowledged::Unexpected,
        }
    }
}
