//! Messages of several receivers that were read from the store again, and that somebody still has.

use std::sync::{Arc, Weak};

use hashbrown::HashMap;

use crate::locks::Mutex;
use crate::message::{Message, SharedMessage};

/// Those messages by their numbers.
#[derive(Default)]
pub(crate) struct ReadMessages(Mutex<HashMap<u64, Weak<Message>>>);

/// Messages that are remembered before those that nobody has are looked for.
const FEW: usize = 1024;

impl ReadMessages {
    /// The message of this number that somebody has, or else that of `make`.
    pub(crate) fn share(&self, number: u64, make: impl FnOnce() -> SharedMessage) -> SharedMessage {
        let mut messages = self.0.lock();
        if let Some(message) = messages.get(&number).and_then(Weak::upgrade) {
            return message;
        }
        if messages.len() >= FEW && messages.len() == messages.capacity() {
            messages.retain(|_, message| message.strong_count() > 0);
        }
        let message = make();
        messages.insert(number, Arc::downgrade(&message));
        message
    }
}
