//! The in-flight window: incomplete deliveries with a Packet Identifier, in the order of sending.

use crate::codec::packet_id::PacketId;
use crate::codec::qos::QoS;
use crate::session::pending::Pending;
use crate::session::pool::Pool;
use std::collections::VecDeque;

/// Packet Identifiers run from 1 to this number, then again from 1.
const IDENTIFIERS: u64 = 65_535;

/// The packet that the client must send next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Awaits {
    /// PUBACK, for QoS 1.
    Puback,
    /// PUBREC, for QoS 2.
    Pubrec,
    /// PUBCOMP; PUBREL was sent and the message is no longer needed.
    Pubcomp,
}

/// An incomplete delivery.
#[derive(Debug)]
pub struct Delivery {
    sequence: u64,
    /// The packet that the client must send next.
    pub awaits: Awaits,
    /// Whether it was transmitted, on any connection: DUP is set when it is sent again.
    transmitted: bool,
    /// The message, until PUBREC.
    pending: Option<Pending>,
}

impl Delivery {
    /// The Packet Identifier, the same for every transmission [MQTT-4.4.0-1], [MQTT3-4.4.0-1].
    pub fn packet_id(&self) -> PacketId {
        identifier(self.sequence)
    }

    /// The message, until PUBREC.
    pub fn pending(&self) -> Option<&Pending> {
        self.pending.as_ref()
    }

    /// Whether it was transmitted before.
    pub fn was_transmitted(&self) -> bool {
        self.transmitted
    }
}

fn identifier(sequence: u64) -> PacketId {
    PacketId::new((sequence % IDENTIFIERS + 1) as u16).unwrap_or(PacketId::MIN)
}

/// The in-flight window of one session.
#[derive(Debug, Default)]
pub struct Inflight {
    /// `None` if there is no delivery.
    window: Option<Box<Window>>,
    next: u64,
    /// The number of deliveries, from the front, that were sent on this connection or wait for the store.
    begun: u32,
    /// The number of those, at their end, that wait for the store before they are sent.
    held: u32,
}

/// Bytes that the place of a delivery takes: the buffer of the places doubles when it grows.
const PLACE: usize = 2 * size_of::<Delivery>();

/// Deliveries, ordered by sequence.
#[derive(Debug, Default)]
pub struct Window {
    deliveries: VecDeque<Delivery>,
    /// The bytes of those whose message is still needed.
    bytes: usize,
}

impl Window {
    /// The number of deliveries that fit without allocation.
    pub fn capacity(&self) -> usize {
        self.deliveries.capacity()
    }

    #[inline(always)] // Into `complete`, once for each acknowledgement.
    fn remove(&mut self, at: usize) -> Option<Delivery> {
        let removed = match at {
            0 => self.deliveries.pop_front()?,
            at => self.deliveries.remove(at)?,
        };
        if let Some(pending) = &removed.pending {
            self.bytes -= pending.size() + PLACE;
        }
        Some(removed)
    }
}

impl Inflight {
    /// The number of incomplete deliveries.
    pub fn len(&self) -> usize {
        self.deliveries().map_or(0, VecDeque::len)
    }

    /// Whether every delivery is complete.
    pub fn is_empty(&self) -> bool {
        self.window.is_none()
    }

    /// The bytes of the deliveries whose message is still needed: messages, options and places.
    pub fn bytes(&self) -> usize {
        self.window.as_ref().map_or(0, |window| window.bytes)
    }

    /// Whether the bytes are so many; false if there is no delivery.
    #[inline]
    pub fn has_bytes(&self, most: usize) -> bool {
        self.window.as_ref().is_some_and(|window| window.bytes >= most)
    }

    /// Adds a delivery that is being sent for the first time; returns its identifier, which was not in
    /// use [MQTT-2.2.1-4], [MQTT3-2.3.1-4]. `None` if all are in use.
    pub fn begin(&mut self, pool: &mut Pool, pending: Pending) -> Option<PacketId> {
        let id = self.push(pool, pending, true)?;
        self.begun += 1;
        Some(id)
    }

