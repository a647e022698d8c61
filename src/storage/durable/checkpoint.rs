//! Checkpoints: the net changes of the generations of the log that the tables do not have yet, on their way there.

use std::sync::Arc;

use crate::locks::{Condvar, Mutex};
use crate::storage::StoreError;
use crate::storage::durable::keys::Key;
use crate::storage::durable::overlay::Net;
use crate::storage::durable::tables::StoreRow;

/// What a checkpoint writes.
#[derive(Debug)]
pub(super) struct Checkpoint {
    /// The rows that have changed.
    pub rows: Vec<(Key, Net)>,
    /// What the tables know of the store afterwards.
    pub store: StoreRow,
}

impl Checkpoint {
    /// What becomes of a row, if it has changed.
    pub(super) fn get(&self, key: &[u8]) -> Option<&Net> {
        let place = self.rows.binary_search_by(|(row, _)| (**row).cmp(key)).ok()?;
        self.rows.get(place).map(|(_, net)| net)
    }
}

/// The one checkpoint that there is at a time, which one thread hands to another.
#[derive(Debug, Default)]
pub(super) struct Slot {
    stage: Mutex<Stage>,
    changed: Condvar,
}

#[derive(Debug, Default)]
enum Stage {
    /// There is none.
    #[default]
    None,
    /// One waits for a thread to write it.
    Due(Arc<Checkpoint>),
    /// A thread writes it.
    Running,
    /// It has ended: the tables have everything up to a generation, or the store is lost.
    Ended(Result<u64, StoreError>),
    /// There will be none any more.
    Closed,
}

impl Slot {
    /// Whether there is no checkpoint.
    pub(super) fn is_free(&self) -> bool {
        matches!(*self.stage.lock(), Stage::None)
    }

    /// Hands a checkpoint over. There must be none.
    pub(super) fn put(&self, checkpoint: Arc<Checkpoint>) {
        *self.stage.lock() = Stage::Due(checkpoint);
        self.changed.notify_all();
    }

    /// Takes a checkpoint that waits.
    pub(super) fn take(&self) -> Option<Arc<Checkpoint>> {
        take(&mut self.stage.lock())
    }

    /// Waits for a checkpoint and takes it; `None` at the end.
    pub(super) fn wait(&self) -> Option<Arc<Checkpoint>> {
        let mut stage = self.stage.lock();
        loop {
            if let Some(checkpoint) = take(&mut stage) {
                return Some(checkpoint);
            }
            if matches!(*stage, Stage::Closed) {
                return None;
            }
            self.changed.wait(&mut stage);
        }
    }

    /// Ends the checkpoint that was taken.
    pub(super) fn end(&self, result: Result<u64, StoreError>) {
        *self.stage.lock() = Stage::Ended(result);
        self.changed.notify_all();
    }

    /// The result of a checkpoint that has ended; then there is none any more.
    pub(super) fn ended(&self) -> Option<Result<u64, StoreError>> {
        take_ended(&mut self.stage.lock())
    }

    /// Waits until the checkpoint that a thread writes has ended; its result. `None` if no thread writes one.
    pub(super) fn wait_for_end(&self) -> Option<Result<u64, StoreError>> {
        let mut stage = self.stage.lock();
        while matches!(*stage, Stage::Running) {
            self.changed.wait(&mut stage);
        }
        take_ended(&mut stage)
    }

    /// Waits while a checkpoint is due or is written, at most so many milliseconds; whether one still is.
    pub(super) fn is_busy_after(&self, millis: u64) -> bool {
        let is_busy = |stage: &Stage| matches!(stage, Stage::Due(_) | Stage::Running);
        let mut stage = self.stage.lock();
        if is_busy(&stage) {
            self.changed.wait_for(&mut stage, std::time::Duration::from_millis(millis));
        }
        is_busy(&stage)
    }

    /// Waits until the store is closed, at most so many milliseconds; whether it is.
    pub(super) fn is_closed_within(&self, closing: impl Fn() -> bool, millis: u64) -> bool {
        let mut stage = self.stage.lock();
        if !closing() {
            self.changed.wait_for(&mut stage, std::time::Duration::from_millis(millis));
        }
        closing()
    }

    /// Wakes whoever waits for a while.
    pub(super) fn wake(&self) {
        drop(self.stage.lock());
        self.changed.notify_all();
    }

    /// There will be no more checkpoints.
    pub(super) fn close(&self) {
        *self.stage.lock() = Stage::Closed;
        self.changed.notify_all();
    }
}

fn take(stage: &mut Stage) -> Option<Arc<Checkpoint>> {
    match std::mem::replace(stage, Stage::Running) {
        Stage::Due(checkpoint) => Some(checkpoint),
        other => {
            *stage = other;
            None
        }
    }
}

fn take_ended(stage: &mut Stage) -> Option<Result<u64, StoreError>> {
    match std::mem::take(stage) {
        Stage::Ended(result) => Some(result),
        other => {
            *stage = other;
            None
        }
    }
}
