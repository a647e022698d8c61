//! The queue of messages that wait for an offline or busy client, bounded in number and bytes.

mod stored;

use std::collections::VecDeque;

use crate::codec::qos::QoS;
use crate::session::entry::Entry;
use crate::session::pending::Pending;
use crate::storage::HeldBytes;
use crate::time::Time;

/// What happens to a message for which there is no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overflow {
    /// The new message is dropped.
    DropNewest,
    /// The oldest queued message is dropped.
    DropOldest,
    /// The client is disconnected with 0x97 Quota exceeded; if it is offline, the new message is dropped.
    Disconnect,
}

/// Bytes that the place of a message takes in a queue: the buffer of the places doubles when it grows.
pub const PLACE: usize = 2 * size_of::<Entry>();

/// Places that a queue keeps although few messages are left.
const KEPT_PLACES: usize = 64;

/// The bounds of a queue.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// The most messages.
    pub messages: usize,
    /// The most bytes that the messages occupy: each with its options and its [`PLACE`].
    pub bytes: usize,
    /// What happens to a message for which there is no room.
    pub overflow: Overflow,
}

/// Whether a queue has room for a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Room {
    /// There is room.
    Free,
    /// There is room if older messages are dropped.
    Displacing,
    /// There is no room.
    None,
}

/// The result of [`Queue::push`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Queued {
    /// The message is queued.
    Waits,
    /// The message is queued, and this number of older messages were dropped for it.
    Displaced(u32),
    /// The message is not queued.
    Refused,
}

/// Messages in the order of arrival. An empty queue holds no memory.
#[derive(Debug, Default)]
pub struct Queue(Option<Box<Waiting>>);

#[derive(Debug)]
struct Waiting {
    messages: VecDeque<Entry>,
    bytes: usize,
    /// The number of messages of QoS 0: a later QoS 0 message must not overtake them.
    qos0: usize,
    /// The number of retained messages for new subscriptions, and their bytes: the bounds do not count them.
    walked: usize,
    walked_bytes: usize,
    /// No queued message expires before this time; [`Time::NEVER`] if none expires.
    next_expiry: Time,
    /// The bytes of the messages that are in memory.
    held: HeldBytes,
    /// The number of messages that the store alone has.
    stored: usize,
    /// Whether some of those were asked for and have not come.
    reading: bool,
}

impl Queue {
    /// The number of queued messages.
    pub fn len(&self) -> usize {
        self.0.as_ref().map_or(0, |waiting| waiting.messages.len())
    }

    /// Whether no message is queued.
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// The bytes that the queued messages occupy.
    pub fn bytes(&self) -> usize {
        self.0.as_ref().map_or(0, |waiting| waiting.bytes)
    }

    /// Whether a QoS 0 message is queued.
    pub fn holds_qos0(&self) -> bool {
        self.0.as_ref().is_some_and(|waiting| waiting.qos0 > 0)
    }

    /// The number of retained messages for new subscriptions.
    pub fn walked(&self) -> usize {
        self.0.as_ref().map_or(0, |waiting| waiting.walked)
    }

    /// The messages and bytes that the bounds count: all but the retained messages for new subscriptions.
    fn counted(&self) -> (usize, usize) {
        self.0.as_ref().map_or((0, 0), |waiting| {
            (waiting.messages.len() - waiting.walked, waiting.bytes - waiting.walked_bytes)
        })
    }

    /// Whether more than the given part of the queue is used: 4 is a quarter.
    pub fn is_fuller_than(&self, part: usize, bounds: &Bounds) -> bool {
        let (len, bytes) = self.counted();
        len > bounds.messages / part || bytes > bounds.bytes / part
    }

