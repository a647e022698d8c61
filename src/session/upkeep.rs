//! The queue of a session as the host manages it: looked into, and cleared.

use crate::session::delivery::Context;
use crate::session::entry::Entry;
use crate::session::outbound::{Outbound, record_dropped};
use crate::session::queue::Queue;
use crate::stats::DropReason;

impl Outbound {
    /// The oldest messages of the queue, at most `most`.
    pub fn oldest_queued(&self, most: usize) -> Vec<Entry> {
        self.queue.iter().take(most).cloned().collect()
    }

    /// Drops the messages of the queue, of which nothing was sent yet. They are returned, to be freed without the lock.
    pub fn clear_queue(&mut self, cx: &mut Context<'_>) -> Queue {
        let cleared = std::mem::take(&mut self.queue);
        for entry in cleared.iter() {
            cx.drop(entry.topic(), DropReason::Cleared);
            // The oldest one each time.
            record_dropped(cx, self.client_limits.kept, 0, entry);
        }
        cx.queue_changed(cleared.len(), 0);
        cleared
    }
}
