//! Delivery of a message to its subscribers.

use std::sync::Arc;

use crate::codec::qos::QoS;
use crate::codec::reason::ReasonCode;
use crate::codec::topic::{TopicFilter, TopicName};
use crate::codec::version::Version;
use crate::engine::core::state::Engine;
use crate::engine::core::turn::Turn;
use crate::engine::parts::granted::{Granted, Identifiers};
use crate::engine::parts::sink::{Local, LocalMessage, bytes_of};
use crate::engine::parts::subscriber::{Publisher, Subscriber};
use crate::message::{Publication, SharedMessage};
use crate::session::delivery::{Context, DeliveryOptions, Outcome};
use crate::session::link::Cause;
use crate::session::pending::Pending;
use crate::session::plan::{Foreseen, Sizes};
use crate::session::queue::Room;
use crate::session::state::Session;
use crate::stats::DropReason;
use crate::time::Time;
use crate::topics::Identity;
use crate::topics::{Group, Match, Readiness};

/// Whom a message has reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reach {
    /// The subscribers that it was given to, whatever has become of it there.
    pub subscribers: usize,
    /// Whether a subscription matches, perhaps only one of the publisher that No Local keeps it from.
    pub matched: bool,
}

impl Engine {
    /// Gives a message to every matching subscriber.
    pub(crate) fn route(
        &self,
        turn: &mut Turn,
        publisher: Publisher<'_>,
        topic: TopicName<'_>,
        publication: &mut Publication<'_>,
    ) -> Reach {
        let taken = turn.cache.take(&self.router, topic);
        let matches = &taken.matches;
        turn.work += matches.len();
        let mut reached = 0;
        // [MQTT-3.3.4-2], [MQTT3-3.3.5-1]: overlapping subscriptions of one client get one message, of the highest
        // QoS and with every identifier [MQTT-3.3.4-3], [MQTT-3.3.4-4].
        for group in matches.direct.chunk_by(|a, b| a.subscriber.identity() == b.subscriber.identity()) {
            reached += usize::from(self.deliver(turn, publisher, publication, group, None));
        }
        // Each shared subscription gets a separate copy, with its own identifier [MQTT-3.3.4-5].
        for shared in &matches.shared {
            reached += usize::from(self.deliver_shared(turn, publisher, publication, &shared.group));
        }
        let matched = reached > 0 || !matches.direct.is_empty() || !matches.shared.is_empty();
        turn.cache.give_back(taken);
        Reach { subscribers: reached, matched }
    }

    /// Delivers to exactly one member of a group, whatever the outcome [MQTT-4.8.2-5], [MQTT-4.8.2-6]; false if the
    /// group has no member.
    pub(crate) fn deliver_shared(
        &self,
        turn: &mut Turn,
        publisher: Publisher<'_>,
        publication: &mut Publication<'_>,
        group: &Group<Subscriber>,
    ) -> bool {
        let (sizes, stored, topic) = (Sizes::of(publication), publication.stored_size(), publication.topic);
        // A member whose session ended after it was picked has left the group first, so it is not picked again.
        let qos = publication.qos;
        loop {
            let work = &mut turn.work;
            let picked = group.pick(|member| {
                *work += 1;
                self.readiness(publisher, topic, &sizes, stored, qos, member)
            });
            let Some(picked) = picked else { return false };
            if !self.may_have(&picked.subscriber, topic) {
                return false; // Nor may any other member.
            }
            if picked.options.no_local && publisher.is(&picked.subscriber) {
                return false; // Only the host can do so; for clients it is an error [MQTT-3.8.3-4].
            }
            let picked = std::slice::from_ref(&picked);
            if self.deliver(turn, publisher, publication, picked, Some(group.filter())) {
                return true;
            }
        }
    }

    /// How ready a member of a shared subscription is for a message of `stored` bytes that is published with this QoS. Expired messages
    /// in its queue count: they are removed when a message is added, not for each member that is considered.
    pub(crate) fn readiness(
        &self,
        publisher: Publisher<'_>,
        topic: &[u8],
        sizes: &Sizes,
        stored: usize,
        qos: QoS,
        member: &Match<Subscriber>,
    ) -> Readiness {
        if !self.may_have(&member.subscriber, topic) {
            return Readiness::Barred;
        }
        let own = publisher.is(&member.subscriber);
        let mut identifiers = Identifiers::new();
        let held = std::slice::from_ref(member);
        let Some(granted) = Granted::by(held, own, qos, false, &mut identifiers) else {
            return Readiness::Full; // No Local: another member should get the message.
        };
        let stored = stored + Pending::options_size(identifiers.len(), true);
        let foreseen = self.foresee(Time::ZERO, &member.subscriber, sizes, stored, granted.qos, &identifiers);
        match foreseen.outcome {
            _ if foreseen.displaces => Readiness::Full,
            Outcome::Sent => Readiness::Ready,
            Outcome::Queued if foreseen.away => Readiness::Absent,
            Outcome::Queued => Readiness::Busy,
            Outcome::Dropped(_) | Outcome::Overflowed(_) => Readiness::Full,
        }
    }

    /// Predicts the delivery of a message that takes `stored` bytes with its options.
    pub(crate) fn foresee(
        &self,
        now: Time,
        subscriber: &Subscriber,
        sizes: &Sizes,
        stored: usize,
        qos: QoS,
        identifiers: &[u32],
    ) -> Foreseen {
        match subscriber {
            Subscriber::Session(session) => {
                let outbound = session.outbound.lock();
                let limits = &self.options.limits;
                outbound.foresee(limits, now, sizes, stored, qos, identifiers)
            }
            Subscriber::Local(local) => {
                let identifiers = identifiers.len();
                let room = local.room(bytes_of(sizes.topic, sizes.properties, sizes.payload, identifiers));
                let outcome = match room {
                    Room::Free | Room::Displacing => Outcome::Sent,
                    Room::None => Outcome::Dropped(DropReason::LocalQueueFull),
                };
                Foreseen { outcome, displaces: room == Room::Displacing, away: false }
            }
        }
    }

