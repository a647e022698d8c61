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
    /// Whether the broker has stopped, so that nothing will be committed.
    pub(super) closed: bool,
    /// Whether the store has failed, so that nothing more will be committed.
    pub(super) failed: bool,
}

/// A send that waits until the store has committed `position`.
pub(super) struct WaitingSend {
    pub(super) position: Position,
    pub(super) session: Weak<Session>,
    pub(super) epoch: Epoch,
    pub(super) send: Send,
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
