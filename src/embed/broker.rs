//! A broker: started by one call, stopped by another.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use crate::codec::topic::TopicFilter;
use crate::config::{Config, Settings};
use crate::embed::callback::Dispatcher;
use crate::embed::error::Error;
use crate::embed::options::SubscribeOptions;
use crate::embed::queue::QueueCore;
use crate::engine::core::{Engine, Surroundings};
use crate::engine::local::{Local, Sink};
use crate::engine::turn::Running;
use crate::engine::view::{ClientView, SubscriptionView};
use crate::net::{Bound, Wing, bind};
use crate::runtime::{Clock, Runtime, Ticker, generation, on_own_thread, tick, watch_forks};
use crate::stats::Snapshot;
use crate::storage::MemoryStore;

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
    /// The generation of the process that started the broker.
    generation: u32,
    running: Mutex<Option<Runtime>>,
    dispatcher: Mutex<Option<Arc<Dispatcher>>>,
    queues: Mutex<Vec<Weak<QueueCore>>>,
    stop_requested: AtomicBool,
    stage: Mutex<Stage>,
    changed: Condvar,
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
        config.validate()?;
        let settings = config.settings().clone();
        let bound = bind_all(&settings)?;
        let generation = watch_forks();
        let clock = Clock::start();
        let ticker = Arc::new(Ticker::default());
        let surroundings = Surroundings {
            store: Arc::new(MemoryStore),
            alarm: ticker.clone(),
            seed: seed(&clock),
            started_unix: clock.started_unix(),
        };
        let engine = Arc::new(Engine::new(&settings, surroundings));
        let wing = Arc::new(Wing::new(Arc::clone(&engine), clock, settings.mqtt.max_connections));
        let runtime = Runtime::start(settings.runtime.worker_threads).map_err(Error::Start)?;
        runtime.handle().spawn(tick(Arc::clone(&engine), ticker, clock));
        let listeners = bound.iter().map(|(name, bound)| (name.clone(), bound.address())).collect();
        accept_all(&runtime, bound, &wing)?;
        let shared = Shared {
            engine,
            clock,
            settings,
            wing,
            listeners,
            generation,
            running: Mutex::new(Some(runtime)),
            dispatcher: Mutex::new(None),
            queues: Mutex::default(),
            stop_requested: AtomicBool::new(false),
            stage: Mutex::new(Stage::Running),
            changed: Condvar::new(),
        };
        Ok(Broker { shared: Arc::new(shared) })
    }

    /// The address of a listener, with the port that the system chose if the setting said 0.
    pub fn address(&self, listener: &str) -> Option<SocketAddr> {
        self.shared.listeners.iter().find(|(name, _)| name == listener).map(|(_, address)| *address)
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

    /// Asks whoever waits in [`Broker::wait`] to stop the broker. Returns at once; may be called from callbacks.
    pub fn request_stop(&self) {
        self.shared.stop_requested.store(true, Ordering::Release);
        let _stage = self.shared.stage.lock();
        self.shared.changed.notify_all();
    }

    /// Waits until a stop is requested or the broker has stopped; false if `timeout` passed first.
    pub fn wait(&self, timeout: Option<Duration>) -> bool {
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        let mut stage = self.shared.stage.lock();
        while *stage != Stage::Stopped && !self.shared.stop_requested.load(Ordering::Acquire) {
            match deadline {
                Some(deadline) if Instant::now() >= deadline => return false,
                Some(deadline) => {
                    self.shared.changed.wait_until(&mut stage, deadline);
                }
                None => self.shared.changed.wait(&mut stage),
            }
        }
        true
    }

    /// Stops the broker: no connection is taken any more, clients are told, callbacks get what waits for them, at
    /// most for `grace` (`None`: the setting `runtime.stop_grace`); then every thread is joined and every listener
    /// closed. Stopping a stopped broker does nothing; two threads may stop it at once, and both wait.
    pub fn stop(&self, grace: Option<Duration>) -> Result<(), Error> {
        self.shared.check_fork()?;
        if on_own_thread() {
            return Err(Error::InCallback);
        }
        let mut stage = self.shared.stage.lock();
        while *stage == Stage::Stopping {
            self.shared.changed.wait(&mut stage);
        }
        if *stage == Stage::Stopped {
            return Ok(());
        }
        *stage = Stage::Stopping;
        drop(stage);
        self.shared.shut_down(grace.unwrap_or(self.shared.settings.runtime.stop_grace));
        *self.shared.stage.lock() = Stage::Stopped;
        self.shared.changed.notify_all();
        Ok(())
    }

    pub(super) fn shared(&self) -> Result<&Arc<Shared>, Error> {
        self.shared.check_fork()?;
        Ok(&self.shared)
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        match self.stop(None) {
            Ok(()) => {}
            // The threads are the parent process's, or this very one: their memory is left alone.
            Err(_) => {
                if let Some(runtime) = self.shared.running.lock().take() {
                    std::mem::forget(runtime);
                }
            }
        }
    }
}

impl Shared {
    pub(super) fn engine(&self) -> &Engine {
        &self.engine
    }

    pub(super) fn settings(&self) -> &Settings {
        &self.settings
    }

    pub(super) fn is_forked(&self) -> bool {
        generation() != self.generation
    }

    /// A turn on the calling thread; an error once the broker stops.
    pub(super) fn turn(&self) -> Result<Running<'_>, Error> {
        self.check_fork()?;
        if *self.stage.lock() == Stage::Stopped {
            return Err(Error::Stopped);
        }
        Ok(self.engine.turn(self.clock.now()))
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
        if queues.len() == queues.capacity() {
            queues.retain(|queue| queue.strong_count() > 0);
        }
        queues.push(Arc::downgrade(queue));
        drop(queues);
        if *self.stage.lock() == Stage::Stopped {
            queue.close();
        }
    }

    fn check_fork(&self) -> Result<(), Error> {
        if self.is_forked() { Err(Error::Forked) } else { Ok(()) }
    }

    fn shut_down(&self, grace: Duration) {
        let by = Instant::now() + grace;
        self.engine.stop(&mut self.engine.turn(self.clock.now()));
        let dispatcher = self.dispatcher.lock().take();
        if let Some(dispatcher) = dispatcher {
            dispatcher.stop(by);
        }
        if let Some(runtime) = self.running.lock().take() {
            // What is not written by then is not written.
            self.wing.wait_until_told(by);
            // Closes listeners and connections with their tasks.
            runtime.join();
        }
        for queue in self.queues.lock().drain(..) {
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

fn accept_all(runtime: &Runtime, bound: Vec<(String, Bound)>, wing: &Arc<Wing>) -> Result<(), Error> {
    let _inside = runtime.handle().enter();
    for (listener, socket) in bound {
        let address = socket.address();
        let task =
            socket.accept(Arc::clone(wing)).map_err(|source| Error::Bind { listener, address, source })?;
        runtime.handle().spawn(task);
    }
    Ok(())
}

/// A number that differs from broker to broker: the standard library's hashing is seeded by the system.
fn seed(clock: &Clock) -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(clock.started_unix())
}
