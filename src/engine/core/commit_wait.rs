//! Acknowledgements that wait until the store has committed what they stand for.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Weak};

use smallvec::SmallVec;

use crate::engine::core::durability::DurabilityWaiter;
use crate::session::state::Session;

/// Acknowledgements that wait, oldest first, and how far the store has committed.
#[derive(Default)]
pub(crate) struct CommitWait {
    pub(super) waiting: VecDeque<WaitingAck>,
    /// Those of the host, by their tickets. Unlike acknowledgements they wait for nothing else.
    pub(super) waiters: BTreeMap<(u64, u64), Arc<dyn DurabilityWaiter>>,
    /// Tells waiters of one ticket apart.
    pub(super) next: u64,
    pub(super) committed: u64,
    /// The broker has stopped: nothing will be committed.
    pub(super) closed: bool,
}

/// An encoded acknowledgement and what it waits for.
pub(super) struct WaitingAck {
    pub(super) ticket: u64,
    pub(super) session: Weak<Session>,
    pub(super) epoch: u32,
    pub(super) packet: SmallVec<[u8; 16]>,
    pub(super) is_puback: bool,
}