    /// As [`Inflight::begin`], for a delivery that is not sent before [`Inflight::release`].
    #[cold]
    #[inline(never)]
    pub fn begin_held(&mut self, pool: &mut Pool, pending: Pending) -> Option<PacketId> {
        let id = self.push(pool, pending, false)?;
        self.held += 1;
        self.begun += 1;
        Some(id)
    }

    #[inline(always)] // Into `begin`, once for each message; the other callers are rare.
    fn push(&mut self, pool: &mut Pool, pending: Pending, transmitted: bool) -> Option<PacketId> {
        if self.len() as u64 >= IDENTIFIERS {
            return None;
        }
        while self.in_use(self.next) {
            self.next += 1;
        }
        let sequence = self.next;
        self.next += 1;
        let awaits = match pending.qos {
            QoS::ExactlyOnce => Awaits::Pubrec,
            _ => Awaits::Puback,
        };
        let window = self.window.get_or_insert_with(|| pool.take_window());
        window.bytes += pending.size() + PLACE;
        window.deliveries.push_back(Delivery { sequence, awaits, transmitted, pending: Some(pending) });
        Some(identifier(sequence))
    }

    /// The delivery with this identifier, and its index.
    pub fn find(&mut self, id: PacketId) -> Option<(usize, &mut Delivery)> {
        let at = self.position(id)?;
        Some((at, self.window.as_mut()?.deliveries.get_mut(at)?))
    }

    /// Takes the message of the delivery at this index, which is no longer needed.
    pub fn take_message(&mut self, at: usize) -> Option<Pending> {
        let window = self.window.as_mut()?;
        let pending = window.deliveries.get_mut(at)?.pending.take()?;
        window.bytes -= pending.size() + PLACE;
        Some(pending)
    }

    /// Ends the delivery at this index.
    pub fn complete(&mut self, pool: &mut Pool, at: usize) {
        let Some(done) = self.window.as_mut().and_then(|window| window.remove(at)) else { return };
        if at < self.sent() {
            self.begun -= 1;
        } else if self.held > 0 {
            self.complete_held(at);
        }
        if let Some(pending) = done.pending {
            pool.messages.give(pending.message);
        }
        if let Some(window) = self.window.take_if(|window| window.deliveries.is_empty()) {
            pool.put_window(window);
        }
    }

    /// Counts the delivery that was at this index, and is removed, as no longer held, if it waited for the store.
    #[cold]
    fn complete_held(&mut self, at: usize) {
        if at + self.held() > self.len() {
            self.release();
        }
    }

    /// Ends the newest delivery.
    pub fn take_back(&mut self, pool: &mut Pool) {
        self.complete(pool, self.len().saturating_sub(1));
    }

    /// Starts a new connection: every delivery must be sent again, in order [MQTT-4.4.0-1],
    /// [MQTT-4.6.0-1], [MQTT3-4.6.0-1].
    pub fn restart(&mut self) {
        self.begun = 0;
        self.held = 0;
    }

    /// The first delivery that waits for the store waits no longer.
    pub fn release(&mut self) {
        if self.held > 0 {
            self.held -= 1;
            self.begun -= 1;
        }
    }

    /// The number of deliveries that wait for the store.
    pub fn held(&self) -> usize {
        self.held as usize
    }

    /// The number of incomplete deliveries that were sent or resumed on this connection.
    pub fn sent(&self) -> usize {
        (self.begun - self.held) as usize
    }

    /// As [`Inflight::sent`], with the deliveries that wait for the store.
    pub fn begun(&self) -> usize {
        self.begun as usize
    }

    /// Whether [`Inflight::unsent`] returns a delivery.
    pub fn has_unsent(&self) -> bool {
        self.begun() < self.len()
    }

    /// The next delivery that was not yet sent on this connection and does not wait for the store.
    pub fn unsent(&self) -> Option<&Delivery> {
        let deliveries = self.deliveries()?;
        if self.begun() >= deliveries.len() {
            return None;
        }
        deliveries.get(self.sent())
    }

