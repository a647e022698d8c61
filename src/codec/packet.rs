//! Any packet: from a frame to its type and back.

use crate::codec::ack::{Ack, AckKind};
use crate::codec::auth::Auth;
use crate::codec::connack::Connack;
use crate::codec::connect::Connect;
use crate::codec::disconnect::Disconnect;
use crate::codec::error::DecodeError;
use crate::codec::frame::{Frame, packet_type};
use crate::codec::ping::{encode_pingreq, encode_pingresp};
use crate::codec::publish::Publish;
use crate::codec::suback::Suback;
use crate::codec::subscribe::Subscribe;
use crate::codec::unsuback::Unsuback;
use crate::codec::unsubscribe::Unsubscribe;
use crate::codec::version::Version;

/// A packet of any type. It borrows from the bytes it was decoded from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packet<'a> {
    /// Type 1.
    Connect(Connect<'a>),
    /// Type 2.
    Connack(Connack<'a>),
    /// Type 3.
    Publish(Publish<'a>),
    /// Type 4.
    Puback(Ack<'a>),
    /// Type 5.
    Pubrec(Ack<'a>),
    /// Type 6.
    Pubrel(Ack<'a>),
    /// Type 7.
    Pubcomp(Ack<'a>),
    /// Type 8.
    Subscribe(Subscribe<'a>),
    /// Type 9.
    Suback(Suback<'a>),
    /// Type 10.
    Unsubscribe(Unsubscribe<'a>),
    /// Type 11.
    Unsuback(Unsuback<'a>),
    /// Type 12.
    Pingreq,
    /// Type 13.
    Pingresp,
    /// Type 14.
    Disconnect(Disconnect<'a>),
    /// Type 15, in MQTT 5 alone.
    Auth(Auth<'a>),
}

/// The packet in `frame`.
///
/// `version` is that of the connection; a CONNECT has its own and ignores it. Packets of both directions are decoded;
/// the caller checks whether the peer may send this one.
///
/// # Errors
/// The packet does not obey the specification; the error holds the reason code to answer with.
#[inline]
pub fn decode<'a>(frame: Frame<'a>, version: Version) -> Result<Packet<'a>, DecodeError> {
    if version.is_v5() {
        check_shortest(&frame)?;
    }
    if packet_type(frame.first) == 3 {
        return Publish::decode(frame.first, frame.body, version).map(Packet::Publish);
    }
    decode_other(frame, version)
}

impl Packet<'_> {
    /// Appends the packet. What `version` does not know is left out; a CONNECT is written in its own version.
    pub fn encode(&self, version: Version, out: &mut Vec<u8>) {
        match self {
            Packet::Connect(packet) => packet.encode(out),
            Packet::Connack(packet) => packet.encode(version, out),
            Packet::Publish(packet) => packet.encode(version, out),
            Packet::Puback(packet) => packet.encode(AckKind::Puback, version, out),
            Packet::Pubrec(packet) => packet.encode(AckKind::Pubrec, version, out),
            Packet::Pubrel(packet) => packet.encode(AckKind::Pubrel, version, out),
            Packet::Pubcomp(packet) => packet.encode(AckKind::Pubcomp, version, out),
            Packet::Subscribe(packet) => packet.encode(version, out),
            Packet::Suback(packet) => packet.encode(version, out),
            Packet::Unsubscribe(packet) => packet.encode(version, out),
            Packet::Unsuback(packet) => packet.encode(version, out),
            Packet::Pingreq => encode_pingreq(out),
            Packet::Pingresp => encode_pingresp(out),
            Packet::Disconnect(packet) => packet.encode(version, out),
            Packet::Auth(packet) => packet.encode(version, out),
        }
    }

    /// The specification's name of the packet type.
    pub const fn name(&self) -> &'static str {
        match self {
            Packet::Connect(_) => "CONNECT",
            Packet::Connack(_) => "CONNACK",
            Packet::Publish(_) => "PUBLISH",
            Packet::Puback(_) => "PUBACK",
            Packet::Pubrec(_) => "PUBREC",
            Packet::Pubrel(_) => "PUBREL",
            Packet::Pubcomp(_) => "PUBCOMP",
            Packet::Subscribe(_) => "SUBSCRIBE",
            Packet::Suback(_) => "SUBACK",
            Packet::Unsubscribe(_) => "UNSUBSCRIBE",
            Packet::Unsuback(_) => "UNSUBACK",
            Packet::Pingreq => "PINGREQ",
            Packet::Pingresp => "PINGRESP",
            Packet::Disconnect(_) => "DISCONNECT",
            Packet::Auth(_) => "AUTH",
        }
    }
}

fn decode_other<'a>(frame: Frame<'a>, version: Version) -> Result<Packet<'a>, DecodeError> {
    let Frame { first, body, .. } = frame;
    if packet_type(first) == 1 {
        return Ok(Packet::Connect(decode_connect(&frame)?));
    }
    check_flags(first, version)?;
    Ok(match packet_type(first) {
        2 => Packet::Connack(Connack::decode(body, version)?),
        4 => Packet::Puback(Ack::decode(AckKind::Puback, body, version)?),
        5 => Packet::Pubrec(Ack::decode(AckKind::Pubrec, body, version)?),
        6 => Packet::Pubrel(Ack::decode(AckKind::Pubrel, body, version)?),
        7 => Packet::Pubcomp(Ack::decode(AckKind::Pubcomp, body, version)?),
        8 => Packet::Subscribe(Subscribe::decode(body, version)?),
        9 => Packet::Suback(Suback::decode(body, version)?),
        10 => Packet::Unsubscribe(Unsubscribe::decode(body, version)?),
        11 => Packet::Unsuback(Unsuback::decode(body, version)?),
        12 => without_body(body, Packet::Pingreq)?,
        13 => without_body(body, Packet::Pingresp)?,
        14 => Packet::Disconnect(Disconnect::decode(body, version)?),
        15 if version.is_v5() => Packet::Auth(Auth::decode(body)?),
        15 => return Err(DecodeError::malformed("AUTH is not a packet of this version")),
        _ => return Err(DecodeError::malformed("the packet type is 0")),
    })
}

fn decode_connect<'a>(frame: &Frame<'a>) -> Result<Connect<'a>, DecodeError> {
    let connect = Connect::decode(frame.body)?;
    check_flags(frame.first, connect.version)?;
    if connect.version.is_v5() {
        check_shortest(frame)?;
    }
    Ok(connect)
}

fn without_body<'a>(body: &[u8], packet: Packet<'a>) -> Result<Packet<'a>, DecodeError> {
    if body.is_empty() {
        Ok(packet)
    } else {
        Err(DecodeError::malformed("the remaining length of a packet without a body is not 0"))
    }
}

/// Checks the flags of every packet but PUBLISH: 2 for PUBREL, SUBSCRIBE and UNSUBSCRIBE, 0 for the others.
///
/// MQTT 3.1 uses none but the QoS of these three, and DUP where they are repeated.
/// [MQTT-3.14.1-1], [MQTT3-3.14.1-1], [MQTT-3.15.1-1]
fn check_flags(first: u8, version: Version) -> Result<(), DecodeError> {
    let (expected, ignored) = match (packet_type(first), version) {
        (6 | 8 | 10, Version::V31) => (2, 0x09),
        (6 | 8 | 10, _) => (2, 0),
        (_, Version::V31) => (0, 0x0F),
        _ => (0, 0),
    };
    if first & 0x0F & !ignored == expected {
        Ok(())
    } else {
        // [MQTT3-2.2.2-1], [MQTT3-2.2.2-2]
        Err(DecodeError::malformed("the fixed header has flags that its packet type does not allow")) // [MQTT-2.1.3-1]
    }
}

/// MQTT 5 requires the Remaining Length in its shortest form.
#[inline]
fn check_shortest(frame: &Frame<'_>) -> Result<(), DecodeError> {
    if frame.is_shortest() {
        Ok(())
    } else {
        Err(DecodeError::malformed("the remaining length is longer than it needs to be")) // [MQTT-1.5.5-1]
    }
}

#[cfg(test)]
mod tests {
    use super::Packet;
    use crate::codec::reason::ReasonCode;
    use crate::codec::testing::{ALL_VERSIONS, V3, assert_golden, assert_refused, decode_bytes};
    use crate::codec::version::Version;

    #[test]
    fn pings_are_two_bytes() {
        for version in ALL_VERSIONS {
            assert_golden(version, &[0xC0, 0], &Packet::Pingreq);
            assert_golden(version, &[0xD0, 0], &Packet::Pingresp);
            for bytes in [&[0xC0, 1, 0][..], &[0xD0, 1, 0]] {
                assert_refused(version, bytes, ReasonCode::MalformedPacket);
            }
            for bytes in [&[0xC1, 0][..], &[0xD8, 0]].into_iter().filter(|_| version > Version::V31) {
                assert_refused(version, bytes, ReasonCode::MalformedPacket);
            }
        }
    }

    /// [MQTT3-2.2.2-1], [MQTT3-2.2.2-2]
    #[test]
    fn type_0_is_no_packet() {
        for version in ALL_VERSIONS {
            assert_refused(version, &[0x00, 0], ReasonCode::MalformedPacket);
        }
    }

    /// [MQTT-1.5.5-1]
    #[test]
    fn mqtt_1_5_5_1_the_remaining_length_is_the_shortest_in_mqtt_5() {
        assert_refused(Version::V5, &[0xC0, 0x80, 0], ReasonCode::MalformedPacket);
        assert_refused(Version::V5, b"\x30\x84\x00\x00\x01a\x00", ReasonCode::MalformedPacket);
        // A CONNECT carries its own version.
        let connect = b"\x10\x8e\x00\x00\x04MQTT\x05\x02\x00\x3c\x00\x00\x01a";
        assert_refused(Version::V311, connect, ReasonCode::MalformedPacket);
        for version in V3 {
            assert_eq!(decode_bytes(&[0xC0, 0x80, 0], version), Ok(Packet::Pingreq));
        }
    }

    /// In MQTT 3.1 a packet uses DUP where it is repeated, and the QoS of three types; the other flags are "not used".
    #[test]
    fn flags_that_are_not_used_are_ignored_in_3_1_alone() {
        let ack = [2, 0, 1].as_slice();
        let subscribe = [6, 0, 1, 0, 1, b'a', 0].as_slice();
        let unsubscribe = [5, 0, 1, 0, 1, b'a'].as_slice();
        for (kind, rest) in [
            (4, ack),
            (5, ack),
            (6, ack),
            (7, ack),
            (8, subscribe),
            (10, unsubscribe),
            (12, &[0]),
            (14, &[0]),
        ] {
            let used: u8 = if matches!(kind, 6 | 8 | 10) { 2 } else { 0 };
            for flags in 0..16 {
                let bytes = [&[kind << 4 | flags], rest].concat();
                let taken = decode_bytes(&bytes, Version::V31).is_ok();
                assert_eq!(taken, used == 0 || flags & 6 == used, "type {kind}, flags {flags}");
                let taken = decode_bytes(&bytes, Version::V311).is_ok();
                assert_eq!(taken, flags == used, "type {kind}, flags {flags}");
            }
        }
    }

    #[test]
    fn a_packet_knows_its_name() {
        let cases: [(&[u8], &str); 5] = [
            (&[0xC0, 0], "PINGREQ"),
            (&[0xE0, 0], "DISCONNECT"),
            (&[0x40, 2, 0, 1], "PUBACK"),
            (&[0x20, 3, 0, 0, 0], "CONNACK"),
            (b"\x30\x04\x00\x01a\x00", "PUBLISH"),
        ];
        for (bytes, name) in cases {
            assert_eq!(decode_bytes(bytes, Version::V5).unwrap().name(), name);
        }
    }
}
