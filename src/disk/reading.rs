//! A directory of the system whose files are only read.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use super::directory::{OpenFile, names, refused};
use super::lock::Lock;
use crate::storage::StoreError;
use crate::storage::durable::disk::{Disk, DiskFile};

/// A directory that no broker uses for as long as the value lives, and that stays what it is.
#[derive(Debug)]
pub struct ReadDirectory {
    path: PathBuf,
    /// `None` if no broker has ever locked the directory.
    _lock: Option<Lock>,
}

impl ReadDirectory {
    /// Opens a directory that exists.
    ///
    /// # Errors
    /// There is no such directory, it may not be read, or a broker uses it.
    pub fn open(path: &Path) -> Result<ReadDirectory, StoreError> {
        let cannot = |error: io::Error| refused(path, "cannot be opened", &error);
        let path = match fs::canonicalize(path) {
            Ok(absolute) => absolute,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let what =
                    "there is no such directory: name the directory of the setting storage.path".to_owned();
                return Err(StoreError::Directory { path: path.display().to_string(), what });
            }
            Err(error) => return Err(cannot(error)),
        };
        fs::read_dir(&path).map_err(cannot)?;
        let lock = Lock::take_to_read(&path)?;
        Ok(ReadDirectory { path, _lock: lock })
    }
}

fn read_only() -> io::Error {
    io::Error::new(io::ErrorKind::ReadOnlyFilesystem, "the directory is only read")
}

impl Disk for ReadDirectory {
    fn open(&self, name: &str) -> io::Result<Option<Box<dyn DiskFile>>> {
        match File::open(self.path.join(name)) {
            Ok(file) => Ok(Some(Box::new(OpenFile(file)))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn create(&self, _name: &str) -> io::Result<Box<dyn DiskFile>> {
        Err(read_only())
    }

    fn rename(&self, _from: &str, _to: &str) -> io::Result<()> {
        Err(read_only())
    }

    fn remove(&self, _name: &str) -> io::Result<()> {
        Err(read_only())
    }

    fn names(&self) -> io::Result<Vec<String>> {
        names(&self.path)
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }

    fn describe(&self, name: &str) -> String {
        self.path.join(name).display().to_string()
    }
}
