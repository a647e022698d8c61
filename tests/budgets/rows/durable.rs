//! QoS 1 messages to a session that a durable store keeps, over a disk in memory: the cost of recording, without that of a
//! disk. The committer works in this thread, after each portion.

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use midge::codec::qos::QoS;
use midge::codec::version::Version;
use midge::engine::core::state::Engine;
use midge::storage::Store;
use midge::storage::durable::disk::{Disk, DiskFile};
use midge::storage::durable::{DurableOptions, DurableStore};
use midge::time::{Time, WallTime};

use crate::rows::bed::Peer;
use crate::rows::engine::engine_with;
use crate::rows::{Row, Work, broker, packets};

const TOPIC: &str = "bench/1/data";

pub fn rows() -> Vec<Row> {
    let row = |name, units, rounds, build| Row { name, units, rounds, threads: false, build };
    vec![
        row("durable_qos1_batch", 50, 100, || Kept::of(50)),
        row("durable_qos1_single", 1, 2000, || Kept::of(1)),
    ]
}

/// One publisher, and one subscriber with a session that is kept and acknowledges each message.
struct Kept {
    engine: Engine,
    store: Arc<DurableStore>,
    disk: Arc<Memory>,
    publisher: Peer,
    subscriber: Peer,
    portion: Vec<u8>,
}

impl Kept {
    fn of(batch: usize) -> Box<dyn Work> {
        let disk = Arc::new(Memory::default());
        let options = DurableOptions {
            salt: [7; 16],
            log_bytes: 32 << 20,
            now: WallTime::default(),
            retry_millis: None,
        };
        let store = DurableStore::open(Arc::clone(&disk) as Arc<dyn Disk>, options).unwrap();
        let store = Arc::new(store.with_memory(16 << 20));
        let engine = engine_with(&[], Arc::clone(&store) as Arc<dyn Store>);
        let publisher = Peer::connected(&engine, Version::V311, "p", true);
        let subscriber = Peer::lasting(&engine, "s");
        let mut kept = Kept { engine, store, disk, publisher, subscriber, portion: Vec::new() };
        kept.commit();
        let mut subscribe = Vec::new();
        packets::subscribe(Version::V5, &[TOPIC.to_owned()], QoS::AtLeastOnce, &mut subscribe);
        kept.subscriber.send(&kept.engine, &subscribe);
        kept.commit();
        for id in 1..=batch {
            packets::publish(Version::V311, TOPIC, QoS::AtLeastOnce, id, false, &mut kept.portion);
        }
        Box::new(kept)
    }

    /// What the threads of the store do.
    fn commit(&self) {
        broker(|| {
            self.store.commit();
            self.engine.committed(&mut self.engine.turn(Time::ZERO), self.store.committed());
        });
    }
}

impl Work for Kept {
    fn round(&mut self) {
        let before = self.disk.flushes.load(Ordering::Relaxed);
        self.publisher.send(&self.engine, &self.portion);
        self.commit();
        while self.subscriber.answer(&self.engine) || self.publisher.answer(&self.engine) {}
        self.commit();
        // The messages, and their acknowledgements. A checkpoint is due once in many rounds, and not within those of a row.
        assert_eq!(self.disk.flushes.load(Ordering::Relaxed) - before, 2, "flushes of a round");
    }

    fn done(&self) -> u64 {
        self.engine.snapshot().publish_sent
    }
}

type Bytes = Arc<Mutex<Vec<u8>>>;

/// A directory of files in memory.
#[derive(Default)]
struct Memory {
    files: Mutex<BTreeMap<String, Bytes>>,
    flushes: Arc<AtomicU64>,
}

struct MemoryFile {
    bytes: Bytes,
    flushes: Arc<AtomicU64>,
}

impl Memory {
    fn file(&self, bytes: &Bytes) -> Box<dyn DiskFile> {
        Box::new(MemoryFile { bytes: Arc::clone(bytes), flushes: Arc::clone(&self.flushes) })
    }
}

impl Disk for Memory {
    fn open(&self, name: &str) -> io::Result<Option<Box<dyn DiskFile>>> {
        Ok(self.files.lock().unwrap().get(name).map(|bytes| self.file(bytes)))
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        let bytes = Bytes::default();
        self.files.lock().unwrap().insert(name.to_owned(), Arc::clone(&bytes));
        Ok(self.file(&bytes))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut files = self.files.lock().unwrap();
        let bytes = files.remove(from).ok_or(io::ErrorKind::NotFound)?;
        files.insert(to.to_owned(), bytes);
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.files.lock().unwrap().remove(name).map(|_| ()).ok_or(io::ErrorKind::NotFound.into())
    }

    fn names(&self) -> io::Result<Vec<String>> {
        Ok(self.files.lock().unwrap().keys().cloned().collect())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }

    fn describe(&self, name: &str) -> String {
        name.to_owned()
    }
}

impl DiskFile for MemoryFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.bytes.lock().unwrap().len() as u64)
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let bytes = self.bytes.lock().unwrap();
        let found = bytes.get(offset as usize..).and_then(|rest| rest.get(..buffer.len()));
        buffer.copy_from_slice(found.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn write_at(&self, offset: u64, written: &[u8]) -> io::Result<()> {
        let (mut bytes, at) = (self.bytes.lock().unwrap(), offset as usize);
        let end = at + written.len();
        if bytes.len() < end {
            bytes.resize(end, 0);
        }
        bytes[at..end].copy_from_slice(written);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.bytes.lock().unwrap().resize(len as usize, 0);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        self.flushes.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}
