//! What clients do, by the dice.

use midge::codec::disconnect::Disconnect;
use midge::codec::packet::Packet;
use midge::codec::properties::{Properties, PropertyWriter};
use midge::codec::qos::QoS;
use midge::codec::reason::ReasonCode;
use midge::codec::subscribe::{RetainHandling, SubscriptionOptions};
use midge::codec::version::Version;

use crate::client::Wish;
use crate::letter::Letter;
use crate::world::{Event, World};

const TOPICS: [&str; 8] = ["a/b", "a/c", "b", "a/b/c", "ret/0", "ret/1", "ret/2", "$x/y"];
const FILTERS: [&str; 15] = [
    "a/b",
    "a/+",
    "#",
    "a/#",
    "+/b",
    "b",
    "ret/#",
    "ret/+",
    "will/#",
    "many/+",
    "$x/#",
    "+/+/c",
    "$share/g/a/#",
    "$share/g/ret/+",
    "$share/h/#",
];
const NEVER: u64 = u64::MAX;

impl World {
    /// Begins: every client will act, and so will the host and the store.
    pub fn begin(&mut self) {
        for client in 0..self.clients.len() {
            let pause = self.dice.between(0, 500);
            self.later(pause, Event::Act(client));
        }
        self.later(100, Event::Host);
        if self.dice.chance(25) {
            // More than wait in a queue at once.
            for n in 0..30 {
                self.letters += 1;
                let (number, topic) = (self.letters, format!("many/{n}"));
                let qos = self.dice.below(3) as u8;
                self.publish_as_host(&Letter { number, topic, qos, retain: true, expires: NEVER });
            }
        }
        if self.late {
            self.later(100, Event::Commit);
        }
        if self.restarts {
            let pause = self.dice.between(200, 5_000);
            self.later(pause, Event::Crash);
        }
    }

    pub fn act(&mut self, at: usize) {
        if self.draining {
            return;
        }
        let pause = self.dice.between(5, 1200);
        self.later(pause, Event::Act(at));
        let client = &self.clients[at];
        if self.now < client.silent_until {
            return;
        }
        match client.conn {
            None if self.dice.chance(40) => {
                let wish = self.wish(at);
                self.join(at, &wish);
            }
            None => {}
            Some(_) if client.ready => self.act_connected(at),
            Some(_) => {}
        }
    }

    fn act_connected(&mut self, at: usize) {
        let client = &self.clients[at];
        let silence = self.now - client.last_sent;
        if client.keep_alive > 0 && silence > u64::from(client.keep_alive) * 500 {
            let mut ping = Vec::new();
            Packet::Pingreq.encode(client.version, &mut ping);
            self.send(at, ping);
        }
        let count = self.dice.between(0, 6) as usize;
        let answers = self.clients[at].answer(count);
        self.send(at, answers);
        match self.dice.below(100) {
            0..45 => self.publish(at),
            45..60 => self.subscribe(at),
            60..65 => {
                let filter = self.dice.pick(&FILTERS);
                let packet = self.clients[at].unsubscribe(filter);
                self.send(at, packet);
            }
            65..68 => self.say_goodbye(at),
            68 if self.rough > 0 => self.vanish(at),
            69..71 if self.rough > 0 => {
                // The broker does not know that the old connection is gone: a take-over.
                self.vanish(at);
                let wish = self.wish(at);
                self.join(at, &wish);
            }
            71 => {
                self.clients[at].silent_until = self.now + self.dice.between(2_000, 15_000);
            }
            _ => {}
        }
    }

    /// Leaves the connection alone: what was sent may still arrive, and the broker may learn of it, or not.
    fn vanish(&mut self, at: usize) {
        let Some(conn) = self.clients[at].conn.take() else {
            return;
        };
        self.note(|| format!("c{at} vanishes from {conn}"));
        self.clients[at].ready = false;
        self.coverage.vanished += 1;
        if self.dice.chance(60) {
            let delay = self.dice.between(0, 5000);
            self.later(delay, Event::ServerLost(conn));
        }
    }

