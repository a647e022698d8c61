//! An application message that outlives the turn in which it was received.

use std::sync::Arc;

use bytes::Bytes;

use crate::codec::properties::Properties;
use crate::codec::qos::QoS;
use crate::message::SHARE_FROM;
use crate::time::Time;

/// A message as queues, in-flight windows and the retained store hold it.
pub type SharedMessage = Arc<Message>;

/// An application message: topic, payload, and the properties that a server forwards.
///
/// One buffer holds all three: the receive buffer, if the message arrived in a buffer of its own. Only a payload that the
/// host lends, or that is a small part of the packet, has a separate buffer.
#[derive(Clone, Debug)]
pub struct Message {
    body: Body,
    topic: Span,
    properties: Span,
    payload: Span,
    apart: Option<Box<Bytes>>,
    qos: QoS,
    retain: bool,
    /// The bytes that it counts as.
    size: u32,
    expires_at: Time,
    received_at: Time,
}

/// The counts of references of an `Arc`.
const COUNTS: usize = 2 * size_of::<usize>();
/// What the system's allocator adds to an allocation: 8 bytes, and up to a multiple of 16.
const ALLOCATION: usize = 16;

/// Bytes of a reused buffer that a message may leave unused.
const UNUSED: usize = 32;

#[derive(Clone, Debug)]
enum Body {
    /// A copy; the buffer is reused for another message after this one.
    Own(Vec<u8>),
    /// A shared buffer; the payload can be a slice of it without a copy.
    Shared(Bytes),
}

impl Body {
    fn bytes(&self) -> &[u8] {
        match self {
            Body::Own(bytes) => bytes,
            Body::Shared(bytes) => bytes,
        }
    }
}

/// QoS, RETAIN flag and times of a message.
#[derive(Clone, Copy, Debug)]
pub struct MessageAttributes {
    /// The QoS with which it was published.
    pub qos: QoS,
    /// Whether it was published with RETAIN.
    pub retain: bool,
    /// When the broker received it.
    pub received_at: Time,
    /// When it expires; [`Time::NEVER`] if it does not.
    pub expires_at: Time,
}

#[derive(Clone, Copy, Debug)]
struct Span {
    start: u32,
    end: u32,
}

impl Span {
    fn of(self, body: &[u8]) -> &[u8] {
        body.get(self.start as usize..self.end as usize).unwrap_or_default()
    }
}

impl Message {
    /// A message with a buffer of its own. `properties` are the encoded spans that a server forwards.
    pub fn new(
        topic: &[u8],
        properties: &[&[u8]],
        payload: &[u8],
        qos: QoS,
        retain: bool,
        now: Time,
        expires_at: Time,
    ) -> Message {
        let attributes = MessageAttributes { qos, retain, received_at: now, expires_at };
        Message::copied(Vec::new(), topic, properties, payload, &attributes)
    }

    /// A message in `body`, whose content is replaced.
    fn copied(
        mut body: Vec<u8>,
        topic: &[u8],
        properties: &[&[u8]],
        payload: &[u8],
        attributes: &MessageAttributes,
    ) -> Message {
        let properties_len: usize = properties.iter().map(|span| span.len()).sum();
        let len = topic.len() + properties_len + payload.len();
        match body.capacity() <= len + UNUSED {
            true => body.clear(),
            // It would hold bytes that [`Message::size`] does not count.
            false => body = Vec::new(),
        }
        body.reserve_exact(len);
        body.extend_from_slice(topic);
        for span in properties {
            body.extend_from_slice(span);
        }
        body.extend_from_slice(payload);
        let (a, b) = (topic.len() as u32, (topic.len() + properties_len) as u32);
        Message {
            topic: Span { start: 0, end: a },
            properties: Span { start: a, end: b },
            payload: Span { start: b, end: len as u32 },
            body: if len < SHARE_FROM { Body::Own(body) } else { Body::Shared(Bytes::from(body)) },
            apart: None,
            qos: attributes.qos,
            retain: attributes.retain,
            size: Message::size_of(len) as u32,
            expires_at: attributes.expires_at,
            received_at: attributes.received_at,
        }
    }

    /// Replaces this message with another one in the same buffer.
    pub(super) fn become_copy(
        &mut self,
        topic: &[u8],
        properties: &[&[u8]],
        payload: &[u8],
        attributes: &MessageAttributes,
    ) {
        let body = match &mut self.body {
            Body::Own(body) => std::mem::take(body),
            Body::Shared(_) => Vec::new(),
        };
        *self = Message::copied(body, topic, properties, payload, attributes);
    }

    /// The capacity of the buffer, if it can be reused for another message.
    pub(super) fn spare_capacity(&self) -> Option<usize> {
        match &self.body {
            Body::Own(body) if self.apart.is_none() => Some(body.capacity()),
            _ => None,
        }
    }

