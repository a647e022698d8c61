//! Acknowledgements and deliveries that wait until the store has committed what they stand for.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Weak};

use smallvec::SmallVec;

use crate::engine::core::durability::DurabilityWaiter;
use crate::session::epoch::Epoch;
use crate::session::state::Session;
use crate::storage::Position;

/// Acknowledgements and deliveries that wait, oldest first, and how far the store has committed.
#[derive(Default)]
pub(crate) struct CommitWait {
    pub(super) waiting: VecDeque<WaitingSend>,
    /// Those of the host, by their positions. Unlike acknowledgements they wait for nothing else.
    pub(super) waiters: BTreeMap<(u64, u64), Arc<dyn DurabilityWaiter>>,
    /// Tells waiters of one position apart.
    pub(super) next: u64,
    pub(super) committed: u64,
    /// The broker has stopped: nothing will be committed.
    pub(super) closed: bool,
    /// The store has failed: nothing more will be committed.
    pub(super) failed: bool,
}

/// What waits for the store to commit `position`.
pub(super) struct WaitingSend {
    pub(super) position: Position,
    pub(super) session: Weak<Session>,
    pub(super) epoch: Epoch,
    pub(super) send: Send,
}

/// What is sent when it no longer waits.
pub(super) enum Send {
    /// An encoded acknowledgement.
    Acknowledgement { packet: SmallVec<[u8; 16]>, is_puback: bool },
    /// The next delivery of the session's window.
    Delivery,
    /// CONNACK, and what has come behind it in the outbox.
    Outbox,
}
