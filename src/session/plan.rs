//! What becomes of a message for one session: one rule, used for deliveries and for predictions.

use crate::codec::properties::{MESSAGE_EXPIRY_INTERVAL_LEN, TOPIC_ALIAS_LEN, subscription_identifier_len};
use crate::codec::publish;
use crate::codec::qos::QoS;
use crate::message::Publication;
use crate::session::delivery::{Limits, Outcome};
use crate::session::outbound::Outbound;
use crate::session::queue::Room;
use crate::stats::DropReason;
use crate::time::Time;

/// Where a message goes in the present state of the sending half. The packet's size and the room in the queue are
/// checked afterwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Plan {
    /// Into the outbox.
    Send,
    /// Into the queue, within its bounds.
    Queue,
    /// Nowhere.
    Drop(DropReason),
}

/// The sizes of the parts of a message.
#[derive(Clone, Copy, Debug)]
pub struct Sizes {
    /// Bytes of the Topic Name.
    pub topic: usize,
    /// Bytes of the payload.
    pub payload: usize,
    /// Bytes of the forwarded properties.
    pub properties: usize,
    /// Whether a Message Expiry Interval is sent with them.
    pub expires: bool,
}

impl Sizes {
    /// The sizes of a publication.
    #[inline]
    pub fn of(publication: &Publication<'_>) -> Sizes {
        Sizes {
            topic: publication.topic.len(),
            payload: publication.payload.len(),
            properties: publication.properties_len(),
            expires: publication.expires_at != Time::NEVER,
        }
    }
}

/// The predicted outcome of a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Foreseen {
    /// The outcome.
    pub outcome: Outcome,
    /// Whether an older message would be dropped to make room.
    pub displaces: bool,
    /// Whether the client is offline.
    pub away: bool,
}

impl Outbound {
    /// Where a message of this QoS goes.
    #[inline(always)] // As `Granted::by`: called once per delivery.
    pub(super) fn plan(&self, limits: &Limits, qos: QoS) -> Plan {
        let qos0 = qos == QoS::AtMostOnce;
        if !self.is_connected() {
            return match qos0 && !limits.queue_qos0 {
                _ if self.ended => Plan::Drop(DropReason::SessionEnded),
                true => Plan::Drop(DropReason::Offline),
                false => Plan::Queue,
            };
        }
        if !qos0 {
            return if self.is_ready(limits) { Plan::Send } else { Plan::Queue };
        }
        // A younger message must not overtake an older one of its topic [MQTT-4.6.0-5], [MQTT3-4.6.0-6],
        // [MQTT-4.6.0-6], [MQTT3-4.6.0-5].
        if self.queue.holds_qos0() {
            return Plan::Queue;
        }
        match self.has_room(limits) {
            true => Plan::Send,
            false => Plan::Drop(DropReason::OutboxFull),
        }
    }

    /// Whether the client takes a packet of this many bytes [MQTT-3.1.2-24].
    #[inline]
    pub(super) fn takes(&self, packet_len: usize) -> bool {
        packet_len <= self.client_limits.maximum_packet_size as usize
    }

    /// The largest size of the PUBLISH of a message: a Topic Alias may make it smaller.
    #[inline]
    pub(super) fn packet_len(&self, sizes: &Sizes, qos: QoS, identifiers: &[u32]) -> usize {
        let version = self.client_limits.version;
        let mut properties = 0;
        if version.is_v5() {
            properties = sizes.properties;
            properties += if sizes.expires { MESSAGE_EXPIRY_INTERVAL_LEN } else { 0 };
            properties += identifiers.iter().map(|id| subscription_identifier_len(*id)).sum::<usize>();
            properties += if self.has_aliases() { TOPIC_ALIAS_LEN } else { 0 };
        }
        publish::encoded_len(version, sizes.topic, qos > QoS::AtMostOnce, properties, sizes.payload)
    }

    /// Predicts what [`Outbound::deliver`] would do with a message of the [`Pending::size`](crate::session::pending::Pending::size) `stored`.
    pub fn foresee(
        &self,
        limits: &Limits,
        now: Time,
        sizes: &Sizes,
        stored: usize,
        qos: QoS,
        identifiers: &[u32],
    ) -> Foreseen {
        let (outcome, displaces) = match self.plan(limits, qos) {
            Plan::Drop(reason) => (Outcome::Dropped(reason), false),
            Plan::Send if self.takes(self.packet_len(sizes, qos, identifiers)) => (Outcome::Sent, false),
            Plan::Send => (Outcome::Dropped(DropReason::PacketTooLarge), false),
            Plan::Queue => match self.queue.room_at(now, stored, &limits.queue) {
                Room::Free => (Outcome::Queued, false),
                Room::Displacing => (Outcome::Queued, true),
                Room::None => (self.overflow(limits), false),
            },
        };
        Foreseen { outcome, displaces, away: !self.is_connected() }
    }

    /// The outcome of a message for which the queue has no room.
    pub(super) fn overflow(&self, limits: &Limits) -> Outcome {
        let disconnects = limits.queue.overflow == crate::session::queue::Overflow::Disconnect;
        match disconnects && self.is_connected() {
            true => Outcome::Overflowed(self.epoch()),
            false => Outcome::Dropped(DropReason::QueueFull),
        }
    }
}
