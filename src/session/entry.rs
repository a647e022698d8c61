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
    Stored(StoredEntry),
}

/// What is known of a message that the store alone has. In halves of numbers, so that it is aligned to four bytes: then what
/// tells the two kinds of entries apart finds room in a byte of [`Pending`].
#[derive(Clone, Copy, Debug)]
pub struct StoredEntry {
    /// The number of the delivery, with [`EXACTLY_ONCE`] and [`WALKED`] below it.
    number_and_flags: [u32; 2],
    /// When it expires.
    expires_at: [u32; 2],
    /// What [`Pending::size`] was, or will be.
    size: u32,
}

impl StoredEntry {
    fn number(self) -> u64 {
        joined(self.number_and_flags) >> SHIFT
    }

    fn has(self, flag: u64) -> bool {
        joined(self.number_and_flags) & flag != 0
    }
}

fn halves(number: u64) -> [u32; 2] {
    [number as u32, (number >> 32) as u32]
}

fn joined([low, high]: [u32; 2]) -> u64 {
    u64::from(high) << 32 | u64::from(low)
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
        let number_and_flags = halves(number << SHIFT | flags);
        Entry::Stored(StoredEntry { number_and_flags, expires_at: halves(expires_at.as_millis()), size })
    }

    /// The message, if it is in memory.
    #[inline]
    pub fn held(&self) -> Option<&Pending> {
        match self {
            Entry::Held(pending) => Some(pending),
            Entry::Stored(_) => None,
        }
    }

    /// The number of its delivery, if the store alone has the message.
    #[inline]
    pub fn number(&self) -> Option<u64> {
        match *self {
            Entry::Held(_) => None,
            Entry::Stored(stored) => Some(stored.number()),
        }
    }

    /// The QoS of the delivery.
    #[inline]
    pub fn qos(&self) -> QoS {
        match *self {
            Entry::Held(ref pending) => pending.qos,
            Entry::Stored(stored) if stored.has(EXACTLY_ONCE) => QoS::ExactlyOnce,
            Entry::Stored(_) => QoS::AtLeastOnce,
        }
    }

    /// Whether it is a retained message that answers a subscription.
    #[inline]
    pub fn is_walked(&self) -> bool {
        match *self {
            Entry::Held(ref pending) => pending.walked,
            Entry::Stored(stored) => stored.has(WALKED),
        }
    }

    /// Bytes of the message and its options, in memory or not, without the place in the queue.
    #[inline]
    pub fn size(&self) -> usize {
        match self {
            Entry::Held(pending) => pending.size(),
            Entry::Stored(stored) => stored.size as usize,
        }
    }

    /// When the message expires.
    #[inline]
    pub fn expires_at(&self) -> Time {
        match *self {
            Entry::Held(ref pending) => pending.message.expires_at(),
            Entry::Stored(stored) => Time::from_millis(joined(stored.expires_at)),
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
