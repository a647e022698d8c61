//! What a log holds that the tables do not have, in order.

use super::file::{Buffers, FIRST, LogFile, Place};
use super::record::{Head, SECTOR, Salt};
use crate::storage::StoreError;
use crate::storage::durable::disk::Disk;

/// What was found in a log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Replayed {
    /// Groups that were replayed.
    pub groups: u64,
    /// Bytes of these groups.
    pub bytes: u64,
    /// A group that was being written when the broker or the machine stopped. It was never acknowledged.
    pub torn: Option<TornTail>,
}

/// Where the log ends with an incomplete record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TornTail {
    /// The path of the file.
    pub file: String,
    /// The position of the record.
    pub offset: u64,
}

/// Gives the groups of all generations later than `applied` to `replay`, in order, and writes nothing.
///
/// # Errors
/// A file is missing, damaged, or not this store's, and the groups that were given are not all; or `replay` refuses one.
pub fn replay(
    disk: &dyn Disk,
    salt: &Salt,
    applied: u64,
    replay: &mut dyn FnMut(&[u8]) -> Result<(), StoreError>,
) -> Result<Replayed, StoreError> {
    let files = [LogFile::open(disk, 0, salt)?, LogFile::open(disk, 1, salt)?];
    Ok(read(&files, salt, applied, replay)?.replayed)
}

/// The records of one generation that the tables do not have.
pub struct Chain {
    pub generation: u64,
    /// The sequence of the next record.
    pub sequence: u64,
    /// Where the last record begins; the end if there is none.
    pub last: u64,
    /// Where the next record begins.
    pub end: u64,
}

/// What both files hold.
#[derive(Default)]
pub struct Content {
    /// In order. Only the last may be without a record.
    pub chains: Vec<Chain>,
    pub replayed: Replayed,
}

/// The file of a generation.
pub fn file_of(files: &[LogFile; 2], generation: u64) -> &LogFile {
    let [even, odd] = files;
    if generation.is_multiple_of(2) { even } else { odd }
}

/// Reads both files.
pub fn read(
    files: &[LogFile; 2],
    salt: &Salt,
    applied: u64,
    replay: &mut dyn FnMut(&[u8]) -> Result<(), StoreError>,
) -> Result<Content, StoreError> {
    let mut content = Content::default();
    for generation in [applied + 1, applied + 2] {
        let file = file_of(files, generation);
        let Some(sequence) = begun(file, salt, generation)? else {
            look_behind(file, salt, applied, FIRST)?;
            continue;
        };
        follows(files, &content, generation, sequence, applied)?;
        let chain = Chain { generation, sequence, last: FIRST, end: FIRST };
        let chain = walk(file, salt, chain, &mut content.replayed, replay)?;
        look_behind(file, salt, applied, chain.end)?;
        content.chains.push(chain);
    }
    Ok(content)
}

/// The sequence of the first record of a generation, if the generation has begun.
fn begun(file: &LogFile, salt: &Salt, generation: u64) -> Result<Option<u64>, StoreError> {
    match file.head(salt, FIRST)? {
        Some(Head::Record { fields, .. }) if fields.generation == generation => Ok(Some(fields.sequence)),
        Some(Head::Record { fields, .. }) if fields.generation > generation => {
            let what = format!("generation {generation} is missing, {} is in its place", fields.generation);
            Err(file.damaged(FIRST, &what))
        }
        Some(Head::Damaged(fields)) if fields.generation == generation => {
            Err(file.damaged(FIRST, "the beginning of a record has changed"))
        }
        _ => Ok(None),
    }
}

/// Checks that a generation, which begins with `sequence`, goes on where the one before ends.
fn follows(
    files: &[LogFile; 2],
    before: &Content,
    generation: u64,
    sequence: u64,
    applied: u64,
) -> Result<(), StoreError> {
    match before.chains.last() {
        Some(last) if last.sequence != sequence => {
            let what = format!("record {} is missing, the other file goes on with {sequence}", last.sequence);
            Err(file_of(files, last.generation).damaged(last.end, &what))
        }
        None if generation > applied + 1 => {
            let missing = applied + 1;
            let what = format!("generation {missing} is missing, the other file goes on with {generation}");
            Err(file_of(files, missing).damaged(FIRST, &what))
        }
        _ => Ok(()),
    }
}

/// Replays the records of a generation that has begun.
fn walk(
    file: &LogFile,
    salt: &Salt,
    mut chain: Chain,
    replayed: &mut Replayed,
    replay: &mut dyn FnMut(&[u8]) -> Result<(), StoreError>,
) -> Result<Chain, StoreError> {
    let mut buffers = Buffers::default();
    replayed.torn = None;
    loop {
        match file.record(salt, chain.end, chain.generation, chain.sequence, &mut buffers)? {
            Place::Record(fields) => {
                replay(&buffers.group)?;
                replayed.groups += 1;
                replayed.bytes += buffers.group.len() as u64;
                chain.sequence += 1;
                chain.last = chain.end;
                chain.end += fields.size();
            }
            Place::End { torn } => {
                if torn {
                    replayed.torn = Some(TornTail { file: file.path.clone(), offset: chain.end });
                }
                return Ok(chain);
            }
        }
    }
}

/// A record behind the end was written when all before it was durable: then the end is no end.
fn look_behind(file: &LogFile, salt: &Salt, applied: u64, end: u64) -> Result<(), StoreError> {
    match file.later_record(salt, end + SECTOR as u64, applied)? {
        None => Ok(()),
        Some(later) => Err(file.damaged(end, &format!("no record is here, but a later one at byte {later}"))),
    }
}
