//! Retained messages for new subscriptions, at the pace of their subscriber [MQTT-3.3.1-9], [MQTT3-3.3.1-6].
//!
//! A walk goes through the store as far as there is room, and goes on when there is room again: when a client has
//! acknowledged or its connection has taken what waits, when a consumer of the same process has taken messages. A message
//! is read from the store and delivered under one lock of its subscriber, which live messages take as well. So no
//! subscriber sees an older retained message of a topic after a newer one.

use std::sync::Arc;

use crate::codec::topic::TopicFilter;
use crate::engine::core::state::Engine;
use crate::engine::core::turn::Turn;
use crate::engine::parts::sink::{Local, LocalWalk, bytes_of};
use crate::message::{Publication, SharedMessage};
use crate::session::delivery::{DeliveryOptions, Outcome};
use crate::session::outbound::Outbound;
use crate::session::plan::Sizes;
use crate::session::retained_walks::{RetainedWalk, WalkPosition};
use crate::session::state::Session;
use crate::stats::DropReason;
use crate::storage::SessionChange;
use crate::topics::Retained;

/// Retained messages that one step of a walk looks at.
const LOOKS: usize = 1024;
/// Messages for the host that are taken from the store at once.
const LOCAL_STEP: usize = 32;

/// How far a step of a walk came.
struct Step {
    /// Where the walk goes on; `None`: it is at its end.
    position: Option<WalkPosition>,
    /// Whether there was no room for a message.
    is_full: bool,
}

impl Engine {
    /// Sends a session the retained messages that there is room for. Whether the caller has to see to the flush.
    #[cold]
    pub(crate) fn walk_retained(&self, turn: &mut Turn, session: &Arc<Session>) -> bool {
        let limits = &self.options.limits;
        let mut own: Option<(Arc<str>, Vec<SharedMessage>)> = None;
        let mut dropped: Vec<(SharedMessage, DropReason)> = Vec::new();
        let mut outbound = session.outbound.lock();
        while let Some((walk, room)) = outbound.next_walk(limits) {
            if turn.has_done_enough() {
                outbound.link().into_iter().for_each(|link| link.wake());
                break;
            }
            let mut walk = walk.clone();
            // Another thread may have gone on with the walks while the lock was given back.
            let of_walk =
                own.as_ref().filter(|(filter, _)| *filter == walk.filter).map(|(_, own)| own.as_slice());
            if matches!(walk.position, WalkPosition::Own(_)) && of_walk.is_none() {
                // Not under the lock: the counters that these messages tell have locks of their own.
                drop(outbound);
                own = Some((Arc::clone(&walk.filter), self.own_messages(turn, &walk.filter)));
                outbound = session.outbound.lock();
                continue;
            }
            let found = self.walk_step(turn, &walk.filter, &walk.position, of_walk, room);
            let step = match found {
                None => Step { position: None, is_full: false },
                Some((found, next)) => {
                    let deliver = |turn: &mut Turn, message: &SharedMessage| {
                        self.deliver_walked(turn, session, &mut outbound, &walk, message, &mut dropped)
                    };
                    Engine::deliver_step(turn, found, &walk.position, next, deliver)
                }
            };
            match step.position {
                Some(position) => {
                    walk.position = position;
                    outbound.put_walk(walk);
                }
                None => {
                    own = None;
                    outbound.finish_walk();
                    if outbound.is_kept() {
                        let sent = SessionChange::RetainedSent { filter: &walk.filter };
                        self.recorder.session(turn.now, &session.client_id, sent);
                    }
                }
            }
            if step.is_full {
                break;
            }
        }
        session.set_walks(outbound.keep_walks());
        let flush = outbound.list_for_flush();
        Engine::note_holds(turn, session, &mut outbound);
        drop(outbound);
        for (message, reason) in dropped {
            self.dropped(turn, Some(&session.client_id), message.topic_bytes(), reason);
        }
        flush
    }

    /// The next messages of a walk, and where it goes on behind them. `None`: it is at its end.
    fn walk_step(
        &self,
        turn: &mut Turn,
        filter: &str,
        position: &WalkPosition,
        own: Option<&[SharedMessage]>,
        room: usize,
    ) -> Option<(Vec<SharedMessage>, Option<WalkPosition>)> {
        let filter = TopicFilter::parse(filter).ok()?;
        let mut found = std::mem::take(&mut turn.found);
        found.clear();
        let from = match position {
            WalkPosition::Own(sent) => {
                found.extend(own.unwrap_or_default().iter().skip(*sent).cloned());
                return Some((found, None));
            }
            WalkPosition::Start => None,
            WalkPosition::Stored(key) => Some(&**key),
        };
        let mut entries = LOOKS;
        let next = self.retained.step(&filter, from, room, &mut entries, &mut found);
        turn.work += LOOKS - entries + found.len();
        let next = match next {
            Some(key) => Some(WalkPosition::Stored(key)),
            None => filter.filter().starts_with("$SYS/").then_some(WalkPosition::Own(0)),
        };
        Some((found, next))
    }

