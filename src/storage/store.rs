//! The seam between the engine and what keeps sessions, queues and retained messages.

use crate::storage::{Change, LoadError, StoreError};
use crate::time::WallTime;

/// The number of a change: each has a greater one than those before it. 0 stands before the first.
pub type Position = u64;

/// A store of what outlives the broker.
///
/// The engine appends each change under the lock that orders it, so that the order of changes is the order of effects. It
/// holds an acknowledgement back until everything that was appended before it is committed. No call waits for a disk.
///
/// Changes are committed in their order. Those of a group, between [`Store::begin_group`] and [`Store::end_group`] of one
/// thread, are committed together: after a crash either all of them are loaded or none. Groups of several threads overlap,
/// and a store commits up to a position at which no group is open. A store that waits for that in `begin_group` waits for
/// code that takes only leaf locks; `begin_group` is never called with a leaf lock held.
///
/// When more is committed, or the store has failed, its owner calls `Engine::committed` or `Engine::store_failed`.
pub trait Store: Send + Sync {
    /// Whether changes are kept. If not, nothing is appended, and everything counts as committed.
    fn is_kept(&self) -> bool;

    /// Gives every committed change to `restore`, in order, with its time; a store may leave out what later changes undo.
    ///
    /// # Errors
    /// The store cannot be read, or `restore` refuses a change.
    fn load(
        &self,
        restore: &mut dyn FnMut(WallTime, Change<'_>) -> Result<(), LoadError>,
    ) -> Result<(), StoreError>;

    /// Appends a change that happens at `at`; returns its position.
    fn append(&self, at: WallTime, change: Change<'_>) -> Position;

    /// The position of the last change that any thread has appended.
    fn appended(&self) -> Position;

    /// The position up to which changes are committed. It never falls.
    fn committed(&self) -> Position;

    /// The calling thread begins changes that are committed together. Groups of one thread are not nested.
    fn begin_group(&self) {}

    /// The calling thread ends its group.
    fn end_group(&self) {}

    /// Why nothing more will be committed, if so.
    fn failed(&self) -> Option<StoreError> {
        None
    }
}
