//! The events of a simulation: the network between clients and the engine, timers, and the store.

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
use midge::storage::Store;
use midge::time::Time;

use crate::client::Client;
use crate::coverage::Coverage;
use crate::dice::Dice;
use crate::ledger::Ledger;
use crate::letter::{Letter, number_of, payload};
use crate::line::Line;
use crate::model::{Model, TICK};
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
    pub store: Arc<Ledger>,
    pub late: bool,
    pub receive_maximum: usize,
    pub model: Model,
    pub clients: Vec<Client>,
    pub conns: Vec<Conn>,
    pub coverage: Coverage,
    pub now: u64,
    pub draining: bool,
    pub sink: Arc<Everything>,
    pub letters: u64,
    pub trace: bool,
    /// How often something breaks, in percent.
    pub rough: u64,
    /// Connections that the engine has written to, woken or ended.
    pub touched: Arc<Mutex<Vec<usize>>>,
    alarm: Arc<Bell>,
    next_tick: u64,
    order: BinaryHeap<Slot>,
    events: HashMap<u64, Event>,
    numbered: u64,
}

/// Keeps the nearest time for which the engine has set its alarm.
struct Bell(Mutex<u64>);

impl Alarm for Bell {
    fn set(&self, at: Time) {
        let mut nearest = self.0.lock().unwrap();
        *nearest = (*nearest).min(at.as_millis());
    }
}

impl World {
    pub fn new(seed: u64, clients: usize) -> World {
        let mut dice = Dice::new(seed);
        let late = dice.chance(40);
        let store = Arc::new(Ledger::new(late));
        let alarm = Arc::new(Bell(Mutex::new(u64::MAX)));
        let surroundings = EngineParts {
            store: Arc::clone(&store) as Arc<dyn Store>,
            alarm: Arc::clone(&alarm) as Arc<dyn Alarm>,
            seed,
            started_unix: 0,
        };
        let lossy = dice.chance(20);
        let short = dice.chance(20);
        let receive_maximum = dice.pick(&[3, 20, 1024]);
        let config = settings(&mut dice, lossy, short, receive_maximum);
        let engine = Engine::new(config.settings(), surroundings);
        let sink = Everything::subscribe(&engine);
        let model = Model::new(lossy, if short { 20 } else { u32::MAX });
        let versions = [Version::V31, Version::V311, Version::V5, Version::V5];
        let clients = (0..clients).map(|index| Client::new(index, dice.pick(&versions))).collect();
        let rough = dice.pick(&[0, 3, 10, 25]);
        World {
            dice,
            engine,
            store,
            late,
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
            rough,
            touched: Arc::default(),
            alarm,
            next_tick: 0,
            order: BinaryHeap::new(),
            events: HashMap::new(),
            numbered: 0,
        }
    }

    pub fn note(&self, text: impl FnOnce() -> String) {
        if self.trace {
            eprintln!("{:>8} {}", self.now, text());
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
        self.next_tick = self.next_tick.min(rung);
        self.next_tick
    }

    /// Lets time pass until the next tick of the engine.
    pub fn tick(&mut self) {
        self.now = self.now.max(self.next_tick);
        self.model.now = self.now;
        let told = self.engine.tick(Time::from_millis(self.now));
        self.next_tick = told.map_or(u64::MAX, Time::as_millis);
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
        self.model.tick(&silent);
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
                let (records, committed) = self.store.progress();
                let number = committed + self.dice.below(records - committed + 1);
                self.commit(number);
                self.coverage.late_commits += 1;
                if !self.draining {
                    let pause = self.dice.between(1, 400);
                    self.later(pause, Event::Commit);
                }
            }
            Event::Host => self.host(),
        }
    }

    fn host(&mut self) {
        let letter = self.letter();
        let bytes = payload(letter.number, 30);
        let topic = midge::codec::topic::TopicName::parse(&letter.topic).unwrap();
        let qos = midge::codec::qos::QoS::from_u8(letter.qos).unwrap();
        let now = Time::from_millis(self.now);
        let mut publication = Publication::new(letter.topic.as_bytes(), &bytes, qos, letter.retain, now);
        self.engine.publish(&mut self.engine.turn(now), Publisher::Host, topic, &mut publication);
        self.note(|| format!("host publishes {letter:?}"));
        self.model.publish(letter.clone(), None);
        self.coverage.host_publishes += 1;
        if !self.draining {
            let pause = self.dice.between(20, 1000);
            self.later(pause, Event::Host);
        }
    }

    fn commit(&mut self, number: u64) {
        self.store.commit(number);
        self.engine.committed(&mut self.engine.turn(Time::from_millis(self.now)), number);
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
            self.model_packet(at, &packet);
        }
    }

    fn model_packet(&mut self, at: usize, packet: &Packet<'_>) {
        let conn = &mut self.conns[at];
        let client = conn.client;
        match packet {
            Packet::Connect(connect) => {
                conn.keep_alive = u64::from(connect.keep_alive);
                if self.model.sessions.get(&client).is_some_and(|s| s.conn.is_some()) {
                    self.coverage.takeovers += 1;
                }
                conn.present = Some(self.model.connect(client, at, connect));
                conn.generation = self.model.sessions[&client].generation;
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
                self.model.receive(client, letter, publish.packet_id.map_or(0, |id| id.get()));
            }
            Packet::Puback(ack) | Packet::Pubrec(ack) => {
                if let Some(session) = self.model.sessions.get_mut(&client) {
                    session.acknowledged.insert(ack.packet_id.get(), at);
                }
            }
            Packet::Pubrel(ack) => self.model.release(client, ack.packet_id.get()),
            Packet::Subscribe(packet) => self.model.subscribe(client, packet),
            Packet::Unsubscribe(packet) => self.model.unsubscribe(client, packet),
            Packet::Disconnect(disconnect) => {
                if let Some(expiry) = disconnect.properties.session_expiry_interval()
                    && let Some(session) = self.model.sessions.get_mut(&client)
                {
                    session.expiry = expiry.min(self.model.max_expiry);
                }
                self.model.detach(client, disconnect.reason.as_u8() != 0);
                self.coverage.goodbyes += 1;
            }
            Packet::Pubcomp(_) | Packet::Pingreq => {}
            other => panic!("a client does not send {other:?}"),
        }
    }

    /// Does what the tasks of all connections would do now, and takes what was written.
    pub fn settle(&mut self, any_order: bool) {
        if self.draining && self.late {
            let (records, _) = self.store.progress();
            self.commit(records);
        }
        loop {
            let mut touched = std::mem::take(&mut *self.touched.lock().unwrap());
            if touched.is_empty() {
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

    fn look(&mut self, at: usize) {
        let now = Time::from_millis(self.now);
        let attached = self.attached(at);
        let conn = &self.conns[at];
        while conn.line.take_wake() {
            let mut turn = self.engine.turn(now);
            if let Some(session) = conn.connection.session() {
                self.engine.end_if_doomed(&mut turn, session);
            }
            if conn.line.has_room() {
                conn.connection.writable(&self.engine, &mut turn);
            }
        }
        let finished = conn.line.finished();
        let bytes = conn.line.take();
        let committed = self.store.progress().1;
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
            self.model.detach(self.conns[at].client, true);
        }
        let conn = &mut self.conns[at];
        conn.open = false;
        conn.connection.lost(&self.engine, &mut self.engine.turn(now), cause);
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
        ("session.max_outbox_bytes", "64KiB"),
        ("session.max_expiry", if short { "20s" } else { "never" }),
    ];
    for (key, value) in settings {
        config.set(key, value).unwrap();
    }
    config
}
