//! A broker with its connections, host program, store and clock, and what must be true of it at every moment.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use midge::codec::topic::{TopicFilter, TopicName};
use midge::config::Config;
use midge::engine::connection::state::Connection;
use midge::engine::core::state::{Engine, EngineParts};
use midge::engine::core::timers::Alarm;
use midge::engine::parts::sink::{Local, LocalMessage, Sink};
use midge::session::link::{Cause, Link};
use midge::storage::{Change, LoadError, MemoryStore, Position, Store, StoreError};
use midge::time::{Time, WallTime};

use super::line::Line;
use super::peer::Peer;

pub struct World {
    pub engine: Engine,
    pub now: Time,
    pub connections: Vec<Wire>,
    pub locals: Vec<Arc<Local>>,
    config: Config,
    alarm: Arc<Bell>,
    store: Option<Arc<LateStore>>,
    /// The lines of all connections that there were.
    lines: Vec<Arc<Line>>,
    accepted: u64,
    closed: u64,
}

/// A connection, both ends.
pub struct Wire {
    pub line: Arc<Line>,
    pub connection: Connection,
    pub peer: Peer,
    /// What was sent and is the beginning of a packet.
    unfinished: Vec<u8>,
    /// Whether the broker takes more.
    open: bool,
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

/// A store that commits when the script says so.
#[derive(Default)]
pub struct LateStore {
    records: AtomicU64,
    committed: AtomicU64,
}

impl Store for LateStore {
    fn is_kept(&self) -> bool {
        true
    }

    fn load(
        &self,
        _restore: &mut dyn FnMut(WallTime, Change<'_>) -> Result<(), LoadError>,
    ) -> Result<(), StoreError> {
        Ok(())
    }

    fn append(&self, _at: WallTime, _change: Change<'_>) -> Position {
        self.records.fetch_add(1, Ordering::Relaxed) + 1
    }

    fn appended(&self) -> Position {
        self.records.load(Ordering::Relaxed)
    }

    fn committed(&self) -> Position {
        self.committed.load(Ordering::Relaxed)
    }
}

/// The host program's end of a subscription: it takes what matches the filter, up to a bound.
pub struct Inbox {
    filter: String,
    room: AtomicU64,
}

impl Inbox {
    pub fn new(filter: &str, room: u64) -> Arc<Inbox> {
        Arc::new(Inbox { filter: filter.to_owned(), room: AtomicU64::new(room) })
    }
}

impl Sink for Inbox {
    fn push(&self, message: &LocalMessage<'_>) -> bool {
        let topic = std::str::from_utf8(message.topic).unwrap();
        let filter = TopicFilter::parse(&self.filter).unwrap();
        assert!(filter.matches(&TopicName::parse(topic).unwrap()), "{topic} came to {filter}");
        self.room.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |room| room.checked_sub(1)).is_ok()
    }

    fn wake(&self) {}
}

impl World {
    /// A broker with these settings; with a store, acknowledgements wait for [`World::commit`].
    pub fn new(settings: &[(&str, &str)], store: Option<Arc<LateStore>>) -> World {
        let mut config = Config::new();
        for (key, value) in settings {
            config.set(key, value).unwrap_or_else(|error| panic!("{error}"));
        }
        let alarm = Arc::new(Bell::default());
        let surroundings = EngineParts {
            store: store.clone().map_or(Arc::new(MemoryStore) as Arc<dyn Store>, |store| store),
            alarm: Arc::clone(&alarm) as Arc<dyn Alarm>,
            seed: 7,
            started_unix: 1000,
        };
        World {
            engine: Engine::new(config.settings(), surroundings),
            now: Time::ZERO,
            connections: Vec::new(),
            locals: Vec::new(),
            config,
            alarm,
            store,
            lines: Vec::new(),
            accepted: 0,
            closed: 0,
        }
    }

    pub fn line(&self, at: usize) -> &Line {
        &self.connections[at].line
    }

