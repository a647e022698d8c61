//! The sending half of a session: messages that the store alone has are asked for, and come.

use crate::session::delivery::Context;
use crate::session::outbound::Outbound;
use crate::session::pending::Pending;
use crate::storage::{Position, ReadRequest};

impl Outbound {
    /// Whether the store alone has messages of the queue. Their rows must stay in the store.
    pub fn has_stored(&self) -> bool {
        self.queue.has_stored()
    }

    /// Lets the store alone have the newest message of the queue, whose change is at `position`, if memory is used up.
    /// A message of a shared subscription stays: another member may get it when the session ends.
    pub(super) fn store_newest(&mut self, cx: &Context<'_>, position: Position) {
        let store = cx.recorder.store();
        let Some(memory) = store.waiting_memory() else {
            return;
        };
        self.queue.count_in(memory);
        let is_shared = self.queue.back().and_then(|entry| entry.held()?.share()).is_some();
        if !is_shared && !memory.takes(0, self.is_connected()) {
            self.queue.store_newest(store.number_of(position));
        }
    }

    /// Asks for messages near the head of the queue that the store alone has, unless they were asked for.
    #[cold]
    #[inline(never)]
    pub(super) fn ask_for_stored(&mut self, cx: &Context<'_>) {
        let store = cx.recorder.store();
        let Some(memory) = store.waiting_memory() else {
            return;
        };
        if let Some(numbers) = self.queue.reads_due(!memory.takes(0, true)) {
            store.request(ReadRequest { client_id: cx.client_id.into(), numbers });
        }
    }

    /// The messages of these numbers were read: they take their places and are sent. False if one is missing. The caller
    /// then calls [`Outbound::list_for_flush`].
    pub fn give_stored(&mut self, cx: &mut Context<'_>, numbers: &[u64], found: Vec<(u64, Pending)>) -> bool {
        if let Some(memory) = cx.recorder.store().waiting_memory() {
            self.queue.count_in(memory);
        }
        self.queue.fill(found);
        let is_whole = !self.queue.lacks(numbers);
        if is_whole {
            self.pump(cx);
        }
        is_whole
    }
}
