//! One file of the log: its beginning, and how it is made, opened and read.

use std::io;

use super::error::unusable;
use super::record::{self, Condition, Fields, Head, Kind, SECTOR, Salt, Sector, put, u32_at, u64_at};
use crate::storage::StoreError;
use crate::storage::durable::disk::{Disk, DiskFile};

/// The names of the two files.
pub const NAMES: [&str; 2] = ["log.0", "log.1"];
/// The names of files that are not made yet.
const UNFINISHED: [&str; 2] = ["log.0.new", "log.1.new"];
/// Bytes of a file, if nobody wants another size.
pub const DEFAULT_SIZE: u64 = 32 << 20;

/// The position of the first record. Before it lies the beginning of the file, which is written once.
pub const FIRST: u64 = 4096;
/// Bytes of the beginning that mean something.
const BEGINNING: usize = 48;
const MAGIC: &[u8; 8] = b"midgelog";
/// The format that is written. In each format the check of the beginning stands where it stands in this one.
const FORMAT: u32 = 1;
/// Bytes that are read or written at a time where a whole file is.
const PORTION: usize = 1 << 20;

/// An open file of the log.
pub struct LogFile {
    /// The path, for sentences.
    pub path: String,
    pub file: Box<dyn DiskFile>,
    /// The size that the file was made with.
    pub size: u64,
    /// The size that it has.
    pub len: u64,
}

/// Bytes that a reader of records uses again and again.
#[derive(Default)]
pub struct Buffers {
    record: Vec<u8>,
    /// The group of the record that was read last.
    pub group: Vec<u8>,
}

/// What is at a place where a record could begin.
pub enum Place {
    /// A whole record, whose group is in the buffers.
    Record(Fields),
    /// A record that was not written to its end; or nothing that belongs to the log.
    End {
        /// Whether a record of this generation was begun here.
        torn: bool,
    },
}