    /// Adds a message within the bounds. `dropped` is told which ones make way for it, and how many of QoS 1 and 2 stay
    /// before each.
    pub fn push(
        &mut self,
        pending: Pending,
        bounds: &Bounds,
        mut dropped: impl FnMut(usize, &Entry),
    ) -> Queued {
        let size = pending.size();
        let (len, bytes) = self.counted();
        let room = room(len, bytes, size + PLACE, bounds);
        if room == Room::None {
            return Queued::Refused;
        }
        let mut displaced = 0;
        if room == Room::Displacing {
            // What waits beyond the bounds, because they were wider, makes way for no more than the place of the new message.
            let (messages, bytes) = (bounds.messages.max(len), bounds.bytes.max(bytes));
            while self.is_full(size, &Bounds { messages, bytes, ..*bounds })
                && let Some((before, old)) = self.pop_counted()
            {
                dropped(before, &old);
                displaced += 1;
            }
        }
        self.push_unbounded(pending);
        if displaced == 0 { Queued::Waits } else { Queued::Displaced(displaced) }
    }

    /// Whether the next message of [`Pending::size`] `size` would be beyond the bounds.
    pub fn is_full(&self, size: usize, bounds: &Bounds) -> bool {
        let (len, waiting_bytes) = self.counted();
        is_beyond(len, waiting_bytes, size + PLACE, bounds)
    }

    /// Whether there is room for a message of [`Pending::size`] `size` after the messages that have expired at `now` are removed.
    pub fn room_at(&self, now: Time, size: usize, bounds: &Bounds) -> Room {
        let (mut len, mut bytes) = self.counted();
        if let Some(waiting) = &self.0
            && is_beyond(len, bytes, size + PLACE, bounds)
            && now >= waiting.next_expiry
        {
            let counted = waiting.messages.iter().filter(|entry| !entry.is_walked());
            for expired in counted.filter(|entry| entry.is_expired(now)) {
                len -= 1;
                bytes -= expired.size() + PLACE;
            }
        }
        room(len, bytes, size + PLACE, bounds)
    }

    /// Removes expired messages. `dropped` is called with each of them, and the number of QoS 1 and 2 messages that
    /// stay before it. The messages are scanned only if one can have expired since the last scan.
    pub fn drop_expired(&mut self, now: Time, mut dropped: impl FnMut(usize, &Entry)) {
        let Some(waiting) = self.0.as_mut().filter(|waiting| now >= waiting.next_expiry) else {
            return;
        };
        // The store's index does not count QoS 0 messages, which are not recorded.
        let mut before = 0;
        waiting.next_expiry = Time::NEVER;
        for entry in std::mem::take(&mut waiting.messages) {
            waiting.uncount(&entry);
            match entry.is_expired(now) {
                true => dropped(before, &entry),
                false => {
                    before += usize::from(entry.qos() > QoS::AtMostOnce);
                    waiting.push(entry);
                }
            }
        }
        if waiting.messages.is_empty() {
            self.0 = None;
        }
    }

    /// Adds a message that is bounded elsewhere: one that answers a subscription, or that comes back from the store.
    pub fn push_unbounded(&mut self, pending: Pending) {
        self.0.get_or_insert_default().push(Entry::Held(pending));
    }

    /// Adds a message that the store alone has.
    pub fn push_stored(&mut self, entry: Entry) {
        self.0.get_or_insert_default().push(entry);
    }

    /// The messages, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.0.iter().flat_map(|waiting| &waiting.messages)
    }

    /// The messages themselves, oldest first.
    pub fn into_waiting(self) -> impl Iterator<Item = Entry> {
        self.0.into_iter().flat_map(|mut waiting| std::mem::take(&mut waiting.messages))
    }

    /// The oldest message.
    #[inline]
    pub fn front(&self) -> Option<&Entry> {
        self.0.as_ref()?.messages.front()
    }

    /// The newest message.
    pub fn back(&self) -> Option<&Entry> {
        self.0.as_ref()?.messages.back()
    }

    /// Removes the message at this index; 0 is the oldest.
    pub fn remove(&mut self, index: usize) -> Option<Entry> {
        if index == 0 {
            return self.pop();
        }
        let waiting = self.0.as_mut()?;
        let entry = waiting.messages.remove(index)?;
        waiting.uncount(&entry);
        waiting.give_back();
        Some(entry)
    }

    /// Removes the oldest message that the bounds count; with how many of QoS 1 and 2 are before it.
    fn pop_counted(&mut self) -> Option<(usize, Entry)> {
        let waiting = self.0.as_ref()?;
        let index = waiting.messages.iter().position(|entry| !entry.is_walked())?;
        let before =
            waiting.messages.iter().take(index).filter(|entry| entry.qos() > QoS::AtMostOnce).count();
        Some((before, self.remove(index)?))
    }

    /// Removes the oldest message.
    pub fn pop(&mut self) -> Option<Entry> {
        let waiting = self.0.as_mut()?;
        let entry = waiting.messages.pop_front()?;
        waiting.uncount(&entry);
        match waiting.messages.is_empty() {
            true => self.0 = None,
            false => waiting.give_back(),
        }
        Some(entry)
    }
}

