//! The events of a simulation: the network between clients and the engine, timers, and the store.

use std::cell::RefCell;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::sync::{Arc, Mutex};

use midge::codec::frame::{Framing, split};
use midge::codec::packet::{Packet, decode};
use midge::codec::version::Version;
use midge::config::Config;
use midge::engine::connection::state::Connection;
use midge::engine::core::state::{Engine, EngineParts};
use midge::engine::core::timers::Alarm;
use midge::engine::parts::subscriber::Publisher;
use midge::message::Publication;
use midge::session::link::Cause;
use midge::storage::{Change, SessionChange, Store};
use midge::time::Time;

use crate::client::Client;
use crate::coverage::Coverage;
use crate::crash::Committed;
use crate::dice::Dice;
use crate::letter::{Letter, number_of, payload};
use crate::line::Line;
use crate::log_store::LogStore;
use crate::model::{Model, TICK};
use crate::op::Op;
use crate::sink::Everything;

/// What happens next.
pub enum Event {
    /// Bytes reach the broker.
    Up(usize, Vec<u8>),
    /// Bytes reach the client; the store had committed so many records when they were written.
    Down(usize, Vec<u8>, u64),
    /// The broker learns that a connection is gone.
    ServerLost(usize),
    /// The client learns that its connection is gone.
    ClientLost(usize),
    /// A client does something.
    Act(usize),
    /// A slow reader takes some bytes.
    Room(usize),
    Commit,
    Host,
    Crash,
}

/// A network connection.
pub struct Conn {
    pub client: usize,
    pub version: Version,
    pub line: Arc<Line>,
    pub connection: Connection,
    pub unread: Vec<u8>,
    /// Whether the broker's end is open.
    pub open: bool,
    pub broken: bool,
    /// Whether it takes any number of bytes.
    pub swift: bool,
    /// Bytes that still pass before it breaks, towards the broker and towards the client.
    pub budgets: [Option<usize>; 2],
    /// When the last bytes arrive.
    pub arrivals: [u64; 2],
    pub aliases: HashMap<u16, String>,
    /// What the model says of Session Present, once CONNECT has reached the broker.
    pub present: Option<bool>,
    /// The position of what CONNACK stands for.
    pub position: u64,
    /// The last batch of messages before the first byte was written, or of a large turn: the outbox may have been full.
    pub full_to: Option<u64>,
    /// The session that it has, by the model.
    pub generation: u64,
    /// When the broker last heard something, and the Keep Alive.
    pub heard: u64,
    pub keep_alive: u64,
}

/// The order of events: time, then number.
type Slot = Reverse<(u64, u64)>;

/// One simulation.
pub struct World {
    pub dice: Dice,
    pub engine: Engine,
    pub config: Config,
    pub seed: u64,
    pub store: Arc<LogStore>,
    pub late: bool,
    /// Whether the broker crashes now and then.
    pub restarts: bool,
    /// When this engine began.
    pub began: u64,
    /// What the store has committed, as a model.
    pub committed: Committed,
    /// The position that a message's acknowledgement stands for.
    pub positions: HashMap<u64, u64>,
    /// The changes before the packet that is being handled.
    pub before: u64,
    /// Take-overs since the last crash.
    pub takeovers: u64,
    /// Connections that the clients are to miss.
    pub lost: Vec<usize>,
    pub receive_maximum: usize,
    pub model: Model,
    pub clients: Vec<Client>,
    pub conns: Vec<Conn>,
    pub coverage: Coverage,
    pub now: u64,
    pub draining: bool,
    pub sink: Arc<Everything>,
    pub letters: u64,
    /// Whether what happens is shown.
    pub trace: bool,
    /// What has happened, line by line, if that is kept.
    pub story: Option<RefCell<Vec<String>>>,
    /// How often something breaks, in percent.
    pub rough: u64,
    /// Connections that the engine has written to, woken or ended.
    pub touched: Arc<Mutex<Vec<usize>>>,
    pub alarm: Arc<Bell>,
    next_tick: u64,
    order: BinaryHeap<Slot>,
    events: HashMap<u64, Event>,
    numbered: u64,
}

/// Keeps the nearest time for which the engine has set its alarm.
pub struct Bell(Mutex<u64>);

