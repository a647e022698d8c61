//! Acknowledgements that wait because a subscriber of their messages is behind, and the subscriber they wait for.
//!
//! A publisher whose acknowledgements wait fills its window and pauses. So a connected subscriber that drains its queue
//! slows its publishers before a message that is acknowledged is dropped. One that does not drain is given up after
//! `session.publisher_hold`, until its queue is short again.

use std::collections::VecDeque;
use std::sync::{Arc, Weak};

use smallvec::SmallVec;

use crate::codec::ack::{Ack, AckKind};
use crate::codec::packet_id::PacketId;
use crate::codec::properties::Properties;
use crate::codec::reason::ReasonCode;
use crate::session::delivery::Limits;
use crate::session::epoch::Epoch;
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
    acks: VecDeque<HeldAck>,
    /// When they wait no longer.
    until: Time,
    /// The subscribers that they wait for.
    behind: SmallVec<[Weak<Session>; 1]>,
    /// Whether a thread sends them, one by one.
    releasing: bool,
}

/// The publishers that wait for a subscriber.
#[derive(Debug, Default)]
pub struct WaitingPublishers {
    publishers: Vec<(Weak<Session>, Epoch)>,
    /// Whether the subscriber was given up: nobody waits for it until its queue is short.
    given_up: bool,
}

/// What became of an acknowledgement that may have to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holding {
    /// It does not have to wait.
    No,
    /// It waits, the first of its connection: the caller sets a timer for the time given.
    Began,
    /// It waits behind others, for one more subscriber.
    Behind,
    /// It waits behind others, for subscribers that those wait for.
    Waits,
    /// It waits behind as many as may wait: the caller releases them.
    Full,
}

/// The publisher's side.
impl Outbound {
    /// Lets an acknowledgement wait for `slow`, or behind those that wait already. At most `most` wait.
    pub fn hold_ack(
        &mut self,
        ack: HeldAck,
        slow: Option<&Arc<Session>>,
        until: Time,
        most: usize,
    ) -> Holding {
        let held = self.held_acks_mut();
        let Some(held) = held else {
            let Some(slow) = slow else {
                return Holding::No;
            };
            let behind = SmallVec::from_elem(Arc::downgrade(slow), 1);
            let acks = VecDeque::from([ack]);
            self.set_held_acks(Some(Box::new(HeldAcks { acks, until, behind, releasing: false })));
            return Holding::Began;
        };
        held.acks.push_back(ack);
        if held.acks.len() > most {
            return Holding::Full;
        }
        match slow.filter(|slow| !held.behind.iter().any(|one| one.as_ptr() == Arc::as_ptr(slow))) {
            Some(slow) => {
                held.behind.push(Arc::downgrade(slow));
                Holding::Behind
            }
            None => Holding::Waits,
        }
    }

    /// The subscribers for which acknowledgements of the connection `epoch` have waited long enough at `now`.
    pub fn overdue(&mut self, epoch: Epoch, now: Time) -> SmallVec<[Weak<Session>; 1]> {
        let current = self.epoch() == epoch;
        match self.held_acks_mut() {
            Some(held) if current && held.until <= now => std::mem::take(&mut held.behind),
            _ => SmallVec::new(),
        }
    }

    /// Begins to release the acknowledgements of the connection `epoch`; false if there are none, or if another thread
    /// does so.
    pub fn begin_release(&mut self, epoch: Epoch) -> bool {
        let current = self.epoch() == epoch;
        self.held_acks_mut().is_some_and(|held| current && !std::mem::replace(&mut held.releasing, true))
    }

    /// The next acknowledgement to be sent. `None`: all are, and others do not have to wait behind them.
    pub fn next_held_ack(&mut self, epoch: Epoch) -> Option<HeldAck> {
        let next = match self.epoch() == epoch {
            true => self.held_acks_mut()?.acks.pop_front(),
            false => return None,
        };
        if next.is_none() {
            self.set_held_acks(None);
        }
        next
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
    pub fn await_drain(&mut self, limits: &Limits, publisher: &Arc<Session>, epoch: Epoch) -> bool {
        if !self.slows_publishers(limits) {
            return false;
        }
        self.waiting_publishers_mut().publishers.push((Arc::downgrade(publisher), epoch));
        true
    }

    /// The publishers that wait no longer, because an eighth of the queue or less is full, or nobody is connected.
    pub fn drained(&mut self, limits: &Limits) -> Vec<(Weak<Session>, Epoch)> {
        if self.is_connected() && self.queue.is_fuller_than(8, &limits.queue) {
            return Vec::new();
        }
        self.take_waiting_publishers().map_or_else(Vec::new, |waiting| waiting.publishers)
    }

    /// Gives the subscriber up: the publishers that wait for it, and no longer do.
    pub fn give_up(&mut self) -> Vec<(Weak<Session>, Epoch)> {
        let waiting = self.waiting_publishers_mut();
        waiting.given_up = true;
        std::mem::take(&mut waiting.publishers)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::{HeldAck, Holding};
    use crate::codec::ack::AckKind;
    use crate::codec::packet_id::PacketId;
    use crate::codec::reason::ReasonCode;
    use crate::session::state::Session;
    use crate::time::Time;

    /// A subscriber is told of a publisher once, however many acknowledgements wait: it searches no list of publishers.
    #[test]
    fn a_publisher_begins_to_wait_for_each_subscriber_once() {
        let (slow, slower) = (Arc::new(Session::new("slow")), Arc::new(Session::new("slower")));
        let publisher = Session::new("p");
        let mut outbound = publisher.outbound.lock();
        let mut hold = |slow: Option<&Arc<Session>>| {
            let ack =
                HeldAck { kind: AckKind::Puback, packet_id: PacketId::MIN, reason: ReasonCode::Success };
            outbound.hold_ack(ack, slow, Time::ZERO, 6)
        };
        assert_eq!(hold(None), Holding::No);
        assert_eq!(hold(Some(&slow)), Holding::Began);
        assert_eq!(hold(Some(&slow)), Holding::Waits);
        assert_eq!(hold(Some(&slower)), Holding::Behind);
        assert_eq!([hold(Some(&slower)), hold(Some(&slow)), hold(None)], [Holding::Waits; 3]);
        assert_eq!(hold(Some(&slow)), Holding::Full);
    }
}
