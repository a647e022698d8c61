//! Appends the engine's changes to the store, if it keeps any, with times of the wall clock.

use std::sync::Arc;

use crate::storage::{Change, Position, SessionChange, Store};
use crate::time::{Time, WallClock};

/// A store, whether it keeps changes, and the clock that dates them.
pub struct Recorder {
    store: Arc<dyn Store>,
    is_kept: bool,
    clock: WallClock,
}

impl Recorder {
    /// A recorder for `store`; `clock` dates the changes.
    pub fn new(store: Arc<dyn Store>, clock: WallClock) -> Recorder {
        Recorder { is_kept: store.is_kept(), store, clock }
    }

    /// The same recorder; `clock` dates the changes.
    pub fn dated_by(self, clock: WallClock) -> Recorder {
        Recorder { clock, ..self }
    }

    /// Whether changes are kept.
    #[inline]
    pub fn is_kept(&self) -> bool {
        self.is_kept
    }

    /// Whether too much waits for a commit.
    #[inline]
    pub fn is_full(&self) -> bool {
        self.is_kept && self.store.is_full()
    }

    /// The clock that dates changes.
    pub fn clock(&self) -> WallClock {
        self.clock
    }

    /// The store.
    pub fn store(&self) -> &dyn Store {
        &*self.store
    }

    /// Appends the result of `change`, which is called only if changes are kept.
    #[inline]
    pub fn record<'c>(&self, now: Time, change: impl FnOnce() -> Change<'c>) {
        if self.is_kept {
            self.append(now, change());
        }
    }

    #[cold]
    #[inline(never)]
    fn append(&self, now: Time, change: Change<'_>) {
        self.store.append(self.clock.wall(now), change);
    }

    /// Appends a change of a session; the caller has checked that changes are kept.
    #[cold]
    #[inline(never)]
    pub fn session(&self, now: Time, client_id: &str, change: SessionChange<'_>) -> Position {
        self.store.append(self.clock.wall(now), Change::Session { client_id, change })
    }

    /// The position whose commit an acknowledgement must wait for; `None` if every change is committed.
    #[inline]
    pub fn awaited(&self) -> Option<Position> {
        match self.is_kept {
            true => self.uncommitted(),
            false => None,
        }
    }

    #[cold]
    #[inline(never)]
    fn uncommitted(&self) -> Option<Position> {
        let appended = self.store.appended();
        (appended > self.store.committed()).then_some(appended)
    }

    /// Whether everything up to this position is committed.
    pub fn is_committed(&self, position: Position) -> bool {
        !self.is_kept || position <= self.store.committed()
    }
}
