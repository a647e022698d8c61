//! The durable store of a broker: it is opened before the broker starts, and closed after it has stopped.

#[cfg(feature = "durable")]
pub(super) use imp::Storage;
#[cfg(not(feature = "durable"))]
pub(super) use none::Storage;

use crate::storage::StorageStats;

/// Tells of a store at a moment.
pub(super) type StorageSource = Box<dyn Fn() -> StorageStats + Send + Sync>;

#[cfg(feature = "durable")]
mod imp {
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::path::Path;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::thread::JoinHandle;
    use std::time::Instant;

    use tokio::sync::Notify;

    use crate::config::{OnDamage, Settings, StorageSync};
    use crate::disk::{Directory, Meter, Metered, Unsynced};
    use crate::embed::error::Error;
    use crate::embed::start::seed;
    use crate::embed::storage::StorageSource;
    use crate::embed::store_view::StoreView;
    use crate::embed::testing::{Bench, DiskControl, FaultyDisk};
    use crate::engine::core::state::Engine;
    use crate::locks::Mutex;
    use crate::runtime::{Clock, Runtime, generation};
    use crate::storage::durable::disk::Disk;
    use crate::storage::durable::tools::BackupOptions;
    use crate::storage::durable::{DurableOptions, DurableStore, set_aside};
    use crate::storage::{StorageStats, Store, StoreError};
    use crate::time::{Time, WallTime};

    /// An open store, and the threads that commit to it and write its tables.
    pub(in crate::embed) struct Storage {
        store: Arc<DurableStore>,
        view: Arc<StoreView>,
        committed: Arc<Notify>,
        threads: Mutex<Vec<JoinHandle<()>>>,
        /// In test mode.
        control: Option<Arc<DiskControl>>,
        generation: u32,
        has_ended: AtomicBool,
        /// The size of each of the log's files.
        log_bytes: u64,
    }

    impl Storage {
        /// Opens the store of the settings; `None` if they name none.
        pub(in crate::embed) fn open(
            settings: &Settings,
            started_millis: u64,
            salt: u128,
            bench: Option<&Bench>,
        ) -> Result<Option<Storage>, Error> {
            let storage = &settings.storage;
            if storage.path.is_empty() {
                return Ok(None);
            }
            let failed = |error: StoreError| Error::Storage(error.to_string());
            let began = Instant::now();
            let directory = Directory::open(Path::new(&storage.path)).map_err(failed)?;
            let (path, meter) = (directory.path().to_owned(), Arc::new(Meter::start()));
            let control = bench.and_then(|bench| bench.disk.clone());
            let directory: Box<dyn Disk> = match &control {
                None => Box::new(directory),
                Some(control) => Box::new(FaultyDisk::new(directory, Arc::clone(control))),
            };
            let disk: Arc<dyn Disk> = match storage.sync {
                StorageSync::Always => Arc::new(Metered::new(directory, Arc::clone(&meter))),
                StorageSync::Never => Arc::new(Metered::new(Unsynced(directory), Arc::clone(&meter))),
            };
            let now = WallTime::from_millis(started_millis);
            let options = DurableOptions {
                salt: salt.to_le_bytes(),
                log_bytes: storage.log_size,
                now,
                retry_millis: Some(500),
            };
            let mut damage = None;
            let store = match DurableStore::open(disk.clone(), options) {
                Err(error) if storage.on_damage == OnDamage::SetAside && error.is_damage() => {
                    let place = set_aside(&*disk, started_millis / 1000).map_err(failed)?;
                    damage = Some(format!("{error}; the damaged store is kept in {place}"));
                    DurableStore::open(disk, options).map_err(failed)?
                }
                opened => opened.map_err(failed)?,
            };
            let store = store.with_memory(storage.memory);
            let (store, committed) = (Arc::new(store), Arc::new(Notify::new()));
            let changed = Arc::clone(&committed);
            store.on_trouble(Box::new(move || changed.notify_one()));
            let view = StoreView {
                replayed: store.replayed(),
                store: Arc::clone(&store),
                meter,
                path,
                set_aside: damage,
                opening: began.elapsed(),
                is_closed: AtomicBool::new(false),
                is_troubled: AtomicBool::new(false),
                last_checkpoint: Mutex::default(),
            };
            Ok(Some(Storage {
                store,
                view: Arc::new(view),
                committed,
                threads: Mutex::new(Vec::new()),
                control,
                generation: generation(),
                has_ended: AtomicBool::new(false),
                log_bytes: storage.log_size,
            }))
        }

