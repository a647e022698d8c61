//! Batches of messages for the host: the bytes of many messages in few allocations.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use crate::codec::properties::Properties;
use crate::codec::qos::QoS;
use crate::engine::access::edit::Original;
use crate::engine::parts::sink::{LocalMessage, bytes_of};

/// Messages in order, their bytes one behind the other.
#[derive(Debug, Default)]
pub(super) struct Arena {
    bytes: Vec<u8>,
    /// Large payloads, not copied.
    shared: Vec<Bytes>,
    entries: Vec<Entry>,
    /// How often in a row it was emptied with most of its room unused.
    roomy: u32,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    topic: usize,
    topic_len: u32,
    properties_len: u32,
    payload_len: u32,
    /// Which of the shared payloads; `NOT_SHARED` if it stands among the bytes.
    shared: u32,
    tag: u64,
    expiry_interval: Option<u32>,
    qos: QoS,
    retain: bool,
}

const NOT_SHARED: u32 = u32::MAX;

impl Entry {
    /// Where its bytes end.
    fn end(&self) -> usize {
        let payload = if self.shared == NOT_SHARED { self.payload_len } else { 0 };
        self.topic + self.topic_len as usize + self.properties_len as usize + payload as usize
    }
}

impl Arena {
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Bytes that a message occupies at most, a shared payload included.
    pub(super) fn bytes_of(message: &LocalMessage<'_>) -> usize {
        let properties: usize = message.properties.iter().map(|span| span.len()).sum();
        bytes_of(message.topic.len(), properties, message.payload.len(), message.identifiers.len())
    }

    /// Appends a message of the subscription `tag`; the bytes that it occupies, as [`Arena::bytes_at`] will say.
    pub(super) fn push(&mut self, message: &LocalMessage<'_>, tag: u64) -> usize {
        let topic = self.bytes.len();
        self.bytes.extend_from_slice(message.topic);
        let properties = self.bytes.len();
        for span in message.properties {
            self.bytes.extend_from_slice(span);
        }
        let mut writer = crate::codec::properties::PropertyWriter::new(&mut self.bytes);
        for identifier in message.identifiers.iter().filter(|identifier| **identifier != 0) {
            writer.subscription_identifier(*identifier);
        }
        let payload = self.bytes.len();
        let shared = match &message.shared {
            Some(shared) => {
                self.shared.push(shared.clone());
                self.shared.len() as u32 - 1
            }
            None => {
                self.bytes.extend_from_slice(message.payload);
                NOT_SHARED
            }
        };
        self.entries.push(Entry {
            topic,
            topic_len: (properties - topic) as u32,
            properties_len: (payload - properties) as u32,
            payload_len: message.payload.len() as u32,
            shared,
            tag,
            expiry_interval: message.expiry_interval,
            qos: message.qos,
            retain: message.retain,
        });
        payload - topic + message.payload.len()
    }

    /// Bytes of the message at `index`, a shared payload included.
    pub(super) fn bytes_at(&self, index: usize) -> usize {
        self.entries.get(index).map_or(0, |e| (e.topic_len + e.properties_len + e.payload_len) as usize)
    }

    /// The bytes of these messages without the shared payloads.
    fn bytes_of_range(&self, range: &Range<usize>) -> &[u8] {
        let entries = self.entries.get(range.clone()).unwrap_or_default();
        let (Some(first), Some(last)) = (entries.first(), entries.last()) else {
            return &[];
        };
        self.bytes.get(first.topic..last.end()).unwrap_or_default()
    }

    fn get(&self, index: usize) -> Option<MessageView<'_>> {
        let row = self.row(index)?;
        Some(MessageView {
            topic: std::str::from_utf8(row.topic).unwrap_or_default(),
            payload: row.payload,
            shared: row.shared,
            qos: row.qos,
            retain: row.retain,
            tag: row.tag,
            expiry_interval: row.expiry_interval,
            properties: row.properties,
        })
    }

    fn row(&self, index: usize) -> Option<Row<'_>> {
        let entry = self.entries.get(index)?;
        let part = |from: usize, len: u32| self.bytes.get(from..from + len as usize).unwrap_or_default();
        let properties = entry.topic + entry.topic_len as usize;
        let payload = match self.shared.get(entry.shared as usize) {
            Some(shared) => shared,
            None => part(properties + entry.properties_len as usize, entry.payload_len),
        };
        Some(Row {
            topic: part(entry.topic, entry.topic_len),
            payload,
            shared: self.shared.get(entry.shared as usize),
            qos: entry.qos,
            retain: entry.retain,
            tag: entry.tag,
            expiry_interval: entry.expiry_interval,
            properties: Properties::from_validated(part(properties, entry.properties_len)),
        })
    }

    /// Empties the arena and keeps its room, unless that is large and most of it was not needed several times. The shared
    /// payloads are appended to `freed`: dropping one may call the host.
    pub(super) fn reset(&mut self, freed: &mut Vec<Bytes>) {
        self.roomy = if is_roomy(&self.bytes) || is_roomy(&self.entries) { self.roomy + 1 } else { 0 };
        freed.append(&mut self.shared);
        if self.roomy >= ROOMY {
            *self = Arena::default();
        }
        self.bytes.clear();
        self.entries.clear();
    }
}

