//! SUBACK: the server's answer to a SUBSCRIBE (MQTT 5, section 3.9).

use crate::codec::error::DecodeError;
use crate::codec::packet_id::PacketId;
use crate::codec::properties::{Properties, place};
use crate::codec::reason::ReasonCode;
use crate::codec::version::Version;
use crate::codec::wire::{Reader, put_packet, put_u16};

/// A SUBACK packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Suback<'a> {
    /// The identifier of the SUBSCRIBE.
    pub packet_id: PacketId,
    /// The properties; none before MQTT 5.
    pub properties: Properties<'a>,
    /// One reason code, as its number, for each filter of the SUBSCRIBE: the granted QoS or a failure.
    pub reasons: &'a [u8],
}

impl<'a> Suback<'a> {
    /// Appends the packet. Before MQTT 5 every failure becomes 0x80.
    pub fn encode(&self, version: Version, out: &mut Vec<u8>) {
        put_packet(out, 0x90, |out| {
            put_u16(out, self.packet_id.get());
            if version.is_v5() {
                self.properties.write(out);
                out.extend_from_slice(self.reasons);
            } else {
                // [MQTT3-3.9.3-2]
                out.extend(self.reasons.iter().map(|&code| code.min(0x80))); // [MQTT-3.9.3-2]
            }
        });
    }

    /// Reads the packet.
    pub(crate) fn decode(body: &'a [u8], version: Version) -> Result<Suback<'a>, DecodeError> {
        let mut reader = Reader::new(body);
        let packet_id = reader.packet_id()?;
        let properties =
            if version.is_v5() { Properties::read(&mut reader, place::SUBACK)? } else { Properties::EMPTY };
        let reasons = reader.rest();
        if reasons.is_empty() {
            return Err(DecodeError::protocol("the packet has no reason code")); // [MQTT-3.8.4-6]
        }
        for &code in reasons {
            ReasonCode::read(code, |reason| is_allowed(reason, version))?;
        }
        Ok(Suback { packet_id, properties, reasons })
    }
}

/// Whether the packet may say `reason` (MQTT 5, table 3-8; MQTT 3.1.1, section 3.9.3).
const fn is_allowed(reason: ReasonCode, version: Version) -> bool {
    match reason.as_u8() {
        0x00..=0x02 | 0x80 => true,
        0x83 | 0x87 | 0x8F | 0x91 | 0x97 | 0x9E | 0xA1 | 0xA2 => version.is_v5(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::Suback;
    use crate::codec::packet::Packet;
    use crate::codec::properties::Properties;
    use crate::codec::reason::ReasonCode;
    use crate::codec::testing::{
        V3, assert_cut_is_malformed, assert_golden, assert_refused, decode_bytes, encode, id,
    };
    use crate::codec::version::Version;

    fn suback(reasons: &[u8]) -> Suback<'_> {
        Suback { packet_id: id(10), properties: Properties::EMPTY, reasons }
    }

    #[test]
    fn golden_bytes_of_every_version() {
        for version in V3 {
            let packet = Packet::Suback(suback(&[0, 1, 2, 0x80]));
            assert_golden(version, &[0x90, 6, 0, 10, 0, 1, 2, 0x80], &packet);
        }
        assert_golden(Version::V5, &[0x90, 5, 0, 10, 0, 2, 0x8F], &Packet::Suback(suback(&[2, 0x8F])));
        let properties = Properties::from_encoded(b"\x26\x00\x01a\x00\x01b").unwrap();
        let packet = Packet::Suback(Suback { properties, ..suback(&[0]) });
        assert_golden(Version::V5, b"\x90\x0b\x00\x0a\x07\x26\x00\x01a\x00\x01b\x00", &packet);
    }

    /// [MQTT3-3.9.3-2]
    #[test]
    fn mqtt_3_9_3_2_a_failure_is_0x80_before_mqtt_5() {
        let packet = Packet::Suback(suback(&[0x8F, 1, 0x97]));
        assert_eq!(encode(&packet, Version::V311), [0x90, 5, 0, 10, 0x80, 1, 0x80]);
    }

    #[test]
    fn what_is_no_suback_is_refused() {
        let cases: [(Version, &[u8], ReasonCode); 7] = [
            (Version::V311, &[0x90, 2, 0, 10], ReasonCode::ProtocolError),
            (Version::V5, &[0x90, 3, 0, 10, 0], ReasonCode::ProtocolError),
            (Version::V311, &[0x90, 3, 0, 0, 0], ReasonCode::MalformedPacket),
            (Version::V311, &[0x92, 3, 0, 10, 0], ReasonCode::MalformedPacket),
            (Version::V311, &[0x90, 4, 0, 10, 0, 3], ReasonCode::MalformedPacket),
            (Version::V311, &[0x90, 3, 0, 10, 0x8F], ReasonCode::ProtocolError),
            (Version::V5, &[0x90, 6, 0, 10, 2, 0x01, 1, 0], ReasonCode::MalformedPacket),
        ];
        for (version, bytes, reason) in cases {
            assert_refused(version, bytes, reason);
        }
        assert_cut_is_malformed(Version::V5, &[0x90, 3, 0, 10, 0], 0);
    }

    /// [MQTT-3.9.3-2]
    #[test]
    fn the_reasons_are_those_of_table_3_8() {
        let allowed: Vec<u8> =
            (0..=255).filter(|&code| decode_bytes(&[0x90, 4, 0, 1, 0, code], Version::V5).is_ok()).collect();
        assert_eq!(allowed, [0x00, 0x01, 0x02, 0x80, 0x83, 0x87, 0x8F, 0x91, 0x97, 0x9E, 0xA1, 0xA2]);
    }
}
