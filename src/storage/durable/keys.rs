//! The keys of the tables. The first byte says what a key is of; what belongs to one session stands together.

use crate::storage::durable::wire::{Malformed, Reader};

/// What a row is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Kind {
    /// The store itself: one row.
    Store = 1,
    /// A topic and its retained message.
    Retained = 2,
    /// A session.
    Session = 3,
    /// A subscription of a session.
    Subscription = 4,
    /// A message that waits for a session or is in its window.
    Delivery = 5,
    /// That a delivery is in the window, with its Packet Identifier.
    Window = 6,
    /// A received QoS 2 message that is not yet released.
    Received = 7,
    /// A subscription whose retained messages are to be sent.
    RetainedDue = 8,
    /// A message that deliveries name. One that a single delivery names has its number.
    Message = 9,
}

/// A key.
pub(super) type Key = smallvec::SmallVec<[u8; 24]>;

/// The key of the row of the store itself.
pub(super) fn store() -> Key {
    key(Kind::Store, &[])
}

/// The key of a topic's retained message.
pub(super) fn retained(topic: &str) -> Key {
    key(Kind::Retained, &[topic.as_bytes()])
}

/// The key of a row that has a number, or the first part of one.
pub(super) fn numbered(kind: Kind, number: u64) -> Key {
    key(kind, &[&number.to_be_bytes()])
}

/// The key of a row of a session that has a number.
pub(super) fn of_session(kind: Kind, session: u64, number: u64) -> Key {
    key(kind, &[&session.to_be_bytes(), &number.to_be_bytes()])
}

/// The key of a row of a session that has a filter.
pub(super) fn of_filter(kind: Kind, session: u64, filter: &str) -> Key {
    key(kind, &[&session.to_be_bytes(), filter.as_bytes()])
}

/// The keys of one kind, from the first to behind the last.
pub(super) fn all(kind: Kind) -> (Key, Key) {
    let mut end = key(kind, &[]);
    if let Some(first) = end.first_mut() {
        *first += 1;
    }
    (key(kind, &[]), end)
}

/// The keys of one kind of a session, from the first to behind the last.
pub(super) fn all_of(kind: Kind, session: u64) -> (Key, Key) {
    (numbered(kind, session), numbered(kind, session + 1))
}

fn key(kind: Kind, parts: &[&[u8]]) -> Key {
    let mut key = Key::new();
    key.push(kind as u8);
    parts.iter().for_each(|part| key.extend_from_slice(part));
    key
}

/// The number of a key of [`numbered`].
pub(super) fn number_of(key: &[u8]) -> Result<u64, Malformed> {
    let mut reader = Reader::new(key);
    reader.byte()?;
    let number = u64::from_be_bytes(reader.array()?);
    if reader.left() == 0 { Ok(number) } else { Err(Malformed) }
}

/// The session and the number of a key of [`of_session`].
pub(super) fn session_and_number(key: &[u8]) -> Result<(u64, u64), Malformed> {
    let mut reader = Reader::new(key);
    reader.byte()?;
    let numbers = (u64::from_be_bytes(reader.array()?), u64::from_be_bytes(reader.array()?));
    if reader.left() == 0 { Ok(numbers) } else { Err(Malformed) }
}

/// The session and the filter of a key of [`of_filter`].
pub(super) fn session_and_filter(key: &[u8]) -> Result<(u64, &str), Malformed> {
    let mut reader = Reader::new(key);
    reader.byte()?;
    let session = u64::from_be_bytes(reader.array()?);
    let filter = reader.take(reader.left())?;
    Ok((session, std::str::from_utf8(filter).map_err(|_| Malformed)?))
}

/// The topic of a key of [`retained`].
pub(super) fn topic_of(key: &[u8]) -> Result<&str, Malformed> {
    let topic = key.get(1..).ok_or(Malformed)?;
    std::str::from_utf8(topic).map_err(|_| Malformed)
}
