//! A new store that is filled before it is there: all of it or nothing.

use std::io;

use crate::storage::StoreError;
use crate::storage::durable::disk::Disk;
use crate::storage::durable::keys::Key;
use crate::storage::durable::log::{Log, NAMES, Salt};
use crate::storage::durable::overlay::Net;
use crate::storage::durable::tables::{FILE, NEW_FILE, StoreRow, Tables};

/// A store that is being made. Until [`NewStore::finish`] the disk has none: its tables have the name of a file that is
/// not finished, which the next one who makes a store removes.
pub(in crate::storage::durable) struct NewStore<'d> {
    disk: &'d dyn Disk,
    tables: Tables,
    salt: [u8; 16],
}

impl NewStore<'_> {
    /// Begins a store on a disk that has none.
    ///
    /// # Errors
    /// There is a store, or a part of one; or files cannot be made.
    pub(in crate::storage::durable) fn begin(
        disk: &dyn Disk,
        salt: [u8; 16],
    ) -> Result<NewStore<'_>, StoreError> {
        let names = disk.names().map_err(failed("list the files of", disk.describe("")))?;
        let has = |wanted: &str| names.iter().any(|name| name == wanted);
        if has(FILE) {
            let what =
                "there is a store here: name an empty directory, or one that does not exist".to_owned();
            return Err(StoreError::Directory { path: directory(disk), what });
        }
        let logs = NAMES.iter().copied().filter(|name| has(name));
        if !has(NEW_FILE) && logs.clone().next().is_some() {
            return Err(StoreError::Missing { file: disk.describe(FILE) });
        }
        // What is left of a store that was not finished; its tables at last, by which it is known.
        for name in logs.chain(has(NEW_FILE).then_some(NEW_FILE)) {
            disk.remove(name).map_err(failed("remove", disk.describe(name)))?;
        }
        let file = disk.create(NEW_FILE).map_err(failed("create", disk.describe(NEW_FILE)))?;
        disk.sync().map_err(failed("flush", disk.describe("")))?;
        let tables = Tables::open(disk, NEW_FILE, file)?;
        Ok(NewStore { disk, tables, salt })
    }

    /// Puts rows.
    pub(in crate::storage::durable) fn put(&self, rows: &[(Key, Net)]) -> Result<(), StoreError> {
        self.tables.apply(rows, self.row(1))
    }

    /// The store is there: with these tables, whose next number is `next`, and an empty log.
    pub(in crate::storage::durable) fn finish(
        self,
        next: u64,
        log_bytes: u64,
    ) -> Result<(Tables, StoreRow), StoreError> {
        let row = self.row(next);
        let NewStore { disk, tables, salt } = self;
        tables.apply(&[], row)?;
        Log::create(disk, Salt(salt), log_bytes)?;
        disk.rename(NEW_FILE, FILE).map_err(failed("rename", disk.describe(NEW_FILE)))?;
        disk.sync().map_err(failed("flush", disk.describe("")))?;
        Ok((tables.named(disk.describe(FILE)), row))
    }

    /// Removes the files of a store that was begun and cannot be finished; they take space that others may need. What
    /// cannot be removed is removed when a store is made here.
    pub(in crate::storage::durable) fn discard(disk: &dyn Disk) {
        for name in NAMES.into_iter().chain([NEW_FILE]) {
            let _ = disk.remove(name);
        }
    }

    fn row(&self, next: u64) -> StoreRow {
        StoreRow { salt: self.salt, generation: 0, next }
    }
}

/// The path of a disk.
pub(super) fn directory(disk: &dyn Disk) -> String {
    disk.describe("").trim_end_matches('/').to_owned()
}

fn failed(verb: &'static str, path: String) -> impl FnOnce(io::Error) -> StoreError {
    move |error| StoreError::Failed { cause: format!("cannot {verb} {path}: {error}") }
}
