//! One order for the messages of a topic that are retained: the last one that is kept is the last one that subscribers get.

use crate::codec::topic::TopicName;
use crate::locks::{Mutex, MutexGuard};

/// Locks; a topic has always the same one.
const LOCKS: usize = 64;

/// Held while a message is kept for its topic and given to every subscriber. Two of one topic that are published at once
/// would otherwise be kept in one order, and delivered in the other.
///
/// It is taken with a session's `inbound` held, or nothing, and before any other lock.
pub struct TopicOrder {
    locks: [Mutex<()>; LOCKS],
}

impl TopicOrder {
    /// Waits until no other message of the topic is being kept and delivered.
    pub fn lock(&self, topic: TopicName<'_>) -> Option<MutexGuard<'_, ()>> {
        let hash = topic.as_str().bytes().fold(0_u32, |hash, byte| {
            (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193) // FNV-1a
        });
        self.locks.get(hash as usize % LOCKS).map(Mutex::lock)
    }
}

impl Default for TopicOrder {
    fn default() -> TopicOrder {
        TopicOrder { locks: [const { Mutex::new(()) }; LOCKS] }
    }
}
