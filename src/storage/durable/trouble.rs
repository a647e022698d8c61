//! What the disk refuses at the moment.

use std::sync::OnceLock;

use parking_lot::Mutex;

use crate::storage::StoreError;

/// Why the last attempt failed; the next one may succeed.
#[derive(Default)]
pub(super) struct Trouble {
    error: Mutex<Option<StoreError>>,
    /// Called when a trouble begins or ends.
    changed: OnceLock<Box<dyn Fn() + Send + Sync>>,
}

impl Trouble {
    pub(super) fn get(&self) -> Option<StoreError> {
        self.error.lock().clone()
    }

    pub(super) fn set(&self, error: Option<StoreError>) {
        let is = error.is_some();
        let was = std::mem::replace(&mut *self.error.lock(), error).is_some();
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
