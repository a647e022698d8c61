//! What is told of a store whose disk is full or fails.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use super::StoreView;
use crate::config::Config;
use crate::disk::{Directory, Meter, Metered};
use crate::embed::Hooks;
use crate::engine::core::state::{Engine, EngineParts};
use crate::runtime::Ticker;
use crate::session::event::Level;
use crate::storage::durable::disk::{Disk, DiskFile};
use crate::storage::durable::{DurableOptions, DurableStore};
use crate::storage::{Change, StorageState, Store};
use crate::time::{Time, WallTime};

const EIO: i32 = 5;
const ENOSPC: i32 = 28;

/// A directory whose files refuse to be written or flushed while an error is set.
#[derive(Clone)]
struct Faulty {
    directory: Arc<Directory>,
    errors: Arc<Errors>,
}

/// The numbers of the system's errors; 0 is none.
#[derive(Default)]
struct Errors {
    write: AtomicI32,
    /// The same for the files of the log alone, and for the tables alone.
    write_log: AtomicI32,
    write_tables: AtomicI32,
    sync: AtomicI32,
}

fn refuse(error: &AtomicI32) -> io::Result<()> {
    match error.load(Ordering::Relaxed) {
        0 => Ok(()),
        number => Err(io::Error::from_raw_os_error(number)),
    }
}

impl Faulty {
    fn new(name: &str) -> Faulty {
        let path = std::env::temp_dir().join(format!("midge-view-{}-{name}", std::process::id()));
        let _old = std::fs::remove_dir_all(&path);
        Faulty { directory: Arc::new(Directory::open(&path).unwrap()), errors: Arc::default() }
    }

    /// Removes the directory.
    fn remove_all(&self) {
        std::fs::remove_dir_all(self.directory.path()).unwrap();
    }

    fn file(&self, name: &str, file: Box<dyn DiskFile>) -> Box<dyn DiskFile> {
        let (errors, is_log) = (Arc::clone(&self.errors), name.starts_with("log."));
        Box::new(FaultyFile { file, errors, is_log })
    }
}

