//! An application message during one turn: borrowed from the received bytes, stored only if it must outlive the turn.

use std::sync::Arc;

use bytes::Bytes;
use smallvec::SmallVec;

use crate::codec::packet_id::PacketId;
use crate::codec::qos::QoS;
use crate::message::stored::MessageAttributes;
use crate::message::{Message, MessagePool, SharedMessage};
use crate::time::Time;

/// A payload of at least this many bytes is shared between outboxes instead of copied into each.
pub const SHARE_FROM: usize = 8 * 1024;

/// The PUBLISH packet as it was received, forwarded unchanged where version and QoS allow.
#[derive(Clone, Copy, Debug)]
pub struct Frame<'a> {
    /// The whole packet, fixed header included.
    pub whole: &'a [u8],
    /// Whether the packet has a property length (MQTT 5).
    pub v5: bool,
    /// The offset of the Packet Identifier, if the packet has one.
    pub packet_id_at: Option<usize>,
}

/// An application message that is being published.
#[derive(Debug)]
pub struct Publication<'a> {
    /// The Topic Name, valid, as encoded.
    pub topic: &'a [u8],
    /// The properties to forward, as encoded spans.
    pub properties: SmallVec<[&'a [u8]; 2]>,
    /// The payload.
    pub payload: &'a [u8],
    /// The QoS with which the message was published.
    pub qos: QoS,
    /// The RETAIN flag that outgoing packets carry unless a subscription clears it.
    pub retain: bool,
    /// When the message expires.
    pub expires_at: Time,
    /// When it was received.
    pub received_at: Time,
    /// The received packet, if its bytes may be forwarded.
    pub frame: Option<Frame<'a>>,
    /// The buffer that the parts are slices of, if it can be shared.
    pub owner: Option<&'a Bytes>,
    /// The payload as a buffer of the host, if it is one.
    pub host_payload: Option<&'a Bytes>,
    stored: Option<SharedMessage>,
}

impl<'a> Publication<'a> {
    /// A publication of the given parts, without properties or expiry.
    pub fn new(topic: &'a [u8], payload: &'a [u8], qos: QoS, retain: bool, now: Time) -> Publication<'a> {
        Publication {
            topic,
            properties: SmallVec::new(),
            payload,
            qos,
            retain,
            expires_at: Time::NEVER,
            received_at: now,
            frame: None,
            owner: None,
            host_payload: None,
            stored: None,
        }
    }

    /// A publication of a stored message (a queued, retained or will message).
    pub fn of(message: &'a SharedMessage) -> Publication<'a> {
        let mut publication = Publication::new(
            message.topic_bytes(),
            message.payload(),
            message.qos(),
            message.retain(),
            message.received_at(),
        );
        if !message.properties_bytes().is_empty() {
            publication.properties.push(message.properties_bytes());
        }
        publication.expires_at = message.expires_at();
        publication.stored = Some(Arc::clone(message));
        publication
    }

    /// The stored message: made at the first call, then shared.
    pub fn message(&mut self) -> &SharedMessage {
        let message = match self.stored.take() {
            Some(message) => message,
            None => Arc::new(self.make()),
        };
        self.stored.insert(message)
    }

    /// As [`Publication::message`], reusing a message of the pool if there is one.
    pub fn message_from(&mut self, spares: &mut MessagePool) -> &SharedMessage {
        let may = self.stored.is_none()
            && self.owner.is_none()
            && self.host_payload.is_none()
            && self.payload.len() < SHARE_FROM;
        if may
            && let Some(mut spare) = spares.take()
            && let Some(message) = Arc::get_mut(&mut spare)
        {
            message.become_copy(self.topic, &self.properties, self.payload, &self.attributes());
            self.stored = Some(spare);
        }
        self.message()
    }

    fn attributes(&self) -> MessageAttributes {
        let &Publication { qos, retain, received_at, expires_at, .. } = self;
        MessageAttributes { qos, retain, received_at, expires_at }
    }

    fn make(&self) -> Message {
        let (qos, retain, at, expires_at) = (self.qos, self.retain, self.received_at, self.expires_at);
        let properties: &[u8] = self.properties.first().copied().unwrap_or_default();
        if let Some(owner) = self.owner.filter(|owner| self.may_share(owner))
            && let Some(shared) =
                Message::sharing(owner, self.topic, properties, self.payload, qos, retain, at, expires_at)
        {
            return match self.is_apart(owner.len()) {
                true => shared.with_payload(Bytes::copy_from_slice(self.payload)),
                false => shared,
            };
        }
        let apart = match self.host_payload {
            None if self.is_apart(self.topic.len() + self.properties_len() + self.payload.len()) => {
                Some(Bytes::copy_from_slice(self.payload))
            }
            payload => payload.cloned(),
        };
        let copied = if apart.is_some() { &[] } else { self.payload };
        let message = Message::new(self.topic, &self.properties, copied, qos, retain, at, expires_at);
        match apart {
            None => message,
            Some(payload) => message.with_payload(payload),
        }
    }

    /// The stored message, if it has been made.
    pub fn stored(&self) -> Option<&SharedMessage> {
        self.stored.as_ref()
    }

    /// The payload as a shared buffer if it is large enough to be shared rather than copied.
    pub fn shared_payload(&mut self) -> Option<Bytes> {
        if self.payload.len() < SHARE_FROM {
            return None;
        }
        if self.host_payload.is_some() {
            return self.host_payload.cloned();
        }
        Some(self.message().payload_shared())
    }

    /// Whether the payload, which outboxes share and count, is kept apart from a buffer of so many bytes.
    fn is_apart(&self, buffer: usize) -> bool {
        self.payload.len() >= SHARE_FROM && is_small_part(self.payload.len(), buffer)
    }

    /// Whether the stored message may be a part of the received packet.
    fn may_share(&self, owner: &Bytes) -> bool {
        let used = self.topic.len() + self.properties_len() + self.payload.len();
        self.properties.len() <= 1 && !is_small_part(used, owner.len())
    }

    /// The bytes that the stored message occupies or would occupy.
    pub fn stored_size(&self) -> usize {
        let copied = self.topic.len() + self.properties_len() + self.payload.len();
        match (&self.stored, self.owner) {
            (Some(message), _) => message.size(),
            // A topic that an alias stands for is not in the buffer, and then the message is a copy.
            (None, Some(owner)) if self.may_share(owner) && is_part(owner, self.topic) => {
                let apart = if self.is_apart(owner.len()) { self.payload.len() } else { 0 };
                Message::size_of(owner.len() + apart)
            }
            _ => Message::size_of(copied),
        }
    }

    /// Bytes of the forwarded properties.
    pub fn properties_len(&self) -> usize {
        self.properties.iter().map(|span| span.len()).sum()
    }

    /// The Message Expiry Interval to send at `now`: the received one minus the time waited [MQTT-3.3.2-6].
    pub fn expiry_interval(&self, now: Time) -> Option<u32> {
        remaining_seconds(self.expires_at, now)
    }

    /// The received packet, if its bytes can be forwarded. The receiver must also be MQTT 5 or also be older, and the
    /// packet has a Packet Identifier if and only if `packet_id` is one.
    pub fn frame_for(&self, v5: bool, packet_id: Option<PacketId>) -> Option<Frame<'a>> {
        self.frame.filter(|f| f.v5 == v5 && f.packet_id_at.is_some() == packet_id.is_some())
    }
}

