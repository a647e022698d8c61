//! A durable store as the host, the console and the log see it.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::disk::Meter;
use crate::engine::core::state::Engine;
use crate::engine::core::turn::Turn;
use crate::locks::Mutex;
use crate::session::event::Level;
use crate::storage::durable::log::{NAMES, Replayed};
use crate::storage::durable::{DurableStore, FILE};
use crate::storage::{StorageState, StorageStats, Store, StoreError};

/// What is told of an open store.
pub(super) struct StoreView {
    pub(super) store: Arc<DurableStore>,
    pub(super) meter: Arc<Meter>,
    pub(super) path: PathBuf,
    /// Why the store was begun anew, if it was damaged.
    pub(super) set_aside: Option<String>,
    /// How long the opening took, and what the log held.
    pub(super) opening: Duration,
    pub(super) replayed: Replayed,
    /// Whether the files are closed.
    pub(super) is_closed: AtomicBool,
    /// Whether the log says that there is a trouble.
    pub(super) is_troubled: AtomicBool,
    pub(super) last_checkpoint: Mutex<LastCheckpoint>,
}

/// The last checkpoint that was noticed.
#[derive(Debug, Default)]
pub(super) struct LastCheckpoint {
    /// Its number.
    number: u64,
    /// When the tables were flushed for it, by the meter.
    at: u64,
}

impl StoreView {
    /// The store at this moment.
    pub(super) fn stats(&self, engine: &Engine) -> StorageStats {
        let (state, cause) = self.state();
        let (stats, meter) = (self.store.stats(), &self.meter);
        StorageStats {
            path: self.path.display().to_string(),
            state,
            cause: cause.map(|cause| cause.to_string()),
            set_aside: self.set_aside.clone(),
            commits: stats.commits,
            committed_changes: self.store.committed(),
            committed_bytes: stats.committed_bytes,
            flush_times: meter.flush_times(),
            checkpoints: stats.checkpoints,
            checkpoint_age_millis: meter.millis().saturating_sub(self.note_checkpoint()),
            written_bytes: meter.written(),
            disk_errors: meter.errors(),
            waiting_acknowledgements: engine.awaiting_commit() as u64,
            waiting_bytes: stats.waiting_bytes,
            unwritten_bytes: stats.unwritten_bytes,
            log_bytes: NAMES.iter().map(|name| self.size(name)).sum(),
            tables_bytes: self.size(FILE),
            replayed_groups: self.replayed.groups,
            replayed_bytes: self.replayed.bytes,
            opening_millis: millis(self.opening),
        }
    }

    /// When the last checkpoint was. Called at each commit and each trouble: later, tables that are opened again after a
    /// failure are flushed, too.
    pub(super) fn note_checkpoint(&self) -> u64 {
        let mut last = self.last_checkpoint.lock();
        let number = self.store.stats().checkpoints;
        if last.number != number {
            *last = LastCheckpoint { number, at: self.meter.tables_flushed() };
        }
        last.at
    }

    fn state(&self) -> (StorageState, Option<StoreError>) {
        if let Some(error) = self.store.failed() {
            return (StorageState::Failed, Some(error));
        }
        match self.store.trouble() {
            trouble if self.is_closed.load(Ordering::Acquire) => (StorageState::Closed, trouble),
            None => (StorageState::Ok, None),
            trouble => (StorageState::Retrying, trouble),
        }
    }

    /// The length of a file; 0 if it cannot be told.
    fn size(&self, name: &str) -> u64 {
        std::fs::metadata(self.path.join(name)).map_or(0, |data| data.len())
    }

    /// Logs that the store is open.
    pub(super) fn log_open(&self, engine: &Engine, turn: &mut Turn) {
        let Replayed { groups, bytes, torn } = &self.replayed;
        let (path, millis) = (self.path.display(), millis(self.opening));
        engine.log(turn, Level::Info, None, || {
            format!(
                "store {path} is open after {millis} ms: {groups} groups ({bytes} bytes) came from its log"
            )
        });
        if let Some(torn) = torn {
            engine.log(turn, Level::Info, None, || {
                let (file, offset) = (&torn.file, torn.offset);
                format!("{file}: an incomplete group at byte {offset} was cut off: it was never acknowledged")
            });
        }
        if let Some(damage) = &self.set_aside {
            engine.log(turn, Level::Error, None, || format!("the store was begun anew: {damage}"));
        }
    }

    /// Notes what has changed; logs that a trouble has begun or ended, once each.
    pub(super) fn note_change(&self, engine: &Engine, turn: &mut Turn) {
        self.note_checkpoint();
        let trouble = self.store.trouble();
        if self.store.failed().is_some()
            || self.is_troubled.swap(trouble.is_some(), Ordering::AcqRel) == trouble.is_some()
        {
            return;
        }
        match trouble {
            Some(error) => engine.log(turn, Level::Error, None, || {
                format!("the store cannot write, and tries again: {error}")
            }),
            None => engine.log(turn, Level::Info, None, || "the store can write again".to_owned()),
        }
    }

    /// Logs that the files are closed.
    pub(super) fn log_closed(&self, engine: &Engine, turn: &mut Turn, result: Result<(), StoreError>) {
        let path = self.path.display();
        match result {
            Ok(()) => engine.log(turn, Level::Info, None, || format!("store {path} is closed")),
            // The log has the cause.
            Err(_) if self.store.failed().is_some() => {
                engine.log(turn, Level::Info, None, || format!("store {path} is closed after its failure"));
            }
            Err(error) => engine.log(turn, Level::Error, None, || {
                format!("store {path} is closed without a checkpoint, and its log has the rest: {error}")
            }),
        }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
