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
    /// Client to server: keep the message for later subscribers. Server to client: it was kept.
    pub retain: bool,
    /// A Topic Name; in MQTT 5 it may be empty where [`Properties::topic_alias`] stands for it.
    pub topic: &'a str,
    /// Present exactly with QoS 1 and 2.
    pub packet_id: Option<PacketId>,
    /// The properties; none before MQTT 5.
    pub properties: Properties<'a>,
    /// The payload. Whether it is what the Payload Format Indicator says is not checked.
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
        let qos = QoS::from_u8((flags >> 1) & 3).ok_or(DecodeError::malformed("the QoS is 3"))?; // [MQTT-3.3.1-4]
        let dup = flags & DUP != 0;
        if dup && qos == QoS::AtMostOnce {
            // [MQTT-3.3.1-2]
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
/// The caller sees to it, with [`encoded_len`], that the packet is not larger than MQTT allows.
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
    let packet_id = packet_id.filter(|_| qos != QoS::AtMostOnce); // [MQTT-2.2.1-2]
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
/// properties without the Property Length; of no account before MQTT 5.
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
    // [MQTT-3.3.2-1]
    std::str::from_utf8(bytes).map_err(|_| DecodeError::malformed("the topic name is not UTF-8"))
}

#[cold]
fn refused_character(topic: &[u8]) -> DecodeError {
    if topic.contains(&0) {
        DecodeError::malformed("the topic name holds U+0000") // [MQTT-1.5.4-2]
    } else {
        // [MQTT-3.3.2-2]
        DecodeError::new(ReasonCode::TopicNameInvalid, "the topic name holds a wildcard, + or #")
    }
}

#[cold]
fn no_topic(version: Version) -> DecodeError {
    if version.is_v5() {
        DecodeError::protocol("the topic name is empty and there is no topic alias")
    } else {
        DecodeError::new(ReasonCode::TopicNameInvalid, "the topic name is empty") // [MQTT-4.7.3-1]
    }
}
