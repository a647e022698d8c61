//! The words for a message that should have been published, or should not.

use std::fmt::{self, Write};
use std::time::Duration;

use crate::embed::error::Error;
use crate::embed::message::Message;

/// Messages that a text names.
const NAMED: usize = 20;
/// Bytes of a payload that a text shows.
const SHOWN: usize = 60;

/// Why an expectation of a test was not met: what was published instead.
#[derive(Clone, PartialEq, Eq)]
pub struct Missing {
    text: String,
}

impl Missing {
    /// `wanted` goes into the sentence "expected ... published".
    pub(super) fn instead_of(wanted: &str, (seen, displaced): (Vec<Message>, u64)) -> Missing {
        let mut text = format!("expected {wanted} ");
        match seen.is_empty() {
            true => text.push_str("nothing was published at all"),
            false => {
                text.push_str("these were published:");
                list(&mut text, &seen);
            }
        }
        if displaced > 0 {
            let _infallible = write!(text, "\n  ({displaced} older ones are forgotten: queue.capacity)");
        }
        Missing { text }
    }

    pub(super) fn unwanted(filter: &str, found: &[Message]) -> Missing {
        let mut text = format!("expected nothing to {filter:?}, but {} were published:", found.len());
        list(&mut text, found);
        Missing { text }
    }

    pub(super) fn because(error: Error) -> Missing {
        Missing { text: error.to_string() }
    }
}

/// One line a message; the newest, if there are many.
fn list(text: &mut String, messages: &[Message]) {
    let left_out = messages.len().saturating_sub(NAMED);
    if left_out > 0 {
        let _infallible = write!(text, "\n  ({left_out} before these)");
    }
    for message in messages.iter().skip(left_out) {
        let payload = message.payload();
        let shown = String::from_utf8_lossy(payload.get(..SHOWN).unwrap_or(payload));
        let more =
            if payload.len() > SHOWN { format!(" and more, {} bytes", payload.len()) } else { String::new() };
        let (topic, qos) = (message.topic(), message.qos().as_u8());
        let retained = if message.retain() { ", retained" } else { "" };
        let at = Duration::from_millis(message.tag());
        let _infallible = write!(text, "\n  {topic:?}: {shown:?}{more} (QoS {qos}{retained}, at {at:?})");
    }
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// The text itself, so that `unwrap` shows it.
impl fmt::Debug for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Missing {}