    /// A client opens a connection.
    pub fn open(&mut self) {
        let line = Arc::new(Line::default());
        let link = Arc::clone(&line) as Arc<dyn Link>;
        let connection = Connection::new(&self.engine, &mut self.engine.turn(self.now), link, None);
        self.lines.push(Arc::clone(&line));
        self.connections.push(Wire {
            line,
            connection,
            peer: Peer::new(),
            unfinished: Vec::new(),
            open: true,
        });
        self.accepted += 1;
    }

    /// A client sends bytes, unless the broker takes no more. `shared`: the broker may keep the buffer. Returns what the
    /// client hears.
    pub fn send(&mut self, at: usize, bytes: &[u8], shared: bool) -> Vec<u8> {
        let wire = &mut self.connections[at];
        if wire.open && wire.line.finished().is_none() {
            wire.peer.says(bytes);
            wire.unfinished.extend_from_slice(bytes);
            let owner = shared.then(|| Bytes::copy_from_slice(&wire.unfinished));
            let input = owner.as_deref().unwrap_or(&wire.unfinished);
            let mut turn = self.engine.turn(self.now);
            let progress = wire.connection.receive(&self.engine, &mut turn, input, owner.as_ref());
            drop(turn);
            assert!(progress.consumed <= wire.unfinished.len());
            wire.unfinished.drain(..progress.consumed);
            wire.open = progress.open;
            assert!(!progress.open || progress.need > wire.unfinished.len(), "{progress:?}");
            assert!(progress.open || wire.line.finished().is_some(), "closed, and the link not told");
        }
        self.settle_all(Some(at))
    }

    /// A connection breaks, or its task ends.
    pub fn lose(&mut self, at: usize) {
        let mut wire = self.connections.swap_remove(at);
        wire.connection.lost(&self.engine, &mut self.engine.turn(self.now), Cause::ConnectionLost);
        self.closed += 1;
        self.settle();
    }

    /// A line takes so many more bytes; `None`: any number.
    pub fn allow(&mut self, at: usize, room: Option<usize>) {
        let wire = &self.connections[at];
        wire.line.allow(room);
        write_if_blocked(&self.engine, self.now, wire);
        self.settle();
    }

    /// The store commits everything.
    pub fn commit(&mut self) {
        if let Some(store) = &self.store {
            let records = store.records.load(Ordering::Relaxed);
            store.committed.store(records, Ordering::Relaxed);
            self.engine.committed(&mut self.engine.turn(self.now), records);
            self.settle();
        }
    }

    /// Lets so many milliseconds pass, and everything happen that is due in them.
    pub fn advance(&mut self, millis: u64) {
        let end = self.now.plus_millis(millis);
        loop {
            let told = self.engine.tick(self.now);
            self.settle();
            let rung = self.alarm.0.lock().unwrap().take();
            match [told, rung].into_iter().flatten().min() {
                Some(next) if next <= end => self.now = next.max(self.now.plus_millis(1)).min(end),
                _ => break,
            }
            if self.now == end {
                break;
            }
        }
        self.now = end;
        self.engine.tick(end);
        self.settle();
    }

    /// Lets the tasks of all connections do what the engine has asked of them, and the clients read.
    pub fn settle(&mut self) {
        self.settle_all(None);
    }

    fn settle_all(&mut self, listening: Option<usize>) -> Vec<u8> {
        let mut again = true;
        while again {
            again = false;
            for wire in self.connections.iter().filter(|wire| wire.line.take_wake()) {
                again = true;
                if let Some(session) = wire.connection.session() {
                    let mut turn = self.engine.turn(self.now);
                    self.engine.woken(&mut turn, session);
                }
                write_if_blocked(&self.engine, self.now, wire);
            }
        }
        let mut heard = Vec::new();
        for (at, wire) in self.connections.iter_mut().enumerate() {
            let bytes = wire.line.take();
            wire.peer.hears(&bytes);
            if listening == Some(at) {
                heard = bytes;
            }
        }
        heard
    }