impl Alarm for Bell {
    fn set(&self, at: Time) {
        let mut nearest = self.0.lock().unwrap();
        *nearest = (*nearest).min(at.as_millis());
    }
}

impl World {
    /// `fault`: what the store does wrong.
    pub fn new(seed: u64, clients: usize, fault: Option<&'static str>) -> World {
        let mut dice = Dice::new(seed);
        let late = dice.chance(40);
        let store = Arc::new(LogStore::new(late).with_fault(fault).with_memory(memory_of(seed)));
        let restarts = dice.chance(50) || fault.is_some();
        let lossy = dice.chance(20);
        let short = dice.chance(20);
        let receive_maximum = dice.pick(&[3, 20, 1024]);
        let config = settings(&mut dice, lossy, short, receive_maximum);
        let (engine, alarm) = engine_of(&config, &store, seed, 0);
        let sink = Everything::subscribe(&engine);
        let model = Model::new(lossy, if short { 20 } else { u32::MAX });
        let versions = [Version::V31, Version::V311, Version::V5, Version::V5];
        let clients = (0..clients).map(|index| Client::new(index, dice.pick(&versions))).collect();
        let rough = dice.pick(&[0, 3, 10, 25]);
        World {
            dice,
            engine,
            config,
            seed,
            store,
            late,
            restarts,
            began: 0,
            committed: Committed::new(model.clone()),
            positions: HashMap::new(),
            before: 0,
            takeovers: 0,
            lost: Vec::new(),
            receive_maximum,
            model,
            clients,
            conns: Vec::new(),
            coverage: Coverage { seeds: 1, ..Coverage::default() },
            now: 0,
            draining: false,
            sink,
            letters: 0,
            trace: std::env::var("SIM_TRACE").is_ok(),
            story: None,
            rough,
            touched: Arc::default(),
            alarm,
            next_tick: 0,
            order: BinaryHeap::new(),
            events: HashMap::new(),
            numbered: 0,
        }
    }

    /// The engine's time.
    pub fn time(&self) -> Time {
        Time::from_millis(self.now - self.began)
    }

    /// Forgets when the engine that is gone wanted to be ticked.
    pub fn restart_ticks(&mut self) {
        self.next_tick = u64::MAX;
    }

    pub fn note(&self, text: impl FnOnce() -> String) {
        if !self.trace && self.story.is_none() {
            return;
        }
        let line = format!("{:>8} {}", self.now, text());
        if self.trace {
            eprintln!("{line}");
        }
        if let Some(story) = &self.story {
            story.borrow_mut().push(line);
        }
    }

    pub fn later(&mut self, millis: u64, event: Event) {
        self.at(self.now + millis, event);
    }

    pub fn at(&mut self, time: u64, event: Event) {
        self.numbered += 1;
        self.order.push(Reverse((time, self.numbered)));
        self.events.insert(self.numbered, event);
    }

    /// Lets the next event happen, and every timer that is due before it; false if there is none.
    pub fn step(&mut self) -> bool {
        let Some(Reverse((time, number))) = self.order.pop() else {
            return false;
        };
        while self.next_tick() <= time {
            self.tick();
        }
        self.now = time;
        self.model.now = time;
        self.coverage.events += 1;
        if let Some(event) = self.events.remove(&number) {
            self.happen(event);
        }
        self.settle(false);
        true
    }

    /// When the engine wants to be ticked.
    pub fn next_tick(&mut self) -> u64 {
        let rung = std::mem::replace(&mut *self.alarm.0.lock().unwrap(), u64::MAX);
        self.next_tick = self.next_tick.min(rung.saturating_add(self.began));
        self.next_tick
    }