impl Waiting {
    fn push(&mut self, entry: Entry) {
        self.count(&entry);
        self.messages.push_back(entry);
    }

    /// A message is one of them.
    fn count(&mut self, entry: &Entry) {
        let size = entry.size() + PLACE;
        self.bytes += size;
        self.next_expiry = self.next_expiry.min(entry.expires_at());
        self.qos0 += usize::from(entry.qos() == QoS::AtMostOnce);
        match entry {
            Entry::Held(pending) => self.held.add(pending.size()),
            Entry::Stored(_) => self.stored += 1,
        }
        if entry.is_walked() {
            self.walked += 1;
            self.walked_bytes += size;
        }
    }

    /// A message is no longer one of them.
    fn uncount(&mut self, entry: &Entry) {
        let size = entry.size() + PLACE;
        self.bytes -= size;
        self.qos0 -= usize::from(entry.qos() == QoS::AtMostOnce);
        match entry {
            Entry::Held(pending) => self.held.sub(pending.size()),
            Entry::Stored(_) => self.stored -= 1,
        }
        if entry.is_walked() {
            self.walked -= 1;
            self.walked_bytes -= size;
        }
    }

    /// Frees places once three quarters of them are unused.
    #[inline]
    fn give_back(&mut self) {
        let len = self.messages.len();
        if self.messages.capacity() > KEPT_PLACES.max(4 * len) {
            self.messages.shrink_to(2 * len);
        }
    }
}

fn is_beyond(len: usize, bytes: usize, size: usize, bounds: &Bounds) -> bool {
    len >= bounds.messages || bytes.saturating_add(size) > bounds.bytes
}

/// Whether a queue of `len` messages and `bytes` bytes has room for another one of `size` bytes, with its place.
fn room(len: usize, bytes: usize, size: usize, bounds: &Bounds) -> Room {
    // A message that would not fit into an empty queue displaces nothing.
    let never_fits = bounds.messages == 0 || size > bounds.bytes;
    match is_beyond(len, bytes, size, bounds) {
        false => Room::Free,
        true if never_fits || bounds.overflow != Overflow::DropOldest => Room::None,
        true => Room::Displacing,
    }
}