    /// A message whose parts are slices of `owner`, without a copy; `None` if one of them is not.
    #[allow(clippy::too_many_arguments, reason = "the fields of a message, and the buffer they are in")]
    pub fn sharing(
        owner: &Bytes,
        topic: &[u8],
        properties: &[u8],
        payload: &[u8],
        qos: QoS,
        retain: bool,
        now: Time,
        expires_at: Time,
    ) -> Option<Message> {
        let span = |part: &[u8]| {
            if part.is_empty() {
                return Some(Span { start: 0, end: 0 });
            }
            let start = (part.as_ptr() as usize).checked_sub(owner.as_ptr() as usize)?;
            let end = start.checked_add(part.len())?;
            (end <= owner.len()).then_some(Span { start: start as u32, end: end as u32 })
        };
        Some(Message {
            topic: span(topic)?,
            properties: span(properties)?,
            payload: span(payload)?,
            body: Body::Shared(owner.clone()),
            apart: None,
            qos,
            retain,
            size: Message::size_of(owner.len()) as u32,
            expires_at,
            received_at: now,
        })
    }

    /// The same message with this buffer as its payload.
    pub fn with_payload(self, payload: Bytes) -> Message {
        let size = self.size + payload.len() as u32;
        Message { apart: Some(Box::new(payload)), size, ..self }
    }

    /// The Topic Name, as encoded.
    pub fn topic_bytes(&self) -> &[u8] {
        self.topic.of(self.body.bytes())
    }

    /// The Topic Name.
    pub fn topic(&self) -> &str {
        std::str::from_utf8(self.topic_bytes()).unwrap_or_default()
    }

    /// The properties that travel with the message, encoded, without their length.
    pub fn properties_bytes(&self) -> &[u8] {
        self.properties.of(self.body.bytes())
    }

    /// The properties that travel with the message.
    pub fn properties(&self) -> Properties<'_> {
        Properties::from_validated(self.properties_bytes())
    }

    /// The Application Message's payload.
    pub fn payload(&self) -> &[u8] {
        match &self.apart {
            None => self.payload.of(self.body.bytes()),
            Some(payload) => payload,
        }
    }

    /// The payload, sharing this message's buffer unless the message was copied.
    pub fn payload_shared(&self) -> Bytes {
        match (&self.apart, &self.body) {
            (Some(payload), _) => Bytes::clone(payload),
            (None, Body::Shared(body)) => body.slice(self.payload.start as usize..self.payload.end as usize),
            (None, Body::Own(body)) => Bytes::copy_from_slice(self.payload.of(body)),
        }
    }

    /// The QoS with which the message was published.
    pub fn qos(&self) -> QoS {
        self.qos
    }

    /// Whether the message was published with RETAIN.
    pub fn retain(&self) -> bool {
        self.retain
    }

    /// When the message expires; [`Time::NEVER`] if it does not.
    pub fn expires_at(&self) -> Time {
        self.expires_at
    }

    /// When the broker received the message.
    pub fn received_at(&self) -> Time {
        self.received_at
    }

    /// Whether the Message Expiry Interval has passed.
    pub fn is_expired(&self, now: Time) -> bool {
        now >= self.expires_at
    }

    /// Bytes of memory of the message, for the limits of queues and stores.
    #[inline]
    pub fn size(&self) -> usize {
        self.size as usize
    }

    /// The same of a message with so many bytes of topic, properties and payload in buffers of their own.
    pub const fn size_of(bytes: usize) -> usize {
        bytes + std::mem::size_of::<Message>() + COUNTS + 2 * ALLOCATION
    }
}

#[cfg(test)]
mod tests {
    use super::Message;
    use crate::codec::qos::QoS;
    use crate::time::Time;
    use bytes::Bytes;

    #[test]
    fn parts_are_found_in_an_own_buffer() {
        let m =
            Message::new(b"a/b", &[&[1, 1]], b"hi", QoS::AtLeastOnce, true, Time::ZERO, Time::from_millis(9));
        assert_eq!((m.topic(), m.payload(), m.properties_bytes()), ("a/b", &b"hi"[..], &[1u8, 1][..]));
        assert!(!m.is_expired(Time::from_millis(8)));
        assert!(m.is_expired(Time::from_millis(9)));
    }

    #[test]
    fn parts_of_a_received_buffer_are_shared() {
        let owner = Bytes::from_static(b"..topic..payload");
        let m = Message::sharing(
            &owner,
            &owner[2..7],
            &[],
            &owner[9..],
            QoS::AtMostOnce,
            false,
            Time::ZERO,
            Time::NEVER,
        )
        .unwrap();
        assert_eq!((m.topic(), m.payload()), ("topic", &b"payload"[..]));
        assert_eq!(m.payload_shared().as_ptr(), owner[9..].as_ptr());
    }

    #[test]
    fn a_payload_may_stand_apart() {
        let payload = Bytes::from_static(b"lent");
        let m = Message::new(b"t", &[], b"", QoS::AtMostOnce, false, Time::ZERO, Time::NEVER);
        let before = m.size();
        let m = m.with_payload(payload.clone());
        assert_eq!((m.topic(), m.payload(), m.size()), ("t", &b"lent"[..], before + 4));
        assert_eq!(m.payload_shared().as_ptr(), payload.as_ptr());
    }

    #[test]
    fn a_foreign_slice_is_not_shared() {
        let owner = Bytes::from(vec![1, 2, 3]);
        let other = [0u8; 64];
        let made =
            Message::sharing(&owner, &other[60..], &[], &[], QoS::AtMostOnce, false, Time::ZERO, Time::NEVER);
        assert!(made.is_none());
    }
}