    /// Lets time pass until the next tick of the engine.
    pub fn tick(&mut self) {
        self.now = self.now.max(self.next_tick);
        self.model.now = self.now;
        // What a tick brings is several groups, but one step of the model.
        self.store.begin_group();
        let told = self.engine.tick(self.time());
        self.store.end_group();
        self.next_tick = told.map_or(u64::MAX, |at| at.as_millis().saturating_add(self.began));
        let mut silent = Vec::new();
        for (at, conn) in self.conns.iter().enumerate().filter(|(_, conn)| conn.open) {
            let attached = self.model.sessions.get(&conn.client).is_some_and(|s| s.conn == Some(at));
            let deadline = (conn.heard + conn.keep_alive * 1500).next_multiple_of(TICK);
            let late = conn.keep_alive > 0 && deadline <= self.now;
            if attached && conn.line.finished() == Some(Cause::KeepAliveTimeout) {
                assert!(late, "connection {at} was ended for silence too early");
                silent.push(conn.client);
                self.coverage.silences += 1;
            } else {
                assert!(!(attached && late), "connection {at} was silent and is still open");
            }
        }
        self.note(|| format!("tick, silent {silent:?}"));
        self.change(Op::Tick { silent });
        self.settle(true);
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Up(conn, bytes) => self.up(conn, bytes),
            Event::Down(conn, bytes, committed) => self.down(conn, bytes, committed),
            Event::ServerLost(conn) => self.server_lost(conn),
            Event::ClientLost(conn) => {
                let at = self.conns[conn].client;
                let client = &mut self.clients[at];
                if client.conn == Some(conn) {
                    client.conn = None;
                    client.ready = false;
                    if self.draining {
                        self.rejoin(at, false);
                    }
                }
            }
            Event::Act(client) => self.act(client),
            Event::Room(conn) => self.room(conn),
            Event::Commit => {
                let (records, committed) = (self.store.appended(), self.store.committed());
                let number = committed + self.dice.below(records - committed + 1);
                self.commit(number);
                self.coverage.late_commits += 1;
                if !self.draining {
                    let pause = self.dice.between(1, 400);
                    self.later(pause, Event::Commit);
                }
            }
            Event::Host => self.host(),
            Event::Crash if self.draining => {}
            Event::Crash => {
                self.crash();
                let pause = self.dice.between(200, 5_000);
                self.later(pause, Event::Crash);
            }
        }
    }

    fn host(&mut self) {
        let letter = self.letter();
        self.publish_as_host(&letter);
        if !self.draining {
            let pause = self.dice.between(20, 1000);
            self.later(pause, Event::Host);
        }
    }

    pub fn publish_as_host(&mut self, letter: &Letter) {
        let bytes = payload(letter.number, 30);
        let topic = midge::codec::topic::TopicName::parse(&letter.topic).unwrap();
        let qos = midge::codec::qos::QoS::from_u8(letter.qos).unwrap();
        let now = self.time();
        let mut publication = Publication::new(letter.topic.as_bytes(), &bytes, qos, letter.retain, now);
        self.before = self.store.appended();
        self.engine.publish(&mut self.engine.turn(now), Publisher::Host, topic, &mut publication);
        self.note(|| format!("host publishes {letter:?}"));
        let position = self.position_of(None, letter).unwrap_or_else(|| self.store.appended());
        self.change_with(position, Op::Publish { letter: letter.clone() });
        self.coverage.host_publishes += 1;
    }

    fn commit(&mut self, number: u64) {
        let position = self.store.commit_to(number);
        self.engine.committed(&mut self.engine.turn(self.time()), position);
    }

    /// Whether the connection has a session, by the model.
    pub fn attached(&self, conn: usize) -> bool {
        self.model.sessions.get(&self.conns[conn].client).is_some_and(|s| s.conn == Some(conn))
    }

    /// Gives the model the packets that the engine has taken.
    pub fn model_packets(&mut self, at: usize, mut input: &[u8]) {
        let version = self.conns[at].version;
        while let Framing::Complete(frame) = split(input, u32::MAX).unwrap() {
            input = &input[frame.whole.len()..];
            let packet = decode(frame, version).unwrap();
            self.note(|| format!("up {at} {packet:?}").chars().take(300).collect());
            self.model_packet(at, &packet, frame.whole);
        }
    }

    fn model_packet(&mut self, at: usize, packet: &Packet<'_>, whole: &[u8]) {
        let conn = &mut self.conns[at];
        let (client, version) = (conn.client, conn.version);
        match packet {
            Packet::Connect(connect) => {
                conn.keep_alive = u64::from(connect.keep_alive);
                if self.model.sessions.get(&client).is_some_and(|s| s.conn.is_some()) {
                    self.coverage.takeovers += 1;
                    self.takeovers += 1;
                }
                let step = Op::Packet { client, conn: at, version, bytes: whole.to_vec() };
                let present = self.change(step);
                self.conns[at].present = Some(present);
                let name = &self.clients[client].name;
                let belongs = |change: &Change<'_>| match change {
                    Change::Session { client_id, change } => client_id == name && is_of_connect(change),
                    _ => false,
                };
                self.conns[at].position = self.store.last_where(self.before, belongs).unwrap_or(0);
                self.conns[at].generation = self.model.sessions[&client].generation;
            }
            Packet::Publish(publish) => {
                let mut topic = publish.topic.to_owned();
                if let Some(alias) = publish.properties.topic_alias() {
                    if topic.is_empty() {
                        topic = conn.aliases[&alias].clone();
                    }
                    conn.aliases.insert(alias, topic.clone());
                }
                let expiry = publish.properties.message_expiry_interval();
                let letter = Letter {
                    number: number_of(publish.payload),
                    topic,
                    qos: publish.qos.as_u8(),
                    retain: publish.retain,
                    expires: expiry.map_or(u64::MAX, |seconds| self.now + u64::from(seconds) * 1000),
                };
                let id = publish.packet_id.map_or(0, |id| id.get());
                let recorded = self.position_of(Some((client, id)), &letter);
                self.positions.entry(letter.number).or_insert(recorded.unwrap_or(0));
                // What is appended later is of others: messages that are sent to them at the end of the turn.
                let position = recorded.unwrap_or_else(|| self.store.appended());
                self.change_with(position, Op::Receive { client, letter, id });
            }
            Packet::Puback(ack) | Packet::Pubrec(ack) => {
                self.change(Op::Acknowledged { client, id: ack.packet_id.get(), conn: at });
            }
            Packet::Pubrel(ack) => _ = self.change(Op::Release { client, id: ack.packet_id.get() }),
            Packet::Subscribe(_) | Packet::Unsubscribe(_) => {
                self.change(Op::Packet { client, conn: at, version, bytes: whole.to_vec() });
            }
            Packet::Disconnect(disconnect) => {
                if let Some(seconds) = disconnect.properties.session_expiry_interval() {
                    self.change(Op::Expiry { client, seconds });
                }
                self.change(Op::Detach { client, with_will: disconnect.reason.as_u8() != 0 });
                self.coverage.goodbyes += 1;
            }
            Packet::Pubcomp(_) | Packet::Pingreq => {}
            other => panic!("a client does not send {other:?}"),
        }
    }

    /// The last change that belongs to a publication which was just handled, if there is one. `from`: the client that has
    /// sent it, and the Packet Identifier.
    fn position_of(&self, from: Option<(usize, u16)>, letter: &Letter) -> Option<u64> {
        let belongs = |change: &Change<'_>| match change {
            Change::Retained(message) => number_of(message.payload) == letter.number,
            Change::Session { change: SessionChange::Queued(delivery), .. } => {
                number_of(delivery.message.payload) == letter.number
            }
            Change::Session { client_id, change: SessionChange::Received { packet_id } } => from
                .is_some_and(|(client, id)| *client_id == self.clients[client].name && packet_id.get() == id),
            _ => false,
        };
        self.store.last_where(self.before, belongs)
    }

    /// Does what the tasks of all connections would do now, and takes what was written.
    pub fn settle(&mut self, any_order: bool) {
        loop {
            let commits = self.draining && self.late && self.store.appended() > self.store.committed();
            if commits {
                self.commit(self.store.appended());
            }
            let reads = self.read_stored();
            let mut touched = std::mem::take(&mut *self.touched.lock().unwrap());
            if touched.is_empty() && !commits && !reads {
                break;
            }
            touched.sort_unstable();
            touched.dedup();
            for at in touched {
                if self.conns[at].open {
                    self.look(at);
                }
            }
        }
        self.compare_log(any_order);
    }

    /// Gives sessions what they need back from the store, and is committed. Whether there was something.
    fn read_stored(&mut self) -> bool {
        let mut any = false;
        while let Some(request) = self.store.take_request() {
            let read = self.engine.read_stored(request);
            self.engine.give_stored(&mut self.engine.turn(self.time()), read);
            (any, self.coverage.read_back) = (true, self.coverage.read_back + 1);
        }
        any
    }

    fn look(&mut self, at: usize) {
        let now = self.time();
        let attached = self.attached(at);
        let conn = &self.conns[at];
        while conn.line.take_wake() {
            let mut turn = self.engine.turn(now);
            if let Some(session) = conn.connection.session() {
                self.engine.woken(&mut turn, session);
            }
            if conn.line.has_room() {
                conn.connection.writable(&self.engine, &mut turn);
            }
        }
        let mut doomed = None;
        let finished = conn.line.finished();
        let bytes = conn.line.take();
        if !bytes.is_empty() {
            self.conns[at].full_to.get_or_insert(self.model.batch);
        }
        let committed = self.store.committed();
        for segment in self.segments(bytes) {
            let time = self.arrival(at, 1);
            self.at(time, Event::Down(at, segment, committed));
        }
        let Some(cause) = finished else {
            return;
        };
        self.note(|| format!("connection {at} was ended: {cause:?}"));
        if attached {
            assert!(
                matches!(cause, Cause::Refused(_)) && self.model.lossy,
                "the broker has ended connection {at} of a correct client: {cause:?}"
            );
            doomed = Some(self.conns[at].client);
        }
        let conn = &mut self.conns[at];
        conn.open = false;
        conn.connection.lost(&self.engine, &mut self.engine.turn(now), cause);
        if let Some(client) = doomed {
            self.change(Op::Detach { client, with_will: true });
        }
        let time = self.arrival(at, 1);
        self.at(time, Event::ClientLost(at));
    }

    /// The host program hears everything that is published, in the order of the model.
    fn compare_log(&mut self, any_order: bool) {
        let mut heard = self.sink.take();
        let mut expected = std::mem::take(&mut self.model.log);
        expected.retain(|(_, topic, _)| !topic.starts_with('$'));
        if any_order {
            heard.sort();
            expected.sort();
        }
        assert_eq!(heard, expected, "what was published");
        self.coverage.accepted += heard.len() as u64;
    }
}

