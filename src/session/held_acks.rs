//! Acknowledgements that wait because a subscriber of their messages is behind, and the subscriber they wait for.
//!
//! A publisher whose acknowledgements wait fills its window and pauses. So a connected subscriber that drains its queue
//! slows its publishers before a message that is acknowledged is dropped. One that does not drain is given up after
//! `session.publisher_hold`, until its queue is short again.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use smallvec::SmallVec;

use crate::codec::ack::{Ack, AckKind};
use crate::codec::packet_id::PacketId;
use crate::codec::properties::Properties;
use crate::codec::reason::ReasonCode;
use crate::session::delivery::Limits;
use crate::session::outbound::Outbound;
use crate::session::state::Session;
use crate::time::Time;

/// An acknowledgement that waits.
#[derive(Clone, Copy, Debug)]
pub struct HeldAck {
    /// PUBACK or PUBREC.
    pub kind: AckKind,
    /// The Packet Identifier that the client has chosen.
    pub packet_id: PacketId,
    /// The Reason Code.
    pub reason: ReasonCode,
}

impl HeldAck {
    /// The packet. No Reason String, no User Properties [MQTT-3.4.2-2], [MQTT-3.4.2-3], [MQTT-3.5.2-2], [MQTT-3.5.2-3].
    pub fn packet(&self) -> Ack<'static> {
        // [MQTT-2.2.1-5], [MQTT3-2.3.1-6]
        Ack { packet_id: self.packet_id, reason: self.reason, properties: Properties::EMPTY }
    }
}

/// The acknowledgements of one publisher that wait, oldest first.
#[derive(Debug)]
pub struct HeldAcks {
    id: HoldId,
    acks: VecDeque<HeldAck>,
    /// The acknowledgements that were sent.
    sent: u64,
    /// The subscribers that they wait for.
    behind: SmallVec<[Behind; 1]>,
    /// Whether a timer runs for the first time at which one of them is given up.
    timed: bool,
    /// Whether a thread sends them, one by one.
    releasing: bool,
}

/// A number that no other wait of acknowledgements has: what is done later for one wait does not end the next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HoldId(u64);

/// The number of the last wait.
static LAST: AtomicU64 = AtomicU64::new(0);

/// A subscriber for which acknowledgements wait.
#[derive(Debug)]
struct Behind {
    slow: Weak<Session>,
    /// When it is given up.
    until: Time,
    /// How many acknowledgements were before the first that waits for it.
    first: u64,
}

/// The publishers that wait for a subscriber.
#[derive(Debug, Default)]
pub struct WaitingPublishers {
    publishers: Vec<(Weak<Session>, HoldId)>,
    /// Whether the subscriber was given up: nobody waits for it until its queue is short.
    given_up: bool,
}

/// What became of an acknowledgement that may have to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holding {
    /// It does not have to wait.
    No,
    /// It waits for one more subscriber, which is told.
    Behind(HoldId),
    /// It waits behind others, for subscribers that those wait for.
    Waits,
    /// It waits behind as many as may wait: the caller releases them, whom they wait for is forgotten.
    Full(HoldId),
}

/// The publisher's side.
impl Outbound {
    /// Lets an acknowledgement wait for `slow` until the time given, or behind those that wait already. At most `most`
    /// wait.
    pub fn hold_ack(
        &mut self,
        ack: HeldAck,
        slow: Option<&Arc<Session>>,
        until: Time,
        most: usize,
    ) -> Holding {
        if self.held_acks_mut().is_none() {
            if slow.is_none() {
                return Holding::No;
            }
            self.set_held_acks(Some(Box::new(HeldAcks::new())));
        }
        self.held_acks_mut().map_or(Holding::No, |held| held.add(ack, slow, until, most))
    }

    /// The wait of the acknowledgements, if there is one.
    pub fn hold_id(&mut self) -> Option<HoldId> {
        self.held_acks_mut().map(|held| held.id)
    }

    /// When the first subscriber is to be given up, if no timer runs for that yet. The caller sets one.
    pub fn time_hold(&mut self) -> Option<(HoldId, Time)> {
        let held = self.held_acks_mut().filter(|held| !held.timed)?;
        let until = held.behind.iter().map(|behind| behind.until).min()?;
        held.timed = true;
        Some((held.id, until))
    }