    fn say_goodbye(&mut self, at: usize) {
        let client = &self.clients[at];
        let v5 = client.version.is_v5();
        let mut properties = Vec::new();
        let mut reason = ReasonCode::NormalDisconnection;
        if v5 && self.dice.chance(30) {
            reason = ReasonCode::DisconnectWithWill;
        }
        let conn = client.conn.unwrap();
        let lasting = self.model.sessions.get(&at).is_some_and(|s| s.conn == Some(conn) && s.expiry > 0);
        if v5 && lasting && self.dice.chance(30) {
            let seconds = self.dice.between(0, 9) as u32;
            PropertyWriter::new(&mut properties).session_expiry_interval(seconds);
        }
        let properties = Properties::from_encoded(&properties).unwrap();
        let mut out = Vec::new();
        Packet::Disconnect(Disconnect { reason, properties }).encode(client.version, &mut out);
        self.send(at, out);
        self.clients[at].conn = None;
        self.clients[at].ready = false;
        if self.dice.chance(50) {
            self.later(4000, Event::ServerLost(conn));
        }
    }

    fn wish(&mut self, at: usize) -> Wish {
        let known = self.clients[at].version;
        let version = match known {
            Version::V31 => known,
            _ if self.dice.chance(10) => self.dice.pick(&[Version::V311, Version::V5]),
            _ => known,
        };
        let v5 = version.is_v5();
        let delay = if v5 { self.dice.pick(&[0, 0, 1, 3, 30]) } else { 0 };
        let will = self.dice.chance(40).then(|| {
            self.letters += 1;
            let letter = Letter {
                number: self.letters,
                topic: format!("will/{at}"),
                qos: self.dice.below(3) as u8,
                retain: self.dice.chance(30),
                expires: NEVER,
            };
            (letter, delay)
        });
        Wish {
            version,
            clean: self.dice.chance(15),
            keep_alive: self.dice.pick(&[0, 0, 3, 6]),
            expiry: self.dice.pick(&[0, 2, 15, 600, u32::MAX]),
            receive_maximum: if v5 { self.dice.pick(&[1, 4, u16::MAX]) } else { u16::MAX },
            alias_maximum: if v5 { self.dice.pick(&[0, 2, 10]) } else { 0 },
            will,
        }
    }

    /// Connects.
    pub fn join(&mut self, at: usize, wish: &Wish) {
        let conn = self.open(at, wish.version);
        let packet = self.clients[at].connect(conn, wish);
        self.note(|| format!("c{at} connects: {conn}, {:?}, clean {}", wish.version, wish.clean));
        self.send(at, packet);
    }

    /// A new message for one of the topics.
    pub fn letter(&mut self) -> Letter {
        let retain = self.dice.chance(20);
        let number = if retain && self.dice.chance(25) {
            0
        } else {
            self.letters += 1;
            self.letters
        };
        Letter {
            number,
            topic: self.dice.pick(&TOPICS).to_owned(),
            qos: self.dice.below(3) as u8,
            retain,
            expires: NEVER,
        }
    }

    fn publish(&mut self, at: usize) {
        for _ in 0..self.dice.between(1, 4) {
            let letter = self.letter();
            let open = self.clients[at].outgoing.len();
            if letter.qos > 0 && open >= self.receive_maximum.min(20) {
                return;
            }
            let size = match self.dice.chance(3) {
                true => self.dice.between(7_000, 20_000),
                false => self.dice.between(8, 60),
            };
            let expires = self.clients[at].version.is_v5() && !letter.retain && self.dice.chance(10);
            let expiry = expires.then(|| self.dice.between(1, 10) as u32);
            let packet = self.clients[at].publish(letter, size as usize, expiry);
            self.send(at, packet);
        }
    }

    fn subscribe(&mut self, at: usize) {
        let mut filters = Vec::new();
        for _ in 0..self.dice.between(1, 3) {
            let filter = self.dice.pick(&FILTERS);
            let v5 = self.clients[at].version.is_v5();
            let handling = [RetainHandling::SendAlways, RetainHandling::SendIfNew, RetainHandling::DoNotSend];
            let options = SubscriptionOptions {
                qos: QoS::from_u8(self.dice.below(3) as u8).unwrap(),
                no_local: v5 && !filter.starts_with("$share") && self.dice.chance(30),
                retain_as_published: v5 && self.dice.chance(30),
                retain_handling: if v5 { self.dice.pick(&handling) } else { RetainHandling::SendAlways },
            };
            filters.push((filter, options));
        }
        let identifier = if self.dice.chance(50) { self.dice.between(1, 300) as u32 } else { 0 };
        let packet = self.clients[at].subscribe(&filters, identifier);
        self.send(at, packet);
    }
}
