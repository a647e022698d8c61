//! The tables: rows of redb over a file of a disk.

use std::io::ErrorKind;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use redb::{Builder, Database, ReadableDatabase, StorageBackend, TableDefinition};

use crate::storage::StoreError;
use crate::storage::durable::disk::{Disk, DiskFile};
use crate::storage::durable::keys::{self, Key};
use crate::storage::durable::log::is_full;
use crate::storage::durable::overlay::Net;
use crate::storage::durable::wire::{Malformed, Reader, put_number};

/// The file of the tables.
pub const FILE: &str = "midge.redb";
/// The same while a store is made.
pub(super) const NEW_FILE: &str = "midge.redb.new";
/// The format that this version writes, and the only one that it reads.
pub(super) const FORMAT: u64 = 2;
/// Memory for pages that were read or are to be written.
const CACHE_BYTES: usize = 16 << 20;

const ROWS: TableDefinition<'static, &[u8], &[u8]> = TableDefinition::new("rows");

/// What the tables know of the store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct StoreRow {
    /// A random number that the log's records have, too.
    pub salt: [u8; 16],
    /// The generation of the log up to which the tables have everything.
    pub generation: u64,
    /// A number that is greater than all in the keys.
    pub next: u64,
}

/// The rows of the store.
pub(super) struct Tables {
    database: Database,
    /// The file, for sentences.
    path: String,
}

impl Tables {
    /// Opens the tables of a file, new ones if it is empty.
    pub(super) fn open(disk: &dyn Disk, name: &str, file: Box<dyn DiskFile>) -> Result<Tables, StoreError> {
        let path = disk.describe(name);
        let file = File(file.into());
        let database =
            guard(&path, "opened", || Builder::new().set_cache_size(CACHE_BYTES).create_with_backend(file))?;
        Ok(Tables { database, path })
    }

    /// Compares every page with its checksum: redb itself does not when it reads one. If pages of the last transaction are
    /// damaged, the tables are what they were before it, and the log has the rest.
    pub(super) fn verify(&mut self) -> Result<(), StoreError> {
        let Tables { database, path } = self;
        guard(path, "read", || database.check_integrity()).map(|_| ())
    }

    /// The same tables, whose file has another path now.
    pub(super) fn named(self, path: String) -> Tables {
        Tables { path, ..self }
    }

    /// The file, for sentences.
    pub(super) fn path(&self) -> &str {
        &self.path
    }

    /// The rows as they are now; what is written later is not seen.
    pub(super) fn snapshot(&self) -> Result<Snapshot, StoreError> {
        let transaction = guard(&self.path, "read", || self.database.begin_read())?;
        Ok(Snapshot { transaction, path: self.path.clone() })
    }

    /// Moves rows towards the beginning of the file, and cuts it off behind them.
    pub(super) fn compact(&mut self) -> Result<(), StoreError> {
        let database = &mut self.database;
        guard(&self.path, "compacted", || match database.compact() {
            Ok(_) => Ok(()),
            Err(redb::CompactionError::Storage(error)) => Err(redb::Error::from(error)),
            Err(error) => Err(redb::Error::Io(std::io::Error::other(error.to_string()))),
        })
    }

    /// Puts and removes rows, all or none, and keeps `store`. They are durable when this returns.
    pub(super) fn apply(&self, rows: &[(Key, Net)], store: StoreRow) -> Result<(), StoreError> {
        guard(&self.path, "written", || {
            let mut transaction = self.database.begin_write()?;
            transaction.set_quick_repair(true);
            {
                let mut table = transaction.open_table(ROWS)?;
                for (key, net) in rows {
                    match net {
                        Net::New(value) | Net::Put(value) => drop(table.insert(&**key, &**value)?),
                        Net::Removed => drop(table.remove(&**key)?),
                    }
                }
                drop(table.insert(&*keys::store(), &*encode(store))?);
            }
            transaction.commit()?;
            Ok::<_, redb::Error>(())
        })
    }

    /// What the tables know of the store; `None` if they are new.
    pub(super) fn store(&self) -> Result<Option<StoreRow>, StoreError> {
        let Some(row) = self.get(&keys::store())? else {
            return Ok(None);
        };
        let mut reader = Reader::new(&row);
        let format = reader.number().map_err(|error| self.damaged(error))?;
        if format != FORMAT {
            let (file, found) = (self.path.clone(), format.try_into().unwrap_or(u32::MAX));
            return Err(StoreError::Format { file, found, known: FORMAT as u32 });
        }
        decode(reader).map(Some).map_err(|error| self.damaged(error))
    }

