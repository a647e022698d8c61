//! A disk that counts what is done on it, and times the flushes of the log.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::storage::durable::disk::{Disk, DiskFile};
use crate::storage::durable::log::NAMES;
use crate::storage::{FLUSH_BOUNDS, FlushTimes};

/// What was done on a disk.
#[derive(Debug)]
pub struct Meter {
    began: Instant,
    counts: [AtomicU64; FLUSH_BOUNDS.len() + 1],
    total_micros: AtomicU64,
    longest_micros: AtomicU64,
    written: AtomicU64,
    errors: AtomicU64,
    /// When a file other than the log's was last flushed, in milliseconds since the beginning.
    tables_flushed: AtomicU64,
}

impl Meter {
    /// A meter that has counted nothing.
    pub fn start() -> Meter {
        Meter {
            began: Instant::now(),
            counts: Default::default(),
            total_micros: AtomicU64::new(0),
            longest_micros: AtomicU64::new(0),
            written: AtomicU64::new(0),
            errors: AtomicU64::new(0),
            tables_flushed: AtomicU64::new(0),
        }
    }

    /// The times of the log's flushes that succeeded.
    pub fn flush_times(&self) -> FlushTimes {
        FlushTimes {
            counts: std::array::from_fn(|place| {
                self.counts.get(place).map_or(0, |count| count.load(Ordering::Relaxed))
            }),
            total_micros: self.total_micros.load(Ordering::Relaxed),
            longest_micros: self.longest_micros.load(Ordering::Relaxed),
        }
    }

    /// Bytes that were written.
    pub fn written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }

    /// Operations that failed.
    pub fn errors(&self) -> u64 {
        self.errors.load(Ordering::Relaxed)
    }

    /// When the tables were last flushed, in milliseconds since the beginning.
    pub fn tables_flushed(&self) -> u64 {
        self.tables_flushed.load(Ordering::Relaxed)
    }

    /// Milliseconds since the beginning.
    pub fn millis(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn note_flush(&self, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let place = FLUSH_BOUNDS.partition_point(|bound| *bound < micros);
        if let Some(count) = self.counts.get(place) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        self.total_micros.fetch_add(micros, Ordering::Relaxed);
        self.longest_micros.fetch_max(micros, Ordering::Relaxed);
    }

    /// Counts an operation that has failed.
    fn note<T>(&self, result: io::Result<T>) -> io::Result<T> {
        if result.is_err() {
            self.errors.fetch_add(1, Ordering::Relaxed);
        }
        result
    }
}

/// A disk with a meter.
#[derive(Debug)]
pub struct Metered<D> {
    disk: D,
    meter: Arc<Meter>,
}

impl<D: Disk> Metered<D> {
    /// What is done on `disk` through this one is counted by `meter`.
    pub fn new(disk: D, meter: Arc<Meter>) -> Metered<D> {
        Metered { disk, meter }
    }

    fn file(&self, name: &str, file: Box<dyn DiskFile>) -> Box<dyn DiskFile> {
        // While it is made it has a longer name.
        let is_log = NAMES.iter().any(|log| name.starts_with(log));
        Box::new(MeteredFile { file, meter: Arc::clone(&self.meter), is_log })
    }
}

impl<D: Disk> Disk for Metered<D> {
    fn open(&self, name: &str) -> io::Result<Option<Box<dyn DiskFile>>> {
        Ok(self.meter.note(self.disk.open(name))?.map(|file| self.file(name, file)))
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        self.meter.note(self.disk.create(name)).map(|file| self.file(name, file))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.meter.note(self.disk.rename(from, to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.meter.note(self.disk.remove(name))
    }

    fn names(&self) -> io::Result<Vec<String>> {
        self.meter.note(self.disk.names())
    }

    fn sync(&self) -> io::Result<()> {
        self.meter.note(self.disk.sync())
    }

    fn describe(&self, name: &str) -> String {
        self.disk.describe(name)
    }
}

struct MeteredFile {
    file: Box<dyn DiskFile>,
    meter: Arc<Meter>,
    is_log: bool,
}

impl DiskFile for MeteredFile {
    fn len(&self) -> io::Result<u64> {
        self.meter.note(self.file.len())
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.meter.note(self.file.read_at(offset, buffer))
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.meter.note(self.file.write_at(offset, bytes))?;
        self.meter.written.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.meter.note(self.file.set_len(len))
    }

    fn sync(&self) -> io::Result<()> {
        if !self.is_log {
            self.meter.note(self.file.sync())?;
            self.meter.tables_flushed.store(self.meter.millis(), Ordering::Relaxed);
            return Ok(());
        }
        let began = Instant::now();
        self.meter.note(self.file.sync())?;
        self.meter.note_flush(began.elapsed());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::time::Duration;

    use super::Meter;

    #[test]
    fn a_flush_counts_at_the_first_bound_that_it_does_not_exceed() {
        let meter = Meter::start();
        for micros in [0, 100, 101, 5_000, 2_500_001] {
            meter.note_flush(Duration::from_micros(micros));
        }
        let times = meter.flush_times();
        let mut counts = [0; 15];
        (counts[0], counts[1], counts[5], counts[14]) = (2, 1, 1, 1);
        assert_eq!(times.counts, counts);
        assert_eq!((times.count(), times.total_micros, times.longest_micros), (5, 2_505_202, 2_500_001));
    }

    #[test]
    fn what_fails_is_counted() {
        let meter = Meter::start();
        assert!(meter.note(Ok(())).is_ok());
        assert!(meter.note::<()>(Err(io::ErrorKind::StorageFull.into())).is_err());
        assert_eq!(meter.errors(), 1);
    }
}
