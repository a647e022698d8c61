//! A directory of the system as the disk of a store.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::lock::Lock;
use crate::storage::StoreError;
use crate::storage::durable::disk::{Disk, DiskFile};

/// A directory that this broker alone uses, for as long as the value lives.
#[derive(Debug)]
pub struct Directory {
    /// Absolute: the host may change its working directory.
    path: PathBuf,
    /// The open directory, to be synced.
    handle: File,
    _lock: Lock,
}

impl Directory {
    /// Opens a directory, and creates it if it does not exist; its parent must exist. Only the broker's user may look into
    /// a new one.
    ///
    /// # Errors
    /// It is no directory, it may not be read and written, or another broker uses it.
    pub fn open(path: &Path) -> Result<Directory, StoreError> {
        let cannot = |what| move |error: io::Error| refused(path, what, &error);
        match DirBuilder::new().mode(0o700).create(path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(refused(path, "cannot be created", &error));
            }
            _ => {}
        }
        let absolute = fs::canonicalize(path).map_err(cannot("cannot be opened"))?;
        let path = absolute.as_path();
        let cannot = |what| move |error: io::Error| refused(path, what, &error);
        let handle = File::open(path).map_err(cannot("cannot be opened"))?;
        if !handle.metadata().map_err(cannot("cannot be opened"))?.is_dir() {
            let what = "it is not a directory: name a directory, or one that does not exist yet".to_owned();
            return Err(StoreError::Directory { path: path.display().to_string(), what });
        }
        let lock = Lock::take(path)?;
        sync_parent(path).map_err(cannot("cannot be made durable"))?;
        Ok(Directory { path: absolute, handle, _lock: lock })
    }

    /// The absolute path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }
}

/// The entry of a directory in its parent becomes durable. A parent that may not be read cannot be synced.
fn sync_parent(path: &Path) -> io::Result<()> {
    let Some(parent) = path.parent() else { return Ok(()) };
    match File::open(parent) {
        Ok(parent) => parent.sync_all(),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
        Err(error) => Err(error),
    }
}

/// The sentence for a directory that the system does not let the broker use.
pub fn refused(path: &Path, what: &str, error: &io::Error) -> StoreError {
    let advice = match error.kind() {
        io::ErrorKind::NotFound => "create the directory above it".to_owned(),
        io::ErrorKind::NotADirectory => "a part of the path is a file: name another directory".to_owned(),
        io::ErrorKind::ReadOnlyFilesystem => {
            "mount its file system for writing, or name another one".to_owned()
        }
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "free space on this disk".to_owned(),
        io::ErrorKind::PermissionDenied => rights(path),
        _ => "check the disk and the path".to_owned(),
    };
    StoreError::Directory { path: path.display().to_string(), what: format!("{what}: {error}: {advice}") }
}

/// The owner and mode of the directory, or of the nearest one above it that can be seen, and the broker's user.
fn rights(path: &Path) -> String {
    let user = nix::unistd::geteuid();
    let seen = path.ancestors().find_map(|at| Some((at, fs::metadata(at).ok()?)));
    let Some((at, data)) = seen else { return format!("let user {user} read and write it") };
    format!(
        "{} belongs to user {} with mode {:o}, and the broker runs as user {user}: change its owner or its mode",
        at.display(),
        data.uid(),
        data.mode() & 0o7777,
    )
}

impl Disk for Directory {
    fn open(&self, name: &str) -> io::Result<Option<Box<dyn DiskFile>>> {
        match OpenOptions::new().read(true).write(true).open(self.file(name)) {
            Ok(file) => Ok(Some(Box::new(OpenFile(file)))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create_new(true).mode(0o600).open(self.file(name))?;
        Ok(Box::new(OpenFile(file)))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.file(from), self.file(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.file(name))
    }

    fn names(&self) -> io::Result<Vec<String>> {
        names(&self.path)
    }

    fn sync(&self) -> io::Result<()> {
        self.handle.sync_all()
    }

    fn describe(&self, name: &str) -> String {
        self.file(name).display().to_string()
    }
}

/// The names of the files of a directory.
pub fn names(directory: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            names.extend(entry.file_name().into_string().ok());
        }
    }
    Ok(names)
}

/// An open file.
pub struct OpenFile(pub File);

impl DiskFile for OpenFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.0.read_exact_at(buffer, offset)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all_at(bytes, offset)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn sync(&self) -> io::Result<()> {
        self.0.sync_data()
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::path::Path;

    use super::refused;

    #[test]
    fn a_read_only_or_full_file_system_is_named() {
        let says = |code| {
            let error = io::Error::from_raw_os_error(code);
            refused(Path::new("/var/lib/midge"), "cannot be locked", &error).to_string()
        };
        let read_only = "/var/lib/midge: cannot be locked: Read-only file system (os error 30): \
                         mount its file system for writing, or name another one";
        assert_eq!(says(30), read_only);
        let full = "/var/lib/midge: cannot be locked: No space left on device (os error 28): free space on this disk";
        assert_eq!(says(28), full);
    }
}