        /// The store, for the engine.
        pub(in crate::embed) fn store(&self) -> Arc<dyn Store> {
            self.store.clone()
        }

        /// Logs that the store is open.
        pub(in crate::embed) fn log_open(&self, engine: &Engine, now: Time) {
            self.view.log_open(engine, &mut engine.turn(now));
        }

        /// What tells of the store at a moment.
        pub(in crate::embed) fn source(&self, engine: &Arc<Engine>) -> StorageSource {
            let (view, engine) = (Arc::clone(&self.view), Arc::clone(engine));
            Box::new(move || view.stats(&engine))
        }

        /// The store at this moment.
        pub(in crate::embed) fn stats(&self, engine: &Engine) -> StorageStats {
            self.view.stats(engine)
        }

        /// Starts the threads, and the task that tells the engine of commits.
        pub(in crate::embed) fn run(
            &self,
            runtime: &Runtime,
            engine: &Arc<Engine>,
            clock: &Clock,
        ) -> Result<(), Error> {
            let (store, committed) = (Arc::clone(&self.store), Arc::clone(&self.committed));
            let commit = move || {
                let run = || while store.wait_and_commit(&|| committed.notify_one()) {};
                if catch_unwind(AssertUnwindSafe(run)).is_err() {
                    store.give_up("the thread that commits has failed");
                }
                // It may have failed.
                committed.notify_one();
            };
            let store = Arc::clone(&self.store);
            let checkpoint = move || while store.wait_and_checkpoint() {};
            let store = Arc::clone(&self.store);
            let (reader, now) = (Arc::downgrade(engine), clock.clone());
            // It gives a message back while the host's own code runs, so it holds the broker for no longer than a read.
            let read = move || {
                while let (Some(request), Some(engine)) = (store.wait_for_request(), reader.upgrade()) {
                    let read = engine.read_stored(request);
                    if store.is_closing() {
                        break;
                    }
                    engine.give_stored(&mut engine.turn(now.now()), read);
                }
            };
            let mut threads = self.threads.lock();
            threads.push(Runtime::spawn_thread("midge-commit", commit).map_err(Error::Start)?);
            threads.push(Runtime::spawn_thread("midge-read", read).map_err(Error::Start)?);
            threads.push(Runtime::spawn_thread("midge-tables", checkpoint).map_err(Error::Start)?);
            let (view, committed) = (Arc::clone(&self.view), Arc::clone(&self.committed));
            let (engine, clock, control) = (Arc::clone(engine), clock.clone(), self.control.clone());
            runtime.handle().spawn(async move {
                loop {
                    committed.notified().await;
                    if has_crashed(control.as_deref()) {
                        // Nobody hears of it any more.
                        continue;
                    }
                    let position = tell(&engine, &clock, &view);
                    if let Some(control) = &control {
                        control.note_told(position);
                    }
                }
            });
            Ok(())
        }

        /// A test has changed what the disk does; if it is full, messages are refused at once.
        pub(in crate::embed) fn disk_changed(&self, is_full: bool) {
            self.store.refuse_messages(is_full);
            self.store.try_again();
        }

        /// The position of the last change.
        pub(in crate::embed) fn appended(&self) -> u64 {
            self.store.appended()
        }

        /// Whether the disk refuses something, and is tried again.
        pub(in crate::embed) fn is_troubled(&self) -> bool {
            self.store.trouble().is_some()
        }

        /// Copies the store to a directory that has none.
        pub(in crate::embed) fn backup(&self, path: &Path) -> Result<(), Error> {
            let wrong = |error: StoreError| Error::Argument { argument: "path", cause: error.to_string() };
            let to = Directory::open(path).map_err(wrong)?;
            let salt = seed().map_err(|source| Error::System { what: "a random number", source })?;
            let options = BackupOptions { salt: salt.to_le_bytes(), log_bytes: self.log_bytes };
            self.store.backup(&to, &options).map_err(|error| match error {
                error @ StoreError::Directory { .. } => wrong(error),
                error => Error::Storage(error.to_string()),
            })
        }

