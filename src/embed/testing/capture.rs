//! What was published, in the order in which it was.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::codec::topic::{TopicFilter, TopicName};
use crate::embed::arena::{Arena, Batch};
use crate::embed::message::Message;
use crate::engine::parts::sink::LocalMessage;
use crate::locks::Mutex;

/// The newest messages, as many as there is room for.
pub(super) struct Capture {
    capacity: usize,
    max_bytes: usize,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    messages: VecDeque<Message>,
    bytes: usize,
    /// Messages that made room for newer ones.
    displaced: u64,
}

impl Capture {
    pub(super) fn new(capacity: usize, max_bytes: usize) -> Capture {
        Capture { capacity, max_bytes, kept: Mutex::default() }
    }

    pub(super) fn add(&self, message: Message) {
        let mut kept = self.kept.lock();
        kept.bytes += size(&message);
        kept.messages.push_back(message);
        while kept.messages.len() > self.capacity || (kept.bytes > self.max_bytes && kept.messages.len() > 1)
        {
            if let Some(oldest) = kept.messages.pop_front() {
                kept.bytes -= size(&oldest);
                kept.displaced += 1;
            }
        }
    }

    pub(super) fn forget(&self) {
        *self.kept.lock() = Kept::default();
    }

    /// Messages that were published and made room for newer ones.
    pub(super) fn displaced(&self) -> u64 {
        self.kept.lock().displaced
    }

    pub(super) fn matching(&self, filter: &TopicFilter<'_>) -> Vec<Message> {
        let kept = self.kept.lock();
        kept.messages.iter().filter(|message| matches(filter, message)).cloned().collect()
    }

    pub(super) fn count(&self, filter: &TopicFilter<'_>) -> usize {
        self.kept.lock().messages.iter().filter(|message| matches(filter, message)).count()
    }

    pub(super) fn all(&self) -> Vec<Message> {
        self.kept.lock().messages.iter().cloned().collect()
    }
}

/// The messages as one batch.
pub(super) fn batch(messages: &[Message]) -> Batch {
    let mut arena = Arena::default();
    for message in messages {
        let view = LocalMessage {
            topic: message.topic().as_bytes(),
            payload: message.payload(),
            shared: None,
            properties: &[message.properties().raw()],
            qos: message.qos(),
            retain: message.retain(),
            identifiers: &[],
            expiry_interval: message.expiry_interval(),
        };
        arena.push(&view, message.tag());
    }
    Batch::new(Arc::new(arena), 0..messages.len())
}

fn matches(filter: &TopicFilter<'_>, message: &Message) -> bool {
    TopicName::parse(message.topic()).is_ok_and(|topic| filter.matches(&topic))
}

fn size(message: &Message) -> usize {
    message.topic().len() + message.properties().raw().len() + message.payload().len()
}