    /// Counts the delivery that [`Inflight::unsent`] returned as sent.
    pub fn mark_sent(&mut self) {
        let at = self.sent();
        if let Some(delivery) = self.window.as_mut().and_then(|window| window.deliveries.get_mut(at)) {
            delivery.transmitted = true;
            self.begun += 1;
        }
    }

    /// Removes the delivery that [`Inflight::unsent`] returned.
    pub fn remove_unsent(&mut self) {
        let at = self.sent();
        self.window.as_mut().and_then(|window| window.remove(at));
        self.window.take_if(|window| window.deliveries.is_empty());
    }

    /// The unacknowledged QoS 1 messages, oldest first: another member of a shared subscription may be sent them
    /// [MQTT-4.8.2-5].
    pub fn into_unacknowledged(self) -> impl Iterator<Item = Pending> {
        let all = self.window.into_iter().flat_map(|window| window.deliveries);
        let qos1 = all.filter(|d| d.awaits == Awaits::Puback);
        qos1.filter_map(|d| d.pending)
    }

    /// Every delivery, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = &Delivery> {
        self.deliveries().into_iter().flatten()
    }

    /// Adds a delivery that was begun before the broker restarted; false if its identifier is in use.
    #[cold]
    #[inline(never)]
    pub(super) fn restore(&mut self, pool: &mut Pool, id: PacketId, pending: Pending) -> bool {
        if self.position(id).is_some() {
            return false;
        }
        let forward = (u64::from(id.get()) + IDENTIFIERS - 1 - self.next % IDENTIFIERS) % IDENTIFIERS;
        self.next += forward;
        self.push(pool, pending, true).is_some()
    }

    fn deliveries(&self) -> Option<&VecDeque<Delivery>> {
        self.window.as_ref().map(|window| &window.deliveries)
    }

    fn in_use(&self, sequence: u64) -> bool {
        match self.iter().next() {
            Some(oldest) if sequence - oldest.sequence >= IDENTIFIERS => {
                self.iter().any(|d| (sequence - d.sequence).is_multiple_of(IDENTIFIERS))
            }
            _ => false,
        }
    }

    /// The index of the delivery with this identifier.
    ///
    /// Sequences are sorted and identifiers repeat, so it is usually the newest sequence with this identifier. Only if
    /// 65,535 newer sequences were given since the oldest delivery, all are searched.
    #[inline(always)] // Into `find`, once for each acknowledgement.
    fn position(&self, id: PacketId) -> Option<usize> {
        let deliveries = self.deliveries()?;
        let oldest = deliveries.front()?;
        // Clients acknowledge in order [MQTT-4.6.0-2].
        if oldest.packet_id() == id {
            return Some(0);
        }
        let youngest = self.next.checked_sub(1)?;
        let back = (youngest % IDENTIFIERS + IDENTIFIERS + 1 - u64::from(id.get())) % IDENTIFIERS;
        let by_sequence = youngest
            .checked_sub(back)
            .and_then(|wanted| deliveries.binary_search_by_key(&wanted, |d| d.sequence).ok());
        by_sequence.or_else(|| {
            if youngest - oldest.sequence < IDENTIFIERS {
                return None;
            }
            deliveries.iter().position(|d| d.packet_id() == id)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{Inflight, PLACE, Pending};
    use crate::codec::packet_id::PacketId;
    use crate::codec::qos::QoS;
    use crate::message::Publication;
    use crate::session::delivery::DeliveryOptions;
    use crate::session::pool::Pool;
    use crate::time::Time;

    struct Window {
        inflight: Inflight,
        pool: Pool,
    }

    impl Window {
        fn new() -> Window {
            Window { inflight: Inflight::default(), pool: Pool::new() }
        }

        fn begin(&mut self) -> Option<PacketId> {
            let qos = QoS::AtLeastOnce;
            let options = DeliveryOptions { qos, retain: false, identifiers: &[], share: None };
            let mut publication = Publication::new(b"t", b"", qos, false, Time::ZERO);
            let pending = Pending::new(&mut self.pool, &mut publication, &options);
            self.inflight.begin(&mut self.pool, pending)
        }

        /// Whether there was a delivery with this identifier.
        fn complete(&mut self, id: PacketId) -> bool {
            let Some((at, delivery)) = self.inflight.find(id) else {
                return false;
            };
            assert_eq!(delivery.packet_id(), id);
            self.inflight.complete(&mut self.pool, at);
            true
        }
    }

    #[test]
    fn identifiers_begin_at_one_and_are_found() {
        let mut window = Window::new();
        let a = window.begin().unwrap();
        let b = window.begin().unwrap();
        assert_eq!((a.get(), b.get()), (1, 2));
        assert!(window.complete(b));
        assert!(!window.complete(b));
        assert!(window.complete(a));
        assert!(window.inflight.is_empty());
    }

    /// [MQTT-2.2.1-4]: an identifier is not given again while it is in use.
    /// [MQTT-4.3.2-1], [MQTT-4.3.3-1]
    #[test]
    fn an_identifier_in_use_is_skipped_when_the_numbers_come_round() {
        let mut window = Window::new();
        let stuck = window.begin().unwrap();
        for _ in 0..65_534 {
            let id = window.begin().unwrap();
            assert_ne!(id, stuck);
            assert!(window.complete(id));
        }
        let next = window.begin().unwrap();
        assert_eq!(next.get(), 2);
        assert!(window.complete(stuck));
        assert!(window.complete(next));
    }

    /// The same of one that is not the first: the distance between the two counts.
    #[test]
    fn a_later_identifier_in_use_is_skipped_as_well() {
        let mut window = Window::new();
        let first = window.begin().unwrap();
        assert!(window.complete(first));
        let stuck = window.begin().unwrap();
        for _ in 0..65_534 {
            let id = window.begin().unwrap();
            assert_ne!(id, stuck);
            assert!(window.complete(id));
        }
        assert_eq!(window.begin().unwrap().get(), 3);
    }

    #[test]
    fn all_identifiers_can_be_in_use_and_then_there_is_none() {
        let mut window = Window::new();
        for _ in 0..65_535 {
            assert!(window.begin().is_some());
        }
        assert!(window.begin().is_none());
    }

    #[test]
    fn a_new_connection_sends_all_again_in_order() {
        let mut window = Window::new();
        let ids: Vec<_> = (0..3).map(|_| window.begin().unwrap()).collect();
        assert!(window.inflight.unsent().is_none());
        window.inflight.restart();
        assert!(window.complete(ids[1]));
        let mut again = Vec::new();
        while let Some(delivery) = window.inflight.unsent() {
            again.push(delivery.packet_id());
            window.inflight.mark_sent();
        }
        assert_eq!(again, [ids[0], ids[2]]);
    }

    #[test]
    fn a_window_that_empties_leaves_its_buffer_and_its_messages_to_others() {
        let mut window = Window::new();
        let ids: Vec<_> = (0..100).map(|_| window.begin().unwrap()).collect();
        let capacity = window.inflight.window.as_ref().unwrap().capacity();
        for id in ids.into_iter().rev() {
            assert!(window.complete(id));
        }
        assert!(window.inflight.window.is_none());
        assert_eq!(window.pool.take_window().capacity(), capacity);
    }

    #[test]
    fn the_bytes_are_those_of_the_messages_that_are_needed() {
        let mut window = Window::new();
        let ids: Vec<_> = (0..3).map(|_| window.begin().unwrap()).collect();
        let each = window.inflight.bytes() / 3;
        assert!(each > PLACE);
        let (at, _) = window.inflight.find(ids[1]).unwrap();
        assert!(window.inflight.take_message(at).is_some());
        assert!(window.inflight.take_message(at).is_none());
        assert_eq!(window.inflight.bytes(), 2 * each);
        assert!(window.complete(ids[1]));
        assert_eq!(window.inflight.bytes(), 2 * each);
        window.inflight.take_back(&mut window.pool);
        assert_eq!(window.inflight.bytes(), each);
        window.inflight.restart();
        window.inflight.remove_unsent();
        assert_eq!((window.inflight.bytes(), window.inflight.len()), (0, 0));
    }

    #[test]
    fn a_delivery_takes_40_bytes() {
        assert_eq!(size_of::<super::Delivery>(), 40);
    }
}
