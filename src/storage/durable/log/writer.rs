//! The log in use: groups are appended, and the files take turns.

use super::error::{LogError, is_full, poisoned, unusable};
use super::file::{FIRST, LogFile, NAMES, must_be_unused, write_zeros};
use super::record::{self, SECTOR, Salt};
use super::replay::{Replayed, file_of, read};
use crate::storage::StoreError;
use crate::storage::durable::disk::Disk;

/// Bytes of a record whose buffer is kept for the next one.
const KEPT_BUFFER: usize = 1 << 20;

/// The log of a store, open for appending. One thread at a time uses it.
///
/// A group is durable when [`Log::append`] has returned. When a generation is to end, [`Log::rotate`] begins the next one
/// in the other file; when the tables durably have all of a generation, [`Log::applied`] gives its file free.
///
/// After an error of a write or a sync nobody knows what is on the disk. The log never tries again: each call returns the
/// same error. The one exception is a disk without space, of which is known that the group is not there.
pub struct Log {
    files: [LogFile; 2],
    salt: Salt,
    generation: u64,
    /// The generation up to which the tables have everything.
    applied: u64,
    /// The sequence of the next record.
    sequence: u64,
    /// Where the next record begins.
    end: u64,
    buffer: Vec<u8>,
    replayed: Replayed,
    failed: Option<StoreError>,
}

impl Log {
    /// Makes an empty log of two files with `size` bytes each; its first generation is 1.
    ///
    /// Files of an earlier call that have no record are made again. So the store's tables, which keep the salt, are
    /// made after the log.
    ///
    /// # Errors
    /// The files cannot be made, or there is a log with records.
    pub fn create(disk: &dyn Disk, salt: Salt, size: u64) -> Result<Log, StoreError> {
        let size = size.next_multiple_of(SECTOR as u64).max(FIRST + SECTOR as u64);
        must_be_unused(disk, 0)?;
        must_be_unused(disk, 1)?;
        let first = LogFile::create(disk, 0, &salt, size)?;
        let second = LogFile::create(disk, 1, &salt, size).inspect_err(|_| {
            // One file is of no use, and takes space that others may need.
            let _ = disk.remove(NAMES[0]);
        })?;
        let files = [first, second];
        disk.sync().map_err(|error| unusable(&files[1].path, "sync the directory", &error))?;
        Ok(Log::of(files, salt, 0))
    }

    /// Opens the log, and gives the groups of all generations later than `applied` to `replay`, in order. All of them
    /// are durable when `open` returns, the last one perhaps without having been acknowledged.
    ///
    /// # Errors
    /// A file is missing, damaged, or not this store's; or `replay` refuses a group. Nothing in the files was changed.
    pub fn open(
        disk: &dyn Disk,
        salt: Salt,
        applied: u64,
        replay: &mut dyn FnMut(&[u8]) -> Result<(), StoreError>,
    ) -> Result<Log, StoreError> {
        let files = [LogFile::open(disk, 0, &salt)?, LogFile::open(disk, 1, &salt)?];
        let content = read(&files, &salt, applied, replay)?;
        if let Some(chain) = content.chains.last() {
            file_of(&files, chain.generation).settle(chain.last, chain.end)?;
        }
        let mut log = Log::of(files, salt, applied);
        if let Some(chain) = content.chains.last() {
            (log.generation, log.sequence, log.end) = (chain.generation, chain.sequence, chain.end);
        }
        log.replayed = content.replayed;
        Ok(log)
    }

    fn of(files: [LogFile; 2], salt: Salt, applied: u64) -> Log {
        Log {
            files,
            salt,
            generation: applied + 1,
            applied,
            sequence: 0,
            end: FIRST,
            buffer: Vec::new(),
            replayed: Replayed::default(),
            failed: None,
        }
    }

    /// Appends a group, and returns when it is durable. A group larger than a whole file makes the file grow until it is
    /// used again; that needs an empty generation.
    ///
    /// # Errors
    /// The group was not appended. After [`LogError::NoRoom`] and [`LogError::Full`] the log goes on.
    pub fn append(&mut self, group: &[u8]) -> Result<(), LogError> {
        self.check()?;
        let len = group.len();
        let length = u32::try_from(len).map_err(|_| LogError::TooLarge { len })?;
        let end = self.end + record::size(len);
        if end > self.file().len {
            if self.end > FIRST {
                return Err(LogError::NoRoom { len, room: self.room() });
            }
            self.grow(end)?;
        }
        record::encode(&self.salt, self.end, self.generation, self.sequence, group, length, &mut self.buffer);
        let written = self.file().file.write_at(self.end, &self.buffer);
        if self.buffer.capacity() > KEPT_BUFFER {
            self.buffer = Vec::new();
        }
        // Some file systems need space for an overwrite, too. A part of the record has no effect: tags are missing.
        written.map_err(|error| self.not_done("write", &error))?;
        self.file().file.sync().map_err(|error| self.poison("sync", &error))?;
        self.end = end;
        self.sequence += 1;
        Ok(())
    }

