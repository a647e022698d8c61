//! A client at the other end of a fake line.

use std::collections::VecDeque;
use std::sync::Arc;

use midge::codec::ack::{Ack, AckKind};
use midge::codec::disconnect::Disconnect;
use midge::codec::packet::Packet;
use midge::codec::packet_id::PacketId;
use midge::codec::properties::{Properties, PropertyWriter};
use midge::codec::publish::Publish;
use midge::codec::qos::QoS;
use midge::codec::reason::ReasonCode;
use midge::codec::subscribe::{Subscribe, SubscriptionOptions, SubscriptionRequest};
use midge::codec::unsubscribe::{Unsubscribe, encode_filter};
use midge::codec::version::Version;
use midge::engine::connection::state::Connection;
use midge::engine::core::turn::Turn;
use midge::session::link::{Cause, Link};

use crate::harness::{ALL, Line, Message, Network, Received};

/// A client, connected or not.
pub struct Client<'n> {
    pub network: &'n Network,
    pub version: Version,
    pub line: Arc<Line>,
    pub connection: Connection,
    /// The properties of CONNACK, encoded.
    pub greeting: Vec<u8>,
    /// What was sent and is the beginning of a packet.
    unfinished: Vec<u8>,
    /// What arrived and was not looked at.
    arrived: VecDeque<u8>,
    last_id: u16,
}

/// The Packet Identifier with this number.
pub fn id(number: u16) -> PacketId {
    PacketId::new(number).unwrap()
}

/// Writes packets for a client to send together.
#[derive(Default)]
pub struct Packets(pub Vec<u8>);

impl<'n> Client<'n> {
    /// A connection on which CONNECT was not yet sent.
    pub fn open(network: &'n Network, version: Version) -> Client<'n> {
        let line = Arc::new(Line::default());
        let link = Arc::clone(&line) as Arc<dyn Link>;
        let connection = Connection::new(&network.engine, &mut network.turn(), link, None);
        Client {
            network,
            version,
            line,
            connection,
            greeting: Vec::new(),
            unfinished: Vec::new(),
            arrived: VecDeque::new(),
            last_id: 0,
        }
    }

    /// The properties of CONNACK.
    pub fn told(&self) -> Properties<'_> {
        Properties::from_encoded(&self.greeting).unwrap()
    }

    /// Sends bytes; whether the broker takes more.
    pub fn send_bytes(&mut self, bytes: &[u8]) -> bool {
        self.unfinished.extend_from_slice(bytes);
        let open = self.receive();
        self.poll();
        open
    }

    /// Sends each portion by itself, all in one turn; whether the broker takes more.
    pub fn send_in_one_turn(&mut self, portions: &[Vec<u8>]) -> bool {
        let mut open = true;
        let mut turn = self.network.turn();
        for portion in portions {
            self.unfinished.extend_from_slice(portion);
            open = self.receive_in(&mut turn);
        }
        turn.finish();
        self.poll();
        open
    }

    /// Hands over what was sent and is not handled.
    fn receive(&mut self) -> bool {
        let mut turn = self.network.turn();
        self.receive_in(&mut turn)
    }

    fn receive_in(&mut self, turn: &mut Turn) -> bool {
        let progress = self.connection.receive(&self.network.engine, turn, &self.unfinished, None);
        self.unfinished.drain(..progress.consumed);
        progress.open
    }

    pub fn send(&mut self, packet: &Packet<'_>) -> bool {
        let mut out = Vec::new();
        packet.encode(self.version, &mut out);
        self.send_bytes(&out)
    }

    /// Sends a PUBLISH, and waits for nothing. `packet_id` 0 is none.
    pub fn send_publish(&mut self, topic: &str, payload: &str, qos: QoS, packet_id: u16) -> bool {
        let packets = Packets::default().publish(self.version, topic, payload, qos, packet_id);
        self.send_bytes(&packets.0)
    }

