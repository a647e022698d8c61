//! The store of a broker that keeps nothing across restarts.

use crate::storage::{Change, LoadError, Position, Store, StoreError};
use crate::time::WallTime;

/// A store that keeps nothing: sessions, queues and retained messages live as long as the broker.
#[derive(Clone, Copy, Debug, Default)]
pub struct MemoryStore;

impl Store for MemoryStore {
    fn is_kept(&self) -> bool {
        false
    }

    fn load(
        &self,
        _restore: &mut dyn FnMut(WallTime, Change<'_>) -> Result<(), LoadError>,
    ) -> Result<(), StoreError> {
        Ok(())
    }

    fn append(&self, _at: WallTime, _change: Change<'_>) -> Position {
        0
    }

    fn appended(&self) -> Position {
        0
    }

    fn committed(&self) -> Position {
        0
    }
}
