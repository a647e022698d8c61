//! The files of authorities: read at the start, read again when the host asks or when they have changed.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::locks::Mutex;

/// What an authority takes from its file. It may be called from any thread.
pub trait FileContent: Send + Sync {
    /// Puts the content of the file in the place of what holds, as a whole. An error names the line, and then nothing
    /// changes.
    fn replace(&self, file: &[u8]) -> Result<Contained, String>;

    /// Whether new content may take rights from clients that are connected:
    /// [the engine is told](crate::engine::core::state::Engine) after it.
    fn changes_rights(&self) -> bool {
        false
    }
}

/// What a file contains.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Contained {
    /// In words, for the log: `3 users`.
    pub summary: String,
    /// What is odd about it, although it can be used.
    pub remarks: Vec<String>,
}

/// Why a file is not used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}: {cause}", path.display())]
pub struct AccessFileError {
    /// The setting that names the file.
    pub key: &'static str,
    /// The file.
    pub path: PathBuf,
    /// What is wrong, with the line.
    pub cause: String,
}

/// What has become of a file that was read again.
#[derive(Clone, Debug)]
pub struct Reread {
    /// The setting that names the file.
    pub key: &'static str,
    /// The file.
    pub path: PathBuf,
    /// What it contains; an error if what it contained before still holds.
    pub outcome: Result<Contained, AccessFileError>,
    /// Whether rights of connected clients may have changed.
    pub changes_rights: bool,
}

/// The file of one authority.
pub struct AccessFile {
    key: &'static str,
    path: PathBuf,
    /// The most bytes that are read.
    largest: u64,
    /// Whether others should not read it.
    is_secret: bool,
    content: Arc<dyn FileContent>,
    watched: Mutex<Watched>,
}

/// The file as it was seen.
#[derive(Clone, Copy)]
struct Watched {
    /// When it was last read, with or without success.
    read: Option<Stamp>,
    /// When it was last looked at.
    seen: Option<Stamp>,
}

/// What changes when a file is replaced or written to.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    changed: (i64, i64),
    size: u64,
}

impl AccessFile {
    /// The file that the setting `key` names, for an authority. It is not read yet.
    pub fn new(key: &'static str, path: &Path, largest: u64, content: Arc<dyn FileContent>) -> AccessFile {
        let watched = Mutex::new(Watched { read: None, seen: None });
        AccessFile { key, path: path.to_owned(), largest, is_secret: false, content, watched }
    }

    /// The same file, which contains secrets: that others may read it is remarked.
    pub fn secret(self) -> AccessFile {
        AccessFile { is_secret: true, ..self }
    }

    /// The setting that names it.
    pub fn key(&self) -> &'static str {
        self.key
    }

    /// Reads the file. After an error everything stays as it was.
    pub fn load(&self) -> Result<Contained, AccessFileError> {
        let stamp = self.stamp();
        *self.watched.lock() = Watched { read: stamp, seen: stamp };
        let mut contained = self.content.replace(&self.read()?).map_err(|cause| self.error(cause))?;
        contained.remarks.extend(self.remark_on_rights());
        Ok(contained)
    }

    /// Reads the file again if it has changed since it was read, and not since the last look: it may not be written to the
    /// end. `None` if there is nothing to do.
    fn load_if_changed(&self) -> Option<Result<Contained, AccessFileError>> {
        let stamp = self.stamp();
        let mut watched = self.watched.lock();
        let is_settled = watched.seen == stamp;
        let is_new = watched.read != stamp;
        watched.seen = stamp;
        drop(watched);
        (is_new && is_settled).then(|| self.load())
    }

    fn reread(&self, outcome: Result<Contained, AccessFileError>) -> Reread {
        let changes_rights = outcome.is_ok() && self.content.changes_rights();
        Reread { key: self.key, path: self.path.clone(), outcome, changes_rights }
    }

    fn read(&self) -> Result<Vec<u8>, AccessFileError> {
        let failed = |error: io::Error| self.error(error.to_string());
        let file = File::open(&self.path).map_err(failed)?;
        if !file.metadata().map_err(failed)?.is_file() {
            return Err(self.error("it is not a file".to_owned()));
        }
        let mut content = Vec::new();
        file.take(self.largest + 1).read_to_end(&mut content).map_err(failed)?;
        match content.len() as u64 > self.largest {
            true => Err(self.error(format!("it has more than {} bytes", self.largest))),
            false => Ok(content),
        }
    }

    fn error(&self, cause: String) -> AccessFileError {
        AccessFileError { key: self.key, path: self.path.clone(), cause }
    }

    fn stamp(&self) -> Option<Stamp> {
        let found = fs::metadata(&self.path).ok()?;
        let changed = (found.mtime(), found.mtime_nsec());
        Some(Stamp { device: found.dev(), inode: found.ino(), changed, size: found.size() })
    }

    /// What others may do with the file, and should not.
    fn remark_on_rights(&self) -> Option<String> {
        let mode = fs::metadata(&self.path).ok()?.mode();
        if mode & 0o002 != 0 {
            return Some("every user of this machine may change it (chmod o-w)".to_owned());
        }
        let is_open = self.is_secret && mode & 0o004 != 0;
        is_open.then(|| "every user of this machine may read it (chmod o-r)".to_owned())
    }
}

