//! The broker's state: sessions, subscriptions, retained messages, timers, counters.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};

use crate::config::Settings;
use crate::engine::access::authority::{Authority, HostAuthority, Questions};
use crate::engine::access::chain::{AccessDefault, Chain};
use crate::engine::access::hooks::Host;
use crate::engine::core::commit_wait::CommitWait;
use crate::engine::core::other_turns::OtherTurns;
use crate::engine::core::timers::{Alarm, Timers};
use crate::engine::core::turn::{KEPT_TURNS, Turn};
use crate::engine::observe::host_sink::HostSink;
use crate::engine::observe::log::Drops;
use crate::engine::observe::sink::EventSink;
use crate::engine::observe::stream::EventStream;
use crate::engine::parts::assigned_ids::AssignedIds;
use crate::engine::parts::options::Options;
use crate::engine::parts::read_messages::ReadMessages;
use crate::engine::parts::sessions::Sessions;
use crate::engine::parts::subscriber::Subscriber;
use crate::engine::parts::topic_order::TopicOrder;
use crate::engine::parts::unrecorded::Unrecorded;
use crate::locks::Mutex;
use crate::message::{HostBuffers, SharedMessage};
use crate::session::last_bytes::EndingBytes;
use crate::stats::{Counters, Snapshot};
use crate::storage::{Recorder, Store};
use crate::time::{WallClock, WallTime};
use crate::topics::{Retained, Router};

/// A broker without I/O. Every method may be called from any thread.
///
/// Locks are taken in this order: a session's `inbound`, its `control` or the order of a topic, then one of: the table of
/// sessions, the timers, the router, the parked acknowledgements and then any one session's `outbound`, or the walk of an
/// in-process subscription. Below them is the store of retained messages.
pub struct Engine {
    pub(crate) options: Options,
    pub(crate) sessions: Sessions,
    pub(crate) router: Router<Subscriber>,
    pub(crate) retained: Retained<SharedMessage>,
    /// Topics whose retained message the store could not take yet.
    pub(crate) unrecorded: Unrecorded,
    /// What is still written to connections that have ended.
    pub(crate) ending: Arc<EndingBytes>,
    /// Held while a message is kept as its topic's retained message and delivered.
    pub(crate) topic_order: TopicOrder,
    pub(crate) timers: Timers,
    pub(crate) counters: Counters,
    pub(crate) recorder: Recorder,
    pub(crate) commit_wait: Mutex<CommitWait>,
    /// Messages that were read again, while anybody has them.
    pub(crate) read_messages: ReadMessages,
    /// Turns that are kept for reuse; each is locked while it runs. No thread waits for one.
    pub(crate) turns: [Mutex<Option<Box<Turn>>>; KEPT_TURNS],
    pub(crate) other_turns: OtherTurns,
    pub(crate) host_buffers: Arc<HostBuffers>,
    pub(crate) host: Option<Arc<dyn Host>>,
    /// The authorities that decide what clients may do.
    pub(crate) authorities: Chain,
    /// The questions that the authorities and the host answer.
    pub(crate) wanted: Questions,
    /// The sinks of events.
    pub(crate) events: EventStream,
    pub(crate) drops: Drops,
    pub(crate) stopping: AtomicBool,
    /// Whether a sweep of expired retained messages is scheduled.
    pub(crate) sweeping: AtomicBool,
    /// Whether a publication of the `$SYS` topics is scheduled.
    pub(crate) sys_due: AtomicBool,
    pub(crate) assigned_ids: AssignedIds,
    /// The number of connections so far.
    pub(crate) connections: AtomicU64,
    pub(crate) started_unix: u64,
}

/// The parts that the engine is given.
pub struct EngineParts {
    /// The store of acknowledged state.
    pub store: Arc<dyn Store>,
    /// Schedules the calls of [`Engine::tick`].
    pub alarm: Arc<dyn Alarm>,
    /// A random number that nobody knows, the seed of assigned Client Identifiers.
    pub seed: u128,
    /// When the broker started, in seconds since 1970.
    pub started_unix: u64,
}

