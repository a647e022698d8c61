//! Retained messages for new subscriptions: what a session has still to be sent, and how far it has come.
//!
//! A subscription whose retained messages are being sent holds a position in the store, and no messages. A message leaves
//! the store when there is room for it, and is what is retained at that moment. These messages have places of their own:
//! up to `AHEAD_BYTES` of the outbox, and `AHEAD_MESSAGES` behind what waits in the queue. So they take no other
//! message's place, and no other message keeps them back for good.

use std::collections::VecDeque;
use std::sync::Arc;

use hashbrown::{HashMap, HashSet};

use crate::codec::qos::QoS;
use crate::message::Publication;
use crate::session::delivery::{Context, DeliveryOptions, Limits, Outcome};
use crate::session::outbound::Outbound;
use crate::session::pending::Pending;
use crate::session::plan::Plan;

/// Bytes of retained messages in an outbox from which on no more are added.
const AHEAD_BYTES: usize = 64 * 1024;
/// Retained messages that wait in a queue at most.
const AHEAD_MESSAGES: usize = 16;
/// Messages that are taken from the store at once at most.
const STEP: usize = 32;

/// How far a walk has come.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum WalkPosition {
    /// Nothing is sent.
    #[default]
    Start,
    /// The store's messages before this position are sent.
    Stored(Box<[u8]>),
    /// The store's messages are sent, and this many of those that the broker makes itself.
    Own(usize),
}

/// The way of a subscription through the retained messages.
#[derive(Clone, Debug)]
pub struct RetainedWalk {
    /// The Topic Filter.
    pub filter: Arc<str>,
    /// The QoS of the subscription.
    pub qos: QoS,
    /// Its Subscription Identifier; 0 is none.
    pub identifier: u32,
    /// How far the walk has come.
    pub position: WalkPosition,
}

/// The walks of a session, one after the other. At most one for each subscription.
#[derive(Debug, Default)]
pub struct RetainedWalks {
    /// The one that has begun, or begins next.
    current: Option<RetainedWalk>,
    /// The others, by filter: QoS and Subscription Identifier.
    waiting: HashMap<Arc<str>, (QoS, u32)>,
    /// Their order. Filters that wait no longer may be in it.
    order: VecDeque<Arc<str>>,
}

impl RetainedWalks {
    /// Adds a walk that begins at the start, in place of one for the same filter.
    pub fn add(&mut self, filter: &Arc<str>, qos: QoS, identifier: u32) {
        self.current.take_if(|current| current.filter == *filter);
        if self.current.is_none() && self.waiting.is_empty() {
            // Most often it is the only one.
            let (filter, position) = (Arc::clone(filter), WalkPosition::Start);
            self.current = Some(RetainedWalk { filter, qos, identifier, position });
            return;
        }
        if self.waiting.insert(Arc::clone(filter), (qos, identifier)).is_none() {
            self.order.push_back(Arc::clone(filter));
            self.tidy();
        }
    }

    /// Gives up the walk for a filter.
    pub fn remove(&mut self, filter: &str) {
        self.current.take_if(|current| *current.filter == *filter);
        self.waiting.remove(filter);
        self.tidy();
    }

    /// The walk that goes on next.
    pub fn current(&mut self) -> Option<&mut RetainedWalk> {
        while self.current.is_none() {
            let filter = self.order.pop_front()?;
            if let Some((qos, identifier)) = self.waiting.remove(&filter) {
                self.current = Some(RetainedWalk { filter, qos, identifier, position: WalkPosition::Start });
            }
        }
        self.current.as_mut()
    }

    /// The current walk has come to another position.
    pub fn put(&mut self, walk: RetainedWalk) {
        self.current = Some(walk);
    }

    /// The current walk is at its end.
    pub fn finish(&mut self) {
        self.current = None;
    }

    /// How many walks are not at their end.
    pub fn len(&self) -> usize {
        usize::from(self.current.is_some()) + self.waiting.len()
    }

    /// Whether every walk is at its end.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Forgets the filters that wait no longer, before they are more than those that do.
    fn tidy(&mut self) {
        if self.order.len() > 2 * self.waiting.len() + AHEAD_MESSAGES {
            let mut seen = HashSet::new();
            let waiting = &self.waiting;
            self.order.retain(|filter| waiting.contains_key(filter) && seen.insert(Arc::clone(filter)));
        }
    }
}

impl Outbound {
    /// Adds a walk through the retained messages, for a new subscription.
    pub fn begin_walk(&mut self, filter: &Arc<str>, qos: QoS, identifier: u32) {
        self.walks_mut().add(filter, qos, identifier);
    }

    /// Gives up the walk of a subscription that has ended. Whether any walk is left.
    pub fn give_up_walk(&mut self, filter: &str) -> bool {
        self.walks_mut().remove(filter);
        self.keep_walks()
    }

    /// The walk that goes on next, and how many retained messages there is room for now. `None`: there is no walk, or no
    /// room.
    pub fn next_walk(&mut self, limits: &Limits) -> Option<(&mut RetainedWalk, usize)> {
        let room = self.room_to_walk(limits);
        if room == 0 {
            return None;
        }
        Some((self.walks_mut().current()?, room))
    }

    /// The current walk has come to another position.
    pub fn put_walk(&mut self, walk: RetainedWalk) {
        self.walks_mut().put(walk);
    }

    /// The current walk is at its end.
    pub fn finish_walk(&mut self) {
        self.walks_mut().finish();
    }

    /// How many retained messages may be sent or queued now.
    fn room_to_walk(&self, limits: &Limits) -> usize {
        if !self.is_connected() || self.is_ahead(limits) {
            return 0;
        }
        let places = AHEAD_MESSAGES.saturating_sub(self.queue.walked());
        match self.is_ready(limits) {
            true => STEP,
            // Few places are not worth a look into the store.
            false if places < AHEAD_MESSAGES / 2 => 0,
            false => places,
        }
    }

    /// Whether the outbox holds enough retained messages.
    fn is_ahead(&self, limits: &Limits) -> bool {
        self.outbox.walked() >= AHEAD_BYTES.min(limits.outbox_bytes)
    }

    /// Sends a retained message, or lets it wait behind what waits. `None`: there is no room for it.
    pub fn deliver_walked(
        &mut self,
        cx: &mut Context<'_>,
        publication: &mut Publication<'_>,
        options: &DeliveryOptions<'_>,
    ) -> Option<Outcome> {
        if self.is_ahead(cx.limits) {
            return None;
        }
        match self.plan(cx.limits, options.qos) {
            Plan::Send => {
                let before = self.outbox.len();
                let outcome = self.deliver(cx, publication, options);
                self.outbox.add_walked(self.outbox.len() - before);
                Some(outcome)
            }
            Plan::Queue if self.queue.walked() < AHEAD_MESSAGES => {
                let mut pending = Pending::new(cx.pool, publication, options);
                pending.walked = true;
                self.queue.push_unbounded(pending);
                self.record_queued(cx);
                cx.queue_changed(0, 1);
                Some(Outcome::Queued)
            }
            Plan::Queue | Plan::Drop(_) => None,
        }
    }
}