    /// Delivers the messages of a step with `deliver`, which says whether there was room.
    fn deliver_step(
        turn: &mut Turn,
        mut found: Vec<SharedMessage>,
        position: &WalkPosition,
        next: Option<WalkPosition>,
        mut deliver: impl FnMut(&mut Turn, &SharedMessage) -> bool,
    ) -> Step {
        let mut step = Step { position: next, is_full: false };
        for (index, message) in found.iter().enumerate() {
            if message.is_expired(turn.now) || deliver(turn, message) {
                continue;
            }
            let position = match position {
                WalkPosition::Own(sent) => WalkPosition::Own(sent + index),
                _ => WalkPosition::Stored(Retained::<SharedMessage>::position(message.topic())),
            };
            step = Step { position: Some(position), is_full: true };
            break;
        }
        found.clear();
        turn.found = found;
        step
    }

    /// Delivers a retained message to a client; whether there was room.
    fn deliver_walked(
        &self,
        turn: &mut Turn,
        session: &Arc<Session>,
        outbound: &mut Outbound,
        walk: &RetainedWalk,
        message: &SharedMessage,
        dropped: &mut Vec<(SharedMessage, DropReason)>,
    ) -> bool {
        if !self.may_receive(session, outbound, message.topic_bytes()) {
            return true;
        }
        let identifiers: &[u32] = if walk.identifier == 0 { &[] } else { &[walk.identifier] };
        // [MQTT3-3.3.1-8]: RETAIN is set on what a new subscription gets.
        let qos = message.qos().min(walk.qos);
        let options = DeliveryOptions { qos, retain: true, identifiers, share: None };
        let before = turn.counts.messages_delivered;
        let mut publication = Publication::of(message);
        let outcome = outbound.deliver_walked(&mut self.context(turn, session), &mut publication, &options);
        if matches!(walk.position, WalkPosition::Own(_)) {
            // The broker's own topics are no application messages.
            turn.counts.messages_delivered = before;
        }
        match outcome {
            None => return false,
            Some(Outcome::Dropped(reason)) => dropped.push((Arc::clone(message), reason)),
            Some(Outcome::Sent | Outcome::Queued | Outcome::Overflowed(_)) => {}
        }
        true
    }

    /// The messages below `$SYS` that match a filter, as if they were retained.
    fn own_messages(&self, turn: &Turn, filter: &str) -> Vec<SharedMessage> {
        let mut own = Vec::new();
        if let Ok(filter) = TopicFilter::parse(filter) {
            self.sys_messages_for(turn.now, &filter, &mut own);
        }
        own
    }

    /// Pushes the retained messages that there is room for to an in-process subscriber. The rest follows when the sink has
    /// room again: then its owner calls this.
    pub fn walk_retained_local(&self, turn: &mut Turn, local: &Arc<Local>) {
        let own = if local.filter().starts_with("$SYS/") {
            self.own_messages(turn, local.filter())
        } else {
            Vec::new()
        };
        let mut guard = local.walk();
        while let Some(walk) = &mut *guard {
            let found = self.walk_step(turn, local.filter(), &walk.position, Some(&own), LOCAL_STEP);
            let step = match found {
                None => Step { position: None, is_full: false },
                Some((found, next)) => {
                    let deliver = |turn: &mut Turn, message: &SharedMessage| {
                        self.push_walked(turn, local, walk, message)
                    };
                    Engine::deliver_step(turn, found, &walk.position, next, deliver)
                }
            };
            match step.position {
                Some(position) => walk.position = position,
                None => {
                    *guard = None;
                    local.set_walks(false);
                }
            }
            if step.is_full && local.awaits_room() {
                break;
            }
        }
    }

    /// Pushes a retained message to an in-process subscriber; whether there was room.
    fn push_walked(
        &self,
        turn: &mut Turn,
        local: &Arc<Local>,
        walk: &LocalWalk,
        message: &SharedMessage,
    ) -> bool {
        let mut publication = Publication::of(message);
        let identifiers: &[u32] = if walk.identifier == 0 { &[] } else { &[walk.identifier] };
        let sizes = Sizes::of(&publication);
        let bytes = bytes_of(sizes.topic, sizes.properties, sizes.payload, identifiers.len());
        if !local.has_room_to_walk(bytes) {
            return false;
        }
        let qos = message.qos().min(walk.qos);
        self.push_now(turn, local, &mut publication, qos, true, identifiers);
        true
    }
}
