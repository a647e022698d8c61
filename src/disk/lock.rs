//! The lock of a store's directory: one broker at a time.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use super::directory::refused;
use crate::runtime::{NotInherited, generation, watch_forks};
use crate::storage::StoreError;

/// The file that is locked. It holds the number of the process that holds the lock.
const NAME: &str = "lock";

/// The lock of a directory, given back when dropped, and by the system when the process ends.
///
/// The lock belongs to the open file, so that it also excludes a second broker in the same process. A forked child gives its
/// copy of the file up at once: otherwise the directory would stay locked for as long as the child lives.
#[derive(Debug)]
pub struct Lock {
    /// Dropped before the file is closed.
    _mark: NotInherited,
    file: File,
    /// The fork generation that took the lock.
    taken_in: u32,
}

impl Lock {
    /// Takes the lock of a directory.
    ///
    /// # Errors
    /// Another broker has it; or the file cannot be made.
    pub fn take(directory: &Path) -> Result<Lock, StoreError> {
        let taken_in = watch_forks();
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let mut file = options
            .open(directory.join(NAME))
            .map_err(|error| refused(directory, "cannot be locked", &error))?;
        let mark = NotInherited::mark(&file);
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(taken(directory, &mut file)),
            Err(TryLockError::Error(error)) => return Err(refused(directory, "cannot be locked", &error)),
        }
        // The number is for a sentence alone: without it the lock holds as well.
        let _ = file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id()));
        Ok(Lock { _mark: mark, file, taken_in })
    }
}

impl Lock {
    /// Takes the lock of a directory without a change of it, beside others who do so; `None` if no broker has made the file.
    ///
    /// # Errors
    /// A broker has it.
    pub fn take_to_read(directory: &Path) -> Result<Option<Lock>, StoreError> {
        let taken_in = watch_forks();
        let mut file = match File::open(directory.join(NAME)) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(refused(directory, "cannot be locked", &error)),
        };
        let mark = NotInherited::mark(&file);
        match file.try_lock_shared() {
            Ok(()) => Ok(Some(Lock { _mark: mark, file, taken_in })),
            Err(TryLockError::WouldBlock) => Err(taken(directory, &mut file)),
            Err(TryLockError::Error(error)) => Err(refused(directory, "cannot be locked", &error)),
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // A child has no lock to give back; the number may be that of another file there.
        if generation() == self.taken_in {
            let _ = self.file.set_len(0);
            let _ = self.file.unlock();
        }
    }
}

/// The sentence for a directory that another broker uses.
fn taken(directory: &Path, file: &mut File) -> StoreError {
    let mut text = String::new();
    let _ = file.take(32).read_to_string(&mut text);
    let other = match text.trim().parse::<u32>() {
        Ok(process) if process == std::process::id() => "another broker of this process uses it".to_owned(),
        Ok(process) => format!("another broker uses it (process {process})"),
        Err(_) => "another broker uses it".to_owned(),
    };
    StoreError::Directory {
        path: directory.display().to_string(),
        what: format!("{other}: stop that broker, or give this one a directory of its own"),
    }
}
