//! Acknowledgements that wait until the store has committed what they stand for.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};

use smallvec::SmallVec;

use crate::codec::frame;
use crate::codec::version::Version;
use crate::engine::connection::packets::AttachedConnection;
use crate::engine::core::durability::{Durability, DurabilityWaiter};
use crate::engine::core::state::Engine;
use crate::engine::core::turn::Turn;
use crate::session::state::Session;
use crate::storage::Ticket;

/// The packet type of PUBACK.
const PUBACK: u8 = 4;

/// Acknowledgements that wait, oldest first, and how far the store has committed.
#[derive(Default)]
pub(crate) struct CommitWait {
    waiting: VecDeque<WaitingAck>,
    /// Those of the host, by their tickets. Unlike acknowledgements they wait for nothing else.
    waiters: BTreeMap<(u64, u64), Arc<dyn DurabilityWaiter>>,
    /// Tells waiters of one ticket apart.
    next: u64,
    committed: u64,
    /// The broker has stopped: nothing will be committed.
    closed: bool,
}

/// An encoded acknowledgement and what it waits for.
struct WaitingAck {
    ticket: u64,
    session: Weak<Session>,
    epoch: u32,
    packet: SmallVec<[u8; 16]>,
    is_puback: bool,
}

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