    /// Delivers to one subscriber, through its matching `subscriptions`. False if No Local excludes it, if it may not
    /// receive the message, or if it is a member of a group whose session has just ended.
    pub(crate) fn deliver(
        &self,
        turn: &mut Turn,
        publisher: Publisher<'_>,
        publication: &mut Publication<'_>,
        subscriptions: &[Match<Subscriber>],
        share: Option<&Arc<str>>,
    ) -> bool {
        let Some(first) = subscriptions.first() else {
            return false;
        };
        let own = publisher.is(&first.subscriber);
        let (published, retain) = (publication.qos, publication.retain);
        let mut identifiers = Identifiers::new();
        let Some(granted) = Granted::by(subscriptions, own, published, retain, &mut identifiers) else {
            return false;
        };
        let Granted { qos, retain } = granted;
        match &first.subscriber {
            Subscriber::Session(session) => {
                let options = DeliveryOptions { qos, retain, identifiers: &identifiers, share };
                return self.send_message(turn, session, publication, &options);
            }
            Subscriber::Local(local) => {
                self.push_local(turn, local, publication, qos, retain, &identifiers);
            }
        }
        true
    }

    fn send_message(
        &self,
        turn: &mut Turn,
        session: &Arc<Session>,
        publication: &mut Publication<'_>,
        options: &DeliveryOptions<'_>,
    ) -> bool {
        let mut outbound = session.outbound.lock();
        if !self.may_receive(session, &mut outbound, publication.topic) {
            return false;
        }
        // [MQTT-4.5.0-1], [MQTT3-4.5.0-1], [MQTT3-3.1.2-5]
        let outcome = outbound.deliver(&mut self.context(turn, session), publication, options);
        let flush = outbound.list_for_flush();
        let slow = outcome != Outcome::Sent && outbound.slows_publishers(&self.options.limits);
        Engine::note_holds(turn, session, &mut outbound);
        drop(outbound);
        if flush {
            turn.flush_later(session);
        }
        if slow && publication.qos > QoS::AtMostOnce {
            turn.slow = Some(Arc::clone(session));
        }
        let client_id = Some(&*session.client_id);
        match outcome {
            Outcome::Sent | Outcome::Queued => {}
            Outcome::Dropped(DropReason::SessionEnded) if options.share.is_some() => return false,
            Outcome::Dropped(reason) => self.dropped(turn, client_id, publication.topic, reason),
            Outcome::Overflowed(epoch) => {
                self.dropped(turn, client_id, publication.topic, DropReason::QueueFull);
                self.disconnect_later(session, epoch, Cause::Refused(ReasonCode::QuotaExceeded));
            }
        }
        true
    }

    /// Gives a message to the host program.
    fn push_local(
        &self,
        turn: &mut Turn,
        local: &Arc<Local>,
        publication: &mut Publication<'_>,
        qos: QoS,
        retain: bool,
        identifiers: &[u32],
    ) {
        // While retained messages are pushed, none of them comes behind a newer one of its topic.
        let _in_order = (publication.retain && local.walks()).then(|| local.walk());
        self.push_now(turn, local, publication, qos, retain, identifiers);
    }

    /// The same; the caller sees to the order.
    pub(crate) fn push_now(
        &self,
        turn: &mut Turn,
        local: &Arc<Local>,
        publication: &mut Publication<'_>,
        qos: QoS,
        retain: bool,
        identifiers: &[u32],
    ) {
        let shared = publication.shared_payload();
        let message = LocalMessage {
            topic: publication.topic,
            payload: publication.payload,
            shared,
            properties: &publication.properties,
            qos,
            retain,
            identifiers,
            expiry_interval: publication.expiry_interval(turn.now),
        };
        if local.push(&message) {
            turn.counts.messages_delivered += 1;
        } else {
            self.dropped(turn, None, publication.topic, DropReason::LocalQueueFull);
        }
        if local.list_for_wake(turn.number()) {
            turn.wake_later(local);
        }
    }

    /// The retained messages that match a filter and have not expired at `now`, and those of `$SYS`, as if they were
    /// retained.
    pub fn retained_messages(&self, now: Time, filter: &TopicFilter<'_>) -> Vec<SharedMessage> {
        let mut found = Vec::new();
        self.retained.collect(filter, &mut found);
        found.retain(|message| !message.is_expired(now));
        self.sys_messages_for(now, filter, &mut found);
        found
    }

    /// Sends a packet other than PUBLISH to a session's client.
    pub(crate) fn send(
        &self,
        turn: &mut Turn,
        session: &Arc<Session>,
        encode: impl FnOnce(Version, &mut Vec<u8>),
    ) {
        let flush = session.outbound.lock().send(&mut self.context(turn, session), encode);
        if flush {
            turn.flush_later(session);
        }
    }

    pub(crate) fn context<'c>(&'c self, turn: &'c mut Turn, session: &'c Session) -> Context<'c> {
        Context {
            now: turn.now,
            pool: &mut turn.pool,
            counts: &mut turn.counts,
            gauges: &self.counters,
            limits: &self.options.limits,
            client_id: &session.client_id,
            events: &mut turn.events,
            reported: self.reported(),
            recorder: &self.recorder,
        }
    }
}
