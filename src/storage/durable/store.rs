//! The store over a disk: what is committed there, and by which steps.

mod backup;
mod reading;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use crate::locks::{Mutex, RwLock};
use crate::storage::durable::checkpoint::{Checkpoint, Slot};
use crate::storage::durable::decode::{Entry, decode};
use crate::storage::durable::disk::Disk;
use crate::storage::durable::exclusive::Exclusive;
use crate::storage::durable::journal::Journal;
use crate::storage::durable::keys::retained;
use crate::storage::durable::log::{Log, LogError, Replayed, Salt};
use crate::storage::durable::reads::Reads;
use crate::storage::durable::recover::{emit, emit_queues, index};
use crate::storage::durable::state::{STRIDE, State};
use crate::storage::durable::tables::{FILE, StoreRow, Tables};
use crate::storage::durable::tools::NewStore;
use crate::storage::durable::trouble::{Trouble, Work};
use crate::storage::durable::wire::Malformed;
use crate::storage::{
    Change, LoadError, Position, QueuedRecord, ReadRequest, Store, StoreError, StoredDelivery, WaitingMemory,
};
use crate::time::WallTime;

/// How a store is opened.
#[derive(Clone, Copy, Debug)]
pub struct DurableOptions {
    /// A random number, for a store that is made now.
    pub salt: [u8; 16],
    /// The size of each of the log's two files.
    pub log_bytes: u64,
    /// The time now.
    pub now: WallTime,
    /// The milliseconds after which a disk that has no space for a checkpoint or a record is tried again. `None`: it
    /// is not, and the store fails.
    pub retry_millis: Option<u64>,
}

/// A store whose commits lie on a disk.
///
/// Changes are appended to a journal in memory. [`DurableStore::commit`] writes what has come there as one record of a
/// log and flushes it: that is the commit. What the changes make of the rows of the tables is kept in memory until
/// [`DurableStore::checkpoint`] writes it there; then that part of the log is used again.
pub struct DurableStore {
    /// `None` when the store is finished, as what follows.
    disk: Mutex<Option<Arc<dyn Disk>>>,
    journal: Journal,
    committer: Exclusive<Option<Committer>>,
    /// Locked by itself, for a moment: on a full disk the committer waits.
    state: Mutex<State>,
    /// Locked for reading while they are used, and for writing to open or close them.
    tables: RwLock<Option<Tables>>,
    slot: Slot,
    /// The rows of the checkpoint that is due or is written.
    writing: Mutex<Option<Arc<Checkpoint>>>,
    reads: Reads,
    /// How many bytes of waiting messages queues may hold; without it they are all in memory.
    memory: Option<Arc<WaitingMemory>>,
    /// The number of the first entry that is appended.
    first: u64,
    failed: OnceLock<StoreError>,
    /// What the disk refuses for now; the next attempt may succeed.
    trouble: Trouble,
    closing: AtomicBool,
    /// Whether a test has messages refused.
    refusing: AtomicBool,
    options: DurableOptions,
    salt: [u8; 16],
    numbers: Numbers,
}

/// What the committer works on.
struct Committer {
    log: Log,
    record: Vec<u8>,
}

/// What a store has done since it was opened.
#[derive(Debug, Default)]
struct Numbers {
    commits: AtomicU64,
    bytes: AtomicU64,
    checkpoints: AtomicU64,
    unwritten: AtomicU64,
    log: AtomicU64,
}

/// What a store has done since it was opened, and what it holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DurableStats {
    /// Records of the log that were written and flushed.
    pub commits: u64,
    /// Bytes of changes in them.
    pub committed_bytes: u64,
    /// Changes that were appended.
    pub changes: u64,
    /// Checkpoints that were written.
    pub checkpoints: u64,
    /// Bytes of changes that wait for a commit.
    pub waiting_bytes: u64,
    /// Bytes of rows that wait for a checkpoint.
    pub unwritten_bytes: u64,
    /// Bytes of the log's files.
    pub log_bytes: u64,
}

