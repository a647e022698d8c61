//! A client that follows the protocol: its identifiers, what it must send again, what it must answer.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use midge::codec::ack::{Ack, AckKind};
use midge::codec::connect::{Connect, Will};
use midge::codec::packet::Packet;
use midge::codec::packet_id::PacketId;
use midge::codec::properties::{Properties, PropertyWriter};
use midge::codec::publish::Publish;
use midge::codec::qos::QoS;
use midge::codec::subscribe::{Subscribe, SubscriptionOptions, SubscriptionRequest};
use midge::codec::topic::TopicName;
use midge::codec::unsubscribe::{Unsubscribe, encode_filter};
use midge::codec::version::Version;

use crate::letter::{Letter, payload};

/// A publication that is not complete.
pub struct Outgoing {
    pub id: u16,
    pub letter: Letter,
    size: usize,
    expiry: Option<u32>,
    /// Whether PUBREC came: PUBREL is what is sent again.
    pub released: bool,
}

/// How to connect.
pub struct Wish {
    pub version: Version,
    pub clean: bool,
    pub keep_alive: u16,
    pub expiry: u32,
    pub receive_maximum: u16,
    pub alias_maximum: u16,
    pub will: Option<(Letter, u32)>,
}

/// One client, connected or not.
pub struct Client {
    pub name: String,
    pub version: Version,
    pub conn: Option<usize>,
    /// Whether CONNACK came.
    pub ready: bool,
    pub arrived: Vec<u8>,
    pub outgoing: VecDeque<Outgoing>,
    /// QoS 2 messages that have arrived and were not released.
    pub incoming: BTreeMap<u16, u64>,
    /// The last QoS 1 message of each identifier.
    pub seen: HashMap<u16, u64>,
    /// Acknowledgements that the client will send.
    pub answers: VecDeque<(AckKind, u16)>,
    /// Messages of this connection that it has not acknowledged in full.
    pub window: BTreeSet<u16>,
    pub window_maximum: usize,
    pub alias_maximum: u16,
    pub aliases_in: HashMap<u16, String>,
    /// Aliases that it may use, and those that it does.
    pub alias_room: u16,
    aliases_out: Vec<String>,
    /// The session of the last CONNACK.
    pub generation: u64,
    pub keep_alive: u16,
    pub last_sent: u64,
    pub silent_until: u64,
    last_id: u16,
}

fn id(number: u16) -> PacketId {
    PacketId::new(number).unwrap()
}

impl Client {
    pub fn new(index: usize, version: Version) -> Client {
        Client {
            name: format!("c{index}"),
            version,
            conn: None,
            ready: false,
            arrived: Vec::new(),
            outgoing: VecDeque::new(),
            incoming: BTreeMap::new(),
            seen: HashMap::new(),
            answers: VecDeque::new(),
            window: BTreeSet::new(),
            window_maximum: usize::MAX,
            alias_maximum: 0,
            aliases_in: HashMap::new(),
            alias_room: 0,
            aliases_out: Vec::new(),
            generation: 0,
            keep_alive: 0,
            last_sent: 0,
            silent_until: 0,
            last_id: 0,
        }
    }

    /// Begins a connection; the CONNECT packet.
    pub fn connect(&mut self, conn: usize, wish: &Wish) -> Vec<u8> {
        self.version = wish.version;
        self.conn = Some(conn);
        self.ready = false;
        self.arrived.clear();
        self.answers.clear();
        self.window.clear();
        self.aliases_in.clear();
        self.aliases_out.clear();
        self.alias_room = 0;
        self.window_maximum = usize::from(wish.receive_maximum);
        self.alias_maximum = wish.alias_maximum;
        self.keep_alive = wish.keep_alive;
        let mut properties = Vec::new();
        let mut will_properties = Vec::new();
        if wish.version.is_v5() {
            let mut p = PropertyWriter::new(&mut properties);
            if wish.expiry > 0 {
                p.session_expiry_interval(wish.expiry);
            }
            if wish.receive_maximum != u16::MAX {
                p.receive_maximum(wish.receive_maximum);
            }
            p.topic_alias_maximum(wish.alias_maximum);
            if let Some((_, delay)) = wish.will.as_ref().filter(|(_, delay)| *delay > 0) {
                PropertyWriter::new(&mut will_properties).will_delay_interval(*delay);
            }
        }
        let will_payload = wish.will.as_ref().map_or(Vec::new(), |(will, _)| payload(will.number, 20));
        let connect = Connect {
            version: wish.version,
            clean_start: wish.clean,
            keep_alive: wish.keep_alive,
            is_bridge: false,
            client_id: &self.name,
            will: wish.will.as_ref().map(|(will, _)| Will {
                topic: TopicName::parse(&will.topic).unwrap(),
                payload: &will_payload,
                qos: QoS::from_u8(will.qos).unwrap(),
                retain: will.retain,
                properties: Properties::from_encoded(&will_properties).unwrap(),
            }),
            username: None,
            password: None,
            properties: Properties::from_encoded(&properties).unwrap(),
        };
        let mut out = Vec::new();
        Packet::Connect(connect).encode(wish.version, &mut out);
        out
    }

