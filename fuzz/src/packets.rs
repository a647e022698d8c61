//! Packets that a client may send, mostly right, from random bytes.

use midge::codec::ack::{Ack, AckKind};
use midge::codec::auth::Auth;
use midge::codec::connect::{Connect, Will};
use midge::codec::disconnect::Disconnect;
use midge::codec::packet::Packet;
use midge::codec::packet_id::PacketId;
use midge::codec::properties::{Properties, PropertyWriter};
use midge::codec::publish::Publish;
use midge::codec::qos::QoS;
use midge::codec::reason::ReasonCode;
use midge::codec::subscribe::{RetainHandling, Subscribe, SubscriptionOptions, SubscriptionRequest};
use midge::codec::topic::TopicName;
use midge::codec::unsubscribe::{Unsubscribe, encode_filter};
use midge::codec::version::Version;

use super::codec::VERSIONS;
use super::input::Input;

pub const QOS: [QoS; 3] = [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce];
pub const TOPICS: [&str; 8] = ["a", "b", "a/b", "a/b/c", "/", "$x/a", "$SYS/broker/version", "b/"];
pub const FILTERS: [&str; 20] = [
    "a",
    "a/b",
    "a/b/c",
    "#",
    "+",
    "+/b",
    "a/#",
    "a/+/c",
    "b",
    "/",
    "$SYS/#",
    "$x/+",
    "$share/g/a",
    "$share/g/#",
    "$share/h/a/b",
    "$queue/a",
    "$SYS/broker/clients/+",
    "$queue/",
    "",
    "+/+/+",
];
const CLIENTS: [&str; 4] = ["a", "b", "c", ""];
const REASONS: [ReasonCode; 5] = [
    ReasonCode::Success,
    ReasonCode::DisconnectWithWill,
    ReasonCode::UnspecifiedError,
    ReasonCode::NoMatchingSubscribers,
    ReasonCode::PacketIdentifierNotFound,
];

/// A CONNECT packet, whose version is returned.
pub fn connect(input: &mut Input<'_>, out: &mut Vec<u8>) -> Version {
    let version = input.pick(&VERSIONS);
    let bits = input.byte();
    let (mut properties, mut will_properties) = (Vec::new(), Vec::new());
    if version.is_v5() {
        connect_properties(input, &mut properties);
    }
    let will = (bits & 1 != 0).then(|| {
        if version.is_v5() {
            PropertyWriter::new(&mut will_properties).will_delay_interval(input.pick(&[0, 1, 30]));
            message_properties(input, &mut will_properties);
        }
        (input.pick(&TOPICS), input.bytes(3), input.pick(&QOS), input.flag())
    });
    let will = will.map(|(topic, payload, qos, retain)| Will {
        topic: TopicName::parse(topic).unwrap(),
        payload,
        qos,
        retain,
        properties: checked(&will_properties),
    });
    let connect = Connect {
        version,
        clean_start: bits & 2 != 0,
        keep_alive: input.pick(&[0, 1, 20]),
        is_bridge: false,
        client_id: input.pick(&CLIENTS),
        will,
        username: (bits & 4 != 0).then_some("user"),
        password: (bits & 8 != 0).then_some(b"secret"),
        properties: checked(&properties),
    };
    Packet::Connect(connect).encode(version, out);
    version
}

fn connect_properties(input: &mut Input<'_>, out: &mut Vec<u8>) {
    let bits = input.byte();
    let mut writer = PropertyWriter::new(out);
    if bits & 1 != 0 {
        writer.session_expiry_interval(input.pick(&[0, 5, 60, u32::MAX]));
    }
    if bits & 2 != 0 {
        writer.receive_maximum(input.pick(&[1, 2, 65535]));
    }
    if bits & 4 != 0 {
        writer.maximum_packet_size(input.pick(&[1, 12, 40, 1000]));
    }
    if bits & 8 != 0 {
        writer.topic_alias_maximum(input.pick(&[1, 2, 20]));
    }
    if bits & 16 != 0 {
        writer.request_problem_information(input.flag());
    }
    if bits & 0xE0 == 0xE0 {
        writer.authentication_method("m");
    }
}

/// Any packet but CONNECT, or bytes that are none.
pub fn packet(input: &mut Input<'_>, version: Version, out: &mut Vec<u8>) {
    match input.below(16) {
        0..5 => publish(input, version, out),
        5..8 => subscribe(input, version, out),
        8 => unsubscribe(input, version, out),
        9 | 10 => {
            let kind = input.pick(&[AckKind::Puback, AckKind::Pubrec, AckKind::Pubrel, AckKind::Pubcomp]);
            ack(kind, id(input), input.pick(&REASONS), version, out);
        }
        11 => Packet::Pingreq.encode(version, out),
        12 => disconnect(input, version, out),
        13 => {
            let length = input.below(24);
            out.extend_from_slice(input.bytes(length));
        }
        14 => {
            let reason = ReasonCode::ReAuthenticate;
            Packet::Auth(Auth { reason, properties: Properties::EMPTY }).encode(version, out);
        }
        _ => _ = connect(input, out),
    }
}