impl LogFile {
    /// Makes the file `index`: zeros to its end, since a disk may be full when a hole is filled, and filling one costs
    /// the file system a write of its own. The name is not durable yet.
    pub fn create(disk: &dyn Disk, index: usize, salt: &Salt, size: u64) -> Result<LogFile, StoreError> {
        let (name, unfinished) = (name(index), UNFINISHED.get(index).copied().unwrap_or_default());
        let path = disk.describe(name);
        let cannot = |operation: &'static str| {
            let path = &path;
            move |error: io::Error| unusable(path, operation, &error)
        };
        if disk.open(unfinished).map_err(cannot("open"))?.is_some() {
            disk.remove(unfinished).map_err(cannot("remove what was not finished"))?;
        }
        let file = disk.create(unfinished).map_err(cannot("create"))?;
        write_zeros(file.as_ref(), 0, size)
            .and_then(|()| file.write_at(0, &beginning(index, salt, size)))
            .and_then(|()| file.sync())
            .map_err(cannot("write zeros"))
            .inspect_err(|_| {
                // The file takes space that others may need. It is also removed when the log is made again.
                let _ = disk.remove(unfinished);
            })?;
        disk.rename(unfinished, name).map_err(cannot("rename"))?;
        Ok(LogFile { path: path.clone(), file, size, len: size })
    }

    /// Opens the file `index` of the store with this salt.
    pub fn open(disk: &dyn Disk, index: usize, salt: &Salt) -> Result<LogFile, StoreError> {
        let path = disk.describe(name(index));
        let cannot = |operation, error| unusable(&path, operation, &error);
        let file = disk.open(name(index)).map_err(|error| cannot("open", error))?;
        let Some(file) = file else { return Err(StoreError::Missing { file: path }) };
        let len = file.len().map_err(|error| cannot("ask for the length", error))?;
        let (size, own) = read_beginning(&path, file.as_ref(), len, index)?;
        if own != *salt {
            return Err(StoreError::Foreign { file: path });
        }
        if len < size {
            let what = format!("it ends here, but was made with {size} bytes");
            return Err(damaged(&path, len, &what));
        }
        Ok(LogFile { path, file, size, len })
    }

    /// The sector at `at`.
    fn sector(&self, at: u64) -> Result<Sector, StoreError> {
        let mut sector = [0; SECTOR];
        self.file.read_at(at, &mut sector).map_err(|error| unusable(&self.path, "read", &error))?;
        Ok(sector)
    }

    /// What begins at `at`; `None` at the end of the file.
    pub fn head(&self, salt: &Salt, at: u64) -> Result<Option<Head>, StoreError> {
        if at + SECTOR as u64 > self.len {
            return Ok(None);
        }
        Ok(Some(record::head(salt, at, &self.sector(at)?)))
    }

    /// Reads the record at `at`, which must have this generation and sequence.
    pub fn record(
        &self,
        salt: &Salt,
        at: u64,
        generation: u64,
        sequence: u64,
        buffers: &mut Buffers,
    ) -> Result<Place, StoreError> {
        let alike = |fields: &Fields| fields.generation == generation || fields.sequence == sequence;
        let (fields, check) = match self.head(salt, at)? {
            None => return Ok(Place::End { torn: false }),
            Some(Head::Damaged(fields)) if alike(&fields) => {
                return Err(self.damaged(at, "the beginning of a record has changed"));
            }
            Some(Head::Nothing(fields)) => {
                return Ok(Place::End { torn: alike(&fields) && fields.length > 0 });
            }
            Some(Head::Record { fields, check }) if fields.generation == generation => (fields, check),
            Some(Head::Record { fields, .. }) if fields.generation > generation => {
                let what =
                    format!("a record of generation {} is in generation {generation}", fields.generation);
                return Err(self.damaged(at, &what));
            }
            Some(_) => return Ok(Place::End { torn: false }),
        };
        if fields.sequence != sequence {
            let what = format!("record {sequence} is missing, record {} is in its place", fields.sequence);
            return Err(self.damaged(at, &what));
        }
        if at + fields.size() > self.len {
            return Err(self.damaged(self.len, "the file ends within a record"));
        }
        buffers.record.clear();
        buffers.record.resize(fields.size() as usize, 0);
        self.file.read_at(at, &mut buffers.record).map_err(|error| unusable(&self.path, "read", &error))?;
        match record::group(salt, &fields, check, &buffers.record, &mut buffers.group) {
            Condition::Whole => Ok(Place::Record(fields)),
            Condition::Torn => Ok(Place::End { torn: true }),
            Condition::Damaged => Err(self.damaged(at, "the content of a record has changed")),
        }
    }

    /// The position of the first record from `from` on whose generation is later than `applied`.
    pub fn later_record(&self, salt: &Salt, from: u64, applied: u64) -> Result<Option<u64>, StoreError> {
        let mut portion = vec![0; PORTION.min(usize::try_from(self.len).unwrap_or(PORTION))];
        let mut at = from;
        while at < self.len {
            let len = (self.len - at).min(PORTION as u64) as usize;
            let part = portion.get_mut(..len).unwrap_or_default();
            self.file.read_at(at, part).map_err(|error| unusable(&self.path, "read", &error))?;
            for (sector, index) in part.as_chunks::<SECTOR>().0.iter().zip(0..) {
                let place = at + index * SECTOR as u64;
                // A look at the number spares the check of nearly all other bytes.
                let generation = u64_at(sector, 8);
                if (applied + 1..=applied + 2).contains(&generation)
                    && matches!(record::head(salt, place, sector), Head::Record { .. })
                {
                    return Ok(Some(place));
                }
            }
            at += len as u64;
        }
        Ok(None)
    }

    /// Writes the last record, which lies from `from` to `to`, once more, and waits until it is durable. It may have been
    /// read from the system's memory only, where it also stays if it could not be written. Every record before was
    /// durable when the next one was appended.
    pub fn settle(&self, from: u64, to: u64) -> Result<(), StoreError> {
        if from == to {
            return Ok(());
        }
        let mut portion = vec![0; PORTION.min(usize::try_from(self.len).unwrap_or(PORTION))];
        let mut at = from;
        while at < to {
            let len = (to - at).min(PORTION as u64) as usize;
            let part = portion.get_mut(..len).unwrap_or_default();
            self.file.read_at(at, part).map_err(|error| unusable(&self.path, "read", &error))?;
            self.file.write_at(at, part).map_err(|error| unusable(&self.path, "write", &error))?;
            at += len as u64;
        }
        self.file.sync().map_err(|error| unusable(&self.path, "sync", &error))
    }

    /// Damage at `offset` of this file.
    pub fn damaged(&self, offset: u64, what: &str) -> StoreError {
        damaged(&self.path, offset, what)
    }
}