    /// CONNACK came: what is to be sent again, if the session is there; else all is forgotten.
    pub fn resume(&mut self, present: bool) -> Vec<u8> {
        self.ready = true;
        let mut out = Vec::new();
        if !present {
            self.outgoing.clear();
            self.incoming.clear();
            self.seen.clear();
            return out;
        }
        for at in 0..self.outgoing.len() {
            match self.outgoing[at].released {
                true => self.encode_ack(AckKind::Pubrel, self.outgoing[at].id, &mut out),
                false => self.encode_publish(at, true, &mut out),
            }
        }
        out
    }

    /// Begins a publication of QoS 1 or 2, or sends one of QoS 0.
    pub fn publish(&mut self, letter: Letter, size: usize, expiry: Option<u32>) -> Vec<u8> {
        let mut out = Vec::new();
        let id = if letter.qos > 0 { self.next_id() } else { 0 };
        let qos0 = letter.qos == 0;
        self.outgoing.push_back(Outgoing { id, letter, size, expiry, released: false });
        self.encode_publish(self.outgoing.len() - 1, false, &mut out);
        if qos0 {
            self.outgoing.pop_back();
        }
        out
    }

    fn encode_publish(&mut self, at: usize, again: bool, out: &mut Vec<u8>) {
        let outgoing = &self.outgoing[at];
        let letter = &outgoing.letter;
        let mut properties = Vec::new();
        let mut topic = letter.topic.as_str();
        if self.version.is_v5() {
            let mut p = PropertyWriter::new(&mut properties);
            if let Some(seconds) = outgoing.expiry {
                p.message_expiry_interval(seconds);
            }
            if letter.number.is_multiple_of(3) {
                p.user_property("n", &letter.number.to_string());
            }
            let known = self.aliases_out.iter().position(|known| *known == letter.topic);
            match known {
                Some(alias) => {
                    p.topic_alias(alias as u16 + 1);
                    topic = "";
                }
                None if self.aliases_out.len() < usize::from(self.alias_room) => {
                    self.aliases_out.push(letter.topic.clone());
                    p.topic_alias(self.aliases_out.len() as u16);
                }
                None => {}
            }
        }
        let publish = Publish {
            dup: again,
            qos: QoS::from_u8(letter.qos).unwrap(),
            retain: letter.retain,
            topic,
            packet_id: PacketId::new(outgoing.id),
            properties: Properties::from_encoded(&properties).unwrap(),
            payload: &payload(letter.number, outgoing.size),
        };
        publish.encode(self.version, out);
    }

    pub fn encode_ack(&self, kind: AckKind, number: u16, out: &mut Vec<u8>) {
        Ack::success(id(number)).encode(kind, self.version, out);
    }

    /// Sends the first `count` answers.
    pub fn answer(&mut self, count: usize) -> Vec<u8> {
        let mut out = Vec::new();
        for _ in 0..count {
            let Some((kind, number)) = self.answers.pop_front() else {
                break;
            };
            if kind != AckKind::Pubrec {
                self.window.remove(&number);
            }
            self.encode_ack(kind, number, &mut out);
        }
        out
    }

    pub fn subscribe(&mut self, filters: &[(&str, SubscriptionOptions)], identifier: u32) -> Vec<u8> {
        let mut requests = Vec::new();
        for (filter, options) in filters {
            SubscriptionRequest { filter, options: *options }.encode(&mut requests);
        }
        let mut properties = Vec::new();
        if identifier != 0 && self.version.is_v5() {
            PropertyWriter::new(&mut properties).subscription_identifier(identifier);
        }
        let properties = Properties::from_encoded(&properties).unwrap();
        let packet = Subscribe::from_encoded(id(self.next_id()), properties, &requests).unwrap();
        let mut out = Vec::new();
        packet.encode(self.version, &mut out);
        out
    }

    pub fn unsubscribe(&mut self, filter: &str) -> Vec<u8> {
        let mut encoded = Vec::new();
        encode_filter(filter, &mut encoded);
        let packet = Unsubscribe::from_encoded(id(self.next_id()), Properties::EMPTY, &encoded).unwrap();
        let mut out = Vec::new();
        packet.encode(self.version, &mut out);
        out
    }

    fn next_id(&mut self) -> u16 {
        loop {
            self.last_id = self.last_id.checked_add(1).unwrap_or(1);
            if self.outgoing.iter().all(|outgoing| outgoing.id != self.last_id) {
                return self.last_id;
            }
        }
    }
}