impl DurableStore {
    /// Opens the store of a disk, and makes it if there is none.
    ///
    /// # Errors
    /// The files cannot be read or written, are damaged, or of another version.
    pub fn open(disk: Arc<dyn Disk>, options: DurableOptions) -> Result<DurableStore, StoreError> {
        let (tables, row) = open_tables(&*disk, &options)?;
        let mut state = index(&tables, row.next)?;
        let log = replay(&*disk, &row, &mut state)?;
        let committer = Committer { log, record: Vec::new() };
        let first = state.next();
        let store = DurableStore {
            disk: Mutex::new(Some(disk)),
            journal: Journal::default(),
            committer: Exclusive::new(Some(committer)),
            state: Mutex::new(state),
            tables: RwLock::new(Some(tables)),
            slot: Slot::default(),
            writing: Mutex::default(),
            reads: Reads::default(),
            memory: None,
            first,
            failed: OnceLock::new(),
            trouble: Trouble::default(),
            closing: AtomicBool::new(false),
            refusing: AtomicBool::new(false),
            options,
            salt: row.salt,
            numbers: Numbers::default(),
        };
        store.reads.committed(first);
        store.checkpoint_all()?;
        Ok(store)
    }

    /// The same store, with a bound on the bytes of waiting messages that queues hold; what is beyond is read again.
    pub fn with_memory(self, bytes: usize) -> DurableStore {
        DurableStore { memory: Some(Arc::new(WaitingMemory::new(bytes))), ..self }
    }

    /// Waits for changes, and commits them; false when the store is closed or has failed, and nothing more comes.
    ///
    /// One thread calls it. `committed` is called right after the commit.
    pub fn wait_and_commit(&self, committed: &dyn Fn()) -> bool {
        let mut record = self.take_buffer();
        let cut = self.journal.wait(&mut record);
        self.commit_record(record, cut, committed)
    }

    /// Commits what has been appended, without waiting; whether there was something.
    pub fn commit(&self) -> bool {
        let mut record = self.take_buffer();
        let cut = self.journal.take(&mut record);
        self.commit_record(record, cut, &|| ())
    }

    fn take_buffer(&self) -> Vec<u8> {
        self.committer
            .lock()
            .as_mut()
            .map_or_else(Vec::new, |committer| std::mem::take(&mut committer.record))
    }

    fn commit_record(&self, record: Vec<u8>, cut: Option<Position>, committed: &dyn Fn()) -> bool {
        let mut committer = self.committer.lock();
        let Some(committer) = committer.as_mut() else {
            return false;
        };
        committer.record = record;
        let Some(position) = cut.filter(|_| self.failed.get().is_none()) else {
            return false;
        };
        match self.write(committer, position, committed) {
            Ok(()) => true,
            Err(error) => {
                self.fail(error);
                false
            }
        }
    }

    fn write(
        &self,
        committer: &mut Committer,
        position: Position,
        committed: &dyn Fn(),
    ) -> Result<(), StoreError> {
        self.make_room(committer)?;
        self.append_record(committer)?;
        let Committer { log, record } = committer;
        // Before others hear of the commit.
        self.numbers.commits.fetch_add(1, Ordering::Relaxed);
        self.numbers.bytes.fetch_add(record.len() as u64, Ordering::Relaxed);
        self.journal.set_committed(position);
        committed();
        let mut state = self.state.lock();
        apply(&mut state, record)?;
        self.numbers.unwritten.store(state.overlay.bytes() as u64, Ordering::Relaxed);
        // A removal takes little of the log, and as much memory as another row.
        let is_large = state.overlay.memory() as u64 > log.capacity();
        drop(state);
        self.reads.committed(self.numbers_to(position));
        self.numbers.log.store(log.disk_use(), Ordering::Relaxed);
        if (is_large || log.used() > log.capacity() / 2) && self.slot.is_free() {
            self.begin_checkpoint(committer)?;
        }
        Ok(())
    }

    /// Appends the record to the log. While the disk has no space for it, again and again, until the store is closed.
    fn append_record(&self, committer: &mut Committer) -> Result<(), StoreError> {
        let mut was_full = false;
        loop {
            let error = match committer.log.append(&committer.record) {
                Ok(()) => {
                    if was_full {
                        self.trouble.set(Work::Commit, None);
                    }
                    return Ok(());
                }
                Err(LogError::Full(error)) => error,
                Err(error) => return Err(error.into()),
            };
            was_full = true;
            self.trouble.set(Work::Commit, Some(error.clone()));
            if !self.may_retry() {
                return Err(error);
            }
        }
    }

