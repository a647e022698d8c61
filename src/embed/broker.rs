//! A broker: started by one call, stopped by another.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use tokio::runtime::Handle;

use crate::codec::topic::TopicFilter;
use crate::config::{Config, Settings};
use crate::embed::asynchronous::Vigil;
use crate::embed::callback::Dispatcher;
use crate::embed::console::{self, Running as RunningConsole};
use crate::embed::error::Error;
use crate::embed::hooks::Hooks;
use crate::embed::options::SubscribeOptions;
use crate::embed::queue::QueueCore;
use crate::embed::testing::Bench;
use crate::engine::core::{Engine, Surroundings};
use crate::engine::local::{Local, Sink};
use crate::engine::turn::Running;
use crate::engine::view::{ClientView, SubscriptionView};
use crate::net::{Bound, Limit, Wing, bind};
use crate::runtime::{Clock, Latch, Runtime, Ticker, generation, on_own_thread, tick, watch_forks};
use crate::session::notice::Level;
use crate::stats::Snapshot;
use crate::storage::{MemoryStore, Store};
use crate::time::Time;

/// What a longer grace counts as.
const LONGEST_GRACE: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// An MQTT broker inside this process. It stops when it is dropped.
///
/// All methods may be called from any thread. Several brokers share nothing.
pub struct Broker {
    shared: Arc<Shared>,
}

/// What the broker's handles have in common.
pub(super) struct Shared {
    engine: Arc<Engine>,
    clock: Clock,
    settings: Settings,
    wing: Arc<Wing>,
    listeners: Vec<(String, SocketAddr)>,
    console: Option<RunningConsole>,
    /// Each listener's limit of connections.
    limits: Vec<(String, Arc<Limit>)>,
    /// That of connections that belong to no listener.
    no_limit: Arc<Limit>,
    /// The generation of the process that started the broker.
    generation: u32,
    /// In test mode.
    bench: Option<Arc<Bench>>,
    running: Mutex<Option<Runtime>>,
    dispatcher: Mutex<Option<Arc<Dispatcher>>>,
    /// The queues that the stop closes; `None` once it has.
    queues: Mutex<Option<Vec<Weak<QueueCore>>>>,
    /// Set when a stop is requested, and when the broker has stopped.
    stop_requested: Arc<Latch>,
    /// Tasks of the host that wait for that.
    vigil: Vigil,
    /// A panic came out of the broker: it is not continued.
    abandoned: AtomicBool,
    stage: Mutex<Stage>,
    /// Whether the stage is `Stopped`, for who publishes.
    stopped: AtomicBool,
    changed: Condvar,
}

/// What a broker may be made of beside its settings.
pub(super) struct Parts {
    /// Where what must not be lost is recorded.
    pub store: Arc<dyn Store>,
    /// In test mode.
    pub bench: Option<Arc<Bench>>,
    /// The host's functions.
    pub hooks: Hooks,
}

impl Default for Parts {
    fn default() -> Parts {
        Parts { store: Arc::new(MemoryStore), bench: None, hooks: Hooks::new() }
    }
}

/// How far a broker's life has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Running,
    Stopping,
    Stopped,
}

impl Broker {
    /// Starts a broker. When this returns, every listener is bound and takes connections.
    pub fn start(config: &Config) -> Result<Broker, Error> {
        Broker::start_with(config, &Hooks::new())
    }