    /// The timer is due: the subscribers that have been waited for long enough at `now`. They are waited for no longer.
    pub fn overdue(&mut self, hold: HoldId, now: Time) -> SmallVec<[Weak<Session>; 1]> {
        let Some(held) = self.held_by(hold) else {
            return SmallVec::new();
        };
        held.timed = false;
        let (over, behind): (SmallVec<[Behind; 1]>, _) =
            std::mem::take(&mut held.behind).into_iter().partition(|behind| behind.until <= now);
        held.behind = behind;
        over.into_iter().map(|behind| behind.slow).collect()
    }

    /// The acknowledgements wait no longer for `slow`.
    pub fn wait_no_longer(&mut self, hold: HoldId, slow: &Session) {
        if let Some(held) = self.held_by(hold) {
            held.behind.retain(|behind| !std::ptr::eq(behind.slow.as_ptr(), slow));
        }
    }

    /// The acknowledgements wait for nobody: their connection ends.
    pub fn end_waits(&mut self, hold: HoldId) {
        if let Some(held) = self.held_by(hold) {
            held.behind.clear();
        }
    }

    /// Begins to release the acknowledgements that wait for nobody; false if there are none any more, or if another thread
    /// does so.
    pub fn begin_release(&mut self, hold: HoldId) -> bool {
        self.held_by(hold).is_some_and(|held| !std::mem::replace(&mut held.releasing, true))
    }

    /// The next acknowledgement to be sent. `None`: there is none, or it waits for a subscriber.
    pub fn next_held_ack(&mut self, hold: HoldId) -> Option<HeldAck> {
        let held = self.held_by(hold)?;
        if !held.acks.is_empty() && held.waits() {
            held.releasing = false;
            return None;
        }
        let next = held.acks.pop_front();
        held.sent += 1;
        if next.is_none() {
            self.set_held_acks(None);
        }
        next
    }

    fn held_by(&mut self, hold: HoldId) -> Option<&mut HeldAcks> {
        self.held_acks_mut().filter(|held| held.id == hold)
    }
}

impl HeldAcks {
    fn new() -> HeldAcks {
        HeldAcks {
            id: HoldId(LAST.fetch_add(1, Ordering::Relaxed)),
            acks: VecDeque::new(),
            sent: 0,
            behind: SmallVec::new(),
            timed: false,
            releasing: false,
        }
    }

    fn add(&mut self, ack: HeldAck, slow: Option<&Arc<Session>>, until: Time, most: usize) -> Holding {
        let first = self.sent + self.acks.len() as u64;
        self.acks.push_back(ack);
        if self.acks.len() > most {
            self.behind.clear();
            return Holding::Full(self.id);
        }
        match slow.filter(|slow| !self.behind.iter().any(|one| one.slow.as_ptr() == Arc::as_ptr(slow))) {
            Some(slow) => {
                self.behind.push(Behind { slow: Arc::downgrade(slow), until, first });
                Holding::Behind(self.id)
            }
            None => Holding::Waits,
        }
    }

    /// Whether the first acknowledgement waits for a subscriber, which still exists.
    fn waits(&self) -> bool {
        self.behind.iter().any(|behind| behind.first <= self.sent && behind.slow.strong_count() > 0)
    }
}

/// The subscriber's side.
impl Outbound {
    /// Whether publishers are to wait: the client is connected, and more than a quarter of its queue is full. The rest is
    /// for the windows of the publishers.
    pub fn slows_publishers(&self, limits: &Limits) -> bool {
        limits.holds
            && self.is_connected()
            && self.queue.is_fuller_than(4, &limits.queue)
            && !self.waiting_publishers().is_some_and(|waiting| waiting.given_up)
    }

    /// Notes a publisher that begins to wait for this subscriber, if it still has to.
    pub fn await_drain(&mut self, limits: &Limits, publisher: &Arc<Session>, hold: HoldId) -> bool {
        if !self.slows_publishers(limits) {
            return false;
        }
        self.waiting_publishers_mut().publishers.push((Arc::downgrade(publisher), hold));
        true
    }

    /// The publishers that wait no longer, because an eighth of the queue or less is full, or nobody is connected.
    pub fn drained(&mut self, limits: &Limits) -> Vec<(Weak<Session>, HoldId)> {
        if self.is_connected() && self.queue.is_fuller_than(8, &limits.queue) {
            return Vec::new();
        }
        self.take_waiting_publishers().map_or_else(Vec::new, |waiting| waiting.publishers)
    }

