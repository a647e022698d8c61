//! A file that is imported: lines of an export, or a mosquitto.db.

use std::io;
use std::sync::Arc;

use midge::storage::durable::disk::{Disk, DiskFile};
use midge::storage::durable::tools::{ImportError, ImportOptions, Scratch, check, export, import};
use midge::time::WallTime;

/// Target `import`: a file is refused in one sentence and leaves nothing, or gives a store in order, whose export gives
/// the same store.
pub fn import_any(data: &[u8]) {
    let disk = memory();
    match imported(&disk, data) {
        Ok(()) => {}
        Err(error) => {
            let sentence = error.to_string();
            assert!(!sentence.contains('\n') && !matches!(error, ImportError::Store(_)), "{sentence:?}");
            assert_eq!(disk.names().unwrap(), Vec::<String>::new());
            return;
        }
    }
    check(Arc::clone(&disk)).unwrap_or_else(|error| panic!("{error}"));
    let text = exported(&disk);
    let again = memory();
    imported(&again, &text).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(exported(&again), text);
}

fn imported(disk: &Arc<dyn Disk>, mut data: &[u8]) -> Result<(), ImportError> {
    let options = ImportOptions { salt: [1; 16], log_bytes: 8192, now: WallTime::from_millis(1) };
    import(&**disk, &mut data, &options).map(drop)
}

fn exported(disk: &Arc<dyn Disk>) -> Vec<u8> {
    let mut text = Vec::new();
    export(Arc::clone(disk), &mut text).unwrap_or_else(|error| panic!("{error}"));
    text
}

/// A disk in memory.
fn memory() -> Arc<dyn Disk> {
    Arc::new(Scratch::over(Arc::new(Nothing)))
}

/// A disk without files.
struct Nothing;

impl Disk for Nothing {
    fn open(&self, _name: &str) -> io::Result<Option<Box<dyn DiskFile>>> {
        Ok(None)
    }

    fn create(&self, _name: &str) -> io::Result<Box<dyn DiskFile>> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn rename(&self, _from: &str, _to: &str) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn remove(&self, _name: &str) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn names(&self) -> io::Result<Vec<String>> {
        Ok(Vec::new())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }

    fn describe(&self, name: &str) -> String {
        name.to_owned()
    }
}