/// Writes zeros from `from` to `to`.
pub fn write_zeros(file: &dyn DiskFile, from: u64, to: u64) -> io::Result<()> {
    let zeros = vec![0; PORTION.min(usize::try_from(to.saturating_sub(from)).unwrap_or(PORTION))];
    let mut at = from;
    while at < to {
        let len = (to - at).min(zeros.len() as u64);
        file.write_at(at, zeros.get(..len as usize).unwrap_or_default())?;
        at += len;
    }
    Ok(())
}

fn name(index: usize) -> &'static str {
    NAMES.get(index).copied().unwrap_or_default()
}

fn damaged(path: &str, offset: u64, what: &str) -> StoreError {
    StoreError::Damaged { file: path.to_owned(), offset, what: what.to_owned() }
}

/// The first sector of a file: check 8, magic 8, format 4, index 4, size 8, salt 16.
fn beginning(index: usize, salt: &Salt, size: u64) -> Sector {
    let mut sector = [0; SECTOR];
    put(&mut sector, 8, MAGIC);
    put(&mut sector, 16, &FORMAT.to_le_bytes());
    put(&mut sector, 20, &(index as u32).to_le_bytes());
    put(&mut sector, 24, &size.to_le_bytes());
    put(&mut sector, 32, &salt.0);
    let check = salt.check(Kind::File, sector.get(8..BEGINNING).unwrap_or_default());
    put(&mut sector, 0, &check.to_le_bytes());
    sector
}

/// The size and the salt that the beginning of a file names.
fn read_beginning(
    path: &str,
    file: &dyn DiskFile,
    len: u64,
    index: usize,
) -> Result<(u64, Salt), StoreError> {
    if len < FIRST {
        return Err(damaged(path, len, "it is too short for a log"));
    }
    let mut sector = [0; SECTOR];
    file.read_at(0, &mut sector).map_err(|error| unusable(path, "read", &error))?;
    let salt = Salt(*sector.get(32..).and_then(|rest| rest.first_chunk()).unwrap_or(&[0; 16]));
    if salt.check(Kind::File, sector.get(8..BEGINNING).unwrap_or_default()) != u64_at(&sector, 0) {
        let is_log = sector.get(8..16) == Some(MAGIC);
        let what = if is_log { "the beginning of the log has changed" } else { "it is no log of Midge" };
        return Err(damaged(path, 0, what));
    }
    let found = u32_at(&sector, 16);
    if found != FORMAT {
        return Err(StoreError::Format { file: path.to_owned(), found, known: FORMAT });
    }
    if u32_at(&sector, 20) as usize != index {
        return Err(damaged(path, 0, "it is a copy of the log's other file"));
    }
    Ok((u64_at(&sector, 24), salt))
}

/// The file `index` may be made: it does not exist, or has no record, because the making of a store was interrupted.
pub fn must_be_unused(disk: &dyn Disk, index: usize) -> Result<(), StoreError> {
    let path = disk.describe(name(index));
    let cannot = |operation, error| unusable(&path, operation, &error);
    let Some(file) = disk.open(name(index)).map_err(|error| cannot("open", error))? else { return Ok(()) };
    let len = file.len().map_err(|error| cannot("ask for the length", error))?;
    read_beginning(&path, file.as_ref(), len, index)?;
    let mut sector = [0; SECTOR];
    if len >= FIRST + SECTOR as u64 {
        file.read_at(FIRST, &mut sector).map_err(|error| cannot("read", error))?;
    }
    if sector != [0; SECTOR] {
        return Err(damaged(&path, FIRST, "it has records, but the tables that belong to it are missing"));
    }
    Ok(())
}
