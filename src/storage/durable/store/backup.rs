//! Copying a store that is in use.

use std::time::Duration;

use super::{DurableStore, closed};
use crate::storage::StoreError;
use crate::storage::durable::disk::Disk;
use crate::storage::durable::tools::{BackupOptions, copy};

/// How long a backup waits before it looks whether the disk refuses to be written.
const PATIENCE_MILLIS: u64 = 500;

impl DurableStore {
    /// Copies all that was committed when the call began, and perhaps more, to a disk that has no store. Commits go on.
    ///
    /// # Errors
    /// The store has failed or is closed, the tables cannot be written, or the copy cannot.
    pub fn backup(&self, to: &dyn Disk, options: &BackupOptions) -> Result<(), StoreError> {
        let generation = self.begin_backup()?;
        loop {
            self.await_checkpoint()?;
            if let Some(error) = self.failed.get() {
                return Err(error.clone());
            }
            let tables = self.tables.read();
            let open = tables.as_ref().ok_or_else(closed)?;
            let snapshot = open.snapshot()?;
            drop(tables);
            if snapshot.store()?.generation >= generation {
                return copy(&snapshot, to, options);
            }
        }
    }

    /// Begins a checkpoint of all that was committed; the generation of the log that the tables have afterwards.
    fn begin_backup(&self) -> Result<u64, StoreError> {
        loop {
            // Held for as long as a group is written. On a full disk that is until there is space.
            let Some(mut guard) = self.committer.lock_for(Duration::from_millis(PATIENCE_MILLIS)) else {
                self.trouble().map_or(Ok(()), Err)?;
                continue;
            };
            let committer = guard.as_mut().filter(|_| !self.is_closing()).ok_or_else(closed)?;
            if let Some(ended) = self.slot.ended() {
                committer.log.applied(ended?)?;
            }
            if self.slot.is_free() {
                let generation = committer.log.generation() - u64::from(committer.log.is_empty());
                if !self.state.lock().overlay.is_empty() || !committer.log.is_empty() {
                    self.begin_checkpoint(committer)?;
                }
                return Ok(generation);
            }
            drop(guard);
            self.await_checkpoint()?;
        }
    }

    /// Writes the checkpoint that is due, or waits for the thread that does; the error if the disk refuses it.
    fn await_checkpoint(&self) -> Result<(), StoreError> {
        if let Some(checkpoint) = self.slot.take() {
            return match self.try_run(&checkpoint) {
                Ok(()) => {
                    self.has_run(&checkpoint);
                    Ok(())
                }
                Err(error) => {
                    // It stays due.
                    self.slot.put(checkpoint);
                    Err(error)
                }
            };
        }
        match self.slot.is_busy_after(PATIENCE_MILLIS) {
            true => self.trouble().map_or(Ok(()), Err),
            false => Ok(()),
        }
    }
}