    /// Starts a broker that asks and tells the host by `hooks`.
    ///
    /// ```
    /// use midge::config::Config;
    /// use midge::embed::{Broker, Hooks, Verdict};
    ///
    /// let mut config = Config::new();
    /// config.set("listener.tcp.bind", "127.0.0.1:0")?;
    /// let hooks = Hooks::new()
    ///     .authenticate(|client| match (client.username, client.password) {
    ///         (Some("alice"), Some(b"secret")) => Verdict::Allow,
    ///         _ => Verdict::Deny,
    ///     })
    ///     .on_connected(|client| println!("{} is here", client.client_id));
    /// let broker = Broker::start_with(&config, &hooks)?;
    /// broker.stop(None)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn start_with(config: &Config, hooks: &Hooks) -> Result<Broker, Error> {
        Broker::start_of(config, Parts { hooks: hooks.clone(), ..Parts::default() })
    }

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
        let surroundings = Surroundings {
            store,
            alarm: ticker.clone(),
            seed: seed(&clock),
            started_unix: clock.started_unix(),
        };
        let mut engine = Engine::new(&settings, surroundings);
        if !hooks.is_empty() {
            engine = engine.with_host(Arc::new(hooks));
        }
        if let Some(bench) = &bench {
            engine = engine.with_observer(bench.clone());
        }
        let (engine, journal) = console::keep_journal(engine, &settings);
        let engine = Arc::new(engine);
        let mut wing = Wing::new(Arc::clone(&engine), clock.clone(), settings.mqtt.max_connections);
        if let Some(bench) = &bench {
            wing = wing.with_testbed(Arc::clone(&bench.bed));
        }
        let wing = Arc::new(wing);
        let runtime = Runtime::start(settings.runtime.worker_threads).map_err(Error::Start)?;
        if bench.is_none() {
            // In test mode the test moves the clock.
            runtime.handle().spawn(tick(Arc::clone(&engine), ticker, clock.clone()));
        }
        let listeners: Vec<_> = bound.iter().map(|(name, bound)| (name.clone(), bound.address())).collect();
        let limits: Vec<_> = bound.iter().map(|(name, bound)| (name.clone(), bound.limit(name))).collect();
        log_listeners(&engine, clock.now(), &listeners);
        let shown = (journal, console::listeners(&bound, &limits));
        let accepting = accept_all(&runtime, bound, &limits, &wing).and_then(|()| match bound_console {
            Some(bound) => console::start(bound, &runtime, &engine, clock.clone(), config, shown).map(Some),
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
            wing,
            listeners,
            console,
            limits,
            no_limit: Arc::new(Limit::new(None, None)),
            generation,
            bench,
            running: Mutex::new(Some(runtime)),
            dispatcher: Mutex::new(None),
            queues: Mutex::new(Some(Vec::new())),
            vigil: Vigil::new(Arc::clone(&stop_requested)),
            stop_requested,
            abandoned: AtomicBool::new(false),
            stage: Mutex::new(Stage::Running),
            stopped: AtomicBool::new(false),
            changed: Condvar::new(),
        };
        Ok(Broker { shared: Arc::new(shared) })
    }

    /// The address of a listener, with the port that the system chose if the setting said 0.
    pub fn address(&self, listener: &str) -> Option<SocketAddr> {
        self.shared.listeners.iter().find(|(name, _)| name == listener).map(|(_, address)| *address)
    }

    /// The address of the console, if `console.listen` gave it one; with the port that the system chose if that said 0.
    pub fn console_address(&self) -> Option<SocketAddr> {
        self.shared.console.as_ref().map(RunningConsole::address)
    }

    /// Every listener's name and address, in the order of the settings.
    pub fn addresses(&self) -> &[(String, SocketAddr)] {
        &self.shared.listeners
    }

    /// The counters and gauges at this moment.
    pub fn stats(&self) -> Snapshot {
        self.shared.engine.snapshot()
    }

    /// How long the broker has been running.
    pub fn uptime(&self) -> Duration {
        Duration::from_millis(self.shared.clock.now().as_millis())
    }

    /// When the broker started, in seconds since 1970.
    pub fn started_unix(&self) -> u64 {
        self.shared.clock.started_unix()
    }

    /// Every client that is connected or has a session, in no order.
    pub fn clients(&self) -> Vec<ClientView> {
        self.shared.engine.clients()
    }

    /// Every subscription, of clients and of the host, in no order.
    pub fn subscriptions(&self) -> Vec<SubscriptionView> {
        self.shared.engine.subscriptions()
    }

    /// Disconnects a client, with 0x98 Administrative action if it speaks MQTT 5; false if it is not connected.
    pub fn kick(&self, client_id: &str) -> Result<bool, Error> {
        let shared = self.shared()?;
        let mut turn = shared.turn()?;
        Ok(shared.engine.kick(&mut turn, client_id))
    }

    /// Asks whoever waits in [`Broker::wait`] to stop the broker. Returns at once; may be called from callbacks and
    /// from signal handlers.
    pub fn request_stop(&self) {
        if !self.shared.is_forked() {
            self.shared.stop_requested.set();
        }
    }

    /// Waits until a stop is requested or the broker has stopped; false if `timeout` passed first.
    pub fn wait(&self, timeout: Option<Duration>) -> bool {
        self.shared.stop_requested.wait(timeout)
    }

    /// Stops the broker: no connection is taken any more, clients are told, callbacks get what waits for them, at
    /// most for `grace` (`None`: the setting `runtime.stop_grace`); then every thread is joined and every listener
    /// closed. Stopping a stopped broker does nothing; two threads may stop it at once, and both wait.
    pub fn stop(&self, grace: Option<Duration>) -> Result<(), Error> {
        self.shared.stop(grace)
    }

    /// Whether calls are of use: `Forked` in a child process, `Stopped` after [`Broker::abandon`].
    pub(crate) fn check(&self) -> Result<(), Error> {
        self.shared.check()
    }

    /// Whether this process is a fork of the one that started the broker.
    pub(crate) fn is_forked(&self) -> bool {
        self.shared.is_forked()
    }

    /// For a panic that came out of the broker: it is stopped in the background, and later calls say `Stopped`.
    pub(crate) fn abandon(&self) {
        self.shared.abandon();
    }

    /// As [`Broker::shared`], also of a broker that a panic has ended: it can be stopped and waited for.
    pub(super) fn shared_even_abandoned(&self) -> Result<&Arc<Shared>, Error> {
        self.shared.check_fork()?;
        Ok(&self.shared)
    }

    pub(super) fn shared(&self) -> Result<&Arc<Shared>, Error> {
        self.shared.check()?;
        Ok(&self.shared)
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        match self.stop(None) {
            Ok(()) => {}
            Err(Error::InCallback) => self.shared.stop_in_background(),
            // The threads are the parent process's: what belongs to them is left alone.
            Err(_) => std::mem::forget(Arc::clone(&self.shared)),
        }
    }
}