    /// What must be true at every moment.
    pub fn check(&self) {
        let snapshot = self.engine.snapshot();
        let (clients, subscriptions) = (self.engine.clients(), self.engine.subscriptions());
        let settings = self.config.settings();
        let connected = clients.iter().filter(|client| client.connected).count();
        let open = self.connections.iter().filter(|wire| wire.is_attached()).count();
        assert_eq!((connected, snapshot.clients_connected), (open, open as u64), "clients connected");
        assert_eq!(snapshot.sessions, clients.len() as u64, "sessions");
        assert!(clients.len() <= settings.session.max_sessions);
        let held: usize = clients.iter().map(|client| client.subscriptions).sum();
        assert_eq!(subscriptions.len(), held + self.locals.len(), "subscriptions held");
        assert_eq!(snapshot.subscriptions, subscriptions.len() as u64, "subscriptions");
        let queued: usize = clients.iter().map(|client| client.queued).sum();
        assert_eq!(snapshot.messages_queued, queued as u64, "messages queued");
        for client in &clients {
            assert!(client.subscriptions <= settings.mqtt.max_subscriptions_per_client);
            assert!(client.inflight <= usize::from(settings.mqtt.max_inflight));
        }
        assert!(snapshot.retained_messages <= settings.retained.max_messages as u64);
        assert!(snapshot.retained_bytes <= settings.retained.max_bytes);
        assert_eq!(
            (snapshot.connections_accepted, snapshot.connections_closed),
            (self.accepted, self.closed)
        );
        // $SYS, a look for expired messages, one of each connection, expiry and will of each absent session.
        let most = 2 + self.connections.len() + 2 * (clients.len() - connected);
        assert!(self.engine.timers_running() <= most, "{} timers", self.engine.timers_running());
        self.connections.iter().for_each(|wire| self.check_flow(wire));
    }

    /// Nothing waits that could be written.
    fn check_flow(&self, wire: &Wire) {
        let Some(session) = wire.connection.session().filter(|_| wire.is_attached()) else { return };
        if !wire.line.is_free() {
            return;
        }
        let outbound = session.outbound.lock();
        assert!(!outbound.is_blocked(), "blocked, though the line is free");
        let window = wire.peer.receive_maximum.min(self.config.settings().mqtt.max_inflight);
        let session = &self.config.settings().session;
        let bytes = session.max_queued_bytes.max(session.max_outbox_bytes as u64) as usize;
        let full = wire.peer.unacknowledged() >= usize::from(window)
            || wire.peer.unacknowledged() > 0 && outbound.inflight_bytes() >= bytes;
        assert!(outbound.queue_len() == 0 || full || wire.peer.lying, "messages wait for nothing");
    }

    /// Ends everything and lets it expire; nothing is left then.
    pub fn end(mut self) {
        while !self.connections.is_empty() {
            self.lose(0);
            self.check();
        }
        for local in self.locals.drain(..) {
            self.engine.unsubscribe_local(&local);
        }
        self.commit();
        let expiry = self.config.settings().session.max_expiry.expect("sessions that expire");
        self.advance(expiry.as_millis() as u64 + 200_000);
        self.check();
        let snapshot = self.engine.snapshot();
        assert_eq!((snapshot.sessions, snapshot.subscriptions, snapshot.messages_queued), (0, 0, 0));
        let sys = usize::from(!self.config.settings().sys.interval.is_zero());
        let sweep = usize::from(snapshot.retained_messages > 0);
        assert!(self.engine.timers_running() <= sys + sweep, "{} timers", self.engine.timers_running());
        assert!(self.lines.iter().all(|line| Arc::strong_count(line) == 1), "a link is still held");
    }
}

impl Wire {
    /// Whether the connection has its session, as far as its own end knows.
    fn is_attached(&self) -> bool {
        self.connection.session().is_some() && self.line.finished().is_none()
    }
}

fn write_if_blocked(engine: &Engine, now: Time, wire: &Wire) {
    let blocked = wire.connection.session().is_some_and(|session| session.outbound.lock().is_blocked());
    if blocked && wire.line.has_room() {
        wire.connection.writable(engine, &mut engine.turn(now));
    }
}
