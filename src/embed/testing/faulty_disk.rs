//! A disk that fails when a test says so, over another one.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::embed::testing::disk::DiskControl;
use crate::locks::Mutex;
use crate::storage::durable::disk::{Disk, DiskFile};
use crate::storage::durable::log::NAMES;

/// Bytes that a power cut takes back. What was overwritten before counts as flushed by the system.
const MOST_UNFLUSHED: usize = 64 << 20;

/// A disk that a test controls. It flushes nothing for real: the test's machine does not crash.
pub(in crate::embed) struct FaultyDisk<D> {
    disk: D,
    control: Arc<DiskControl>,
    unflushed: Arc<Mutex<Unflushed>>,
    files: AtomicU64,
}

/// Writes that a power cut takes back, the oldest first.
#[derive(Default)]
struct Unflushed {
    writes: VecDeque<Write>,
    bytes: usize,
}

/// What a file had before a write.
struct Write {
    number: u64,
    file: Arc<dyn DiskFile>,
    len: u64,
    offset: u64,
    old: Vec<u8>,
}

impl Unflushed {
    fn add(&mut self, write: Write) {
        self.bytes += write.old.len();
        self.writes.push_back(write);
        while self.bytes > MOST_UNFLUSHED {
            let Some(oldest) = self.writes.pop_front() else { return };
            self.bytes -= oldest.old.len();
        }
    }

    fn flushed(&mut self, number: u64) {
        self.writes.retain(|write| write.number != number);
        self.bytes = self.writes.iter().map(|write| write.old.len()).sum();
    }

    fn take_back(&mut self) {
        while let Some(write) = self.writes.pop_back() {
            // A file that cannot be restored is as after a power cut that a worse disk had.
            let _restored =
                write.file.set_len(write.len).and_then(|()| write.file.write_at(write.offset, &write.old));
        }
    }
}

impl<D: Disk> FaultyDisk<D> {
    pub(in crate::embed) fn new(disk: D, control: Arc<DiskControl>) -> FaultyDisk<D> {
        let unflushed = Arc::<Mutex<Unflushed>>::default();
        let undo = Arc::clone(&unflushed);
        control.on_power_cut(Box::new(move || undo.lock().take_back()));
        FaultyDisk { disk, control, unflushed, files: AtomicU64::new(0) }
    }

    fn file(&self, name: &str, file: Box<dyn DiskFile>) -> Box<dyn DiskFile> {
        Box::new(FaultyFile {
            file: file.into(),
            number: self.files.fetch_add(1, Ordering::Relaxed),
            // While it is made it has a longer name.
            is_log: NAMES.iter().any(|log| name.starts_with(log)),
            control: Arc::clone(&self.control),
            unflushed: Arc::clone(&self.unflushed),
        })
    }
}

impl<D: Disk> Disk for FaultyDisk<D> {
    fn open(&self, name: &str) -> io::Result<Option<Box<dyn DiskFile>>> {
        self.control.may_read()?;
        Ok(self.disk.open(name)?.map(|file| self.file(name, file)))
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        self.control.may_write()?;
        self.disk.create(name).map(|file| self.file(name, file))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.control.may_write()?;
        self.disk.rename(from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.control.may_write()?;
        self.disk.remove(name)
    }

    fn names(&self) -> io::Result<Vec<String>> {
        self.control.may_read()?;
        self.disk.names()
    }

    /// Names are durable at once.
    fn sync(&self) -> io::Result<()> {
        self.control.flush(false)
    }

    fn describe(&self, name: &str) -> String {
        self.disk.describe(name)
    }
}

struct FaultyFile {
    file: Arc<dyn DiskFile>,
    number: u64,
    is_log: bool,
    control: Arc<DiskControl>,
    unflushed: Arc<Mutex<Unflushed>>,
}

impl FaultyFile {
    /// What is about to be overwritten, `len` bytes from `offset` on.
    fn keep(&self, offset: u64, len: u64) -> io::Result<Write> {
        let now = self.file.len()?;
        let kept = now.saturating_sub(offset).min(len);
        let mut old = vec![0; usize::try_from(kept).unwrap_or(usize::MAX)];
        self.file.read_at(offset, &mut old)?;
        Ok(Write { number: self.number, file: Arc::clone(&self.file), len: now, offset, old })
    }
}

/// A write is under the lock, so that a crash comes before or after it.
impl DiskFile for FaultyFile {
    fn len(&self) -> io::Result<u64> {
        self.control.may_read()?;
        self.file.len()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.control.may_read()?;
        self.file.read_at(offset, buffer)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut unflushed = self.unflushed.lock();
        self.control.may_write()?;
        unflushed.add(self.keep(offset, bytes.len() as u64)?);
        self.file.write_at(offset, bytes)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut unflushed = self.unflushed.lock();
        self.control.may_write()?;
        unflushed.add(self.keep(len, u64::MAX)?);
        self.file.set_len(len)
    }

    fn sync(&self) -> io::Result<()> {
        self.control.flush(self.is_log)?;
        let mut unflushed = self.unflushed.lock();
        // A crash that came first has taken the writes back.
        self.control.may_read()?;
        unflushed.flushed(self.number);
        Ok(())
    }
}