    /// Sees to it that the log has room for the record: by a checkpoint and the other file of the log.
    fn make_room(&self, committer: &mut Committer) -> Result<(), StoreError> {
        if let Some(ended) = self.slot.ended() {
            committer.log.applied(ended?)?;
        }
        if committer.log.takes(committer.record.len()) {
            return Ok(());
        }
        self.end_checkpoint(committer)?;
        self.begin_checkpoint(committer)
    }

    /// Ends the checkpoint that there is: writes it if no thread does so, else waits for that.
    fn end_checkpoint(&self, committer: &mut Committer) -> Result<(), StoreError> {
        self.checkpoint();
        match self.slot.wait_for_end() {
            Some(ended) => Ok(committer.log.applied(ended?)?),
            None => Ok(()),
        }
    }

    /// Hands what has changed to the next checkpoint, and begins another generation of the log.
    fn begin_checkpoint(&self, committer: &mut Committer) -> Result<(), StoreError> {
        let checkpoint = self.take_checkpoint(committer);
        committer.log.rotate()?;
        self.slot.put(checkpoint);
        Ok(())
    }

    fn take_checkpoint(&self, committer: &Committer) -> Arc<Checkpoint> {
        let (log, mut state) = (&committer.log, self.state.lock());
        // An empty generation goes on: the tables do not have it.
        let generation = log.generation() - u64::from(log.is_empty());
        let store = StoreRow { salt: self.salt, generation, next: state.next() };
        let rows = std::mem::take(&mut state.overlay).into_sorted();
        let checkpoint = Arc::new(Checkpoint { rows, store });
        // A reader finds every row here or there.
        *self.writing.lock() = Some(Arc::clone(&checkpoint));
        checkpoint
    }

    /// Waits for a checkpoint that is due, and writes it; false when the store is closed. One thread calls it.
    pub fn wait_and_checkpoint(&self) -> bool {
        match self.slot.wait() {
            Some(checkpoint) => {
                self.run(&checkpoint);
                true
            }
            None => false,
        }
    }

    /// Writes the checkpoint that is due, if there is one.
    pub fn checkpoint(&self) {
        if let Some(checkpoint) = self.slot.take() {
            self.run(&checkpoint);
        }
    }

    /// Writes a checkpoint; again and again while the disk has no space, until the store is closed. Another failure ends it.
    fn run(&self, checkpoint: &Checkpoint) {
        loop {
            let Err(error) = self.try_run(checkpoint) else {
                return self.has_run(checkpoint);
            };
            self.trouble.set(Work::Checkpoint, Some(error.clone()));
            if !matches!(error, StoreError::Full { .. }) || !self.may_retry() {
                return self.slot.end(Err(error));
            }
        }
    }

    fn has_run(&self, checkpoint: &Checkpoint) {
        *self.writing.lock() = None;
        self.trouble.set(Work::Checkpoint, None);
        self.numbers.checkpoints.fetch_add(1, Ordering::Relaxed);
        self.slot.end(Ok(checkpoint.store.generation));
    }

    /// One attempt. After a failure redb refuses everything, so the tables are opened again.
    fn try_run(&self, checkpoint: &Checkpoint) -> Result<(), StoreError> {
        let applied = self.with_tables(|tables| tables.apply(&checkpoint.rows, checkpoint.store));
        if applied.is_err() {
            *self.tables.write() = None;
        }
        applied
    }

    /// Gives the tables to `see`, opened again if need be.
    fn with_tables<T>(&self, see: impl FnOnce(&Tables) -> Result<T, StoreError>) -> Result<T, StoreError> {
        loop {
            if let Some(tables) = self.tables.read().as_ref() {
                return see(tables);
            }
            let mut open = self.tables.write();
            if open.is_none() {
                *open = Some(reopen(&**self.disk.lock().as_ref().ok_or_else(closed)?)?);
            }
        }
    }

