//! The disk of a durable store, as an interface: one directory of files without subdirectories.
//!
//! Nothing is durable before its `sync` has returned. After a `sync` that has failed nobody knows what is durable: the
//! system may count unwritten pages as clean, and a second `sync` may succeed without writing them.

use std::io;

/// A directory of files.
pub trait Disk: Send + Sync {
    /// Opens a file for reading and writing; `None` if there is no such file.
    ///
    /// # Errors
    /// The file exists and cannot be opened.
    fn open(&self, name: &str) -> io::Result<Option<Box<dyn DiskFile>>>;

    /// Creates an empty file. Its name is durable after [`Disk::sync`].
    ///
    /// # Errors
    /// A file of this name exists, or none can be created.
    fn create(&self, name: &str) -> io::Result<Box<dyn DiskFile>>;

    /// Renames a file; one that has the name `to` is replaced. Durable after [`Disk::sync`].
    ///
    /// # Errors
    /// There is no file `from`, or it cannot be renamed.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a file. Durable after [`Disk::sync`].
    ///
    /// # Errors
    /// There is no such file, or it cannot be removed.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// The names of all files, in no order.
    ///
    /// # Errors
    /// The directory cannot be read.
    fn names(&self) -> io::Result<Vec<String>>;

    /// Returns when all names that were created, changed or removed before are durable.
    ///
    /// # Errors
    /// They may or may not be durable.
    fn sync(&self) -> io::Result<()>;

    /// The full path of a file, for sentences.
    fn describe(&self, name: &str) -> String;
}

impl Disk for Box<dyn Disk> {
    fn open(&self, name: &str) -> io::Result<Option<Box<dyn DiskFile>>> {
        (**self).open(name)
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        (**self).create(name)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        (**self).rename(from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        (**self).remove(name)
    }

    fn names(&self) -> io::Result<Vec<String>> {
        (**self).names()
    }

    fn sync(&self) -> io::Result<()> {
        (**self).sync()
    }

    fn describe(&self, name: &str) -> String {
        (**self).describe(name)
    }
}

/// An open file of a [`Disk`].
pub trait DiskFile: Send + Sync {
    /// The length in bytes.
    ///
    /// # Errors
    /// The system does not tell.
    fn len(&self) -> io::Result<u64>;

    /// Whether the length is 0.
    ///
    /// # Errors
    /// The system does not tell.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }

    /// Fills `buffer` with the bytes from `offset` on.
    ///
    /// # Errors
    /// The file ends before, or cannot be read.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()>;

    /// Writes all of `bytes` at `offset`; the file grows if it ends before.
    ///
    /// # Errors
    /// Any part of the bytes may have been written.
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// Cuts the file to `len` bytes, or extends it by zeros for which no space is reserved.
    ///
    /// # Errors
    /// The length stays what it was.
    fn set_len(&self, len: u64) -> io::Result<()>;

    /// Returns when all that was written before, and the length, are durable.
    ///
    /// # Errors
    /// What was written since the last success may be lost, also if a later call succeeds.
    fn sync(&self) -> io::Result<()>;
}