/// An arena whose room is larger than this,
const KEPT: usize = 256 * 1024;
/// and was hardly used for so many batches in a row, gives it back.
const ROOMY: u32 = 1024;

fn is_roomy<T>(values: &Vec<T>) -> bool {
    values.capacity() * size_of::<T>() > KEPT && values.len() < values.capacity() / 4
}

/// Messages that were taken from a queue together. It may be sent to, and freed on, any thread.
#[derive(Clone, Debug)]
pub struct Batch {
    arena: Arc<Arena>,
    range: Range<usize>,
}

impl Batch {
    pub(super) fn new(arena: Arc<Arena>, range: Range<usize>) -> Batch {
        Batch { arena, range }
    }

    /// Messages.
    pub fn len(&self) -> usize {
        self.range.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.range.is_empty()
    }

    /// The message at `index`, from 0; `None` beyond the last.
    pub fn get(&self, index: usize) -> Option<MessageView<'_>> {
        let at = self.range.start.checked_add(index).filter(|at| *at < self.range.end)?;
        self.arena.get(at)
    }

    /// The piece of memory in which the topics of all messages stand, and the payloads that are not shared: for
    /// languages in which a copy is cheap and a call is dear.
    pub fn bytes(&self) -> &[u8] {
        self.arena.bytes_of_range(&self.range)
    }

    /// The messages in order, as rows.
    pub(crate) fn rows(&self) -> impl Iterator<Item = Row<'_>> {
        self.range.clone().filter_map(|index| self.arena.row(index))
    }

    /// The messages in order.
    pub fn iter(&self) -> impl Iterator<Item = MessageView<'_>> {
        (0..self.len()).filter_map(|index| self.get(index))
    }
}

/// As [`MessageView`], with the topic as bytes, which nobody looks through once more.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Row<'b> {
    pub(crate) topic: &'b [u8],
    pub(crate) payload: &'b [u8],
    shared: Option<&'b Bytes>,
    pub(crate) qos: QoS,
    pub(crate) retain: bool,
    pub(crate) tag: u64,
    pub(crate) expiry_interval: Option<u32>,
    pub(crate) properties: Properties<'b>,
}

/// A message in a batch, borrowed from it.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct MessageView<'b> {
    /// The Topic Name.
    pub topic: &'b str,
    /// The payload.
    pub payload: &'b [u8],
    pub(super) shared: Option<&'b Bytes>,
    /// The QoS of the delivery.
    pub qos: QoS,
    /// RETAIN: the message was retained when the subscription was made.
    pub retain: bool,
    /// The tag of the queue's subscription that the message came by.
    pub tag: u64,
    /// The rest of the Message Expiry Interval, in seconds, when the message was queued.
    pub expiry_interval: Option<u32>,
    /// The MQTT 5 properties of the publication, and the Subscription Identifiers.
    pub properties: Properties<'b>,
}

impl<'m> MessageView<'m> {
    /// A message that a hook looks at.
    pub(crate) fn of(original: &Original<'m>) -> MessageView<'m> {
        MessageView {
            topic: original.topic,
            payload: original.payload,
            shared: None,
            qos: original.qos,
            retain: original.retain,
            tag: 0,
            expiry_interval: original.expiry_interval,
            properties: original.properties,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;

    use super::{Arena, Batch};
    use crate::codec::qos::QoS;
    use crate::engine::parts::sink::LocalMessage;

    #[test]
    fn the_bytes_of_a_batch_are_one_piece_without_shared_payloads() {
        let large = Bytes::from_static(b"large");
        let mut arena = Arena::default();
        for (topic, shared) in [(&b"before"[..], None), (b"a", None), (b"b", Some(large)), (b"after", None)] {
            let message = LocalMessage {
                topic,
                payload: if shared.is_some() { b"large" } else { b"small" },
                shared,
                properties: &[],
                identifiers: &[],
                qos: QoS::AtMostOnce,
                retain: false,
                expiry_interval: None,
            };
            arena.push(&message, 0);
        }
        let arena = Arc::new(arena);
        let bytes = |range| Batch::new(Arc::clone(&arena), range).bytes().to_vec();
        assert_eq!(bytes(0..4), b"beforesmallasmallbaftersmall");
        assert_eq!(bytes(1..3), b"asmallb");
        assert_eq!(bytes(1..2), b"asmall");
        assert_eq!(bytes(2..2), b"");
        let batch = Batch::new(Arc::clone(&arena), 0..4);
        let piece = batch.bytes().as_ptr_range();
        let inside: Vec<bool> = batch.iter().map(|m| piece.contains(&m.payload.as_ptr())).collect();
        assert_eq!(inside, [true, true, false, true]);
        assert!(batch.iter().all(|message| piece.contains(&message.topic.as_ptr())));
    }
}
