//! PUBLISH: an application message (MQTT 5, section 3.3).

use crate::codec::error::DecodeError;
use crate::codec::packet_id::PacketId;
use crate::codec::properties::{Properties, place};
use crate::codec::qos::QoS;
use crate::codec::reason::ReasonCode;
use crate::codec::version::Version;
use crate::codec::wire::{Reader, put_u16, put_varint, varint_len};

/// A PUBLISH packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Publish<'a> {
    /// Whether it may have been sent before; false with QoS 0.
    pub dup: bool,
    /// The QoS of this delivery.
    pub qos: QoS,
    /// Client to server: retain the message for later subscribers. Server to client: it was retained.
    pub retain: bool,
    /// A Topic Name; in MQTT 5 it may be empty where [`Properties::topic_alias`] stands for it.
    pub topic: &'a str,
    /// Present with QoS 1 and 2, absent with QoS 0.
    pub packet_id: Option<PacketId>,
    /// The properties; none before MQTT 5.
    pub properties: Properties<'a>,
    /// The payload, not checked against the Payload Format Indicator.
    pub payload: &'a [u8],
}

const DUP: u8 = 0x08;
const RETAIN: u8 = 0x01;

impl<'a> Publish<'a> {
    /// Appends the packet. Without a Packet Identifier it is written with QoS 0.
    pub fn encode(&self, version: Version, out: &mut Vec<u8>) {
        encode_header(
            out,
            version,
            self.dup,
            self.qos,
            self.retain,
            self.topic.as_bytes(),
            self.packet_id,
            &[self.properties.raw()],
            self.payload.len(),
        );
        out.extend_from_slice(self.payload);
    }

