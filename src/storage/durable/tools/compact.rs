//! `compact`: the tables give back the space of rows that are gone.

use std::sync::Arc;

use crate::storage::StoreError;
use crate::storage::durable::disk::Disk;
use crate::storage::durable::store::{DurableOptions, DurableStore};
use crate::storage::durable::tools::check::{files, must_exist};

/// What compacting has changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Compacted {
    /// Bytes of the store's files before.
    pub before: u64,
    /// Bytes of them after.
    pub after: u64,
}

/// Makes the files of a store that no broker uses as small as they can be.
///
/// # Errors
/// There is no store, it is damaged, or it cannot be written. Nothing of it is lost.
pub fn compact(disk: Arc<dyn Disk>, options: DurableOptions) -> Result<Compacted, StoreError> {
    let there = files(&*disk)?;
    must_exist(&*disk, &there)?;
    let sum = |files: Vec<(String, u64)>| files.iter().map(|(_, len)| len).sum();
    let store = DurableStore::open(Arc::clone(&disk), options)?;
    let mut tables = store.take_tables()?;
    tables.compact()?;
    drop(tables);
    Ok(Compacted { before: sum(there), after: sum(files(&*disk)?) })
}
