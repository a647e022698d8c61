//! Acknowledgements that wait until the store has committed what they stand for.

use std::collections::VecDeque;
use std::sync::{Arc, Weak};

use smallvec::SmallVec;

use crate::codec::version::Version;
use crate::engine::connection::Attached;
use crate::engine::core::Engine;
use crate::engine::turn::Turn;
use crate::session::state::Session;
use crate::storage::Ticket;

/// Acknowledgements that wait, oldest first, and how far the store has committed.
#[derive(Default)]
pub(crate) struct Parking {
    waiting: VecDeque<Parked>,
    committed: u64,
}

/// An encoded acknowledgement and what it waits for.
struct Parked {
    ticket: u64,
    session: Weak<Session>,
    epoch: u32,
    packet: SmallVec<[u8; 16]>,
}

impl Engine {
    /// Sends an acknowledgement when everything recorded so far is committed; never before an older one of the
    /// same connection [MQTT-4.6.0-2], [MQTT-4.6.0-3].
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
            let flush = outbound.send(&mut self.context(turn), encode);
            drop(outbound);
            if flush {
                turn.flush_later(&attached.session);
            }
            return;
        }
        outbound.park();
        drop(outbound);
        let mut packet = Vec::new();
        encode(attached.version, &mut packet);
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
            packet: SmallVec::from_vec(packet),
        });
        // The commit may have been told since the ticket was given.
        self.release(turn, &mut parking);
    }

    /// The store has committed everything up to `ticket`: what waited for it is sent.
    pub fn committed(&self, turn: &mut Turn, ticket: u64) {
        let mut parking = self.parking.lock();
        parking.committed = parking.committed.max(ticket);
        self.release(turn, &mut parking);
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
            let flush = session.outbound.lock().unpark(&mut self.context(turn), next.epoch, &next.packet);
            if flush {
                turn.flush_later(&session);
            }
        }
        if parking.waiting.is_empty() {
            parking.waiting = VecDeque::new();
        }
    }
}
