//! The engine with a clock that the test sets.

use std::cell::Cell;
use std::sync::{Arc, Mutex};

use midge::codec::topic::TopicName;
use midge::config::Config;
use midge::engine::access::hooks::Host;
use midge::engine::core::running::Running;
use midge::engine::core::state::{Engine, EngineParts};
use midge::engine::core::timers::Alarm;
use midge::engine::parts::subscriber::Publisher;
use midge::message::Publication;
use midge::stats::Snapshot;
use midge::storage::{MemoryStore, Store};
use midge::time::Time;

use crate::harness::{Commit, LateStore, QOS};

/// A broker, and the time that it is told.
pub struct Network {
    pub engine: Arc<Engine>,
    alarm: Arc<Bell>,
    now: Cell<Time>,
    started_unix: u64,
    /// The store, if it commits when the test says so.
    late: Option<Arc<LateStore>>,
}

/// Keeps the nearest time for which the engine has set its alarm.
#[derive(Default)]
struct Bell(Mutex<Option<Time>>);

impl Alarm for Bell {
    fn set(&self, at: Time) {
        let mut nearest = self.0.lock().unwrap();
        *nearest = Some(nearest.map_or(at, |known| known.min(at)));
    }
}

impl Network {
    /// A broker with default settings, except that `$SYS` is off.
    pub fn new() -> Network {
        Network::with(&[])
    }

    /// A broker with these settings, and `$SYS` off unless they say otherwise.
    pub fn with(settings: &[(&str, &str)]) -> Network {
        Network::with_store(settings, Arc::new(MemoryStore))
    }

    /// A broker whose store commits when the test says so.
    pub fn with_late_store() -> (Network, Arc<LateStore>) {
        let store = Arc::new(LateStore::new(true));
        (Network::with_late_store_and(&[], &store), store)
    }

    /// The same, with these settings.
    pub fn with_late_store_and(settings: &[(&str, &str)], store: &Arc<LateStore>) -> Network {
        let network = Network::with_store(settings, Arc::clone(store) as Arc<dyn Store>);
        Network { late: Some(Arc::clone(store)), ..network }
    }

    /// Commits everything, if that is the test's to say.
    pub fn commit(&self) {
        self.late.iter().for_each(|store| store.commit(self));
    }

    /// A broker whose store has what `store` had committed up to `position`, started so many seconds later.
    pub fn after_crash(&self, store: &LateStore, position: usize, pause: u64) -> (Network, Arc<LateStore>) {
        self.after_crash_at(store, position, pause, |engine| engine)
    }

    /// A broker with something more, whose store has all that `store` had committed.
    pub fn after_crash_and(&self, store: &LateStore, add: impl FnOnce(Engine) -> Engine) -> Network {
        self.after_crash_at(store, store.len(), 0, add).0
    }

    fn after_crash_at(
        &self,
        store: &LateStore,
        position: usize,
        pause: u64,
        add: impl FnOnce(Engine) -> Engine,
    ) -> (Network, Arc<LateStore>) {
        #[cfg(feature = "durable")]
        crate::durable_check::comes_back(|see| store.for_each_before(position as u64, see));
        let store = Arc::new(store.after_crash(position as u64));
        let started = self.started_unix + self.now().as_millis() / 1000 + pause;
        let network = Network::started(&[], Arc::clone(&store) as Arc<dyn Store>, started).and(add);
        network.engine.restore(&mut network.turn()).unwrap();
        (Network { late: Some(Arc::clone(&store)), ..network }, store)
    }

    pub fn with_store(settings: &[(&str, &str)], store: Arc<dyn Store>) -> Network {
        Network::started(settings, store, 1000)
    }

    fn started(settings: &[(&str, &str)], store: Arc<dyn Store>, started_unix: u64) -> Network {
        let mut config = Config::new();
        config.set("sys.interval", "0").unwrap();
        for (key, value) in settings {
            config.set(key, value).unwrap();
        }
        let alarm = Arc::new(Bell::default());
        let surroundings =
            EngineParts { store, alarm: Arc::clone(&alarm) as Arc<dyn Alarm>, seed: 7, started_unix };
        let engine = Engine::new(config.settings(), surroundings);
        Network { engine: Arc::new(engine), alarm, now: Cell::new(Time::ZERO), started_unix, late: None }
    }

    /// A new broker with these settings and a host with hooks.
    pub fn hosted_by(host: Arc<dyn Host>, settings: &[(&str, &str)]) -> Network {
        Network::with(settings).and(|engine| engine.with_host(host))
    }

    /// The same broker with something more. It must not be in use.
    pub fn and(self, add: impl FnOnce(Engine) -> Engine) -> Network {
        let engine = Arc::into_inner(self.engine).unwrap();
        Network { engine: Arc::new(add(engine)), ..self }
    }

    pub fn now(&self) -> Time {
        self.now.get()
    }

    /// Begins a turn now.
    pub fn turn(&self) -> Running<'_> {
        self.engine.turn(self.now())
    }

    /// Lets so many seconds pass, and everything happen that is due in them.
    pub fn advance(&self, seconds: u64) {
        self.advance_millis(seconds * 1000);
    }

    /// Lets so many seconds pass in which the process is stopped: nothing ticks in between.
    pub fn sleep(&self, seconds: u64) {
        self.now.set(self.now().plus_secs(seconds));
        self.engine.tick(self.now());
    }

    /// Lets so many milliseconds pass.
    pub fn advance_millis(&self, millis: u64) {
        let end = self.now().plus_millis(millis);
        loop {
            let told = self.engine.tick(self.now());
            let rung = self.alarm.0.lock().unwrap().take();
            let next = [told, rung].into_iter().flatten().min().unwrap_or(Time::NEVER);
            if next > end {
                break;
            }
            self.now.set(next.max(self.now()));
        }
        self.now.set(end);
        self.engine.tick(end);
    }

    /// Publishes for the host program; returns how many subscribers there were.
    pub fn publish(&self, topic: &str, payload: &str, qos: u8, retain: bool) -> usize {
        let mut publication =
            Publication::new(topic.as_bytes(), payload.as_bytes(), QOS[usize::from(qos)], retain, self.now());
        let name = TopicName::parse(topic).unwrap();
        self.engine.publish(&mut self.turn(), Publisher::Host, name, &mut publication)
    }

    /// The counters and gauges.
    pub fn stats(&self) -> Snapshot {
        self.engine.snapshot()
    }
}
