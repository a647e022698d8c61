//! Starting a broker.

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, OnceLock};

use crate::config::{Config, Listener, Settings};
use crate::embed::asynchronous::Vigil;
use crate::embed::broker::Broker;
use crate::embed::console;
use crate::embed::error::Error;
use crate::embed::hooks::Hooks;
use crate::embed::listeners::failed;
use crate::embed::shared::Shared;
use crate::embed::stop::Stage;
use crate::embed::storage::Storage;
use crate::embed::testing::Bench;
use crate::engine::core::state::{Engine, EngineParts};
use crate::locks::{Condvar, Mutex};
use crate::net::{Bound, ListenerError, Listeners, Server, bind};
use crate::runtime::{Clock, Latch, Runtime, Ticker, tick, watch_forks};
use crate::session::event::Level;
use crate::storage::{MemoryStore, Store};
use crate::time::{Time, WallTime};

/// What a broker may be made of beside its settings.
pub(super) struct Parts {
    /// Where what must not be lost is recorded; `None`: the store of the settings.
    pub store: Option<Arc<dyn Store>>,
    /// In test mode.
    pub bench: Option<Arc<Bench>>,
    /// The host's functions.
    pub hooks: Hooks,
}

impl Default for Parts {
    fn default() -> Parts {
        Parts { store: None, bench: None, hooks: Hooks::new() }
    }
}

impl Broker {
    /// Starts a broker of these parts.
    pub(super) fn start_of(config: &Config, parts: Parts) -> Result<Broker, Error> {
        let Parts { store, bench, hooks } = parts;
        config.validate()?;
        let settings = config.settings().clone();
        let stop_requested = Arc::new(Latch::new().map_err(Error::Start)?);
        let bound = bind_all(&settings)?;
        let bound_console = console::bind(&settings)?;
        let generation = watch_forks();
        let clock = bench.as_ref().map_or_else(Clock::start, |bench| bench.clock.clone());
        let ticker = Arc::new(Ticker::default());
        let storage = match store {
            None => {
                let now = clock.started_millis() + clock.now().as_millis();
                Storage::open(&settings, now, seed().map_err(Error::Start)?, bench.as_deref())?
            }
            Some(_) => None,
        };
        let store = store.or_else(|| storage.as_ref().map(Storage::store));
        let surroundings = EngineParts {
            store: store.unwrap_or_else(|| Arc::new(MemoryStore)),
            alarm: ticker.clone(),
            seed: seed().map_err(Error::Start)?,
            started_unix: clock.started_unix(),
        };
        let started = WallTime::from_millis(clock.started_millis());
        let mut engine = Engine::new(&settings, surroundings).with_start(started);
        if let Some(bench) = &bench {
            engine = engine.with_exact_timers().with_sink(bench.clone()).with_authority(bench.clone());
        }
        if !hooks.is_empty() {
            engine = engine.with_host(Arc::new(hooks));
        }
        let (engine, journal) = console::keep_journal(engine, &settings);
        if let Some(storage) = &storage {
            storage.log_open(&engine, clock.now());
        }
        // Before anybody can connect.
        engine.restore(&mut engine.turn(clock.now())).map_err(|error| Error::Storage(error.to_string()))?;
        let engine = Arc::new(engine);
        let mut server = Server::new(
            Arc::clone(&engine),
            clock.clone(),
            settings.mqtt.max_connections,
            settings.mqtt.max_pending_connections,
        );
        if let Some(bench) = &bench {
            server = server.with_test_net(Arc::clone(&bench.bed));
        } else if settings.runtime.worker_threads == 1 {
            server = server.on_one_thread();
        }
        let server = Arc::new(server);
        let runtime = Runtime::start(settings.runtime.worker_threads).map_err(Error::Start)?;
        if bench.is_none() {
            // In test mode the test moves the clock.
            runtime.handle().spawn(tick(Arc::clone(&engine), ticker, clock.clone()));
        }
        if let Some(storage) = &storage {
            storage.run(&runtime, &engine, &clock)?;
        }
        if let Some(flusher) = server.flusher() {
            runtime.handle().spawn(flusher);
        }
        log_listeners(&engine, clock.now(), &bound);
        let listeners = Arc::new(Listeners::new(Arc::clone(&server), runtime.handle().clone()));
        let source = storage.as_ref().map(|storage| storage.source(&engine));
        let shown = (journal, console::listeners(&listeners), source);
        let accepting = accept_all(bound, &listeners).and_then(|()| match bound_console {
            Some(bound) => {
                console::start(bound, &runtime, &engine, clock.clone(), config, shown, &server).map(Some)
            }
            None => Ok(None),
        });
        let console = match accepting {
            Ok(console) => console,
            Err(error) => {
                runtime.join();
                return Err(error);
            }
        };
        let shared = Shared {
            engine,
            clock,
            settings,
            no_limit: server.limit(None, None),
            server,
            listeners,
            console,
            generation,
            bench,
            running: Mutex::new(Some(runtime)),
            storage,
            dispatcher: Mutex::new(None),
            queues: Mutex::new(Some(Vec::new())),
            vigil: Vigil::new(Arc::clone(&stop_requested)),
            stop_requested,
            abandoned: AtomicBool::new(false),
            stage: Mutex::new(Stage::Running),
            grace_ends: OnceLock::new(),
            stopped: AtomicBool::new(false),
            changed: Condvar::new(),
        };
        Ok(Broker { shared: Arc::new(shared) })
    }
}

fn bind_all(settings: &Settings) -> Result<Vec<Bound>, Error> {
    let listeners = settings.listeners.iter();
    let listening = listeners.filter_map(|listener| Some((listener, listener.bind.as_ref()?)));
    let bind = |(listener, address): (&Listener, _)| {
        bind(address, listener).map_err(|error| failed(&listener.name, ListenerError::Bind(error)))
    };
    listening.map(bind).collect()
}

/// Logs the start, before the first client can come.
fn log_listeners(engine: &Engine, now: Time, bound: &[Bound]) {
    let mut turn = engine.turn(now);
    engine.log(&mut turn, Level::Info, None, || format!("midge {} has started", env!("CARGO_PKG_VERSION")));
    for bound in bound {
        engine.log(&mut turn, Level::Info, None, || {
            format!("listener {} is at {}", bound.name(), bound.address())
        });
    }
}

fn accept_all(bound: Vec<Bound>, listeners: &Listeners) -> Result<(), Error> {
    for bound in bound {
        let (listener, address) = (bound.name().to_owned(), bound.address().clone());
        listeners.open(bound).map_err(|source| Error::Bind { listener, address, source })?;
    }
    Ok(())
}

/// A random number of the system.
pub(super) fn seed() -> std::io::Result<u128> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes)?;
    Ok(u128::from_le_bytes(bytes))
}
