//! What a client receives, in owned values that tests compare.

use midge::codec::ack::AckKind;
use midge::codec::frame::{Framing, split};
use midge::codec::packet::{Packet, decode};
use midge::codec::properties::Properties;
use midge::codec::qos::QoS;
use midge::codec::reason::ReasonCode;
use midge::codec::version::Version;

/// A packet from the broker. Properties are encoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Received {
    Connack { present: bool, reason: ReasonCode, properties: Vec<u8> },
    Publish(Message),
    Ack { kind: AckKind, id: u16, reason: ReasonCode },
    Suback { id: u16, reasons: Vec<u8> },
    Unsuback { id: u16, reasons: Vec<u8> },
    Pingresp,
    Disconnect(ReasonCode),
    Auth { reason: ReasonCode, properties: Vec<u8> },
}

/// A PUBLISH from the broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    pub topic: String,
    pub payload: Vec<u8>,
    pub qos: QoS,
    pub retain: bool,
    pub dup: bool,
    /// The Packet Identifier; 0 with QoS 0.
    pub id: u16,
    encoded: Vec<u8>,
}

impl Message {
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.payload).unwrap()
    }

    pub fn properties(&self) -> Properties<'_> {
        Properties::from_encoded(&self.encoded).unwrap()
    }

    /// The Subscription Identifiers, sorted.
    pub fn identifiers(&self) -> Vec<u32> {
        let mut all: Vec<u32> = self.identifiers_as_sent();
        all.sort_unstable();
        all
    }

    /// The Subscription Identifiers, in the order of the packet.
    pub fn identifiers_as_sent(&self) -> Vec<u32> {
        self.properties().subscription_identifiers().collect()
    }
}

impl Received {
    /// The first packet of `bytes`, and how long it is; `None` if it is not whole.
    pub fn split_off(bytes: &[u8], version: Version) -> Option<(Received, usize)> {
        match split(bytes, u32::MAX).unwrap() {
            Framing::Partial { .. } => None,
            Framing::Complete(frame) => {
                let length = frame.whole.len();
                let packet = decode(frame, version)
                    .unwrap_or_else(|error| panic!("the broker wrote {bytes:02x?}: {error}"));
                Some((Received::of(packet), length))
            }
        }
    }

    fn of(packet: Packet<'_>) -> Received {
        let ack = |kind, ack: midge::codec::ack::Ack<'_>| Received::Ack {
            kind,
            id: ack.packet_id.get(),
            reason: ack.reason,
        };
        match packet {
            Packet::Connack(p) => Received::Connack {
                present: p.session_present,
                reason: p.reason,
                properties: p.properties.raw().to_vec(),
            },
            Packet::Publish(p) => Received::Publish(Message {
                topic: p.topic.to_owned(),
                payload: p.payload.to_vec(),
                qos: p.qos,
                retain: p.retain,
                dup: p.dup,
                id: p.packet_id.map_or(0, |id| id.get()),
                encoded: p.properties.raw().to_vec(),
            }),
            Packet::Puback(p) => ack(AckKind::Puback, p),
            Packet::Pubrec(p) => ack(AckKind::Pubrec, p),
            Packet::Pubrel(p) => ack(AckKind::Pubrel, p),
            Packet::Pubcomp(p) => ack(AckKind::Pubcomp, p),
            Packet::Suback(p) => Received::Suback { id: p.packet_id.get(), reasons: p.reasons.to_vec() },
            Packet::Unsuback(p) => Received::Unsuback { id: p.packet_id.get(), reasons: p.reasons.to_vec() },
            Packet::Pingresp => Received::Pingresp,
            Packet::Disconnect(p) => Received::Disconnect(p.reason),
            Packet::Auth(p) => Received::Auth { reason: p.reason, properties: p.properties.raw().to_vec() },
            other => panic!("the broker sent a client's packet: {other:?}"),
        }
    }
}