/// Whether so few bytes of a buffer are used that a copy is better than a share: less than half. Then a copy takes less
/// than the rest of the buffer, and what is shared holds at most twice the bytes that it counts.
fn is_small_part(used: usize, buffer: usize) -> bool {
    used < buffer / 2
}

/// Whether `part` lies in `owner`.
fn is_part(owner: &Bytes, part: &[u8]) -> bool {
    let range = owner.as_ptr_range();
    range.contains(&part.as_ptr())
}

/// Whole seconds from `now` to `expires_at`, rounded up; `None` if it never expires.
fn remaining_seconds(expires_at: Time, now: Time) -> Option<u32> {
    if expires_at == Time::NEVER {
        return None;
    }
    Some(u32::try_from(expires_at.millis_since(now).div_ceil(1000)).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::{Publication, SHARE_FROM};
    use crate::codec::qos::QoS;
    use crate::message::Message;
    use crate::time::Time;
    use bytes::Bytes;
    use std::sync::Arc;

    #[test]
    fn expiry_counts_down_by_whole_seconds_waited() {
        let mut p = Publication::new(b"t", b"", QoS::AtMostOnce, false, Time::ZERO);
        p.expires_at = Time::from_millis(10_000);
        assert_eq!(p.expiry_interval(Time::from_millis(999)), Some(10));
        assert_eq!(p.expiry_interval(Time::from_millis(1000)), Some(9));
        p.expires_at = Time::NEVER;
        assert_eq!(p.expiry_interval(Time::ZERO), None);
    }

    #[test]
    fn the_stored_message_is_made_once() {
        let mut p = Publication::new(b"t", b"x", QoS::AtLeastOnce, false, Time::ZERO);
        let first = Arc::clone(p.message());
        assert!(Arc::ptr_eq(&first, p.message()));
    }

    #[test]
    fn a_small_part_of_a_buffer_is_copied() {
        for (rest, is_shared) in [(SHARE_FROM - 1, true), (SHARE_FROM + 4, false)] {
            let owner = Bytes::from(vec![b'x'; 1 + SHARE_FROM + rest]);
            let properties = &owner[1 + SHARE_FROM..];
            let mut p =
                Publication::new(&owner[..1], &owner[1..1 + SHARE_FROM], QoS::AtMostOnce, false, Time::ZERO);
            p.owner = Some(&owner);
            // All of the packet is the message.
            p.properties.push(properties);
            let (first, second) = (p.shared_payload().unwrap(), p.shared_payload().unwrap());
            assert_eq!(first.as_ptr(), second.as_ptr());
            assert_eq!(owner.as_ptr_range().contains(&first.as_ptr()), is_shared);
            assert_eq!(&first[..], p.payload);
            let size = p.message().size();
            let apart = if is_shared { 0 } else { SHARE_FROM };
            assert_eq!(size, Message::size_of(owner.len() + apart));
            p.stored = None;
            assert_eq!(p.stored_size(), size);
            // Or only a part of it.
            p.properties.clear();
            let foreseen = p.stored_size();
            assert_eq!(owner.as_ptr_range().contains(&p.message().payload().as_ptr()), is_shared);
            assert_eq!(p.message().size(), foreseen);
        }
    }

    #[test]
    fn only_large_payloads_are_shared() {
        let small = vec![0; SHARE_FROM - 1];
        let large = vec![0; SHARE_FROM];
        assert!(
            Publication::new(b"t", &small, QoS::AtMostOnce, false, Time::ZERO).shared_payload().is_none()
        );
        assert!(
            Publication::new(b"t", &large, QoS::AtMostOnce, false, Time::ZERO).shared_payload().is_some()
        );
    }
}
