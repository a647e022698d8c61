//! Acknowledgements that wait until the store has committed what they stand for.

use std::sync::{Arc, Weak};

use smallvec::SmallVec;

use crate::codec::version::Version;
use crate::engine::connection::Attached;
use crate::engine::core::Engine;
use crate::engine::turn::Turn;
use crate::session::state::Session;
use crate::storage::Ticket;

/// An encoded acknowledgement and what it waits for.
pub(crate) struct Parked {
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
        let mut parked = self.parked.lock();
        let ticket = match ticket {
            Ticket::Pending(number) => number,
            Ticket::Committed => parked.back().map_or(0, |last| last.ticket),
        };
        parked.push_back(Parked {
            ticket,
            session: Arc::downgrade(&attached.session),
            epoch: attached.epoch,
            packet: SmallVec::from_vec(packet),
        });
    }

    /// The store has committed everything up to `ticket`: what waited for it is sent.
    pub fn committed(&self, turn: &mut Turn, ticket: u64) {
        loop {
            let mut parked = self.parked.lock();
            if parked.front().is_none_or(|first| first.ticket > ticket) {
                return;
            }
            let Some(next) = parked.pop_front() else {
                return;
            };
            drop(parked);
            let Some(session) = next.session.upgrade() else {
                continue;
            };
            let flush = session.outbound.lock().unpark(&mut self.context(turn), next.epoch, &next.packet);
            if flush {
                turn.flush_later(&session);
            }
        }
    }
}