    /// Reads the packet; `flags` is the first byte of its fixed header.
    #[inline]
    pub(crate) fn decode(flags: u8, body: &'a [u8], version: Version) -> Result<Publish<'a>, DecodeError> {
        // [MQTT3-3.3.1-4]
        let qos = QoS::from_u8((flags >> 1) & 3).ok_or(DecodeError::malformed("the QoS is 3"))?; // [MQTT-3.3.1-4]
        let dup = flags & DUP != 0;
        if dup && qos == QoS::AtMostOnce {
            // [MQTT-3.3.1-2], [MQTT3-3.3.1-2]
            return Err(DecodeError::malformed("the DUP flag is set with QoS 0"));
        }
        let mut reader = Reader::new(body);
        let topic = read_topic(&mut reader)?;
        let packet_id = if qos == QoS::AtMostOnce { None } else { Some(reader.packet_id()?) };
        let properties =
            if version.is_v5() { Properties::read(&mut reader, place::PUBLISH)? } else { Properties::EMPTY };
        if topic.is_empty() && properties.topic_alias().is_none() {
            return Err(no_topic(version));
        }
        let payload = reader.rest();
        Ok(Publish { dup, qos, retain: flags & RETAIN != 0, topic, packet_id, properties, payload })
    }
}

/// Appends everything of a PUBLISH but its payload, which the caller writes behind it.
///
/// `topic` is a Topic Name, or empty where a Topic Alias among the properties stands for it. `properties` are spans of
/// encoded properties, written one after the other; they are left out before MQTT 5. `payload_len` is in bytes.
/// `packet_id` belongs to QoS 1 and 2: without one the packet is written with QoS 0, and with QoS 0 none is written.
/// The caller checks, with [`encoded_len`], that the packet is not larger than MQTT allows.
#[inline]
#[allow(clippy::too_many_arguments, reason = "the fields of a fixed layout, on the path of every delivery")]
pub fn encode_header(
    out: &mut Vec<u8>,
    version: Version,
    dup: bool,
    qos: QoS,
    retain: bool,
    topic: &[u8],
    packet_id: Option<PacketId>,
    properties: &[&[u8]],
    payload_len: usize,
) {
    let qos = if packet_id.is_some() { qos } else { QoS::AtMostOnce };
    let packet_id = packet_id.filter(|_| qos != QoS::AtMostOnce); // [MQTT-2.2.1-2], [MQTT3-2.3.1-5]
    // [MQTT-4.3.1-1], [MQTT3-4.3.1-1]
    let dup = dup && qos != QoS::AtMostOnce; // [MQTT-3.3.1-2]
    let properties_len = if version.is_v5() { properties.iter().map(|span| span.len()).sum() } else { 0 };
    let remaining = body_len(version, topic.len(), packet_id.is_some(), properties_len, payload_len);
    out.reserve(remaining + 5);
    out.push(first_byte(dup, qos, retain));
    put_varint(out, remaining);
    put_u16(out, u16::try_from(topic.len()).unwrap_or(u16::MAX));
    out.extend_from_slice(topic);
    if let Some(id) = packet_id {
        put_u16(out, id.get());
    }
    if version.is_v5() {
        put_varint(out, properties_len);
        for span in properties {
            out.extend_from_slice(span);
        }
    }
}

/// The first byte of a PUBLISH: its packet type and flags.
#[inline]
pub const fn first_byte(dup: bool, qos: QoS, retain: bool) -> u8 {
    0x30 | ((dup as u8) << 3) | (qos.as_u8() << 1) | retain as u8
}

/// The size in bytes of a whole PUBLISH, fixed header and payload included.
///
/// `has_id`: whether it carries a Packet Identifier, as with QoS 1 and 2. `properties_len`: bytes of the encoded
/// properties without the Property Length; ignored before MQTT 5.
#[inline]
pub const fn encoded_len(
    version: Version,
    topic_len: usize,
    has_id: bool,
    properties_len: usize,
    payload_len: usize,
) -> usize {
    let remaining = body_len(version, topic_len, has_id, properties_len, payload_len);
    1 + varint_len(remaining) + remaining
}

/// The Remaining Length of a PUBLISH.
#[inline]
const fn body_len(
    version: Version,
    topic_len: usize,
    has_id: bool,
    properties_len: usize,
    payload_len: usize,
) -> usize {
    let id_len = if has_id { 2 } else { 0 };
    let block_len = if version.is_v5() { varint_len(properties_len) + properties_len } else { 0 };
    2 + topic_len + id_len + block_len + payload_len
}

/// Reads a Topic Name, which may be empty.
#[inline]
fn read_topic<'a>(reader: &mut Reader<'a>) -> Result<&'a str, DecodeError> {
    let bytes = reader.binary()?;
    // One pass without an early exit, which the compiler turns into vector instructions.
    let suspect = bytes.iter().fold(false, |found, &byte| found | matches!(byte, 0 | b'+' | b'#'));
    if suspect {
        return Err(refused_character(bytes));
    }
    // [MQTT-3.3.2-1], [MQTT3-3.3.2-1]
    std::str::from_utf8(bytes).map_err(|_| DecodeError::malformed("the topic name is not UTF-8"))
}

#[cold]
fn refused_character(topic: &[u8]) -> DecodeError {
    if topic.contains(&0) {
        DecodeError::malformed("the topic name holds U+0000") // [MQTT-1.5.4-2], [MQTT3-1.5.3-2]
    } else {
        // [MQTT-3.3.2-2], [MQTT3-3.3.2-2]
        DecodeError::new(ReasonCode::TopicNameInvalid, "the topic name holds a wildcard, + or #")
    }
}

#[cold]
fn no_topic(version: Version) -> DecodeError {
    if version.is_v5() {
        DecodeError::protocol("the topic name is empty and the topic alias missing")
    } else {
        // [MQTT3-4.7.3-1]
        DecodeError::new(ReasonCode::TopicNameInvalid, "the topic name is empty") // [MQTT-4.7.3-1]
    }
}

