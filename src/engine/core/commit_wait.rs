//! Acknowledgements and deliveries that wait for a commit of the store.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Weak};

use smallvec::SmallVec;

use crate::engine::core::durability::DurabilityWaiter;
use crate::session::epoch::Epoch;
use crate::session::state::Session;
use crate::storage::Position;

/// Waiting acknowledgements and deliveries, oldest first, and the committed position.
#[derive(Default)]
pub(crate) struct CommitWait {
    pub(super) waiting: VecDeque<WaitingSend>,
    /// The host's waiters, by position. Unlike acknowledgements they do not wait for each other.
    pub(super) waiters: BTreeMap<(u64, u64), Arc<dyn DurabilityWaiter>>,
    /// A counter that distinguishes waiters with the same position.
    pub(super) next: u64,
    pub(super) committed: u64,
    /// How many sends wait before those of connections that have ended are looked for again.
    sweep_at: usize,
    /// Whether the broker has stopped, so that nothing will be committed.
    pub(super) closed: bool,
    /// Whether the store has failed, so that nothing more will be committed.
    pub(super) failed: bool,
}

/// Waiting sends below which none are looked for that are of no use any more.
const FEW: usize = 4096;

impl CommitWait {
    /// Adds a send. Those of connections that have ended go before they are as many as the others: a client that connects
    /// again and again would leave more of them each time, while the disk is full.
    pub(super) fn push(&mut self, send: WaitingSend) {
        if self.waiting.len() >= self.sweep_at.max(FEW) {
            self.waiting.retain(WaitingSend::is_of_use);
            self.sweep_at = 2 * self.waiting.len();
        }
        self.waiting.push_back(send);
    }
}

/// A send that waits until the store has committed `position`.
pub(super) struct WaitingSend {
    pub(super) position: Position,
    pub(super) session: Weak<Session>,
    pub(super) epoch: Epoch,
    pub(super) send: Send,
}

impl WaitingSend {
    /// Whether its connection is attached.
    fn is_of_use(&self) -> bool {
        self.session.upgrade().is_some_and(|session| {
            let outbound = session.outbound.lock();
            outbound.epoch() == self.epoch && outbound.is_connected()
        })
    }
}

/// The kind of a waiting send.
pub(super) enum Send {
    /// An encoded acknowledgement.
    Acknowledgement { packet: SmallVec<[u8; 16]>, is_puback: bool },
    /// The next delivery of the session's window.
    Delivery,
    /// CONNACK, and what has come behind it in the outbox.
    Outbox,
}
