//! One place of a queue: a message, or what is known of one that the store alone has.

use crate::codec::qos::QoS;
use crate::session::pending::Pending;
use crate::time::Time;

/// A place of a queue.
#[derive(Clone, Debug)]
pub enum Entry {
    /// The message is in memory.
    Held(Pending),
    /// The store has the message, which is of QoS 1 or 2.
    Stored {
        /// The number of the delivery, with [`EXACTLY_ONCE`] and [`WALKED`] below it.
        number_and_flags: u64,
        /// When it expires.
        expires_at: Time,
        /// What [`Pending::size`] was, or will be.
        size: u32,
    },
}

/// The bit that says QoS 2.
const EXACTLY_ONCE: u64 = 1;
/// The bit that says that it is a retained message for a new subscription.
const WALKED: u64 = 2;
/// How far left of the bits the number stands. Numbers count changes, so they never need the upper bits.
const SHIFT: u32 = 2;

impl Entry {
    /// A message that the store alone has.
    pub fn stored(number: u64, qos: QoS, walked: bool, size: usize, expires_at: Time) -> Entry {
        let flag = |is: bool, bit: u64| if is { bit } else { 0 };
        let flags = flag(qos == QoS::ExactlyOnce, EXACTLY_ONCE) | flag(walked, WALKED);
        let size = size.try_into().unwrap_or(u32::MAX);
        Entry::Stored { number_and_flags: number << SHIFT | flags, expires_at, size }
    }

    /// The message, if it is in memory.
    #[inline]
    pub fn held(&self) -> Option<&Pending> {
        match self {
            Entry::Held(pending) => Some(pending),
            Entry::Stored { .. } => None,
        }
    }

    /// The number of its delivery, if the store alone has the message.
    #[inline]
    pub fn number(&self) -> Option<u64> {
        match *self {
            Entry::Held(_) => None,
            Entry::Stored { number_and_flags, .. } => Some(number_and_flags >> SHIFT),
        }
    }

    /// The QoS of the delivery.
    #[inline]
    pub fn qos(&self) -> QoS {
        match *self {
            Entry::Held(ref pending) => pending.qos,
            Entry::Stored { number_and_flags, .. } if number_and_flags & EXACTLY_ONCE != 0 => {
                QoS::ExactlyOnce
            }
            Entry::Stored { .. } => QoS::AtLeastOnce,
        }
    }

    /// Whether it is a retained message that answers a subscription.
    #[inline]
    pub fn is_walked(&self) -> bool {
        match *self {
            Entry::Held(ref pending) => pending.walked,
            Entry::Stored { number_and_flags, .. } => number_and_flags & WALKED != 0,
        }
    }

    /// Bytes of the message and its options, in memory or not, without the place in the queue.
    #[inline]
    pub fn size(&self) -> usize {
        match self {
            Entry::Held(pending) => pending.size(),
            Entry::Stored { size, .. } => *size as usize,
        }
    }

    /// When the message expires.
    #[inline]
    pub fn expires_at(&self) -> Time {
        match *self {
            Entry::Held(ref pending) => pending.message.expires_at(),
            Entry::Stored { expires_at, .. } => expires_at,
        }
    }

    /// Whether the Message Expiry Interval has passed.
    #[inline]
    pub fn is_expired(&self, now: Time) -> bool {
        now >= self.expires_at()
    }

    /// The Topic Name; nothing if the store alone has the message.
    pub fn topic(&self) -> &str {
        self.held().map_or("", |pending| pending.message.topic())
    }
}

#[cfg(test)]
mod tests {
    use super::Entry;
    use crate::codec::qos::QoS;
    use crate::time::Time;

    #[test]
    fn an_entry_takes_no_more_than_a_message_of_a_queue_without_a_store() {
        assert_eq!(size_of::<Entry>(), 24);
    }

    #[test]
    fn what_is_known_of_a_stored_message_is_kept() {
        for (qos, walked) in [(QoS::AtLeastOnce, true), (QoS::ExactlyOnce, false), (QoS::ExactlyOnce, true)] {
            let entry = Entry::stored(1 << 60, qos, walked, 77, Time::from_millis(9));
            assert_eq!((entry.number(), entry.qos(), entry.is_walked()), (Some(1 << 60), qos, walked));
            assert_eq!((entry.size(), entry.expires_at(), entry.topic()), (77, Time::from_millis(9), ""));
        }
    }
}