impl Shared {
    pub(super) fn engine(&self) -> &Engine {
        &self.engine
    }

    pub(super) fn bench(&self) -> Option<&Arc<Bench>> {
        self.bench.as_ref()
    }

    pub(super) fn now(&self) -> Time {
        self.clock.now()
    }

    pub(super) fn settings(&self) -> &Settings {
        &self.settings
    }

    pub(super) fn wing(&self) -> &Arc<Wing> {
        &self.wing
    }

    /// The limit of a listener's connections, or of those that have none.
    pub(super) fn limit(&self, listener: Option<&str>) -> Result<&Arc<Limit>, Error> {
        let Some(name) = listener else {
            return Ok(&self.no_limit);
        };
        let found = self.limits.iter().find(|(known, _)| known == name);
        found.map(|(_, limit)| limit).ok_or_else(|| Error::Argument {
            argument: "listener",
            cause: format!("this broker has no listener {name:?}"),
        })
    }

    /// The runtime of a broker that runs.
    pub(super) fn runtime(&self) -> Result<Handle, Error> {
        self.running.lock().as_ref().map(|runtime| runtime.handle().clone()).ok_or(Error::Stopped)
    }

    pub(super) fn vigil(&self) -> &Vigil {
        &self.vigil
    }

    pub(super) fn is_forked(&self) -> bool {
        generation() != self.generation
    }