/// The files of all authorities of one broker.
#[derive(Default)]
pub struct AccessFiles(Vec<AccessFile>);

impl AccessFiles {
    /// Adds a file.
    pub fn add(&mut self, file: AccessFile) {
        self.0.push(file);
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Reads all files again.
    pub fn reload(&self) -> Vec<Reread> {
        self.0.iter().map(|file| file.reread(file.load())).collect()
    }

    /// Reads the files again that have changed.
    pub fn reload_changed(&self) -> Vec<Reread> {
        let changed = |file: &AccessFile| file.load_if_changed().map(|outcome| file.reread(outcome));
        self.0.iter().filter_map(changed).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use std::path::PathBuf;
    use std::sync::Arc;

    use crate::locks::Mutex;

    use super::{AccessFile, AccessFiles, Contained, FileContent};

    /// Takes every file but `bad`.
    #[derive(Default)]
    struct Kept(Mutex<Vec<u8>>);

    impl FileContent for Kept {
        fn replace(&self, file: &[u8]) -> Result<Contained, String> {
            if file == b"bad" {
                return Err("line 1: bad".to_owned());
            }
            *self.0.lock() = file.to_vec();
            Ok(Contained { summary: format!("{} bytes", file.len()), ..Contained::default() })
        }

        fn changes_rights(&self) -> bool {
            true
        }
    }

    fn place(name: &str) -> PathBuf {
        std::env::temp_dir().join(format!("midge-access-{}-{name}", std::process::id()))
    }

    #[test]
    fn a_changed_file_is_read_at_the_second_look_and_an_error_keeps_the_old_content() {
        let path = place("changed");
        fs::write(&path, "a").unwrap();
        let kept = Arc::new(Kept::default());
        let mut files = AccessFiles::default();
        let file = AccessFile::new("access.acl_file", &path, 10, kept.clone());
        file.load().unwrap();
        files.add(file);
        assert_eq!(files.reload_changed().len(), 0);
        fs::write(&path, "two").unwrap();
        assert_eq!(files.reload_changed().len(), 0, "it may not be written to the end");
        let read = files.reload_changed();
        assert_eq!((read.len(), read[0].changes_rights), (1, true));
        assert_eq!(read[0].outcome.as_ref().unwrap().summary, "3 bytes");
        assert_eq!(files.reload_changed().len(), 0);

        fs::write(&path, "bad").unwrap();
        let read = files.reload();
        let error = read[0].outcome.as_ref().unwrap_err();
        assert_eq!(error.to_string(), format!("{}: line 1: bad", path.display()));
        assert!(!read[0].changes_rights);
        assert_eq!(*kept.0.lock(), b"two");
        fs::write(&path, "12345678901").unwrap();
        let read = files.reload();
        assert!(read[0].outcome.as_ref().unwrap_err().cause.contains("more than 10 bytes"));
        fs::remove_file(&path).unwrap();
        assert!(files.reload()[0].outcome.is_err());
        assert_eq!(*kept.0.lock(), b"two");
    }

    #[test]
    fn what_others_may_do_with_a_file_is_remarked() {
        let path = place("rights");
        fs::write(&path, "a").unwrap();
        let open = AccessFile::new("access.acl_file", &path, 10, Arc::new(Kept::default()));
        let secret = AccessFile::new("access.password_file", &path, 10, Arc::new(Kept::default())).secret();
        let remarks = |file: &AccessFile, mode| {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            file.load().unwrap().remarks
        };
        assert_eq!(remarks(&secret, 0o640), [""; 0]);
        assert_eq!(remarks(&open, 0o644), [""; 0]);
        assert_eq!(remarks(&secret, 0o644), ["every user of this machine may read it (chmod o-r)"]);
        assert_eq!(remarks(&open, 0o646), ["every user of this machine may change it (chmod o-w)"]);
        fs::remove_file(&path).unwrap();
    }
}
