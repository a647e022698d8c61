//! The client's end of a connection: it reads what the broker writes and knows what a broker must not write.

use std::collections::{HashMap, VecDeque};

use midge::codec::ack::AckKind;
use midge::codec::frame::{Framing, split};
use midge::codec::packet::{Packet, decode};
use midge::codec::packet_id::PacketId;
use midge::codec::publish::Publish;
use midge::codec::qos::QoS;
use midge::codec::reason::ReasonCode;
use midge::codec::topic::TopicName;
use midge::codec::version::Version;

pub struct Peer {
    /// The version, once a whole CONNECT was sent.
    pub version: Option<Version>,
    /// Acknowledgements that the client owes.
    pub owed: VecDeque<(AckKind, PacketId)>,
    /// Whether the client has acknowledged what it was not sent: then identifiers tell nothing.
    pub lying: bool,
    pub receive_maximum: u16,
    maximum_packet_size: usize,
    topic_alias_maximum: u16,
    aliases: HashMap<u16, String>,
    unacknowledged: HashMap<PacketId, Awaits>,
    state: State,
    sent: Vec<u8>,
    heard: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Awaits {
    Puback,
    Pubrec,
    Pubcomp,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// No CONNACK has come.
    Waiting,
    Open,
    /// The broker has said its last word.
    Over,
}

impl Peer {
    pub fn new() -> Peer {
        Peer {
            version: None,
            owed: VecDeque::new(),
            lying: false,
            receive_maximum: u16::MAX,
            maximum_packet_size: usize::MAX,
            topic_alias_maximum: 0,
            aliases: HashMap::new(),
            unacknowledged: HashMap::new(),
            state: State::Waiting,
            sent: Vec::new(),
            heard: Vec::new(),
        }
    }

    /// Deliveries that this connection has begun or resumed, and that are not complete.
    pub fn unacknowledged(&self) -> usize {
        self.unacknowledged.len()
    }

    /// The client sends these bytes next.
    pub fn says(&mut self, bytes: &[u8]) {
        let mut sent = std::mem::take(&mut self.sent);
        sent.extend_from_slice(bytes);
        let mut at = 0;
        while let Ok(Framing::Complete(frame)) = split(&sent[at..], u32::MAX) {
            at += frame.whole.len();
            if let Ok(packet) = decode(frame, self.version.unwrap_or(Version::V311)) {
                self.note(&packet);
            }
        }
        sent.drain(..at);
        self.sent = sent;
    }

    fn note(&mut self, packet: &Packet<'_>) {
        match packet {
            Packet::Connect(connect) if self.version.is_none() => {
                self.version = Some(connect.version);
                let properties = connect.properties;
                self.receive_maximum = properties.receive_maximum().unwrap_or(u16::MAX);
                self.maximum_packet_size =
                    properties.maximum_packet_size().map_or(usize::MAX, |size| size as usize);
                self.topic_alias_maximum = properties.topic_alias_maximum().unwrap_or(0);
            }
            Packet::Puback(ack) => self.answers(ack.packet_id, Awaits::Puback, None),
            Packet::Pubrec(ack) if ack.reason.is_error() => self.answers(ack.packet_id, Awaits::Pubrec, None),
            Packet::Pubrec(ack) => self.answers(ack.packet_id, Awaits::Pubrec, Some(Awaits::Pubcomp)),
            Packet::Pubcomp(ack) => self.answers(ack.packet_id, Awaits::Pubcomp, None),
            _ => {}
        }
    }

    fn answers(&mut self, id: PacketId, awaited: Awaits, next: Option<Awaits>) {
        if self.unacknowledged.remove(&id) != Some(awaited) {
            self.lying = true;
        } else if let Some(next) = next {
            self.unacknowledged.insert(id, next);
        }
    }

    /// The broker has written these bytes.
    pub fn hears(&mut self, bytes: &[u8]) {
        let mut heard = std::mem::take(&mut self.heard);
        heard.extend_from_slice(bytes);
        let mut at = 0;
        while let Framing::Complete(frame) = split(&heard[at..], u32::MAX).expect("a packet from the broker")
        {
            at += frame.whole.len();
            let version = self.version.unwrap_or(Version::V5);
            let connack_of_3 = self.state == State::Waiting && frame.body.len() == 2;
            let version = if connack_of_3 { Version::V311 } else { version };
            let packet = decode(frame, version)
                .unwrap_or_else(|error| panic!("the broker wrote {:02x?}: {error}", frame.whole));
            self.take(&packet, frame.whole.len());
        }
        heard.drain(..at);
        self.heard = heard;
    }

    fn take(&mut self, packet: &Packet<'_>, size: usize) {
        assert!(size <= self.maximum_packet_size, "{size} bytes are too many: {packet:?}");
        assert_ne!(self.state, State::Over, "{packet:?} after the end");
        match (self.state, packet) {
            (State::Waiting, Packet::Connack(connack)) if connack.reason == ReasonCode::Success => {
                self.state = State::Open;
            }
            (State::Waiting, Packet::Connack(_)) => self.state = State::Over,
            (State::Waiting, _) => panic!("{packet:?} before CONNACK"),
            (_, Packet::Publish(publish)) => self.take_publish(publish),
            (_, Packet::Pubrel(ack)) => {
                let known = self.unacknowledged.insert(ack.packet_id, Awaits::Pubcomp);
                // A delivery that this connection has not begun was begun by an earlier one.
                assert!(self.lying || matches!(known, None | Some(Awaits::Pubcomp)), "PUBREL before PUBREC");
                self.owed.push_back((AckKind::Pubcomp, ack.packet_id));
            }
            (_, Packet::Disconnect(_)) => {
                assert_eq!(self.version, Some(Version::V5));
                self.state = State::Over;
            }
            (
                _,
                Packet::Puback(_)
                | Packet::Pubrec(_)
                | Packet::Pubcomp(_)
                | Packet::Suback(_)
                | Packet::Unsuback(_)
                | Packet::Pingresp,
            ) => {}
            (_, other) => panic!("the broker sent {other:?}"),
        }
    }

    fn take_publish(&mut self, publish: &Publish<'_>) {
        self.check_topic(publish);
        let Some(id) = publish.packet_id else { return };
        let (awaits, kind) = match publish.qos {
            QoS::ExactlyOnce => (Awaits::Pubrec, AckKind::Pubrec),
            _ => (Awaits::Puback, AckKind::Puback),
        };
        let old = self.unacknowledged.insert(id, awaits);
        self.owed.push_back((kind, id));
        if !self.lying {
            assert_eq!(old, None, "identifier {id} is used twice");
            let most = usize::from(self.receive_maximum);
            let begun = self.unacknowledged.values().filter(|awaits| **awaits != Awaits::Pubcomp).count();
            assert!(begun <= most, "{begun} messages, Receive Maximum {most}");
        }
    }

    fn check_topic(&mut self, publish: &Publish<'_>) {
        let alias = publish.properties.topic_alias();
        let topic = match alias.filter(|_| publish.topic.is_empty()) {
            Some(alias) => self.aliases.get(&alias).expect("an alias that was introduced"),
            None => publish.topic,
        };
        assert!(TopicName::parse(topic).is_ok(), "{topic:?}");
        if let Some(alias) = alias {
            assert!(alias > 0 && alias <= self.topic_alias_maximum, "alias {alias}");
            let topic = topic.to_owned();
            self.aliases.insert(alias, topic);
        }
    }
}
