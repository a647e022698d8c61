//! Packets for clients to send, and what they answer.
#![allow(dead_code, reason = "each test sends others")]

use midge::codec::ack::{Ack, AckKind};
use midge::codec::connect::Connect;
use midge::codec::disconnect::Disconnect;
use midge::codec::frame::{Framing, split};
use midge::codec::packet::{Packet, decode};
use midge::codec::packet_id::PacketId;
use midge::codec::properties::{Properties, PropertyWriter};
use midge::codec::publish::Publish;
use midge::codec::qos::QoS;
use midge::codec::reason::ReasonCode;
use midge::codec::subscribe::{Subscribe, SubscriptionOptions, SubscriptionRequest};
use midge::codec::unsubscribe::{Unsubscribe, encode_filter};
use midge::codec::version::Version;

pub const PAYLOAD: [u8; 64] = [b'x'; 64];

pub fn id(number: usize) -> PacketId {
    PacketId::new(number as u16).unwrap()
}

/// CONNECT for a session that ends with its connection.
pub fn connect(version: Version, client_id: &str, out: &mut Vec<u8>) {
    connect_with(version, client_id, true, Properties::EMPTY, out);
}

/// CONNECT of MQTT 5 for a session that ends so many seconds after its connection.
pub fn connect_for(seconds: u32, client_id: &str, out: &mut Vec<u8>) {
    let mut properties = Vec::new();
    PropertyWriter::new(&mut properties).session_expiry_interval(seconds);
    let properties = Properties::from_encoded(&properties).unwrap();
    connect_with(Version::V5, client_id, false, properties, out);
}

fn connect_with(
    version: Version,
    client_id: &str,
    clean_start: bool,
    properties: Properties<'_>,
    out: &mut Vec<u8>,
) {
    let packet = Connect {
        version,
        clean_start,
        keep_alive: 60,
        is_bridge: false,
        client_id,
        will: None,
        username: None,
        password: None,
        properties,
    };
    Packet::Connect(packet).encode(version, out);
}

pub fn disconnect(version: Version, out: &mut Vec<u8>) {
    let packet = Disconnect { reason: ReasonCode::Success, properties: Properties::EMPTY };
    packet.encode(version, out);
}

pub fn publish(version: Version, topic: &str, qos: QoS, packet_id: usize, retain: bool, out: &mut Vec<u8>) {
    let packet_id = (qos > QoS::AtMostOnce).then(|| id(packet_id));
    let properties = Properties::EMPTY;
    let packet = Publish { dup: false, qos, retain, topic, packet_id, properties, payload: &PAYLOAD };
    packet.encode(version, out);
}

pub fn subscribe(version: Version, filters: &[String], qos: QoS, out: &mut Vec<u8>) {
    let mut requests = Vec::new();
    for filter in filters {
        let options = SubscriptionOptions { qos, ..SubscriptionOptions::default() };
        SubscriptionRequest { filter, options }.encode(&mut requests);
    }
    Subscribe::from_encoded(id(1), Properties::EMPTY, &requests).unwrap().encode(version, out);
}

pub fn unsubscribe(version: Version, filters: &[String], out: &mut Vec<u8>) {
    let mut encoded = Vec::new();
    filters.iter().for_each(|filter| encode_filter(filter, &mut encoded));
    Unsubscribe::from_encoded(id(1), Properties::EMPTY, &encoded).unwrap().encode(version, out);
}

/// Appends what a client answers to the packets in `received`, which are whole.
pub fn answer(version: Version, mut received: &[u8], out: &mut Vec<u8>) {
    while let Ok(Framing::Complete(frame)) = split(received, u32::MAX) {
        received = &received[frame.whole.len()..];
        let (kind, id) = match decode(frame, version).unwrap() {
            Packet::Publish(publish) => match (publish.qos, publish.packet_id) {
                (QoS::AtLeastOnce, Some(id)) => (AckKind::Puback, id),
                (QoS::ExactlyOnce, Some(id)) => (AckKind::Pubrec, id),
                _ => continue,
            },
            Packet::Pubrec(ack) => (AckKind::Pubrel, ack.packet_id),
            Packet::Pubrel(ack) => (AckKind::Pubcomp, ack.packet_id),
            _ => continue,
        };
        Ack::success(id).encode(kind, version, out);
    }
    assert!(received.is_empty());
}