    /// Gives the subscriber up: the publishers that wait for it, and no longer do.
    pub fn give_up(&mut self) -> Vec<(Weak<Session>, HoldId)> {
        let waiting = self.waiting_publishers_mut();
        waiting.given_up = true;
        std::mem::take(&mut waiting.publishers)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::{HeldAck, HoldId, Holding};
    use crate::codec::ack::AckKind;
    use crate::codec::packet_id::PacketId;
    use crate::codec::reason::ReasonCode;
    use crate::session::state::Session;
    use crate::time::Time;

    fn hold(
        publisher: &Session,
        slow: Option<&Arc<Session>>,
        until: u64,
    ) -> (Holding, Option<(HoldId, Time)>) {
        let ack = HeldAck { kind: AckKind::Puback, packet_id: PacketId::MIN, reason: ReasonCode::Success };
        let mut outbound = publisher.outbound.lock();
        (outbound.hold_ack(ack, slow, Time::from_millis(until), 6), outbound.time_hold())
    }

    /// How many acknowledgements are sent.
    fn release(publisher: &Session, hold: HoldId) -> usize {
        let mut outbound = publisher.outbound.lock();
        let began = outbound.begin_release(hold);
        std::iter::from_fn(|| outbound.next_held_ack(hold)).filter(|_| began).count()
    }

    /// A subscriber is told of a publisher once, however many acknowledgements wait: it searches no list of publishers.
    #[test]
    fn a_publisher_begins_to_wait_for_each_subscriber_once() {
        let (slow, slower) = (Arc::new(Session::new("slow")), Arc::new(Session::new("slower")));
        let publisher = Session::new("p");
        let hold = |slow: Option<&Arc<Session>>| hold(&publisher, slow, 1).0;
        assert_eq!(hold(None), Holding::No);
        let Holding::Behind(id) = hold(Some(&slow)) else { panic!("it waits") };
        assert_eq!(hold(Some(&slow)), Holding::Waits);
        assert_eq!(hold(Some(&slower)), Holding::Behind(id));
        assert_eq!([hold(Some(&slower)), hold(Some(&slow)), hold(None)], [Holding::Waits; 3]);
        assert_eq!(hold(Some(&slow)), Holding::Full(id));
        assert_eq!(release(&publisher, id), 7, "they wait for nobody");
    }

    /// What waits for a subscriber that is still behind is not sent because another one has caught up.
    #[test]
    fn each_acknowledgement_waits_for_its_own_subscribers_and_for_those_before_it() {
        let (slow, slower) = (Arc::new(Session::new("slow")), Arc::new(Session::new("slower")));
        let publisher = Session::new("p");
        let (Holding::Behind(id), timer) = hold(&publisher, Some(&slow), 10) else { panic!("it waits") };
        assert_eq!(timer, Some((id, Time::from_millis(10))));
        hold(&publisher, None, 11);
        assert_eq!(hold(&publisher, Some(&slower), 12), (Holding::Behind(id), None), "one timer runs");
        hold(&publisher, Some(&slow), 13);
        assert_eq!(release(&publisher, id), 0);
        publisher.outbound.lock().wait_no_longer(id, &slow);
        assert_eq!(release(&publisher, id), 2);
        // The timer of the first is due when the second one is still waited for.
        let mut outbound = publisher.outbound.lock();
        assert!(outbound.overdue(id, Time::from_millis(11)).is_empty());
        assert_eq!(outbound.time_hold(), Some((id, Time::from_millis(12))));
        assert_eq!(outbound.overdue(id, Time::from_millis(12)).len(), 1);
        assert_eq!(outbound.time_hold(), None);
        drop(outbound);
        assert_eq!(release(&publisher, id), 2);
        assert_eq!(publisher.outbound.lock().hold_id(), None);
    }

    /// A timer, or a subscriber that has caught up, is about a wait that has ended meanwhile.
    #[test]
    fn what_ends_one_wait_does_not_end_the_next_one() {
        let slow = Arc::new(Session::new("slow"));
        let publisher = Session::new("p");
        let (Holding::Behind(first), _) = hold(&publisher, Some(&slow), 10) else { panic!("it waits") };
        assert_eq!(publisher.outbound.lock().overdue(first, Time::from_millis(10)).len(), 1);
        // Another thread releases it, and the publisher begins to wait anew.
        assert_eq!(release(&publisher, first), 1);
        let (Holding::Behind(second), _) = hold(&publisher, Some(&slow), 20) else { panic!("it waits") };
        assert!(first != second && release(&publisher, first) == 0);
        publisher.outbound.lock().wait_no_longer(first, &slow);
        assert!(publisher.outbound.lock().overdue(first, Time::from_millis(20)).is_empty());
        assert_eq!(release(&publisher, second), 0, "it waits");
        // A subscriber that is no more keeps nobody.
        drop(slow);
        assert_eq!(release(&publisher, second), 1);
    }
}
