//! Messages of a queue that the store alone has: they leave memory when there is no room, and come back near the head.

use std::sync::Arc;

use crate::session::entry::Entry;
use crate::session::pending::Pending;
use crate::session::queue::Queue;
use crate::storage::WaitingMemory;

/// The most messages that are read at once.
const BATCH: usize = 64;
/// Bytes of messages from which on no more are read at once.
const BATCH_BYTES: usize = 64 << 10;
/// Messages at the head that are in memory before more are read.
const AHEAD: usize = 16;

impl Queue {
    /// Whether the store alone has some of the messages.
    #[inline]
    pub fn has_stored(&self) -> bool {
        self.0.as_ref().is_some_and(|waiting| waiting.stored > 0)
    }

    /// Counts what it holds in this memory from now on.
    pub fn count_in(&mut self, memory: &Arc<WaitingMemory>) {
        if let Some(waiting) = self.0.as_mut().filter(|waiting| !waiting.held.are_counted()) {
            let held = waiting.messages.iter().filter_map(Entry::held);
            let bytes = held.map(Pending::size).sum();
            waiting.held.count_in(memory, bytes);
        }
    }

    /// Takes the newest message out of memory: the store has it, or will have, as the delivery of this number.
    pub fn store_newest(&mut self, number: u64) {
        let Some(waiting) = &mut self.0 else {
            return;
        };
        if let Some(entry) = waiting.messages.pop_back() {
            waiting.uncount(&entry);
            let (qos, walked, size) = (entry.qos(), entry.is_walked(), entry.size());
            waiting.push(Entry::stored(number, qos, walked, size, entry.expires_at()));
        }
    }

    /// The numbers of deliveries that should be read now, if there are any; none before those have come. With
    /// `is_scarce`, only one that nothing can be sent without.
    pub fn reads_due(&mut self, is_scarce: bool) -> Option<Vec<u64>> {
        let waiting = self.0.as_mut().filter(|waiting| waiting.stored > 0 && !waiting.reading)?;
        let ahead = if is_scarce { 0 } else { AHEAD };
        let first = waiting.messages.iter().take(ahead + 1).position(|entry| entry.number().is_some())?;
        let (mut numbers, mut bytes) = (Vec::new(), 0);
        let most = if is_scarce { 1 } else { BATCH };
        for entry in waiting.messages.iter().skip(first).take(most) {
            if bytes >= BATCH_BYTES {
                break;
            }
            numbers.extend(entry.number());
            bytes += entry.size();
        }
        waiting.reading = true;
        Some(numbers)
    }

    /// Puts messages that were read into their places; what has left the queue meanwhile is dropped. Both are in order.
    pub fn fill(&mut self, found: Vec<(u64, Pending)>) {
        let Some(waiting) = &mut self.0 else {
            return;
        };
        waiting.reading = false;
        let mut messages = std::mem::take(&mut waiting.messages);
        let mut found = found.into_iter().peekable();
        for entry in &mut messages {
            if found.peek().is_none() {
                break;
            }
            let Some(number) = entry.number() else {
                continue;
            };
            while found.next_if(|(other, _)| *other < number).is_some() {}
            if let Some((_, mut pending)) = found.next_if(|(other, _)| *other == number) {
                pending.walked = entry.is_walked();
                waiting.uncount(entry);
                *entry = Entry::Held(pending);
                waiting.count(entry);
            }
        }
        waiting.messages = messages;
    }

    /// Whether the store alone still has the oldest of its messages, and it is one of these.
    pub fn lacks(&self, numbers: &[u64]) -> bool {
        let number = self.iter().take(AHEAD + 1).find_map(Entry::number);
        number.is_some_and(|number| numbers.contains(&number))
    }
}