    /// Writes all that was committed into the tables.
    fn checkpoint_all(&self) -> Result<(), StoreError> {
        let mut committer = self.committer.lock();
        let committer = committer.as_mut().ok_or_else(closed)?;
        self.end_checkpoint(committer)?;
        if self.state.lock().overlay.is_empty() && committer.log.is_empty() {
            return Ok(());
        }
        let checkpoint = self.take_checkpoint(committer);
        self.try_run(&checkpoint)?;
        *self.writing.lock() = None;
        self.numbers.checkpoints.fetch_add(1, Ordering::Relaxed);
        Ok(committer.log.applied(checkpoint.store.generation)?)
    }

    /// Waits until the disk may be tried again; false if it is not to be.
    fn may_retry(&self) -> bool {
        let Some(millis) = self.options.retry_millis else {
            return false;
        };
        !self.slot.is_closed_within(|| self.is_closing(), millis)
    }

    /// Whether the store takes no more changes.
    pub fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Acquire)
    }

    /// Refuses messages of QoS 1 and 2, or accepts them again, whatever waits for a commit.
    pub fn refuse_messages(&self, refuse: bool) {
        self.refusing.store(refuse, Ordering::Relaxed);
    }

    /// Tries at once what the disk has refused.
    pub fn try_again(&self) {
        self.slot.wake();
    }

    /// Takes no more changes. The threads that commit and write checkpoints end when all is done.
    /// A disk that refuses a checkpoint is not tried again: the log has everything.
    pub fn close(&self) {
        self.closing.store(true, Ordering::Release);
        self.journal.close();
        self.slot.wake();
        self.reads.close();
    }

    /// Commits and checkpoints what is left, and closes the files. No thread works on the store any more.
    ///
    /// # Errors
    /// The tables cannot be written. Nothing is lost: the log has it.
    pub fn finish(&self) -> Result<(), StoreError> {
        while self.commit() {}
        let result = match self.failed.get() {
            Some(error) => Err(error.clone()),
            None => self.checkpoint_all(),
        };
        self.slot.close();
        drop(self.tables.write().take());
        drop(self.committer.lock().take());
        drop(self.disk.lock().take());
        result
    }

    /// Commits nothing more, for this reason.
    pub fn give_up(&self, cause: &str) {
        self.fail(StoreError::Failed { cause: cause.to_owned() });
    }

    /// What was found in the log when the store was opened; nothing once it is finished.
    pub fn replayed(&self) -> Replayed {
        self.committer.lock().as_ref().map_or_else(Replayed::default, |it| it.log.replayed().clone())
    }

    /// The tables, with all that was committed when the store was opened. The store is of no use without them.
    pub(super) fn take_tables(&self) -> Result<Tables, StoreError> {
        self.checkpoint_all()?;
        self.tables.write().take().ok_or_else(closed)
    }

    fn fail(&self, error: StoreError) {
        let _ = self.failed.set(error);
        self.journal.close();
    }

    /// What the disk refused at the last attempt: a commit, or else a checkpoint, without which commits go on while the log
    /// has room.
    pub fn trouble(&self) -> Option<StoreError> {
        self.trouble.get()
    }

    /// Calls `changed` from now on when a trouble begins or ends, on the thread that finds it. Only the first call counts.
    pub fn on_trouble(&self, changed: Box<dyn Fn() + Send + Sync>) {
        self.trouble.on_change(changed);
    }

    /// What the store has done.
    pub fn stats(&self) -> DurableStats {
        let Numbers { commits, bytes, checkpoints, unwritten, log } = &self.numbers;
        DurableStats {
            commits: commits.load(Ordering::Relaxed),
            committed_bytes: bytes.load(Ordering::Relaxed),
            changes: self.journal.appended(),
            checkpoints: checkpoints.load(Ordering::Relaxed),
            waiting_bytes: self.journal.bytes() as u64,
            unwritten_bytes: unwritten.load(Ordering::Relaxed),
            log_bytes: log.load(Ordering::Relaxed),
        }
    }
}

/// Bytes that may wait for a commit. The messages of QoS 1 and 2 that come beyond that are refused.
const MOST_WAITING: usize = 64 << 20;

impl Store for DurableStore {
    fn is_kept(&self) -> bool {
        true
    }

