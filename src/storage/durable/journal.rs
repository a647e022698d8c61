//! What was appended and waits for the next record of the log.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use crate::locks::{Condvar, Mutex, MutexGuard};
use crate::storage::durable::encode::Encoder;
use crate::storage::{Change, Position};
use crate::time::WallTime;

/// Changes that wait for the committer, and the groups that are open.
#[derive(Debug, Default)]
pub(super) struct Journal {
    state: Mutex<Pending>,
    /// Signalled when there is something to commit, and at the end.
    ready: Condvar,
    /// Signalled when groups may begin again.
    may_begin: Condvar,
    appended: AtomicU64,
    committed: AtomicU64,
    /// Bytes that wait.
    waiting: AtomicUsize,
}

#[derive(Debug, Default)]
struct Pending {
    encoder: Encoder,
    /// The position of the last change in the encoder: what comes after the end has a position, and is not kept.
    kept: Position,
    /// Groups that are open.
    open: usize,
    /// The bytes and the position up to which a record may go: no group is open there.
    boundary: (usize, Position),
    /// Whether the committer waits for something to commit.
    idle: bool,
    /// Whether groups wait before they begin, so that the open ones end.
    draining: bool,
    /// Whether nothing more is taken.
    closed: bool,
}

impl Journal {
    /// Appends a change; its position.
    pub(super) fn append(&self, at: WallTime, change: &Change<'_>) -> Position {
        let mut pending = self.state.lock();
        let position = self.appended.load(Ordering::Relaxed) + 1;
        self.appended.store(position, Ordering::Release);
        // A group that was open when the journal was closed is kept as a whole. What is kept has no gap of positions.
        if !pending.closed || (pending.open > 0 && pending.kept + 1 == position) {
            pending.encoder.put(at, change);
            pending.kept = position;
            self.waiting.store(pending.encoder.len(), Ordering::Relaxed);
        }
        if pending.open == 0 {
            self.reach_boundary(pending);
        }
        position
    }

    /// The position of the last change.
    pub(super) fn appended(&self) -> Position {
        self.appended.load(Ordering::Acquire)
    }

    /// The position up to which changes are committed.
    pub(super) fn committed(&self) -> Position {
        self.committed.load(Ordering::Acquire)
    }

    /// Sets the position up to which changes are committed.
    pub(super) fn set_committed(&self, position: Position) {
        self.committed.store(position, Ordering::Release);
    }

    /// Bytes that wait.
    pub(super) fn bytes(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Begins a group. Waits while the committer waits for the open ones to end.
    pub(super) fn begin_group(&self) {
        let mut pending = self.state.lock();
        while pending.draining {
            self.may_begin.wait(&mut pending);
        }
        pending.open += 1;
    }

    /// Ends a group.
    pub(super) fn end_group(&self) {
        let mut pending = self.state.lock();
        pending.open = pending.open.saturating_sub(1);
        if pending.open == 0 {
            self.reach_boundary(pending);
        }
    }

    /// No group is open: a record may end here, and the committer is woken if it waits.
    fn reach_boundary(&self, mut pending: MutexGuard<'_, Pending>) {
        pending.boundary = (pending.encoder.len(), pending.kept);
        pending.encoder.begin();
        let drained = std::mem::take(&mut pending.draining);
        let wake = pending.idle && pending.boundary.0 > 0;
        drop(pending);
        if drained {
            self.may_begin.notify_all();
        }
        if wake {
            self.ready.notify_one();
        }
    }

    /// Takes what may be committed into `record`, and gives the position of its last change; `None` if there is nothing.
    ///
    /// If all that waits is of groups that are open, no further group begins until they have ended.
    pub(super) fn take(&self, record: &mut Vec<u8>) -> Option<Position> {
        let mut pending = self.state.lock();
        self.take_from(&mut pending, record)
    }

    /// Waits until there is something to commit and takes it; `None` when the journal is closed and nothing is left.
    pub(super) fn wait(&self, record: &mut Vec<u8>) -> Option<Position> {
        let mut pending = self.state.lock();
        loop {
            if let Some(position) = self.take_from(&mut pending, record) {
                return Some(position);
            }
            if pending.closed {
                return None;
            }
            pending.idle = true;
            self.ready.wait(&mut pending);
            pending.idle = false;
        }
    }

    fn take_from(&self, pending: &mut Pending, record: &mut Vec<u8>) -> Option<Position> {
        let (len, position) = pending.boundary;
        if len == 0 {
            pending.draining = pending.open > 0 && pending.encoder.len() > 0 && !pending.closed;
            return None;
        }
        pending.encoder.take(len, record);
        self.waiting.store(pending.encoder.len(), Ordering::Relaxed);
        pending.boundary = (0, position);
        Some(position)
    }

    /// Takes no more changes: what is appended from now on gets a position and is forgotten.
    pub(super) fn close(&self) {
        let mut pending = self.state.lock();
        pending.closed = true;
        pending.draining = false;
        drop(pending);
        self.ready.notify_all();
        self.may_begin.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::Journal;
    use crate::storage::Change;
    use crate::time::WallTime;

    fn append(journal: &Journal) -> u64 {
        journal.append(WallTime::default(), &Change::Cleared { topic: "t" })
    }

    #[test]
    fn what_is_appended_after_the_end_never_counts_as_committed() {
        let journal = Journal::default();
        append(&journal);
        journal.close();
        assert_eq!(append(&journal), 2);
        let mut record = Vec::new();
        assert_eq!(journal.take(&mut record), Some(1));
        append(&journal);
        assert_eq!(journal.take(&mut record), None);
    }

    #[test]
    fn a_group_that_is_open_at_the_end_is_kept_as_a_whole() {
        let journal = Journal::default();
        journal.begin_group();
        append(&journal);
        journal.close();
        append(&journal);
        let mut record = Vec::new();
        assert_eq!(journal.take(&mut record), None, "the group is open");
        journal.end_group();
        append(&journal);
        assert_eq!(journal.take(&mut record), Some(2));
    }
}
