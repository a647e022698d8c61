//! Changes as bytes, appended to what the next record of the log will be.

use crate::codec::version::Version;
use crate::storage::durable::wire::{SHARED, is_message, put_bytes, put_delivery, put_message, put_number};
use crate::storage::{Change, DeliveryRecord, MessageRecord, SessionChange};
use crate::time::WallTime;

/// The bit of an entry's first byte that says: of the same session as the entry before.
pub(super) const SAME_SESSION: u8 = 0x40;
/// The bit that says: at the same time as the entry before.
pub(super) const SAME_TIME: u8 = 0x80;

/// The number of each change in the store's files. A number is never given to another change.
pub(super) mod tag {
    pub(crate) const RETAINED: u8 = 1;
    pub(crate) const CLEARED: u8 = 2;
    pub(crate) const BEGUN: u8 = 3;
    pub(crate) const ATTACHED: u8 = 4;
    pub(crate) const DETACHED: u8 = 5;
    pub(crate) const ENDED: u8 = 6;
    pub(crate) const SUBSCRIBED: u8 = 7;
    pub(crate) const UNSUBSCRIBED: u8 = 8;
    pub(crate) const RETAINED_DUE: u8 = 9;
    pub(crate) const RETAINED_SENT: u8 = 10;
    pub(crate) const QUEUED: u8 = 11;
    pub(crate) const DROPPED: u8 = 12;
    pub(crate) const SENT: u8 = 13;
    pub(crate) const CONFIRMED: u8 = 14;
    pub(crate) const DONE: u8 = 15;
    pub(crate) const RECEIVED: u8 = 16;
    pub(crate) const RELEASED: u8 = 17;
    pub(crate) const WILL: u8 = 18;
    pub(crate) const WILL_CLEARED: u8 = 19;
}

/// Appends changes to bytes. Entries leave out what they share with entries before them, back to the last
/// [`Encoder::begin`]; so what is between two of those can be read alone.
#[derive(Debug, Default)]
pub(super) struct Encoder {
    bytes: Vec<u8>,
    /// Where the last entry's Client Identifier is.
    session: Option<(usize, usize)>,
    at: Option<WallTime>,
    /// Where the last message that joined a queue is.
    message: Option<usize>,
}

impl Encoder {
    /// The bytes so far.
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Lets the next entries refer to nothing before.
    pub(super) fn begin(&mut self) {
        (self.session, self.at, self.message) = (None, None, None);
    }

    /// Takes the first `len` bytes; nothing behind them refers to them.
    pub(super) fn take(&mut self, len: usize, into: &mut Vec<u8>) {
        into.clear();
        if len == self.bytes.len() {
            std::mem::swap(into, &mut self.bytes);
        } else {
            into.extend(self.bytes.drain(..len.min(self.bytes.len())));
        }
        let shift = |place: usize| place.checked_sub(len);
        self.session = self.session.and_then(|(from, to)| Some((shift(from)?, shift(to)?)));
        self.message = self.message.and_then(shift);
    }

    /// Appends a change that happens at `at`.
    pub(super) fn put(&mut self, at: WallTime, change: &Change<'_>) {
        match change {
            Change::Retained(message) => {
                self.head(tag::RETAINED, at, None);
                put_message(&mut self.bytes, message);
            }
            Change::Cleared { topic } => {
                self.head(tag::CLEARED, at, None);
                put_bytes(&mut self.bytes, topic.as_bytes());
            }
            Change::Session { client_id, change } => self.put_session(at, client_id, change),
        }
    }

    fn head(&mut self, tag: u8, at: WallTime, client_id: Option<&str>) {
        let same_time = self.at == Some(at);
        let same_session = client_id.is_some_and(|client_id| {
            let last = self.session.and_then(|(from, to)| self.bytes.get(from..to));
            last == Some(client_id.as_bytes())
        });
        let bit = |same: bool, bit: u8| if same { bit } else { 0 };
        self.bytes.push(tag | bit(same_time, SAME_TIME) | bit(same_session, SAME_SESSION));
        if !same_time {
            put_number(&mut self.bytes, at.as_millis());
            self.at = Some(at);
        }
        if let (Some(client_id), false) = (client_id, same_session) {
            put_bytes(&mut self.bytes, client_id.as_bytes());
            self.session = Some((self.bytes.len() - client_id.len(), self.bytes.len()));
        }
    }