impl Disk for Faulty {
    fn open(&self, name: &str) -> io::Result<Option<Box<dyn DiskFile>>> {
        Ok(self.directory.open(name)?.map(|file| self.file(name, file)))
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        self.directory.create(name).map(|file| self.file(name, file))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.directory.rename(from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.directory.remove(name)
    }

    fn names(&self) -> io::Result<Vec<String>> {
        self.directory.names()
    }

    fn sync(&self) -> io::Result<()> {
        self.directory.sync()
    }

    fn describe(&self, name: &str) -> String {
        self.directory.describe(name)
    }
}

struct FaultyFile {
    file: Box<dyn DiskFile>,
    errors: Arc<Errors>,
    is_log: bool,
}

impl DiskFile for FaultyFile {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.file.read_at(offset, buffer)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        refuse(&self.errors.write)?;
        refuse(if self.is_log { &self.errors.write_log } else { &self.errors.write_tables })?;
        self.file.write_at(offset, bytes)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    fn sync(&self) -> io::Result<()> {
        refuse(&self.errors.sync)?;
        self.file.sync()
    }
}

/// A store of small log files that tries a full disk again every millisecond.
fn store(disk: &Faulty, meter: &Arc<Meter>) -> Arc<DurableStore> {
    let disk = Metered::new(disk.clone(), Arc::clone(meter));
    let options = DurableOptions {
        salt: [7; 16],
        log_bytes: 16 << 10,
        now: WallTime::from_millis(1),
        retry_millis: Some(1),
    };
    Arc::new(DurableStore::open(Arc::new(disk), options).unwrap())
}

fn view(store: &Arc<DurableStore>, meter: &Arc<Meter>) -> StoreView {
    StoreView {
        store: Arc::clone(store),
        meter: Arc::clone(meter),
        path: "/none".into(),
        set_aside: None,
        opening: Duration::from_millis(3),
        replayed: store.replayed(),
        is_closed: AtomicBool::new(false),
        is_troubled: AtomicBool::new(false),
        last_checkpoint: crate::locks::Mutex::default(),
    }
}

fn engine(store: &Arc<DurableStore>) -> (Engine, mpsc::Receiver<String>) {
    let (sender, lines) = mpsc::channel();
    let hooks = Hooks::new().on_log(Level::Info, move |line| sender.send(line.to_string()).unwrap());
    let parts = EngineParts {
        store: Arc::clone(store) as Arc<dyn Store>,
        alarm: Arc::new(Ticker::default()),
        seed: 7,
        started_unix: 1000,
    };
    (Engine::new(Config::new().settings(), parts).with_host(Arc::new(hooks)), lines)
}

fn tell(view: &StoreView, engine: &Engine) {
    view.note_change(engine, &mut engine.turn(Time::ZERO));
}

/// However often the disk is tried.
#[test]
fn a_full_disk_is_logged_once_and_its_end_once() {
    let (disk, meter) = (Faulty::new("full"), Arc::new(Meter::start()));
    let store = store(&disk, &meter);
    let (view, (engine, lines)) = (view(&store, &meter), engine(&store));
    let (noticed, notices) = mpsc::channel();
    store.on_trouble(Box::new(move || noticed.send(()).unwrap()));
    assert_eq!(view.stats(&engine).state, StorageState::Ok);
    disk.errors.write.store(ENOSPC, Ordering::Relaxed);
    // Larger than a file of the log, which has to grow.
    let topic = "t".repeat(60_000);
    store.append(WallTime::from_millis(2), Change::Cleared { topic: &topic });
    std::thread::scope(|scope| {
        scope.spawn(|| assert!(store.commit()));
        notices.recv().unwrap();
        // The disk is tried again and again.
        let errors = meter.errors();
        while meter.errors() < errors + 3 {
            tell(&view, &engine);
        }
        let stats = view.stats(&engine);
        disk.errors.write.store(0, Ordering::Relaxed);
        notices.recv().unwrap();
        assert_eq!((stats.state, stats.commits), (StorageState::Retrying, 0));
        let cause = stats.cause.unwrap();
        assert!(cause.contains("/log.") && cause.ends_with("free space on this disk"), "{cause}");
    });
    tell(&view, &engine);
    tell(&view, &engine);
    let stats = view.stats(&engine);
    assert_eq!((stats.state, stats.cause, stats.commits), (StorageState::Ok, None, 1));
    assert!(notices.try_recv().is_err());
    drop(engine);
    let lines: Vec<_> = lines.into_iter().collect();
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(lines[0].starts_with("error: the store cannot write, and tries again: "), "{lines:?}");
    assert_eq!(lines[1], "info: the store can write again");
    disk.remove_all();
}

/// Commits and checkpoints are refused and taken again by themselves.
#[test]
fn the_end_of_one_trouble_is_not_that_of_another() {
    let (disk, meter) = (Faulty::new("two"), Arc::new(Meter::start()));
    let store = store(&disk, &meter);
    let (view, (engine, lines)) = (view(&store, &meter), engine(&store));
    let (noticed, notices) = mpsc::channel();
    store.on_trouble(Box::new(move || noticed.send(()).unwrap()));
    let append = |topic: &str| store.append(WallTime::from_millis(2), Change::Cleared { topic });
    let errors = &disk.errors;
    let cause = || {
        notices.recv().unwrap();
        tell(&view, &engine);
        let stats = view.stats(&engine);
        assert_eq!(stats.state == StorageState::Ok, stats.cause.is_none());
        stats.cause
    };
    let is_of =
        |cause: Option<String>, file: &str| assert!(cause.as_ref().unwrap().contains(file), "{cause:?}");
    // More than half of a file of the log: a checkpoint is due.
    append(&"t".repeat(10_000));
    assert!(store.commit());
    std::thread::scope(|scope| {
        errors.write_tables.store(ENOSPC, Ordering::Relaxed);
        scope.spawn(|| assert!(store.wait_and_checkpoint()));
        is_of(cause(), "midge.redb");
        for first_over in ["log", "tables"] {
            errors.write_log.store(ENOSPC, Ordering::Relaxed);
            append("small");
            let commit = scope.spawn(|| assert!(store.commit()));
            is_of(cause(), "/log.");
            if first_over == "tables" {
                errors.write_tables.store(0, Ordering::Relaxed);
                is_of(cause(), "/log.");
            }
            errors.write_log.store(0, Ordering::Relaxed);
            match cause() {
                None => assert_eq!(first_over, "tables"),
                still => is_of(still, "midge.redb"),
            }
            commit.join().unwrap();
        }
    });
    assert!(notices.try_recv().is_err());
    drop(engine);
    let lines: Vec<_> = lines.into_iter().collect();
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(lines[0].contains("midge.redb") && lines[1] == "info: the store can write again", "{lines:?}");
    disk.remove_all();
}

#[test]
fn a_failed_store_says_why_and_its_trouble_has_no_end() {
    let (disk, meter) = (Faulty::new("failed"), Arc::new(Meter::start()));
    let store = store(&disk, &meter);
    let (view, (engine, lines)) = (view(&store, &meter), engine(&store));
    disk.errors.sync.store(EIO, Ordering::Relaxed);
    store.append(WallTime::from_millis(2), Change::Cleared { topic: "t" });
    assert!(!store.commit());
    tell(&view, &engine);
    let stats = view.stats(&engine);
    assert_eq!((stats.state, stats.disk_errors, stats.commits), (StorageState::Failed, 1, 0));
    assert_eq!(stats.flush_times.count(), meter.flush_times().count());
    assert!(stats.cause.is_some_and(|cause| cause.contains("log.")));
    let result = store.finish();
    view.is_closed.store(true, Ordering::Release);
    view.log_closed(&engine, &mut engine.turn(Time::ZERO), result);
    assert_eq!(view.stats(&engine).state, StorageState::Failed);
    drop(engine);
    assert_eq!(lines.into_iter().collect::<Vec<_>>(), ["info: store /none is closed after its failure"]);
    disk.remove_all();
}

#[test]
fn a_store_that_is_closed_says_whether_its_tables_have_everything() {
    let (disk, meter) = (Faulty::new("closed"), Arc::new(Meter::start()));
    let store = store(&disk, &meter);
    let (view, (engine, lines)) = (view(&store, &meter), engine(&store));
    store.append(WallTime::from_millis(2), Change::Cleared { topic: "t" });
    assert!(store.commit());
    // The log has it; the tables cannot get it.
    disk.errors.write.store(ENOSPC, Ordering::Relaxed);
    store.close();
    view.log_closed(&engine, &mut engine.turn(Time::ZERO), store.finish());
    view.log_closed(&engine, &mut engine.turn(Time::ZERO), Ok(()));
    drop(engine);
    let lines: Vec<_> = lines.into_iter().collect();
    let beginning = "error: store /none is closed without a checkpoint, and its log has the rest: ";
    assert!(lines[0].starts_with(beginning) && lines[0].contains("No space left"), "{lines:?}");
    assert_eq!(lines[1..], ["info: store /none is closed"]);
    disk.remove_all();
}

#[test]
fn a_checkpoint_that_is_refused_is_told_and_makes_the_last_one_no_younger() {
    let (disk, meter) = (Faulty::new("age"), Arc::new(Meter::start()));
    let store = store(&disk, &meter);
    let (view, (engine, _lines)) = (view(&store, &meter), engine(&store));
    // More than half of the log: a checkpoint is due.
    let topic = "t".repeat(12_000);
    let commit = || {
        store.append(WallTime::from_millis(2), Change::Cleared { topic: &topic });
        assert!(store.commit());
        tell(&view, &engine);
    };
    commit();
    store.checkpoint();
    assert_eq!(store.stats().checkpoints, 1);
    let at = view.note_checkpoint();
    assert_eq!(at, meter.tables_flushed());
    commit();
    disk.errors.write.store(ENOSPC, Ordering::Relaxed);
    let cause = std::thread::scope(|scope| {
        scope.spawn(|| store.checkpoint());
        let errors = meter.errors();
        while meter.errors() < errors + 3 {
            tell(&view, &engine);
        }
        let cause = view.stats(&engine).cause;
        // As tables do that are opened again after a failure.
        let other = Metered::new(disk.clone(), Arc::clone(&meter)).create("other").unwrap();
        while meter.tables_flushed() == at {
            other.sync().unwrap();
        }
        let still = view.note_checkpoint();
        disk.errors.write.store(0, Ordering::Relaxed);
        assert_eq!(still, at);
        cause.unwrap()
    });
    let end = "midge.redb: write: No space left on device (os error 28): free space on this disk";
    assert!(cause.ends_with(end), "{cause}");
    assert!(view.note_checkpoint() > at);
    disk.remove_all();
}
