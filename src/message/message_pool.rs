//! Released messages and their buffers, for reuse.

use std::sync::Arc;

use crate::message::{Message, SharedMessage};

/// The most bytes that are kept.
const MOST: usize = 1024 * 1024;
/// Larger buffers are not kept.
const LARGEST: usize = 1024;

/// Messages for reuse: in steady state an acknowledged message costs no allocation.
#[derive(Debug, Default)]
pub struct MessagePool {
    messages: Vec<SharedMessage>,
    bytes: usize,
}

impl MessagePool {
    /// Keeps a message for reuse, unless it is still referenced.
    pub fn give(&mut self, mut message: SharedMessage) {
        let Some(bytes) = Arc::get_mut(&mut message).and_then(|message| message.spare_capacity()) else {
            return;
        };
        if bytes <= LARGEST && self.bytes + cost(bytes) <= MOST {
            self.bytes += cost(bytes);
            self.messages.push(message);
        }
    }

    /// A message for reuse without other references.
    pub(super) fn take(&mut self) -> Option<SharedMessage> {
        let message = self.messages.pop()?;
        self.bytes -= message.spare_capacity().map_or(0, cost);
        Some(message)
    }
}

/// The bytes of a message whose buffer has this capacity.
fn cost(capacity: usize) -> usize {
    size_of::<Message>() + capacity
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::{LARGEST, MOST, MessagePool, cost};
    use crate::codec::qos::QoS;
    use crate::message::{Message, Publication, SharedMessage};
    use crate::time::Time;

    fn message(payload: &[u8]) -> SharedMessage {
        let qos = QoS::AtLeastOnce;
        Arc::new(Message::new(b"before", &[], payload, qos, true, Time::ZERO, Time::from_millis(1)))
    }

    #[test]
    fn a_message_that_nobody_holds_becomes_the_next() {
        let mut spares = MessagePool::default();
        let old = message(&[7; 64]);
        let at = Arc::as_ptr(&old);
        spares.give(old);
        let mut publication =
            Publication::new(b"after", b"payload", QoS::ExactlyOnce, false, Time::from_millis(5));
        let new = Arc::clone(publication.message_from(&mut spares));
        assert_eq!(Arc::as_ptr(&new), at);
        assert_eq!((new.topic(), new.payload(), new.qos()), ("after", &b"payload"[..], QoS::ExactlyOnce));
        assert_eq!(
            (new.retain(), new.received_at(), new.expires_at()),
            (false, Time::from_millis(5), Time::NEVER)
        );
        assert!(spares.take().is_none());
    }

    #[test]
    fn what_is_held_or_large_is_not_kept_and_the_others_are_bounded() {
        let mut spares = MessagePool::default();
        let held = message(b"");
        spares.give(Arc::clone(&held));
        spares.give(message(&[0; LARGEST]));
        assert!(spares.take().is_none());
        assert_eq!(held.topic(), "before");
        (0..MOST / 50).for_each(|_| spares.give(message(b"")));
        let kept = spares.messages.len();
        assert!(spares.bytes <= MOST && spares.bytes + cost(LARGEST) > MOST, "{} bytes", spares.bytes);
        (0..kept).for_each(|_| assert!(spares.take().is_some()));
        assert_eq!(spares.bytes, 0);
    }
}