    fn load(
        &self,
        restore: &mut dyn FnMut(WallTime, Change<'_>) -> Result<(), LoadError>,
    ) -> Result<(), StoreError> {
        let (mut state, tables) = (self.state.lock(), self.tables.read());
        let tables = tables.as_ref().ok_or_else(closed)?;
        let with_queues = self.memory.is_none();
        for topic in emit(tables, &mut state, self.options.now, with_queues, restore)? {
            state.overlay.remove(retained(&topic));
        }
        Ok(())
    }

    fn append(&self, at: WallTime, change: Change<'_>) -> Position {
        self.journal.append(at, &change)
    }

    fn appended(&self) -> Position {
        self.journal.appended()
    }

    fn committed(&self) -> Position {
        self.journal.committed()
    }

    fn begin_group(&self) {
        self.journal.begin_group();
    }

    fn end_group(&self) {
        self.journal.end_group();
    }

    fn is_full(&self) -> bool {
        self.journal.bytes() > MOST_WAITING
            || self.failed.get().is_some()
            || self.refusing.load(Ordering::Relaxed)
    }

    fn failed(&self) -> Option<StoreError> {
        self.failed.get().cloned()
    }

    fn waiting_memory(&self) -> Option<&Arc<WaitingMemory>> {
        self.memory.as_ref()
    }

    fn number_of(&self, position: Position) -> u64 {
        self.first + position.saturating_sub(1) * STRIDE
    }

    fn request(&self, request: ReadRequest) {
        self.reads.put(request);
    }

    fn read(
        &self,
        client_id: &str,
        numbers: &[u64],
        see: &mut dyn FnMut(StoredDelivery<'_>),
    ) -> Result<(), StoreError> {
        self.read_rows(client_id, numbers, see)
    }

    fn load_waiting(
        &self,
        restore: &mut dyn FnMut(&str, QueuedRecord<'_>) -> Result<(), LoadError>,
    ) -> Result<(), StoreError> {
        if self.memory.is_none() {
            return Ok(());
        }
        let (mut state, tables) = (self.state.lock(), self.tables.read());
        emit_queues(tables.as_ref().ok_or_else(closed)?, &mut state, restore)
    }
}

fn closed() -> StoreError {
    StoreError::Failed { cause: "the store is closed".to_owned() }
}

/// Opens the tables, or makes a store of no rows and an empty log. A store that was not wholly made is made again.
fn open_tables(disk: &dyn Disk, options: &DurableOptions) -> Result<(Tables, StoreRow), StoreError> {
    if let Some(file) = open_file(disk, FILE)? {
        let mut tables = Tables::open(disk, FILE, file)?;
        tables.verify()?;
        let row = tables.store()?.ok_or_else(|| tables.damaged(Malformed))?;
        return Ok((tables, row));
    }
    NewStore::begin(disk, options.salt)?.finish(1, options.log_bytes)
}

fn open_file(
    disk: &dyn Disk,
    name: &str,
) -> Result<Option<Box<dyn crate::storage::durable::disk::DiskFile>>, StoreError> {
    disk.open(name).map_err(|error| failed("open", disk.describe(name), &error))
}

fn reopen(disk: &dyn Disk) -> Result<Tables, StoreError> {
    let file = open_file(disk, FILE)?.ok_or_else(|| StoreError::Missing { file: disk.describe(FILE) })?;
    Tables::open(disk, FILE, file)
}

/// Reads the records of the log that the tables do not have, and applies them.
fn replay(disk: &dyn Disk, row: &StoreRow, state: &mut State) -> Result<Log, StoreError> {
    Log::open(disk, Salt(row.salt), row.generation, &mut |record| apply(state, record))
}

fn apply(state: &mut State, record: &[u8]) -> Result<(), StoreError> {
    state.begin_record();
    decode(record, |entry: Entry<'_>| state.apply(&entry).map_err(StoreError::from))
}

impl From<LogError> for StoreError {
    fn from(error: LogError) -> StoreError {
        match error {
            LogError::Full(error) | LogError::Failed(error) => error,
            other => StoreError::Failed { cause: other.to_string() },
        }
    }
}

impl From<Malformed> for StoreError {
    fn from(error: Malformed) -> StoreError {
        StoreError::Failed { cause: format!("a record of the log cannot be read: {error}") }
    }
}

fn failed(verb: &str, path: String, error: &std::io::Error) -> StoreError {
    StoreError::Failed { cause: format!("cannot {verb} {path}: {error}") }
}
