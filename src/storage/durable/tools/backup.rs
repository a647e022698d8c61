//! `backup`: a copy of a store that is in use.

use std::sync::Arc;

use crate::storage::StoreError;
use crate::storage::durable::disk::Disk;
use crate::storage::durable::keys::Key;
use crate::storage::durable::overlay::Net;
use crate::storage::durable::tables::Snapshot;
use crate::storage::durable::tools::check::Reading;
use crate::storage::durable::tools::maker::NewStore;

/// Bytes of rows that are collected before they are written.
const PORTION: usize = 8 << 20;

/// How a store is copied.
#[derive(Clone, Copy, Debug)]
pub struct BackupOptions {
    /// A random number, for the copy: its log is another one.
    pub salt: [u8; 16],
    /// The size of each of the copy's two log files.
    pub log_bytes: u64,
}

/// Copies the store of a disk, whose files stay what they are, to a disk that has none.
///
/// # Errors
/// There is no store, it is damaged, or the copy cannot be written.
pub fn backup(disk: Arc<dyn Disk>, to: &dyn Disk, options: &BackupOptions) -> Result<(), StoreError> {
    copy(&Reading::open(disk)?.tables.snapshot()?, to, options)
}

/// Makes the store of a disk, which has none, from the rows of another one.
pub(in crate::storage::durable) fn copy(
    snapshot: &Snapshot,
    to: &dyn Disk,
    options: &BackupOptions,
) -> Result<(), StoreError> {
    let next = snapshot.store()?.next;
    let store = NewStore::begin(to, options.salt)?;
    let done = fill(&store, snapshot).and_then(|()| store.finish(next, options.log_bytes));
    done.map(drop).inspect_err(|_| NewStore::discard(to))
}

fn fill(store: &NewStore<'_>, snapshot: &Snapshot) -> Result<(), StoreError> {
    let (mut rows, mut bytes) = (Vec::new(), 0);
    snapshot.for_each(|key, value| {
        rows.push((Key::from_slice(key), Net::New(value.into())));
        bytes += key.len() + value.len();
        if bytes > PORTION {
            store.put(&std::mem::take(&mut rows))?;
            bytes = 0;
        }
        Ok(())
    })?;
    store.put(&rows)
}
