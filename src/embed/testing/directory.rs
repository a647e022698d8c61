//! The directory of a broker in test mode whose test names none.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use crate::runtime::generation;

/// A directory below that of the system for temporary files. It is removed with its content when the value is dropped.
pub(super) struct TemporaryDirectory {
    path: PathBuf,
    generation: u32,
}

impl TemporaryDirectory {
    /// Makes a directory that only this user may look into.
    pub(super) fn make() -> io::Result<TemporaryDirectory> {
        let mut random = [0; 8];
        getrandom::fill(&mut random)?;
        let name = format!("midge-test-{}-{:016x}", std::process::id(), u64::from_le_bytes(random));
        let path = std::env::temp_dir().join(name);
        DirBuilder::new().mode(0o700).create(&path)?;
        Ok(TemporaryDirectory { path, generation: generation() })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for TemporaryDirectory {
    fn drop(&mut self) {
        // In a forked child it is the parent's.
        if generation() == self.generation {
            // The system removes what is left.
            let _removed = fs::remove_dir_all(&self.path);
        }
    }
}