    /// A turn on the calling thread; an error once the broker stops.
    pub(super) fn turn(&self) -> Result<Running<'_>, Error> {
        self.check()?;
        if self.has_stopped() {
            return Err(Error::Stopped);
        }
        Ok(self.engine.turn(self.clock.now()))
    }

    /// As [`Shared::turn`], at the time of the system's last tick.
    pub(super) fn quick_turn(&self) -> Result<Running<'_>, Error> {
        self.check()?;
        if self.has_stopped() {
            return Err(Error::Stopped);
        }
        Ok(self.engine.turn(self.clock.lately()))
    }

    pub(super) fn subscribe(
        &self,
        filter: &str,
        options: &SubscribeOptions,
        sink: Arc<dyn Sink>,
    ) -> Result<Arc<Local>, Error> {
        let wrong = |cause| Error::Filter { filter: filter.to_owned(), cause };
        let parsed = TopicFilter::parse(filter).map_err(wrong)?;
        let options_of_mqtt = options.to_mqtt()?;
        if parsed.group().is_some() && options.no_local {
            let cause = "a shared subscription cannot have it".to_owned(); // [MQTT-3.8.3-4]
            return Err(Error::Argument { argument: "no_local", cause });
        }
        let mut turn = self.turn()?;
        self.engine
            .subscribe_local(&mut turn, filter, options_of_mqtt, options.identifier, sink)
            .map_err(wrong)
    }

    pub(super) fn unsubscribe(&self, local: &Arc<Local>) {
        if !self.is_forked() {
            self.engine.unsubscribe_local(local);
        }
    }

    /// The callback thread; started by the first who asks.
    pub(super) fn dispatcher(&self) -> Result<Arc<Dispatcher>, Error> {
        let mut dispatcher = self.dispatcher.lock();
        if *self.stage.lock() != Stage::Running {
            return Err(Error::Stopped);
        }
        match &*dispatcher {
            Some(dispatcher) => Ok(Arc::clone(dispatcher)),
            None => Ok(Arc::clone(dispatcher.insert(Dispatcher::start()?))),
        }
    }

    /// Has a queue closed when the broker stops.
    pub(super) fn closes_at_stop(&self, queue: &Arc<QueueCore>) {
        let mut queues = self.queues.lock();
        let Some(queues) = &mut *queues else {
            return queue.close();
        };
        if queues.len() == queues.capacity() {
            queues.retain(|queue| queue.strong_count() > 0);
        }
        queues.push(Arc::downgrade(queue));
    }

    fn check_fork(&self) -> Result<(), Error> {
        if self.is_forked() { Err(Error::Forked) } else { Ok(()) }
    }

    pub(super) fn check(&self) -> Result<(), Error> {
        self.check_fork()?;
        if self.abandoned.load(Ordering::Acquire) { Err(Error::Stopped) } else { Ok(()) }
    }

    pub(super) fn has_stopped(&self) -> bool {
        self.stopped.load(Ordering::Acquire)
    }

    pub(super) fn abandon(self: &Arc<Self>) {
        if !self.is_forked() && !self.abandoned.swap(true, Ordering::AcqRel) {
            self.stop_requested.set();
            self.stop_in_background();
        }
    }

    fn stop_in_background(self: &Arc<Self>) {
        let shared = Arc::clone(self);
        // If there is no thread for it, nobody joins the broker's own: they are left alone.
        let kept = std::mem::ManuallyDrop::new(Arc::clone(self));
        let stop = move || drop(shared.stop(None));
        if Runtime::spawn_helper("midge-stop", stop).is_ok() {
            drop(std::mem::ManuallyDrop::into_inner(kept));
        }
    }

    pub(super) fn stop(&self, grace: Option<Duration>) -> Result<(), Error> {
        self.check_fork()?;
        if on_own_thread() {
            return Err(Error::InCallback);
        }
        let mut stage = self.stage.lock();
        while *stage == Stage::Stopping {
            self.changed.wait(&mut stage);
        }
        if *stage == Stage::Stopped {
            return Ok(());
        }
        *stage = Stage::Stopping;
        drop(stage);
        self.log("the broker stops");
        self.shut_down(grace.unwrap_or(self.settings.runtime.stop_grace));
        self.engine.log_untold_drops(&mut self.engine.turn(self.clock.now()));
        self.log("the broker has stopped");
        *self.stage.lock() = Stage::Stopped;
        self.stopped.store(true, Ordering::Release);
        self.changed.notify_all();
        if let Some(bench) = &self.bench {
            bench.bed.beat();
        }
        self.stop_requested.set();
        self.vigil.end();
        Ok(())
    }

    /// Has a line logged that says how far the broker's life has come.
    fn log(&self, text: &str) {
        let mut turn = self.engine.turn(self.clock.now());
        self.engine.log(&mut turn, Level::Info, None, || text.to_owned());
    }

    fn shut_down(&self, grace: Duration) {
        let now = Instant::now();
        // An instant cannot hold the longest durations; nobody lives to see the difference.
        let by = now.checked_add(grace).unwrap_or(now + LONGEST_GRACE);
        self.engine.stop(&mut self.engine.turn(self.clock.now()));
        let dispatcher = self.dispatcher.lock().take();
        if let Some(dispatcher) = dispatcher {
            dispatcher.stop(by);
        }
        if let Some(runtime) = self.running.lock().take() {
            // What is not written by then is not written.
            self.wing.wait_until_told(by);
            if let Some(console) = &self.console {
                console.stop(by);
            }
            // Closes listeners and connections with their tasks.
            runtime.join();
        }
        self.engine.forget_waiters(&mut self.engine.turn(self.clock.now()));
        let queues = self.queues.lock().take();
        for queue in queues.into_iter().flatten() {
            if let Some(queue) = queue.upgrade() {
                queue.close();
            }
        }
    }
}

