//! Bytes to packets, and back.

use midge::codec::error::DecodeError;
use midge::codec::frame::{Frame, Framing, split};
use midge::codec::packet::{Packet, decode};
use midge::codec::properties::Properties;
use midge::codec::publish;
use midge::codec::version::Version;

use super::input::Input;

pub const VERSIONS: [Version; 3] = [Version::V31, Version::V311, Version::V5];

/// Target `decode`: a stream is cut into frames whose boundaries hold, and no frame of it panics in any version.
pub fn decode_any(data: &[u8]) {
    let mut input = Input::new(data);
    let max = input.pick(&[u32::MAX, 0, 16, 300]);
    let mut stream = input.rest();
    loop {
        match split(stream, max) {
            Ok(Framing::Complete(frame)) => {
                check_frame(stream, frame, max);
                for version in VERSIONS {
                    if let Ok(packet) = decode(frame, version) {
                        look_at(&packet);
                    }
                }
                stream = &stream[frame.whole.len()..];
            }
            Ok(Framing::Partial { need }) => {
                assert!(need > stream.len(), "{need} bytes of {stream:02x?} are there");
                return;
            }
            Err(error) => return check_error(error),
        }
    }
}

/// Target `roundtrip`: what is read and written again means the same, is not longer, and is the same bytes where there
/// is one way to write it.
pub fn roundtrip(data: &[u8]) {
    let mut input = Input::new(data);
    let version = input.pick(&VERSIONS);
    let Ok(Framing::Complete(frame)) = split(input.rest(), u32::MAX) else { return };
    let packet = match decode(frame, version) {
        Ok(packet) => packet,
        Err(error) => return check_error(error),
    };
    let mut written = Vec::new();
    packet.encode(version, &mut written);
    let Ok(Framing::Complete(again)) = split(&written, u32::MAX) else {
        panic!("{packet:?} is written as {written:02x?}")
    };
    assert_eq!(again.whole.len(), written.len(), "{packet:?}");
    assert_eq!(decode(again, version), Ok(packet), "{written:02x?}");
    assert!(written.len() <= frame.whole.len(), "{packet:?} grows: {written:02x?}");
    if is_canonical(&packet, frame, version) {
        assert_eq!(written, frame.whole, "{packet:?}");
    }
    if let Packet::Publish(p) = packet {
        let len = publish::encoded_len(
            version,
            p.topic.len(),
            p.packet_id.is_some(),
            p.properties.raw().len(),
            p.payload.len(),
        );
        assert_eq!(len, written.len());
    }
}

/// Whether a packet that was read has one way to be written.
fn is_canonical(packet: &Packet<'_>, frame: Frame<'_>, version: Version) -> bool {
    let shortest = frame.whole.len() - frame.body.len() == header_len(frame.body.len());
    match packet {
        // MQTT 3.1 lets user name and password be missing in spite of their flags.
        Packet::Connect(connect) => shortest && connect.version != Version::V31,
        Packet::Publish(_) => shortest,
        // A reason code 0x00 and an empty Property Length may be left out.
        Packet::Puback(_) | Packet::Pubrec(_) | Packet::Pubrel(_) | Packet::Pubcomp(_) => {
            shortest && version == Version::V311
        }
        Packet::Disconnect(_) | Packet::Auth(_) => false,
        // MQTT 3.1 may set DUP in the fixed header, and reserves the flags of CONNACK for any use.
        _ => shortest && version != Version::V31,
    }
}

/// Bytes of the shortest fixed header of a body.
fn header_len(body: usize) -> usize {
    match body {
        0..0x80 => 2,
        0x80..0x4000 => 3,
        0x4000..0x20_0000 => 4,
        _ => 5,
    }
}

fn check_frame(stream: &[u8], frame: Frame<'_>, max: u32) {
    assert!(frame.whole.len() <= max as usize);
    assert!(stream.starts_with(frame.whole) && frame.whole.ends_with(frame.body));
    assert_eq!(frame.first, frame.whole[0]);
    for cut in [1, frame.whole.len() / 2, frame.whole.len() - 1] {
        match split(&frame.whole[..cut], max) {
            Ok(Framing::Partial { need }) => assert!(need > cut && need <= frame.whole.len()),
            other => panic!("{cut} bytes of {:02x?} are {other:?}", frame.whole),
        }
    }
}

fn check_error(error: DecodeError) {
    assert!(error.reason.is_error() && !error.to_string().is_empty());
}

/// Asks a packet for all that it holds.
fn look_at(packet: &Packet<'_>) {
    let mut properties = Properties::EMPTY;
    match packet {
        Packet::Connect(p) => {
            properties = p.properties;
            if let Some(will) = &p.will {
                walk(will.properties);
            }
        }
        Packet::Connack(p) => properties = p.properties,
        Packet::Publish(p) => {
            properties = p.properties;
            assert_eq!(p.packet_id.is_some(), p.qos.as_u8() > 0);
        }
        Packet::Puback(p) | Packet::Pubrec(p) | Packet::Pubrel(p) | Packet::Pubcomp(p) => {
            properties = p.properties;
        }
        Packet::Subscribe(p) => {
            properties = p.properties;
            assert!(p.filters().count() > 0);
        }
        Packet::Suback(p) => properties = p.properties,
        Packet::Unsubscribe(p) => {
            properties = p.properties;
            assert!(p.filters().count() > 0);
        }
        Packet::Unsuback(p) => properties = p.properties,
        Packet::Disconnect(p) => properties = p.properties,
        Packet::Auth(p) => properties = p.properties,
        Packet::Pingreq | Packet::Pingresp => {}
    }
    walk(properties);
    assert!(!format!("{} {packet:?}", packet.name()).is_empty());
}

/// Properties are rewritten as they were, and what is forwarded is a part of them.
fn walk(properties: Properties<'_>) {
    let mut written = Vec::new();
    properties.iter().for_each(|property| property.encode(&mut written));
    assert_eq!(written, properties.raw());
    assert_eq!(Properties::from_encoded(&written), Ok(properties));
    let kept: usize = properties.forwardable().map(<[u8]>::len).sum();
    assert_eq!(kept == written.len(), properties.is_forwardable_as_is());
}
