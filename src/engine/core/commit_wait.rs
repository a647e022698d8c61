//! Acknowledgements that wait until the store has committed what they stand for.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};

use smallvec::SmallVec;

use crate::codec::frame;
use crate::codec::version::Version;
use crate::engine::connection::packets::Attached;
use crate::engine::core::durability::{Safe, Waiter};
use crate::engine::core::state::Engine;
use crate::engine::core::turn::Turn;
use crate::session::state::Session;
use crate::storage::Ticket;

/// The packet type of PUBACK.
const PUBACK: u8 = 4;

/// Acknowledgements that wait, oldest first, and how far the store has committed.
#[derive(Default)]
pub(crate) struct Parking {
    waiting: VecDeque<Parked>,
    /// Those of the host, by their tickets. Unlike acknowledgements they wait for nothing else.
    waiters: BTreeMap<(u64, u64), Arc<dyn Waiter>>,
    /// Tells waiters of one ticket apart.
    next: u64,
    committed: u64,
    /// The broker has stopped: nothing will be committed.
    closed: bool,
}

/// An encoded acknowledgement and what it waits for.
struct Parked {
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
        attached: &Attached,
        encode: impl FnOnce(Version, &mut Vec<u8>),
    ) {
        let ticket = self.store.ticket();
        let mut outbound = attached.session.outbound.lock();
        if outbound.epoch() != attached.epoch {
            return;
        }
        if ticket == Ticket::Committed && !outbound.has_parked() {
            let flush = outbound.send(&mut self.context(turn, &attached.session), encode);
            drop(outbound);
            if flush {
                turn.flush_later(&attached.session);
            }
            return;
        }
        let mut packet = Vec::new();
        encode(attached.version, &mut packet);
        outbound.park();
        if is_puback(&packet) {
            attached.session.unacknowledged.fetch_add(1, Ordering::Relaxed);
        }
        drop(outbound);
        let mut parking = self.parking.lock();
        let ticket = match ticket {
            Ticket::Pending(number) => number,
            // It only waits behind older ones.
            Ticket::Committed => 0,
        };
        parking.waiting.push_back(Parked {
            ticket,
            session: Arc::downgrade(&attached.session),
            epoch: attached.epoch,
            is_puback: is_puback(&packet),
            packet: SmallVec::from_vec(packet),
        });
        // The commit may have been told since the ticket was given.
        self.release(turn, &mut parking);
    }

    /// The store has committed everything up to `ticket`: what waited for it is sent.
    pub fn committed(&self, turn: &mut Turn, ticket: u64) {
        let mut parking = self.parking.lock();
        parking.committed = parking.committed.max(ticket);
        release_waiters(turn, &mut parking);
        self.release(turn, &mut parking);
    }

    /// Has `waiter` told when the store has committed everything up to `ticket`.
    pub(crate) fn park_waiter(&self, turn: &mut Turn, ticket: u64, waiter: Arc<dyn Waiter>) {
        let mut parking = self.parking.lock();
        if parking.closed {
            return turn.tell_later(waiter, Safe::Stopped);
        }
        parking.next += 1;
        let key = (ticket, parking.next);
        parking.waiters.insert(key, waiter);
        // The commit may have been told since the ticket was given.
        release_waiters(turn, &mut parking);
    }

    /// Tells everybody in the host who waits, now and from now on, that the broker has stopped.
    pub fn forget_waiters(&self, turn: &mut Turn) {
        let mut parking = self.parking.lock();
        parking.closed = true;
        for waiter in std::mem::take(&mut parking.waiters).into_values() {
            turn.tell_later(waiter, Safe::Stopped);
        }
    }

    /// Sends what waits for nothing any more. The lock is held meanwhile, so that nobody overtakes.
    fn release(&self, turn: &mut Turn, parking: &mut Parking) {
        let committed = parking.committed;
        while parking.waiting.front().is_some_and(|first| first.ticket <= committed) {
            let Some(next) = parking.waiting.pop_front() else {
                break;
            };
            let Some(session) = next.session.upgrade() else {
                continue;
            };
            let mut outbound = session.outbound.lock();
            if next.is_puback && outbound.epoch() == next.epoch {
                session.unacknowledged.fetch_sub(1, Ordering::Relaxed);
            }
            let flush = outbound.unpark(&mut self.context(turn, &session), next.epoch, &next.packet);
            drop(outbound);
            if flush {
                turn.flush_later(&session);
            }
        }
        if parking.waiting.is_empty() {
            parking.waiting = VecDeque::new();
        }
    }
}

/// Has those told for whom everything is committed.
fn release_waiters(turn: &mut Turn, parking: &mut Parking) {
    let committed = parking.committed;
    while let Some(first) = parking.waiters.first_entry().filter(|first| first.key().0 <= committed) {
        turn.tell_later(first.remove(), Safe::Yes);
    }
}

/// Whether an encoded packet is a PUBACK.
fn is_puback(packet: &[u8]) -> bool {
    packet.first().is_some_and(|first| frame::packet_type(*first) == PUBACK)
}
