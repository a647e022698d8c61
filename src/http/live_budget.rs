//! The bytes of messages that wait for viewers, of all of them together (`console.max_live_bytes`).

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The share of one viewer: so many viewers can fill the whole.
const VIEWERS: usize = 8;

/// The count and its bounds.
#[derive(Debug)]
pub(super) struct LiveBudget {
    used: AtomicUsize,
    most: usize,
}

impl LiveBudget {
    /// A budget of this many bytes.
    pub(super) fn new(most: u64) -> Arc<LiveBudget> {
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        Arc::new(LiveBudget { used: AtomicUsize::new(0), most })
    }

    /// Takes bytes for a viewer that holds `held`; false if its share or the whole has no room.
    pub(super) fn take(&self, held: usize, bytes: usize) -> bool {
        let fits = |used: usize| used.checked_add(bytes).filter(|sum| *sum <= self.most);
        held.saturating_add(bytes) <= self.most / VIEWERS
            && self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits).is_ok()
    }

    /// Gives back bytes that were taken.
    pub(super) fn give_back(&self, bytes: usize) {
        self.used.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// The bytes in use.
    #[cfg(test)]
    pub(super) fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }
}
