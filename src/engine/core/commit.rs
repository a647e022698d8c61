//! The store commits: acknowledgements that wait for it are sent, and the host learns that its messages are safe.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use smallvec::SmallVec;

use crate::codec::frame;
use crate::codec::qos::QoS;
use crate::codec::version::Version;
use crate::engine::core::commit_wait::{CommitWait, WaitingAck};
use crate::engine::core::durability::{Durability, DurabilityWaiter};
use crate::engine::core::state::Engine;
use crate::engine::core::turn::Turn;
use crate::engine::parts::attached::AttachedConnection;
use crate::storage::Ticket;

/// The packet type of PUBACK.
const PUBACK: u8 = 4;

impl Engine {
    /// Sends an acknowledgement when everything recorded so far is committed; never before an older one of the
    /// same connection [MQTT-4.6.0-2], [MQTT3-4.6.0-2], [MQTT-4.6.0-3], [MQTT3-4.6.0-3].
    pub(crate) fn send_when_safe(
        &self,
        turn: &mut Turn,
        attached: &AttachedConnection,
        encode: impl FnOnce(Version, &mut Vec<u8>),
    ) {
        let ticket = self.store.ticket();
        let mut outbound = attached.session.outbound.lock();
        if outbound.epoch() != attached.epoch {
            return;
        }
        if ticket == Ticket::Committed && !outbound.awaits_commit() {
            let flush = outbound.send(&mut self.context(turn, &attached.session), encode);
            drop(outbound);
            if flush {
                turn.flush_later(&attached.session);
            }
            return;
        }
        let mut packet = Vec::new();
        encode(attached.version, &mut packet);
        outbound.await_commit();
        if is_puback(&packet) {
            attached.session.unacknowledged.fetch_add(1, Ordering::Relaxed);
        }
        drop(outbound);
        let mut commit_wait = self.commit_wait.lock();
        let ticket = match ticket {
            Ticket::Pending(number) => number,
            // It only waits behind older ones.
            Ticket::Committed => 0,
        };
        commit_wait.waiting.push_back(WaitingAck {
            ticket,
            session: Arc::downgrade(&attached.session),
            epoch: attached.epoch,
            is_puback: is_puback(&packet),
            packet: SmallVec::from_vec(packet),
        });
        // The commit may have been told since the ticket was given.
        self.release(turn, &mut commit_wait);
    }

    /// The store has committed everything up to `ticket`: what waited for it is sent.
    pub fn committed(&self, turn: &mut Turn, ticket: u64) {
        let mut commit_wait = self.commit_wait.lock();
        commit_wait.committed = commit_wait.committed.max(ticket);
        release_waiters(turn, &mut commit_wait);
        self.release(turn, &mut commit_wait);
    }

    /// Has `waiter` told when the store has committed everything up to `ticket`.
    pub(crate) fn add_commit_waiter(&self, turn: &mut Turn, ticket: u64, waiter: Arc<dyn DurabilityWaiter>) {
        let mut commit_wait = self.commit_wait.lock();
        if commit_wait.closed {
            return turn.tell_later(waiter, Durability::Stopped);
        }
        commit_wait.next += 1;
        let key = (ticket, commit_wait.next);
        commit_wait.waiters.insert(key, waiter);
        // The commit may have been told since the ticket was given.
        release_waiters(turn, &mut commit_wait);
    }

    /// Tells everybody in the host who waits, now and from now on, that the broker has stopped.
    pub fn forget_waiters(&self, turn: &mut Turn) {
        let mut commit_wait = self.commit_wait.lock();
        commit_wait.closed = true;
        for waiter in std::mem::take(&mut commit_wait.waiters).into_values() {
            turn.tell_later(waiter, Durability::Stopped);
        }
    }

    /// Sends what waits for nothing any more. The lock is held meanwhile, so that nobody overtakes.
    fn release(&self, turn: &mut Turn, commit_wait: &mut CommitWait) {
        let committed = commit_wait.committed;
        while commit_wait.waiting.front().is_some_and(|first| first.ticket <= committed) {
            let Some(next) = commit_wait.waiting.pop_front() else {
                break;
            };
            let Some(session) = next.session.upgrade() else {
                continue;
            };
            let mut outbound = session.outbound.lock();
            if next.is_puback && outbound.epoch() == next.epoch {
                session.unacknowledged.fetch_sub(1, Ordering::Relaxed);
            }
            let flush = outbound.commit_done(&mut self.context(turn, &session), next.epoch, &next.packet);
            drop(outbound);
            if flush {
                turn.flush_later(&session);
            }
        }
        if commit_wait.waiting.is_empty() {
            commit_wait.waiting = VecDeque::new();
        }
    }
}

impl Engine {
    /// Has `waiter` told when everything that this thread has recorded so far is committed; of QoS 0, which promises
    /// nothing, at the end of this turn.
    pub fn tell_when_safe(&self, turn: &mut Turn, qos: QoS, waiter: Arc<dyn DurabilityWaiter>) {
        let ticket = if qos == QoS::AtMostOnce { Ticket::Committed } else { self.store.ticket() };
        match ticket {
            Ticket::Committed => turn.tell_later(waiter, Durability::Yes),
            Ticket::Pending(ticket) => self.add_commit_waiter(turn, ticket, waiter),
        }
    }
}

/// Has those told for whom everything is committed.
fn release_waiters(turn: &mut Turn, commit_wait: &mut CommitWait) {
    let committed = commit_wait.committed;
    while let Some(first) = commit_wait.waiters.first_entry().filter(|first| first.key().0 <= committed) {
        turn.tell_later(first.remove(), Durability::Yes);
    }
}

/// Whether an encoded packet is a PUBACK.
fn is_puback(packet: &[u8]) -> bool {
    packet.first().is_some_and(|first| frame::packet_type(*first) == PUBACK)
}