/// An acknowledgement.
pub fn ack(kind: AckKind, packet_id: PacketId, reason: ReasonCode, version: Version, out: &mut Vec<u8>) {
    Ack { packet_id, reason, properties: Properties::EMPTY }.encode(kind, version, out);
}

pub fn options(input: &mut Input<'_>) -> SubscriptionOptions {
    let bits = input.byte();
    SubscriptionOptions {
        qos: input.pick(&QOS),
        no_local: bits & 1 != 0,
        retain_as_published: bits & 2 != 0,
        retain_handling: [RetainHandling::SendAlways, RetainHandling::SendIfNew, RetainHandling::DoNotSend]
            [usize::from(bits >> 2) % 3],
    }
}

/// A payload: short, or of a size around which payloads are handled in another way.
pub fn payload(input: &mut Input<'_>) -> Vec<u8> {
    let byte = input.byte();
    match byte {
        0..248 => input.bytes(usize::from(byte) % 5).to_vec(),
        248 | 249 => vec![byte; 40_000],
        250..253 => vec![byte; 100],
        _ => vec![byte; 8190 + usize::from(byte - 253)],
    }
}

pub fn message_properties(input: &mut Input<'_>, out: &mut Vec<u8>) {
    let bits = input.byte();
    let mut writer = PropertyWriter::new(out);
    if bits & 1 != 0 {
        // Not 0: when a message that has expired at once leaves the queue depends on when the line is written to.
        writer.message_expiry_interval(input.pick(&[1, 2, 30, 1000]));
    }
    if bits & 2 != 0 {
        writer.payload_format_indicator(bits >> 7);
    }
    if bits & 4 != 0 {
        writer.user_property("k", "v");
    }
    if bits & 8 != 0 {
        writer.response_topic("a").correlation_data(&[1]);
    }
    if bits & 16 != 0 {
        writer.content_type("t");
    }
}

fn publish(input: &mut Input<'_>, version: Version, out: &mut Vec<u8>) {
    let (bits, qos) = (input.byte(), input.pick(&QOS));
    let mut properties = Vec::new();
    let mut topic = input.pick(&TOPICS);
    if version.is_v5() && bits & 1 != 0 {
        if bits & 2 != 0 {
            PropertyWriter::new(&mut properties).topic_alias(input.pick(&[1, 2, 16, 17]));
            topic = if bits & 4 != 0 { "" } else { topic };
        }
        message_properties(input, &mut properties);
    }
    let publish = Publish {
        dup: bits & 8 != 0,
        qos,
        retain: bits & 16 != 0,
        topic,
        packet_id: (qos != QoS::AtMostOnce).then(|| id(input)),
        properties: checked(&properties),
        payload: &payload(input),
    };
    publish.encode(version, out);
}

fn subscribe(input: &mut Input<'_>, version: Version, out: &mut Vec<u8>) {
    let (mut requests, mut properties) = (Vec::new(), Vec::new());
    let count = input.pick(&[1, 1, 1, 2, 3]);
    for _ in 0..count {
        SubscriptionRequest { filter: input.pick(&FILTERS), options: options(input) }.encode(&mut requests);
    }
    let identifier = input.pick(&[0, 0, 1, 268_435_455]);
    if version.is_v5() && identifier != 0 {
        PropertyWriter::new(&mut properties).subscription_identifier(identifier);
    }
    if let Ok(subscribe) = Subscribe::from_encoded(id(input), checked(&properties), &requests) {
        subscribe.encode(version, out);
    }
}

fn unsubscribe(input: &mut Input<'_>, version: Version, out: &mut Vec<u8>) {
    let mut filters = Vec::new();
    for _ in 0..=input.below(2) {
        encode_filter(input.pick(&FILTERS), &mut filters);
    }
    if let Ok(unsubscribe) = Unsubscribe::from_encoded(id(input), Properties::EMPTY, &filters) {
        unsubscribe.encode(version, out);
    }
}

fn disconnect(input: &mut Input<'_>, version: Version, out: &mut Vec<u8>) {
    let mut properties = Vec::new();
    if version.is_v5() && input.flag() {
        PropertyWriter::new(&mut properties).session_expiry_interval(input.pick(&[0, 5, u32::MAX]));
    }
    let reason = input.pick(&REASONS);
    Packet::Disconnect(Disconnect { reason, properties: checked(&properties) }).encode(version, out);
}

fn id(input: &mut Input<'_>) -> PacketId {
    PacketId::new(input.pick(&[1, 2, 3, 4, 65535])).unwrap()
}

/// What was written by a `PropertyWriter`; none if it holds a value that must not be.
fn checked(encoded: &[u8]) -> Properties<'_> {
    Properties::from_encoded(encoded).unwrap_or(Properties::EMPTY)
}