    fn put_session(&mut self, at: WallTime, client_id: &str, change: &SessionChange<'_>) {
        use SessionChange as S;
        self.head(tag_of(change), at, Some(client_id));
        let out = &mut self.bytes;
        match *change {
            S::Begun { expiry_interval, user } | S::Attached { expiry_interval, user } => {
                put_number(out, u64::from(expiry_interval));
                put_optional(out, user);
            }
            S::Detached { expiry_interval } => put_number(out, u64::from(expiry_interval)),
            S::Ended | S::WillCleared => {}
            S::Subscribed { filter, options, identifier } => {
                put_bytes(out, filter.as_bytes());
                out.push(options.to_byte(Version::V5));
                put_number(out, u64::from(identifier));
            }
            S::Unsubscribed { filter } | S::RetainedSent { filter } => put_bytes(out, filter.as_bytes()),
            S::RetainedDue { filter, qos, identifier } => {
                put_bytes(out, filter.as_bytes());
                out.push(qos.as_u8());
                put_number(out, u64::from(identifier));
            }
            S::Queued(delivery) => self.put_queued(&delivery),
            S::Dropped { index } => put_number(out, index as u64),
            S::Sent { packet_id }
            | S::Confirmed { packet_id }
            | S::Done { packet_id }
            | S::Received { packet_id }
            | S::Released { packet_id } => out.extend_from_slice(&packet_id.get().to_le_bytes()),
            S::Will { message, delay, expiry } => {
                put_number(out, u64::from(delay));
                // 0 is none.
                put_number(out, expiry.map_or(0, |seconds| u64::from(seconds) + 1));
                put_message(out, &message);
            }
        }
    }

    /// A delivery: the message follows, or stands so many bytes back. A payload is there once for all receivers.
    fn put_queued(&mut self, delivery: &DeliveryRecord<'_>) {
        put_delivery(&mut self.bytes, delivery);
        match self.find(&delivery.message) {
            Some(at) => {
                if let Some(flags) = self.bytes.get_mut(at) {
                    *flags |= SHARED;
                }
                let back = self.bytes.len() - at;
                put_number(&mut self.bytes, back as u64);
            }
            None => {
                put_number(&mut self.bytes, 0);
                self.message = Some(self.bytes.len());
                put_message(&mut self.bytes, &delivery.message);
            }
        }
    }

    /// Where the message is, if it is the last one that joined a queue.
    fn find(&self, message: &MessageRecord<'_>) -> Option<usize> {
        self.message.filter(|at| self.bytes.get(*at..).is_some_and(|encoded| is_message(encoded, message)))
    }
}

/// A string that may be absent: 0, or 1 and the string.
pub(super) fn put_optional(out: &mut Vec<u8>, string: Option<&str>) {
    match string {
        None => out.push(0),
        Some(string) => {
            out.push(1);
            put_bytes(out, string.as_bytes());
        }
    }
}

fn tag_of(change: &SessionChange<'_>) -> u8 {
    match change {
        SessionChange::Begun { .. } => tag::BEGUN,
        SessionChange::Attached { .. } => tag::ATTACHED,
        SessionChange::Detached { .. } => tag::DETACHED,
        SessionChange::Ended => tag::ENDED,
        SessionChange::Subscribed { .. } => tag::SUBSCRIBED,
        SessionChange::Unsubscribed { .. } => tag::UNSUBSCRIBED,
        SessionChange::RetainedDue { .. } => tag::RETAINED_DUE,
        SessionChange::RetainedSent { .. } => tag::RETAINED_SENT,
        SessionChange::Queued(_) => tag::QUEUED,
        SessionChange::Dropped { .. } => tag::DROPPED,
        SessionChange::Sent { .. } => tag::SENT,
        SessionChange::Confirmed { .. } => tag::CONFIRMED,
        SessionChange::Done { .. } => tag::DONE,
        SessionChange::Received { .. } => tag::RECEIVED,
        SessionChange::Released { .. } => tag::RELEASED,
        SessionChange::Will { .. } => tag::WILL,
        SessionChange::WillCleared => tag::WILL_CLEARED,
    }
}
