//! The durable store of a broker: it is opened before the broker starts, and closed after it has stopped.

#[cfg(feature = "durable")]
pub(super) use imp::Storage;
#[cfg(not(feature = "durable"))]
pub(super) use none::Storage;

#[cfg(feature = "durable")]
mod imp {
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::path::Path;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::thread::JoinHandle;

    use parking_lot::Mutex;
    use tokio::sync::Notify;

    use crate::config::{OnDamage, Settings, StorageSync};
    use crate::disk::{Directory, Unsynced};
    use crate::embed::error::Error;
    use crate::embed::start::seed;
    use crate::engine::core::state::Engine;
    use crate::runtime::{Clock, Runtime, generation};
    use crate::session::event::Level;
    use crate::storage::durable::disk::Disk;
    use crate::storage::durable::tools::BackupOptions;
    use crate::storage::durable::{DurableOptions, DurableStore, set_aside};
    use crate::storage::{Store, StoreError};
    use crate::time::WallTime;

    /// An open store, and the threads that commit to it and write its tables.
    pub(in crate::embed) struct Storage {
        store: Arc<DurableStore>,
        committed: Arc<Notify>,
        threads: Mutex<Vec<JoinHandle<()>>>,
        generation: u32,
        has_ended: AtomicBool,
        /// What was done to a damaged store.
        set_aside: Option<String>,
        /// The size of each of the log's files.
        log_bytes: u64,
    }

    impl Storage {
        /// Opens the store of the settings; `None` if they name none.
        pub(in crate::embed) fn open(
            settings: &Settings,
            started_millis: u64,
            salt: u128,
        ) -> Result<Option<Storage>, Error> {
            let storage = &settings.storage;
            if storage.path.is_empty() {
                return Ok(None);
            }
            let failed = |error: StoreError| Error::Storage(error.to_string());
            let directory = Directory::open(Path::new(&storage.path)).map_err(failed)?;
            let disk: Arc<dyn Disk> = match storage.sync {
                StorageSync::Always => Arc::new(directory),
                StorageSync::Never => Arc::new(Unsynced(directory)),
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
            Ok(Some(Storage {
                store: Arc::new(store),
                committed: Arc::new(Notify::new()),
                threads: Mutex::new(Vec::new()),
                generation: generation(),
                has_ended: AtomicBool::new(false),
                set_aside: damage,
                log_bytes: storage.log_size,
            }))
        }

        /// The store, for the engine.
        pub(in crate::embed) fn store(&self) -> Arc<dyn Store> {
            self.store.clone()
        }

        /// Why the store was begun anew, if it was damaged.
        pub(in crate::embed) fn set_aside(&self) -> Option<&str> {
            self.set_aside.as_deref()
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
            let mut threads = self.threads.lock();
            threads.push(Runtime::spawn_thread("midge-commit", commit).map_err(Error::Start)?);
            threads.push(Runtime::spawn_thread("midge-tables", checkpoint).map_err(Error::Start)?);
            let committed = Arc::clone(&self.committed);
            self.store.on_trouble(move || committed.notify_one());
            let (store, committed) = (Arc::clone(&self.store), Arc::clone(&self.committed));
            let (engine, clock) = (Arc::clone(engine), clock.clone());
            runtime.handle().spawn(async move {
                let mut in_trouble = false;
                loop {
                    committed.notified().await;
                    tell(&engine, &clock, &store);
                    in_trouble = log_trouble(&engine, &clock, &store, in_trouble);
                }
            });
            Ok(())
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
            self.end(|store| tell(engine, clock, store));
        }

        fn end(&self, tell: impl FnOnce(&DurableStore)) {
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
            let _logged = self.store.finish();
            threads.for_each(|thread| _ = thread.join());
            tell(&self.store);
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

    /// Logs that the store cannot be written, or can be again; whether it is in trouble. A failure is logged elsewhere.
    fn log_trouble(engine: &Engine, clock: &Clock, store: &DurableStore, was_in_trouble: bool) -> bool {
        let trouble = store.trouble().filter(|_| store.failed().is_none());
        let mut turn = engine.turn(clock.now());
        match &trouble {
            Some(error) if !was_in_trouble => engine.log(&mut turn, Level::Error, None, || {
                format!("the store cannot be written, and is tried again; when its log is full, QoS 1 and 2 wait: {error}")
            }),
            None if was_in_trouble && store.failed().is_none() => {
                engine.log(&mut turn, Level::Info, None, || "the store can be written again".to_owned());
            }
            _ => {}
        }
        trouble.is_some()
    }

    fn tell(engine: &Engine, clock: &Clock, store: &DurableStore) {
        let mut turn = engine.turn(clock.now());
        if let Some(error) = store.failed() {
            engine.store_failed(&mut turn, &error);
        }
        engine.committed(&mut turn, store.committed());
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
    use crate::engine::core::state::Engine;
    use crate::runtime::{Clock, Runtime};
    use crate::storage::Store;

    /// A store, of which there is none.
    pub(in crate::embed) struct Storage(Infallible);

    impl Storage {
        pub(in crate::embed) fn open(settings: &Settings, _: u64, _: u128) -> Result<Option<Storage>, Error> {
            match settings.storage.path.is_empty() {
                true => Ok(None),
                false => Err(Error::Storage("this library was built without the feature durable".to_owned())),
            }
        }

        pub(in crate::embed) fn store(&self) -> Arc<dyn Store> {
            match self.0 {}
        }

        pub(in crate::embed) fn set_aside(&self) -> Option<&str> {
            match self.0 {}
        }

        pub(in crate::embed) fn run(&self, _: &Runtime, _: &Arc<Engine>, _: &Clock) -> Result<(), Error> {
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
