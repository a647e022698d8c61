//! What the disk refuses at the moment.

use std::sync::OnceLock;

use crate::locks::Mutex;
use crate::storage::StoreError;

/// What a disk may refuse for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Work {
    /// The record of a group: acknowledgements wait.
    Commit,
    /// The rows of a checkpoint: commits go on while the log has room.
    Checkpoint,
}

/// Why the last attempts failed; the next ones may succeed.
#[derive(Default)]
pub(super) struct Trouble {
    errors: Mutex<Errors>,
    /// Called when a trouble begins or ends.
    changed: OnceLock<Box<dyn Fn() + Send + Sync>>,
}

/// Commits and checkpoints are of different threads: the end of one trouble says nothing about the other.
#[derive(Default)]
struct Errors {
    commit: Option<StoreError>,
    checkpoint: Option<StoreError>,
}

impl Errors {
    fn of(&mut self, work: Work) -> &mut Option<StoreError> {
        match work {
            Work::Commit => &mut self.commit,
            Work::Checkpoint => &mut self.checkpoint,
        }
    }
}

impl Trouble {
    /// The trouble that there is; of two, that of the commits.
    pub(super) fn get(&self) -> Option<StoreError> {
        let errors = self.errors.lock();
        errors.commit.as_ref().or(errors.checkpoint.as_ref()).cloned()
    }

    pub(super) fn set(&self, work: Work, error: Option<StoreError>) {
        let is = error.is_some();
        let was = std::mem::replace(self.errors.lock().of(work), error).is_some();
        if was != is
            && let Some(changed) = self.changed.get()
        {
            changed();
        }
    }

    /// Calls `changed` from now on when a trouble begins or ends. Only the first call counts.
    pub(super) fn on_change(&self, changed: Box<dyn Fn() + Send + Sync>) {
        let _first = self.changed.set(changed);
    }
}