fn bind_all(settings: &Settings) -> Result<Vec<(String, Bound)>, Error> {
    let mut bound = Vec::new();
    for listener in &settings.listeners {
        let Some(address) = listener.bind else {
            continue;
        };
        let socket = bind(address, listener.max_connections).map_err(|source| Error::Bind {
            listener: listener.name.clone(),
            address,
            source,
        })?;
        bound.push((listener.name.clone(), socket));
    }
    Ok(bound)
}

/// Logs the start, before the first client can come.
fn log_listeners(engine: &Engine, now: Time, listeners: &[(String, SocketAddr)]) {
    let mut turn = engine.turn(now);
    engine.log(&mut turn, Level::Info, None, || format!("midge {} has started", env!("CARGO_PKG_VERSION")));
    for (name, address) in listeners {
        engine.log(&mut turn, Level::Info, None, || format!("listener {name} is at {address}"));
    }
}

fn accept_all(
    runtime: &Runtime,
    bound: Vec<(String, Bound)>,
    limits: &[(String, Arc<Limit>)],
    wing: &Arc<Wing>,
) -> Result<(), Error> {
    let _inside = runtime.handle().enter();
    for ((listener, socket), (_, limit)) in bound.into_iter().zip(limits) {
        let address = socket.address();
        let task = socket.accept(Arc::clone(wing), Arc::clone(limit)).map_err(|source| Error::Bind {
            listener,
            address,
            source,
        })?;
        runtime.handle().spawn(task);
    }
    Ok(())
}

/// A number that differs from broker to broker: the standard library's hashing is seeded by the system.
fn seed(clock: &Clock) -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(clock.started_unix())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::Broker;
    use crate::config::Config;
    use crate::embed::{Poll, QueueOptions};

    /// Between the closing of queues and the broker's being stopped.
    #[test]
    fn a_queue_that_is_made_while_the_broker_stops_is_closed() {
        let mut config = Config::new();
        config.set("listener.tcp.bind", "127.0.0.1:0").unwrap();
        let broker = Broker::start(&config).unwrap();
        broker.shared.shut_down(Duration::ZERO);
        let queue = broker.queue(&QueueOptions::default()).unwrap();
        assert!(matches!(queue.poll(1, Some(Duration::ZERO)), Poll::Closed));
    }
}