        /// Commits what is left, tells the engine, and closes the files.
        pub(in crate::embed) fn close(&self, engine: &Engine, clock: &Clock) {
            self.end(|result| {
                if has_crashed(self.control.as_deref()) {
                    return;
                }
                _ = tell(engine, clock, &self.view);
                self.view.log_closed(engine, &mut engine.turn(clock.now()), result);
            });
        }

        fn end(&self, tell: impl FnOnce(Result<(), StoreError>)) {
            if generation() != self.generation || self.has_ended.swap(true, Ordering::AcqRel) {
                return;
            }
            let threads = std::mem::take(&mut *self.threads.lock());
            self.store.close();
            let mut threads = threads.into_iter();
            // The committer, which may wait for the other one.
            if let Some(committer) = threads.next() {
                let _ended = committer.join();
            }
            let result = self.store.finish();
            threads.for_each(|thread| _ = thread.join());
            self.view.is_closed.store(true, Ordering::Release);
            tell(result);
        }
    }

    impl Drop for Storage {
        /// A broker that could not start closes its files here, too. A forked child leaves them alone.
        fn drop(&mut self) {
            if generation() == self.generation {
                return self.end(|_| ());
            }
            std::mem::forget(Arc::clone(&self.store));
        }
    }

    /// Whether a test has had the broker crash.
    fn has_crashed(control: Option<&DiskControl>) -> bool {
        control.is_some_and(DiskControl::has_crashed)
    }

    /// Tells the engine how far the store has come; up to where nothing more is to be told.
    fn tell(engine: &Engine, clock: &Clock, view: &StoreView) -> u64 {
        let (mut turn, store) = (engine.turn(clock.now()), &view.store);
        let failed = store.failed();
        if let Some(error) = &failed {
            engine.store_failed(&mut turn, error);
        }
        view.note_change(engine, &mut turn);
        let committed = store.committed();
        engine.committed(&mut turn, committed);
        failed.map_or(committed, |_| u64::MAX)
    }
}

/// A library without the durable store: the setting that asks for one is refused.
#[cfg(not(feature = "durable"))]
mod none {
    use std::convert::Infallible;
    use std::path::Path;
    use std::sync::Arc;

    use crate::config::Settings;
    use crate::embed::error::Error;
    use crate::embed::storage::StorageSource;
    use crate::embed::testing::Bench;
    use crate::engine::core::state::Engine;
    use crate::runtime::{Clock, Runtime};
    use crate::storage::{StorageStats, Store};
    use crate::time::Time;

    /// A store, of which there is none.
    pub(in crate::embed) struct Storage(Infallible);

    impl Storage {
        pub(in crate::embed) fn open(
            settings: &Settings,
            _: u64,
            _: u128,
            _: Option<&Bench>,
        ) -> Result<Option<Storage>, Error> {
            match settings.storage.path.is_empty() {
                true => Ok(None),
                false => Err(Error::Storage("this library was built without the feature durable".to_owned())),
            }
        }

        pub(in crate::embed) fn store(&self) -> Arc<dyn Store> {
            match self.0 {}
        }

        pub(in crate::embed) fn log_open(&self, _: &Engine, _: Time) {
            match self.0 {}
        }

        pub(in crate::embed) fn source(&self, _: &Arc<Engine>) -> StorageSource {
            match self.0 {}
        }

        pub(in crate::embed) fn stats(&self, _: &Engine) -> StorageStats {
            match self.0 {}
        }

        pub(in crate::embed) fn run(&self, _: &Runtime, _: &Arc<Engine>, _: &Clock) -> Result<(), Error> {
            match self.0 {}
        }

        pub(in crate::embed) fn disk_changed(&self, _: bool) {
            match self.0 {}
        }

        pub(in crate::embed) fn appended(&self) -> u64 {
            match self.0 {}
        }

        pub(in crate::embed) fn is_troubled(&self) -> bool {
            match self.0 {}
        }

        pub(in crate::embed) fn backup(&self, _: &Path) -> Result<(), Error> {
            match self.0 {}
        }

        pub(in crate::embed) fn close(&self, _: &Engine, _: &Clock) {
            match self.0 {}
        }
    }
}