    /// Sends a PUBLISH of MQTT 5 with properties.
    pub fn send_with(
        &mut self,
        topic: &str,
        payload: &[u8],
        qos: QoS,
        retain: bool,
        write: impl FnOnce(&mut PropertyWriter<'_>),
    ) -> u16 {
        let mut properties = Vec::new();
        write(&mut PropertyWriter::new(&mut properties));
        let properties = Properties::from_encoded(&properties).unwrap();
        let packet_id = (qos > QoS::AtMostOnce).then(|| id(self.next_id()));
        self.send(&Packet::Publish(Publish {
            dup: false,
            qos,
            retain,
            topic,
            packet_id,
            properties,
            payload,
        }));
        packet_id.map_or(0, PacketId::get)
    }

    /// Publishes and sees the handshake through; the reason code of its first answer.
    pub fn publish(&mut self, topic: &str, payload: &str, qos: QoS) -> ReasonCode {
        let id = self.send_with(topic, payload.as_bytes(), qos, false, |_| {});
        self.complete(qos, id)
    }

    /// Publishes with RETAIN and sees the handshake through.
    pub fn retain(&mut self, topic: &str, payload: &str, qos: QoS) -> ReasonCode {
        let id = self.send_with(topic, payload.as_bytes(), qos, true, |_| {});
        self.complete(qos, id)
    }

    /// The rest of a publishing handshake. Messages that arrive meanwhile wait for [`Client::next`].
    pub fn complete(&mut self, qos: QoS, id: u16) -> ReasonCode {
        match qos {
            QoS::AtMostOnce => ReasonCode::Success,
            QoS::AtLeastOnce => self.await_ack(AckKind::Puback, id),
            QoS::ExactlyOnce => {
                let reason = self.await_ack(AckKind::Pubrec, id);
                if !reason.is_error() {
                    self.send_ack(AckKind::Pubrel, id);
                    self.await_ack(AckKind::Pubcomp, id);
                }
                reason
            }
        }
    }

    fn await_ack(&mut self, kind: AckKind, number: u16) -> ReasonCode {
        match self.next_other() {
            Some(Received::Ack { kind: k, id, reason }) if (k, id) == (kind, number) => reason,
            other => panic!("expected {kind:?} {number}: {other:?}"),
        }
    }

    /// Subscribes, and expects the QoS to be granted.
    pub fn subscribe(&mut self, filter: &str, qos: QoS) {
        let granted = self.subscribe_with(filter, SubscriptionOptions::with_qos(qos), 0);
        assert_eq!(granted, qos.as_u8(), "{filter}");
    }

    /// Subscribes; the reason code. The identifier 0 is none.
    pub fn subscribe_with(&mut self, filter: &str, options: SubscriptionOptions, identifier: u32) -> u8 {
        let reasons = self.subscribe_all(&[(filter, options)], identifier);
        assert_eq!(reasons.len(), 1);
        reasons[0]
    }

    /// Subscribes to several filters with one packet; the reason codes.
    pub fn subscribe_all(&mut self, filters: &[(&str, SubscriptionOptions)], identifier: u32) -> Vec<u8> {
        let sent = self.send_subscribe(filters, identifier);
        match self.next_other() {
            Some(Received::Suback { id, reasons }) if id == sent => reasons, // [MQTT-3.8.4-2]
            other => panic!("expected SUBACK: {other:?}"),
        }
    }

    /// Sends a SUBSCRIBE and waits for nothing; its Packet Identifier.
    pub fn send_subscribe(&mut self, filters: &[(&str, SubscriptionOptions)], identifier: u32) -> u16 {
        let mut requests = Vec::new();
        for (filter, options) in filters {
            SubscriptionRequest { filter, options: *options }.encode(&mut requests);
        }
        let mut properties = Vec::new();
        if identifier != 0 {
            PropertyWriter::new(&mut properties).subscription_identifier(identifier);
        }
        let number = self.next_id();
        let properties = Properties::from_encoded(&properties).unwrap();
        self.send(&Packet::Subscribe(Subscribe::from_encoded(id(number), properties, &requests).unwrap()));
        number
    }

    /// Unsubscribes; the reason codes, none before MQTT 5.
    pub fn unsubscribe(&mut self, filters: &[&str]) -> Vec<u8> {
        let mut encoded = Vec::new();
        for filter in filters {
            encode_filter(filter, &mut encoded);
        }
        let number = self.next_id();
        let packet = Unsubscribe::from_encoded(id(number), Properties::EMPTY, &encoded).unwrap();
        self.send(&Packet::Unsubscribe(packet));
        match self.next_other() {
            Some(Received::Unsuback { id, reasons }) if id == number => reasons, // [MQTT-3.10.4-4]
            other => panic!("expected UNSUBACK: {other:?}"),
        }
    }

    pub fn send_ack(&mut self, kind: AckKind, number: u16) -> bool {
        self.send_refusal(kind, number, ReasonCode::Success)
    }

    pub fn send_refusal(&mut self, kind: AckKind, number: u16, reason: ReasonCode) -> bool {
        let mut out = Vec::new();
        Ack { packet_id: id(number), reason, properties: Properties::EMPTY }.encode(
            kind,
            self.version,
            &mut out,
        );
        self.send_bytes(&out)
    }

    /// The next packet that has arrived.
    pub fn next(&mut self) -> Option<Received> {
        self.listen();
        let (packet, length) = Received::split_off(self.arrived.make_contiguous(), self.version)?;
        self.arrived.drain(..length);
        Some(packet)
    }

    /// The next packet that is no PUBLISH; those before it stay.
    pub fn next_other(&mut self) -> Option<Received> {
        self.listen();
        let mut at = 0;
        loop {
            let rest = &self.arrived.make_contiguous()[at..];
            match Received::split_off(rest, self.version)? {
                (Received::Publish(_), length) => at += length,
                (packet, length) => {
                    self.arrived.drain(at..at + length);
                    return Some(packet);
                }
            }
        }
    }

    fn listen(&mut self) {
        self.poll();
        self.arrived.extend(self.line.take());
    }

    pub fn expect_publish(&mut self) -> Message {
        match self.next() {
            Some(Received::Publish(message)) => message,
            other => panic!("expected PUBLISH: {other:?}"),
        }
    }

    /// Expects a PUBLISH with this topic and payload.
    pub fn expect_message(&mut self, topic: &str, payload: &str) -> Message {
        let message = self.expect_publish();
        assert_eq!((message.topic.as_str(), message.text()), (topic, payload));
        message
    }

    /// Expects an acknowledgement; its reason code.
    pub fn expect_ack(&mut self, kind: AckKind, number: u16) -> ReasonCode {
        match self.next() {
            Some(Received::Ack { kind: k, id, reason }) if (k, id) == (kind, number) => reason,
            other => panic!("expected {kind:?} {number}: {other:?}"),
        }
    }

    pub fn expect_nothing(&mut self) {
        let next = self.next();
        assert_eq!(next, None);
        assert!(self.arrived.is_empty(), "part of a packet arrived");
    }

    /// Acknowledges a received message in full.
    pub fn acknowledge(&mut self, message: &Message) {
        match message.qos {
            QoS::AtMostOnce => {}
            QoS::AtLeastOnce => _ = self.send_ack(AckKind::Puback, message.id),
            QoS::ExactlyOnce => {
                self.send_ack(AckKind::Pubrec, message.id);
                self.await_ack(AckKind::Pubrel, message.id);
                self.send_ack(AckKind::Pubcomp, message.id);
            }
        }
    }

    /// Acknowledges and returns the payloads of all messages that arrive, until none does.
    pub fn drain(&mut self) -> Vec<String> {
        let mut all = Vec::new();
        while let Some(packet) = self.next() {
            match packet {
                Received::Publish(message) => {
                    self.acknowledge(&message);
                    all.push(message.text().to_owned());
                }
                other => panic!("expected PUBLISH: {other:?}"),
            }
        }
        all
    }

    /// Says goodbye.
    pub fn disconnect(self) {
        self.disconnect_with(ReasonCode::NormalDisconnection, None);
    }

    /// Says goodbye with a reason, and perhaps another Session Expiry Interval.
    pub fn disconnect_with(mut self, reason: ReasonCode, expiry: Option<u32>) {
        assert!(!self.send_disconnect(reason, expiry));
        self.expect_nothing();
        self.hang_up();
    }

    /// Says goodbye, whatever is still on the line.
    pub fn disconnect_with_leftovers(mut self) {
        self.send_disconnect(ReasonCode::NormalDisconnection, None);
        self.hang_up();
    }

    pub fn send_disconnect(&mut self, reason: ReasonCode, expiry: Option<u32>) -> bool {
        let mut properties = Vec::new();
        if let Some(seconds) = expiry {
            PropertyWriter::new(&mut properties).session_expiry_interval(seconds);
        }
        let properties = Properties::from_encoded(&properties).unwrap();
        self.send(&Packet::Disconnect(Disconnect { reason, properties }))
    }

    /// The network connection breaks.
    pub fn hang_up(mut self) {
        self.line.cut();
        self.connection.lost(&self.network.engine, &mut self.network.turn(), Cause::ConnectionLost);
    }

    /// Expects that the broker has closed the connection; MQTT 5 was told why.
    pub fn expect_refused(mut self, reason: ReasonCode) {
        if self.version.is_v5() {
            assert_eq!(self.next(), Some(Received::Disconnect(reason))); // [MQTT-4.13.1-1]
        }
        self.expect_nothing(); // In MQTT 3 a server does not send DISCONNECT.
        assert_eq!(self.line.finished(), Some(Cause::Refused(reason)));
        self.hang_up();
    }

    /// The line has become writable.
    pub fn writable(&mut self) {
        self.connection.writable(&self.network.engine, &mut self.network.turn());
    }

    /// What the connection's task does when it is woken.
    pub fn poll(&mut self) {
        while self.line.take_wake() {
            if self.connection.awaits_host() == Some(false) && !self.is_paused() {
                self.receive();
            }
            let mut turn = self.network.turn();
            if let Some(session) = self.connection.session() {
                self.network.engine.woken(&mut turn, session);
            }
            if self.line.has_room() {
                self.connection.writable(&self.network.engine, &mut turn);
            }
        }
    }

    /// Whether the broker reads no more from the client until the store has committed.
    pub fn is_paused(&self) -> bool {
        self.connection.session().is_some_and(|session| self.network.engine.must_pause(session, false))
    }

    /// A Packet Identifier that was not yet used here.
    pub fn next_id(&mut self) -> u16 {
        self.last_id += 1;
        self.last_id
    }
}

impl Packets {
    pub fn publish(
        mut self,
        version: Version,
        topic: &str,
        payload: &str,
        qos: QoS,
        packet_id: u16,
    ) -> Packets {
        let packet = Publish {
            dup: false,
            qos,
            retain: false,
            topic,
            packet_id: PacketId::new(packet_id),
            properties: Properties::EMPTY,
            payload: payload.as_bytes(),
        };
        packet.encode(version, &mut self.0);
        self
    }

    pub fn packet(mut self, version: Version, packet: &Packet<'_>) -> Packets {
        packet.encode(version, &mut self.0);
        self
    }
}

/// Every version with every other.
pub fn version_pairs() -> impl Iterator<Item = (Version, Version)> {
    ALL.into_iter().flat_map(|a| ALL.into_iter().map(move |b| (a, b)))
}