impl Engine {
    /// A broker without sessions at [`Time::ZERO`](crate::time::Time::ZERO).
    pub fn new(settings: &Settings, parts: EngineParts) -> Engine {
        let options = Options::new(settings);
        Engine {
            sessions: Sessions::default(),
            router: Router::new(),
            retained: Retained::new(options.retained_messages, options.retained_bytes),
            unrecorded: Unrecorded::default(),
            ending: Arc::new(EndingBytes::new(options.ending_bytes)),
            topic_order: TopicOrder::default(),
            timers: Timers::new(parts.alarm),
            counters: Counters::default(),
            recorder: Recorder::new(parts.store, WallClock::started_at(parts.started_unix)),
            commit_wait: Mutex::default(),
            read_messages: ReadMessages::default(),
            turns: Default::default(),
            other_turns: OtherTurns::default(),
            host_buffers: Arc::default(),
            host: None,
            authorities: Chain::default(),
            wanted: Questions::default(),
            events: EventStream::default(),
            drops: Drops::default(),
            stopping: AtomicBool::new(false),
            sweeping: AtomicBool::new(false),
            sys_due: AtomicBool::new(false),
            assigned_ids: AssignedIds::new(parts.seed),
            connections: AtomicU64::new(0),
            started_unix: parts.started_unix,
            options,
        }
    }

    /// The same broker with the host's hooks. They decide as one authority, which is asked after those that were added
    /// before. The engine must not be in use.
    pub fn with_host(self, host: Arc<dyn Host>) -> Engine {
        let engine = self.with_authority(Arc::new(HostAuthority(Arc::clone(&host))));
        engine.events.add_queued(Arc::new(HostSink::new(Arc::clone(&host))));
        Engine { host: Some(host), ..engine }
    }

    /// The same broker with one more authority, asked after those that were added before. The engine must not be in
    /// use.
    pub fn with_authority(mut self, authority: Arc<dyn Authority>) -> Engine {
        self.authorities.add(authority);
        Engine { wanted: self.authorities.questions(), ..self }
    }

    /// The same broker with a default for requests on which every authority abstains. The engine must not be in use.
    pub fn with_access_default(mut self, default: AccessDefault) -> Engine {
        self.authorities.default = default;
        Engine { wanted: self.authorities.questions(), ..self }
    }

    /// The same broker with one more sink of events, after those that were added before.
    pub fn with_sink(self, sink: Arc<dyn EventSink>) -> Engine {
        self.watch(sink);
        self
    }

    /// The same broker with timers that are not rounded to the tick of the wheel, and that nobody ticks for: no thread
    /// leaves events to another one. The engine must not be in use.
    pub fn with_exact_timers(self) -> Engine {
        Engine { timers: Timers::exact(self.timers), events: self.events.unsliced(), ..self }
    }

    /// The same broker, whose start is known to a millisecond: what expires would live longer by up to a second with each
    /// start otherwise. The engine must not be in use.
    pub fn with_start(self, started: WallTime) -> Engine {
        Engine { recorder: self.recorder.dated_by(WallClock::starting(started)), ..self }
    }

    /// The present counters and gauges.
    pub fn snapshot(&self) -> Snapshot {
        let mut snapshot = self.counters.snapshot();
        snapshot.sessions = self.sessions.len() as u64;
        snapshot.subscriptions = self.router.len() as u64;
        snapshot.retained_messages = self.retained.len() as u64;
        snapshot.retained_bytes = self.retained.bytes();
        snapshot
    }

    /// The buffers that the host lends.
    pub fn host_buffers(&self) -> &Arc<HostBuffers> {
        &self.host_buffers
    }

    /// When the broker started, in seconds since 1970.
    pub fn started_unix(&self) -> u64 {
        self.started_unix
    }
}