impl Default for Waiting {
    fn default() -> Waiting {
        Waiting {
            messages: VecDeque::new(),
            bytes: 0,
            qos0: 0,
            walked: 0,
            walked_bytes: 0,
            next_expiry: Time::NEVER,
            held: HeldBytes::default(),
            stored: 0,
            reading: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Bounds, KEPT_PLACES, Overflow, PLACE, Queue, Queued};
    use crate::codec::qos::QoS;
    use crate::message::Publication;
    use crate::session::delivery::DeliveryOptions;
    use crate::session::pending::Pending;
    use crate::session::pool::Pool;
    use crate::time::Time;

    fn pending(topic: &str) -> Pending {
        let qos = QoS::AtLeastOnce;
        let options = DeliveryOptions { qos, retain: false, identifiers: &[], share: None };
        let mut publication = Publication::new(topic.as_bytes(), b"", qos, false, Time::ZERO);
        Pending::new(&mut Pool::new(), &mut publication, &options)
    }

    fn bounds(messages: usize, bytes: usize, overflow: Overflow) -> Bounds {
        Bounds { messages, bytes, overflow }
    }

    #[test]
    fn a_full_queue_refuses_the_newest() {
        let mut queue = Queue::default();
        let bounds = bounds(1, 10_000, Overflow::DropNewest);
        assert_eq!(queue.push(pending("a"), &bounds, |_, _| ()), Queued::Waits);
        assert_eq!(queue.push(pending("b"), &bounds, |_, _| ()), Queued::Refused);
        assert_eq!(queue.pop().unwrap().topic(), "a");
        assert_eq!(queue.bytes(), 0);
    }

    #[test]
    fn or_drops_the_oldest() {
        let mut queue = Queue::default();
        let bounds = bounds(1, 10_000, Overflow::DropOldest);
        queue.push(pending("a"), &bounds, |_, _| ());
        assert_eq!(queue.push(pending("b"), &bounds, |_, _| ()), Queued::Displaced(1));
        assert_eq!(queue.pop().unwrap().topic(), "b");
    }

    #[test]
    fn what_can_never_wait_displaces_nothing() {
        let mut queue = Queue::default();
        let bounds = bounds(10, pending("a").size() + PLACE, Overflow::DropOldest);
        assert_eq!(queue.push(pending("a"), &bounds, |_, _| ()), Queued::Waits);
        assert_eq!(queue.push(pending("too large"), &bounds, |_, _| ()), Queued::Refused);
        assert_eq!(queue.pop().unwrap().topic(), "a");
    }

    #[test]
    fn a_queue_beyond_its_bounds_gives_up_the_place_of_one_message() {
        let mut queue = Queue::default();
        for topic in ["a", "b", "c"] {
            queue.push_unbounded(pending(topic));
        }
        for (bounds, oldest) in [
            (bounds(1, 10_000, Overflow::DropOldest), "b"),
            (bounds(10, pending("a").size() + PLACE, Overflow::DropOldest), "c"),
        ] {
            assert_eq!(queue.push(pending("d"), &bounds, |_, _| ()), Queued::Displaced(1));
            assert_eq!((queue.len(), queue.front().unwrap().topic()), (3, oldest));
        }
    }

    #[test]
    fn the_bytes_are_those_of_messages_options_and_places() {
        let mut queue = Queue::default();
        let (qos, identifiers) = (QoS::AtLeastOnce, vec![7; 1000]);
        let options = DeliveryOptions { qos, retain: false, identifiers: &identifiers, share: None };
        let mut publication = Publication::new(b"t", b"", qos, false, Time::ZERO);
        let many = Pending::new(&mut Pool::new(), &mut publication, &options);
        assert!(many.size() > 4000);
        let bytes = many.size() + PLACE;
        for (bound, queued) in [(bytes - 1, Queued::Refused), (bytes, Queued::Waits)] {
            let bounds = bounds(10, bound, Overflow::DropNewest);
            assert_eq!(queue.is_full(many.size(), &bounds), queued == Queued::Refused);
            assert_eq!(queue.push(many.clone(), &bounds, |_, _| ()), queued);
        }
        assert_eq!(queue.bytes(), bytes);
        queue.push_unbounded(pending("a"));
        assert_eq!(queue.bytes(), bytes + pending("a").size() + PLACE);
        assert!(queue.pop().is_some());
        assert_eq!(queue.bytes(), pending("a").size() + PLACE);
    }

    #[test]
    fn a_queue_that_drains_gives_places_back() {
        let mut queue = Queue::default();
        (0..10_000).for_each(|_| queue.push_unbounded(pending("a")));
        while queue.len() > 1 {
            assert!(queue.pop().is_some());
            let capacity = queue.0.as_ref().unwrap().messages.capacity();
            assert!(capacity <= KEPT_PLACES.max(4 * queue.len()), "{capacity} places of {}", queue.len());
        }
    }

    #[test]
    fn bytes_are_bounded_too_and_a_message_larger_than_the_queue_is_refused() {
        let mut queue = Queue::default();
        let bounds = bounds(10, 8, Overflow::DropOldest);
        assert_eq!(queue.push(pending("too large"), &bounds, |_, _| ()), Queued::Refused);
        assert!(queue.is_empty());
    }
}
