//! The interface between the engine and a store of sessions, queues and retained messages.

use std::sync::Arc;

use crate::storage::{
    Change, LoadError, QueuedRecord, ReadRequest, StoreError, StoredDelivery, WaitingMemory,
};
use crate::time::WallTime;

/// The number of a change, greater than that of every earlier change. 0 is before the first change.
pub type Position = u64;

/// A store of the state that outlives the broker.
///
/// The engine appends each change under the lock that orders it, so that changes have the order of their effects. It
/// holds an acknowledgement back until everything that was appended before it is committed. No call waits for a disk.
///
/// Changes are committed in the order of their positions. A thread's changes between [`Store::begin_group`] and
/// [`Store::end_group`] form a group, which is committed as a whole: after a crash all of them are loaded or none.
/// Groups of several threads overlap; a store commits up to a position at which no group is open. `begin_group` may
/// wait for open groups to end: code in a group takes only leaf locks, and no leaf lock is held at `begin_group`.
///
/// After a commit the owner of the store calls `Engine::committed`; after a failure, `Engine::store_failed`.
pub trait Store: Send + Sync {
    /// Whether changes are kept. If not, nothing is appended, and everything counts as committed.
    fn is_kept(&self) -> bool;

    /// Gives every committed change to `restore`, in order, with its time. A store may omit what later changes undo.
    ///
    /// # Errors
    /// The store cannot be read, or `restore` refuses a change.
    fn load(
        &self,
        restore: &mut dyn FnMut(WallTime, Change<'_>) -> Result<(), LoadError>,
    ) -> Result<(), StoreError>;

    /// Appends a change that happens at `at`; returns its position.
    fn append(&self, at: WallTime, change: Change<'_>) -> Position;

    /// The position of the last change appended by any thread.
    fn appended(&self) -> Position;

    /// The position up to which changes are committed. It never decreases.
    fn committed(&self) -> Position;

    /// Begins a group of the calling thread. Groups of one thread are not nested.
    fn begin_group(&self) {}

    /// Ends the group of the calling thread.
    fn end_group(&self) {}

    /// Whether so much waits for a commit that no more messages of QoS 1 and 2 are to be taken, or the store has failed.
    fn is_full(&self) -> bool {
        false
    }

    /// Why nothing more will be committed; `None` while the store works.
    fn failed(&self) -> Option<StoreError> {
        None
    }

    /// How many bytes of waiting messages queues may hold; what is beyond is in the store alone. `None` if the store gives
    /// no message back before the next start.
    fn waiting_memory(&self) -> Option<&Arc<WaitingMemory>> {
        None
    }

    /// The number of the delivery that joins a queue with the change at `position`. Numbers of later ones are greater.
    fn number_of(&self, position: Position) -> u64 {
        position
    }

    /// Asks for messages of a queue. The owner of the store reads them when they are committed, and calls
    /// `Engine::give_waiting`.
    fn request(&self, _request: ReadRequest) {}

    /// Gives the deliveries of a session's queue that have these numbers to `see`, in order. What is not committed, or has
    /// left the queue, is left out. It waits for the disk.
    ///
    /// # Errors
    /// The store cannot be read, or a message is damaged.
    fn read(
        &self,
        _client_id: &str,
        _numbers: &[u64],
        _see: &mut dyn FnMut(StoredDelivery<'_>),
    ) -> Result<(), StoreError> {
        Ok(())
    }

    /// Gives the messages of the queues that [`Store::load`] has not given to `restore`, those of each queue in order.
    ///
    /// # Errors
    /// The store cannot be read, or `restore` refuses a message.
    fn load_waiting(
        &self,
        _restore: &mut dyn FnMut(&str, QueuedRecord<'_>) -> Result<(), LoadError>,
    ) -> Result<(), StoreError> {
        Ok(())
    }
}