/// How many bytes of waiting messages queues hold: all of them, none, or a few.
pub fn memory_of(seed: u64) -> Option<usize> {
    [None, Some(0), Some(2000)][seed as usize % 3]
}

/// Whether CONNACK stands for this change.
fn is_of_connect(change: &SessionChange<'_>) -> bool {
    use SessionChange as S;
    matches!(change, S::Begun { .. } | S::Attached { .. } | S::Ended | S::Will { .. })
}

/// An engine that started at this second.
pub fn engine_of(
    config: &Config,
    store: &Arc<LogStore>,
    seed: u64,
    started_unix: u64,
) -> (Engine, Arc<Bell>) {
    let alarm = Arc::new(Bell(Mutex::new(u64::MAX)));
    let (store, ring) = (Arc::clone(store) as Arc<dyn Store>, Arc::clone(&alarm) as Arc<dyn Alarm>);
    let parts = EngineParts { store, alarm: ring, seed: seed.into(), started_unix };
    (Engine::new(config.settings(), parts), alarm)
}

fn settings(dice: &mut Dice, lossy: bool, short: bool, receive_maximum: usize) -> Config {
    let mut config = Config::new();
    let receive_maximum = receive_maximum.to_string();
    let inflight = dice.pick(&["2", "10", "1024"]);
    let overflow = dice.pick(&["drop_newest", "drop_oldest", "disconnect"]);
    let settings = [
        ("sys.interval", "0"),
        ("mqtt.receive_maximum", receive_maximum.as_str()),
        ("mqtt.max_inflight", inflight),
        ("session.max_queued_messages", if lossy { "6" } else { "unlimited" }),
        ("session.max_queued_bytes", "1GiB"),
        ("session.queue_overflow", overflow),
        ("session.max_outbox_bytes", "128KiB"),
        ("session.max_expiry", if short { "20s" } else { "never" }),
    ];
    for (key, value) in settings {
        config.set(key, value).unwrap();
    }
    config
}
