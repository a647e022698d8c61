//! What the handles of one broker have in common.

use std::ops::Deref;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::time::Instant;

use tokio::runtime::Handle;

use crate::codec::topic::TopicFilter;
use crate::config::Settings;
use crate::embed::access::Access;
use crate::embed::asynchronous::Vigil;
use crate::embed::callback::Dispatcher;
use crate::embed::console::Running as RunningConsole;
use crate::embed::error::Error;
use crate::embed::options::SubscribeOptions;
use crate::embed::queue_core::QueueCore;
use crate::embed::stop::Stage;
use crate::embed::storage::Storage;
use crate::embed::testing::Bench;
use crate::engine::core::running::Running;
use crate::engine::core::state::Engine;
use crate::engine::parts::sink::{Local, Sink};
use crate::locks::{Condvar, Mutex};
use crate::net::{ListenerLimit, Listeners, Server};
use crate::runtime::{Clock, Latch, Runtime, generation};
use crate::time::Time;

/// What the broker's handles have in common.
pub(super) struct Shared {
    pub(super) engine: Arc<Engine>,
    pub(super) clock: Clock,
    pub(super) settings: Settings,
    pub(super) server: Arc<Server>,
    pub(super) listeners: Arc<Listeners>,
    pub(super) console: Option<RunningConsole>,
    /// The authorities that decide about clients.
    pub(super) access: Access,
    /// That of connections that belong to no listener.
    pub(super) no_limit: Arc<ListenerLimit>,
    /// The generation of the process that started the broker.
    pub(super) generation: u32,
    /// In test mode.
    pub(super) bench: Option<Arc<Bench>>,
    pub(super) running: Mutex<Option<Runtime>>,
    /// The durable store, if the settings name one.
    pub(super) storage: Option<Storage>,
    pub(super) dispatcher: Mutex<Option<Arc<Dispatcher>>>,
    /// The queues that the stop closes; `None` once it has.
    pub(super) queues: Mutex<Option<Vec<Weak<QueueCore>>>>,
    /// Set when a stop is requested, and when the broker has stopped.
    pub(super) stop_requested: Arc<Latch>,
    /// Tasks of the host that wait for that.
    pub(super) vigil: Vigil,
    /// A panic came out of the broker: it is not continued.
    pub(super) abandoned: AtomicBool,
    pub(super) stage: Mutex<Stage>,
    /// When the grace of a stop ends, once one has begun.
    pub(super) grace_ends: OnceLock<Instant>,
    /// Whether the stage is `Stopped`, for who looks without the lock.
    pub(super) stopped: AtomicBool,
    pub(super) changed: Condvar,
}

/// What a handle of the host holds of its broker. In a forked child it is never given back, so that nothing is freed that
/// another thread of the parent was in the middle of changing.
#[derive(Clone)]
pub(super) struct BrokerRef(Arc<Shared>);

impl BrokerRef {
    pub(super) fn of(broker: &Arc<Shared>) -> BrokerRef {
        BrokerRef(Arc::clone(broker))
    }
}

impl Deref for BrokerRef {
    type Target = Arc<Shared>;

    fn deref(&self) -> &Arc<Shared> {
        &self.0
    }
}

impl Drop for BrokerRef {
    fn drop(&mut self) {
        if self.0.is_forked() {
            leak(&self.0);
        }
    }
}

/// Keeps a value for ever: one more owner has it, who never drops it.
pub(super) fn leak<T: ?Sized>(value: &Arc<T>) {
    std::mem::forget(Arc::clone(value));
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

    pub(super) fn server(&self) -> &Arc<Server> {
        &self.server
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
        match self.engine.host_turn(self.clock.now()) {
            Some(turn) => Ok(turn),
            None => Err(Error::Stopped),
        }
    }

    /// As [`Shared::turn`], at the time of the system's last tick.
    pub(super) fn quick_turn(&self) -> Result<Running<'_>, Error> {
        self.check()?;
        match self.engine.host_turn(self.clock.coarse_now()) {
            Some(turn) => Ok(turn),
            None => Err(Error::Stopped),
        }
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

    /// Lets the subscriptions of a queue go on with their retained messages, if there is room for them again.
    #[inline]
    pub(super) fn refill(&self, queue: &QueueCore) {
        if queue.is_starved() {
            self.push_retained(queue.take_awaiting());
        }
    }

    #[cold]
    fn push_retained(&self, awaiting: Vec<Weak<Local>>) {
        // Once the broker stops there are no more.
        let Ok(mut turn) = self.turn() else { return };
        for local in awaiting.iter().filter_map(Weak::upgrade) {
            self.engine.walk_retained_local(&mut turn, &local);
        }
    }

    /// Ends a subscription whose handle is dropped; in a forked child it is left as it is.
    pub(super) fn unsubscribe(&self, local: &Arc<Local>) {
        match self.is_forked() {
            true => leak(local),
            false => self.engine.unsubscribe_local(local),
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

    /// Closes a queue when the broker stops.
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

    pub(super) fn check_fork(&self) -> Result<(), Error> {
        if self.is_forked() { Err(Error::Forked) } else { Ok(()) }
    }

    pub(super) fn check(&self) -> Result<(), Error> {
        self.check_fork()?;
        if self.abandoned.load(Ordering::Acquire) { Err(Error::Stopped) } else { Ok(()) }
    }

    /// Whether the grace of a stop is over.
    pub(super) fn is_over(&self) -> bool {
        self.grace_ends.get().is_some_and(|by| Instant::now() >= *by)
    }

    pub(super) fn has_stopped(&self) -> bool {
        self.stopped.load(Ordering::Acquire)
    }
}