    /// The value of a key.
    pub(super) fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        guard(&self.path, "read", || {
            let table = match self.database.begin_read()?.open_table(ROWS) {
                Err(redb::TableError::TableDoesNotExist(_)) => return Ok(None),
                table => table?,
            };
            Ok::<_, redb::Error>(table.get(key)?.map(|value| value.value().to_vec()))
        })
    }

    /// The rows as they are now.
    pub(super) fn rows(&self) -> Result<Rows, StoreError> {
        let table = guard(&self.path, "read", || match self.database.begin_read()?.open_table(ROWS) {
            Err(redb::TableError::TableDoesNotExist(_)) => Ok(None),
            table => Ok::<_, redb::Error>(Some(table?)),
        })?;
        Ok(Rows { table, path: self.path.clone() })
    }

    /// Gives the rows from the first key to before the second to `see`, in order.
    pub(super) fn for_each<E: From<StoreError>>(
        &self,
        (from, to): (Key, Key),
        mut see: impl FnMut(&[u8], &[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let range = guard(&self.path, "read", || match self.database.begin_read()?.open_table(ROWS) {
            Err(redb::TableError::TableDoesNotExist(_)) => Ok(None),
            table => Ok::<_, redb::Error>(Some(table?.range(&*from..&*to)?)),
        })?;
        let Some(mut range) = range else {
            return Ok(());
        };
        while let Some((key, value)) = guard(&self.path, "read", || range.next().transpose())? {
            see(key.value(), value.value())?;
        }
        Ok(())
    }

    /// The error of a row that says nothing.
    pub(super) fn damaged(&self, _error: Malformed) -> StoreError {
        StoreError::Unreadable { file: self.path.clone(), what: "a row cannot be read".to_owned() }
    }
}

/// The rows of a moment.
pub(super) struct Snapshot {
    transaction: redb::ReadTransaction,
    path: String,
}

impl Snapshot {
    /// Gives every row but that of the store itself to `see`, in order.
    pub(super) fn for_each(
        &self,
        mut see: impl FnMut(&[u8], &[u8]) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let range = guard(&self.path, "read", || match self.transaction.open_table(ROWS) {
            Err(redb::TableError::TableDoesNotExist(_)) => Ok(None),
            table => Ok::<_, redb::Error>(Some(table?.range::<&[u8]>(..)?)),
        })?;
        let (Some(mut range), own) = (range, keys::store()) else {
            return Ok(());
        };
        while let Some((key, value)) = guard(&self.path, "read", || range.next().transpose())? {
            if key.value() != &*own {
                see(key.value(), value.value())?;
            }
        }
        Ok(())
    }

    /// What the tables know of the store.
    pub(super) fn store(&self) -> Result<StoreRow, StoreError> {
        let row = guard(&self.path, "read", || {
            let table = self.transaction.open_table(ROWS)?;
            Ok::<_, redb::Error>(table.get(&*keys::store())?.map(|value| value.value().to_vec()))
        })?;
        let damaged =
            || StoreError::Unreadable { file: self.path.clone(), what: "a row is missing".to_owned() };
        let row = row.ok_or_else(damaged)?;
        let mut reader = Reader::new(&row);
        reader.number().and_then(|_| decode(reader)).map_err(|_| damaged())
    }
}

/// The rows at one moment.
pub(super) struct Rows {
    table: Option<redb::ReadOnlyTable<&'static [u8], &'static [u8]>>,
    path: String,
}

impl Rows {
    /// The value of a key, which `see` gets.
    pub(super) fn get<T>(&self, key: &[u8], see: impl FnOnce(&[u8]) -> T) -> Result<Option<T>, StoreError> {
        let Some(table) = &self.table else {
            return Ok(None);
        };
        let found = guard(&self.path, "read", || table.get(key))?;
        Ok(found.map(|value| see(value.value())))
    }
}

fn encode(store: StoreRow) -> Vec<u8> {
    let mut row = Vec::new();
    put_number(&mut row, FORMAT);
    row.extend_from_slice(&store.salt);
    put_number(&mut row, store.generation);
    put_number(&mut row, store.next);
    row
}

fn decode(mut reader: Reader<'_>) -> Result<StoreRow, Malformed> {
    let salt = reader.array()?;
    Ok(StoreRow { salt, generation: reader.number()?, next: reader.number()? })
}

/// Calls redb; its errors, and its panics at damaged files, become a sentence that names the file.
fn guard<T, E: Into<redb::Error>>(
    path: &str,
    verb: &str,
    call: impl FnOnce() -> Result<T, E>,
) -> Result<T, StoreError> {
    let unreadable = |what: String| Err(StoreError::Unreadable { file: path.to_owned(), what });
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(Ok(value)) => Ok(value),
        Err(_) => unreadable(format!("it cannot be {verb}")),
        Ok(Err(error)) => match error.into() {
            redb::Error::Corrupted(what) => unreadable(what),
            redb::Error::Io(error) if error.kind() == ErrorKind::InvalidData => unreadable(error.to_string()),
            redb::Error::Io(error)
                if matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded) =>
            {
                let (file, cause) = (path.to_owned(), error.to_string());
                Err(StoreError::Full { file, operation: "write", cause })
            }
            redb::Error::Io(error) if is_full(&error) => {
                let cause = error.to_string();
                Err(StoreError::Full { file: path.to_owned(), operation: "write the tables", cause })
            }
            error => {
                Err(StoreError::Failed { cause: format!("{path} cannot be {verb}: {error}: check the disk") })
            }
        },
    }
}

/// A file of a disk, as redb wants it.
struct File(Arc<dyn DiskFile>);

impl std::fmt::Debug for File {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("File")
    }
}

impl StorageBackend for File {
    fn len(&self) -> Result<u64, std::io::Error> {
        self.0.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), std::io::Error> {
        self.0.read_at(offset, out)
    }

    fn set_len(&self, len: u64) -> Result<(), std::io::Error> {
        self.0.set_len(len)
    }

    fn sync_data(&self) -> Result<(), std::io::Error> {
        // Not even a full disk may be tried again: what was not written counts as written from now on.
        self.0.sync().map_err(|error| std::io::Error::other(format!("flush: {error}")))
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<(), std::io::Error> {
        self.0.write_at(offset, data)
    }
}