#[cfg(test)]
mod tests {
    use super::{Publish, encode_header, encoded_len};
    use crate::codec::packet::Packet;
    use crate::codec::properties::Properties;
    use crate::codec::qos::QoS;
    use crate::codec::reason::ReasonCode;
    use crate::codec::testing::{
        ALL_VERSIONS, V3, assert_cut_is_malformed, assert_golden, assert_refused, decode_bytes, encode, id,
    };
    use crate::codec::version::Version;

    const HELLO: Publish<'_> = Publish {
        dup: false,
        qos: QoS::AtMostOnce,
        retain: false,
        topic: "chat",
        packet_id: None,
        properties: Properties::EMPTY,
        payload: b"hi",
    };

    #[test]
    fn golden_bytes_of_every_version() {
        let again =
            Publish { dup: true, qos: QoS::AtLeastOnce, retain: true, packet_id: Some(id(0x1234)), ..HELLO };
        let empty = Publish { qos: QoS::ExactlyOnce, packet_id: Some(id(1)), payload: b"", ..HELLO };
        for version in V3 {
            assert_golden(version, b"\x30\x08\x00\x04chathi", &Packet::Publish(HELLO));
            assert_golden(version, b"\x3b\x0a\x00\x04chat\x12\x34hi", &Packet::Publish(again));
            assert_golden(version, b"\x34\x08\x00\x04chat\x00\x01", &Packet::Publish(empty));
        }
        assert_golden(Version::V5, b"\x30\x09\x00\x04chat\x00hi", &Packet::Publish(HELLO));
        assert_golden(Version::V5, b"\x3b\x0b\x00\x04chat\x12\x34\x00hi", &Packet::Publish(again));
        let properties = Properties::from_encoded(&[0x01, 1, 0x23, 0, 9]).unwrap();
        let aliased = Publish { topic: "", properties, ..HELLO };
        assert_golden(Version::V5, b"\x30\x0a\x00\x00\x05\x01\x01\x23\x00\x09hi", &Packet::Publish(aliased));
    }

    #[test]
    fn a_payload_may_be_any_bytes_and_large() {
        let payload = vec![0xFF; 200_000];
        for version in ALL_VERSIONS {
            let large = Publish { payload: &payload, ..HELLO };
            let bytes = encode(&Packet::Publish(large), version);
            assert_eq!(decode_bytes(&bytes, version), Ok(Packet::Publish(large)));
            assert_eq!(bytes.len(), encoded_len(version, 4, false, 0, payload.len()));
        }
    }

    #[test]
    fn what_is_no_publish_is_refused_in_every_version() {
        let cases: [(&[u8], ReasonCode); 8] = [
            (b"\x36\x09\x00\x04chat\x00\x01\x00", ReasonCode::MalformedPacket), // [MQTT-3.3.1-4]
            (b"\x38\x09\x00\x04chat\x00hi", ReasonCode::MalformedPacket),       // [MQTT-3.3.1-2]
            (b"\x32\x09\x00\x04chat\x00\x00\x00", ReasonCode::MalformedPacket), // [MQTT-2.2.1-3]
            (b"\x30\x05\x00\x02\xc3\x28\x00", ReasonCode::MalformedPacket),     // [MQTT-3.3.2-1]
            (b"\x30\x05\x00\x02a\x00\x00", ReasonCode::MalformedPacket),        // [MQTT-1.5.4-2]
            (b"\x30\x05\x00\x02a+\x00", ReasonCode::TopicNameInvalid),          // [MQTT-3.3.2-2]
            (b"\x30\x05\x00\x02#/\x00", ReasonCode::TopicNameInvalid),
            (b"\x30\x05\x00\x03a/+", ReasonCode::TopicNameInvalid),
        ];
        for version in ALL_VERSIONS {
            for (bytes, reason) in cases {
                assert_refused(version, bytes, reason);
            }
        }
    }

    /// [MQTT-4.7.3-1], [MQTT3-4.7.3-1]
    #[test]
    fn mqtt_4_7_3_1_an_empty_topic_needs_an_alias() {
        for version in V3 {
            assert_refused(version, b"\x30\x04\x00\x00hi", ReasonCode::TopicNameInvalid);
        }
        assert_refused(Version::V5, b"\x30\x05\x00\x00\x00hi", ReasonCode::ProtocolError);
        assert_refused(Version::V5, b"\x30\x07\x00\x00\x02\x01\x00hi", ReasonCode::ProtocolError);
    }

    #[test]
    fn a_publish_cut_short_is_malformed() {
        assert_cut_is_malformed(Version::V311, b"\x32\x08\x00\x04chat\x00\x01", 0);
        assert_cut_is_malformed(Version::V5, b"\x32\x0c\x00\x04chat\x00\x01\x03\x23\x00\x09", 0);
        // The property length reaches past the end.
        assert_refused(Version::V5, b"\x30\x07\x00\x04chat\x01", ReasonCode::MalformedPacket);
        assert_refused(Version::V5, b"\x30\x08\x00\x04chat\x80\x00", ReasonCode::MalformedPacket);
    }

    #[test]
    fn properties_are_those_of_a_publish() {
        let cases: [(&[u8], ReasonCode); 6] = [
            (b"\x30\x09\x00\x01a\x05\x11\x00\x00\x00\x01", ReasonCode::MalformedPacket),
            (b"\x30\x07\x00\x01a\x03\x23\x00\x00", ReasonCode::TopicAliasInvalid),
            (b"\x30\x06\x00\x01a\x02\x01\x02", ReasonCode::ProtocolError),
            (b"\x30\x06\x00\x01a\x02\x0b\x00", ReasonCode::ProtocolError),
            (b"\x30\x08\x00\x01a\x04\x08\x00\x01#", ReasonCode::ProtocolError),
            (b"\x30\x0a\x00\x01a\x06\x23\x00\x01\x23\x00\x01", ReasonCode::ProtocolError),
        ];
        for (bytes, reason) in cases {
            assert_refused(Version::V5, bytes, reason);
        }
        // A server names the subscriptions that the message matches.
        let Ok(Packet::Publish(publish)) =
            decode_bytes(b"\x30\x08\x00\x01a\x04\x0b\x01\x0b\x02", Version::V5)
        else {
            panic!("two subscription identifiers")
        };
        assert!(publish.properties.subscription_identifiers().eq([1, 2]));
    }

    #[test]
    fn a_header_joins_its_spans_and_its_length_is_told() {
        let spans: [&[u8]; 2] = [&[0x01, 1], &[0x23, 0, 9]];
        for version in ALL_VERSIONS {
            for payload_len in [0, 100, 127, 128, 20_000] {
                let payload = vec![7; payload_len];
                let mut out = Vec::new();
                let id = Some(id(7));
                encode_header(
                    &mut out,
                    version,
                    false,
                    QoS::AtLeastOnce,
                    true,
                    b"chat",
                    id,
                    &spans,
                    payload_len,
                );
                out.extend_from_slice(&payload);
                assert_eq!(out.len(), encoded_len(version, 4, true, 5, payload_len));
                let Ok(Packet::Publish(publish)) = decode_bytes(&out, version) else { panic!("{out:02x?}") };
                assert_eq!(publish.properties.topic_alias(), version.is_v5().then_some(9));
                assert_eq!((publish.packet_id, publish.payload), (id, &payload[..]));
            }
        }
    }

    /// [MQTT-2.2.1-2], [MQTT3-2.3.1-5]
    #[test]
    fn mqtt_2_2_1_2_identifier_and_qos_agree() {
        let with_id = Publish { packet_id: Some(id(5)), ..HELLO };
        assert_eq!(encode(&Packet::Publish(with_id), Version::V311), b"\x30\x08\x00\x04chathi");
        let without_id = Publish { dup: true, qos: QoS::AtLeastOnce, ..HELLO };
        assert_eq!(encode(&Packet::Publish(without_id), Version::V311), b"\x30\x08\x00\x04chathi");
    }
}