    /// Bytes of the largest group that fits into this generation without that its file grows. A larger one is also
    /// taken while the generation is empty.
    pub fn room(&self) -> usize {
        record::largest(self.file().len.saturating_sub(self.end)).unwrap_or(0)
    }

    /// Whether a group of `len` bytes can be appended before the next [`Log::rotate`].
    pub fn takes(&self, len: usize) -> bool {
        self.is_empty() || self.end + record::size(len) <= self.file().len
    }

    /// The generation that groups are appended to.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Whether this generation has no group.
    pub fn is_empty(&self) -> bool {
        self.end == FIRST
    }

    /// Bytes that the records of this generation take.
    pub fn used(&self) -> u64 {
        self.end - FIRST
    }

    /// Bytes that records may take in a file that has not grown.
    pub fn capacity(&self) -> u64 {
        self.file().size - FIRST
    }

    /// Bytes of both files.
    pub fn disk_use(&self) -> u64 {
        self.files.iter().map(|file| file.len).sum()
    }

    /// What was found when the log was opened.
    pub fn replayed(&self) -> &Replayed {
        &self.replayed
    }

    /// Why the log has failed.
    pub fn failed(&self) -> Option<&StoreError> {
        self.failed.as_ref()
    }

    /// Begins the next generation in the other file, and returns its number. An empty generation goes on.
    ///
    /// # Errors
    /// The tables do not have the generation in the other file: the log goes on in this one. Or the log has failed.
    pub fn rotate(&mut self) -> Result<u64, LogError> {
        self.check()?;
        if self.is_empty() {
            return Ok(self.generation);
        }
        let other = self.generation - 1;
        if other > self.applied {
            return Err(LogError::NotApplied { generation: other });
        }
        self.begin(self.generation + 1)?;
        Ok(self.generation)
    }

    /// The tables durably have every group up to the end of `generation`, and nothing more will be appended to it. If it
    /// is the present one, the next begins.
    ///
    /// # Errors
    /// The log has failed.
    pub fn applied(&mut self, generation: u64) -> Result<(), LogError> {
        self.check()?;
        self.applied = self.applied.max(generation);
        if self.generation <= self.applied {
            self.begin(self.applied + 1)?;
        }
        Ok(())
    }

    /// Begins a generation in its file, whose content the tables have.
    fn begin(&mut self, generation: u64) -> Result<(), LogError> {
        self.generation = generation;
        self.end = FIRST;
        let file = self.file_mut();
        if file.len > file.size {
            let size = file.size;
            file.file.set_len(size).map_err(|error| self.poison("shrink", &error))?;
            self.file_mut().len = size;
        }
        Ok(())
    }

    /// Makes the file as long as its first record needs. The space is reserved before the record is written: then the
    /// record fits, or nothing of it is there.
    fn grow(&mut self, len: u64) -> Result<(), LogError> {
        let file = self.file();
        let grown = write_zeros(file.file.as_ref(), file.len, len).and_then(|()| file.file.sync());
        if let Err(error) = grown {
            if is_full(&error) {
                self.file().file.set_len(self.file().len).map_err(|error| self.poison("shrink", &error))?;
            }
            return Err(self.not_done("grow", &error));
        }
        self.file_mut().len = len;
        Ok(())
    }

    fn file(&self) -> &LogFile {
        file_of(&self.files, self.generation)
    }

    fn file_mut(&mut self) -> &mut LogFile {
        let [even, odd] = &mut self.files;
        if self.generation.is_multiple_of(2) { even } else { odd }
    }

    fn check(&self) -> Result<(), LogError> {
        self.failed.clone().map_or(Ok(()), |error| Err(LogError::Failed(error)))
    }

    /// An error before which nothing was lost if the disk is full; the log has failed otherwise.
    fn not_done(&mut self, operation: &'static str, error: &std::io::Error) -> LogError {
        if !is_full(error) {
            return self.poison(operation, error);
        }
        let (file, cause) = (self.file().path.clone(), error.to_string());
        LogError::Full(StoreError::Full { file, operation, cause })
    }

    fn poison(&mut self, operation: &'static str, error: &std::io::Error) -> LogError {
        let error = poisoned(&self.file().path, operation, error);
        self.failed = Some(error.clone());
        LogError::Failed(error)
    }
}
