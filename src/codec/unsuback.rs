//! UNSUBACK: the server's answer to an UNSUBSCRIBE (MQTT 5, section 3.11).

use crate::codec::error::DecodeError;
use crate::codec::packet_id::PacketId;
use crate::codec::properties::{Properties, place};
use crate::codec::reason::ReasonCode;
use crate::codec::version::Version;
use crate::codec::wire::{Reader, put_packet, put_u16};

/// An UNSUBACK packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unsuback<'a> {
    /// The identifier of the UNSUBSCRIBE.
    pub packet_id: PacketId,
    /// The properties; none before MQTT 5.
    pub properties: Properties<'a>,
    /// One reason code, as its number, for each filter of the UNSUBSCRIBE; none before MQTT 5.
    pub reasons: &'a [u8],
}

impl<'a> Unsuback<'a> {
    /// Appends the packet. Before MQTT 5 it is the identifier alone.
    pub fn encode(&self, version: Version, out: &mut Vec<u8>) {
        put_packet(out, 0xB0, |out| {
            put_u16(out, self.packet_id.get());
            if version.is_v5() {
                self.properties.write(out);
                out.extend_from_slice(self.reasons);
            }
        });
    }

    /// Reads the packet.
    pub(crate) fn decode(body: &'a [u8], version: Version) -> Result<Unsuback<'a>, DecodeError> {
        let mut reader = Reader::new(body);
        let packet_id = reader.packet_id()?;
        if !version.is_v5() {
            reader.finish()?;
            return Ok(Unsuback { packet_id, properties: Properties::EMPTY, reasons: &[] });
        }
        let properties = Properties::read(&mut reader, place::UNSUBACK)?;
        let reasons = reader.rest();
        if reasons.is_empty() {
            return Err(DecodeError::protocol("the packet has no reason code")); // [MQTT-3.11.3-1]
        }
        for &code in reasons {
            ReasonCode::read(code, is_allowed)?;
        }
        Ok(Unsuback { packet_id, properties, reasons })
    }
}

/// Whether the packet may say `reason` (MQTT 5, table 3-9).
/// [MQTT-3.11.3-2]
const fn is_allowed(reason: ReasonCode) -> bool {
    matches!(reason.as_u8(), 0x00 | 0x11 | 0x80 | 0x83 | 0x87 | 0x8F | 0x91)
}

#[cfg(test)]
mod tests {
    use super::Unsuback;
    use crate::codec::packet::Packet;
    use crate::codec::properties::Properties;
    use crate::codec::reason::ReasonCode;
    use crate::codec::testing::{
        V3, assert_cut_is_malformed, assert_golden, assert_refused, decode_bytes, encode, id,
    };
    use crate::codec::version::Version;

    #[test]
    fn golden_bytes_of_every_version() {
        let bare = Unsuback { packet_id: id(10), properties: Properties::EMPTY, reasons: &[] };
        for version in V3 {
            assert_golden(version, &[0xB0, 2, 0, 10], &Packet::Unsuback(bare));
        }
        let packet = Packet::Unsuback(Unsuback { reasons: &[0, 0x11, 0x87], ..bare });
        assert_golden(Version::V5, &[0xB0, 6, 0, 10, 0, 0, 0x11, 0x87], &packet);
        assert_eq!(encode(&packet, Version::V311), [0xB0, 2, 0, 10]);
        let properties = Properties::from_encoded(b"\x1f\x00\x01x").unwrap();
        let packet = Packet::Unsuback(Unsuback { properties, reasons: &[0], ..bare });
        assert_golden(Version::V5, b"\xb0\x08\x00\x0a\x04\x1f\x00\x01x\x00", &packet);
    }

    #[test]
    fn what_is_no_unsuback_is_refused() {
        let cases: [(Version, &[u8], ReasonCode); 6] = [
            (Version::V311, &[0xB0, 3, 0, 10, 0], ReasonCode::MalformedPacket),
            (Version::V311, &[0xB0, 2, 0, 0], ReasonCode::MalformedPacket),
            (Version::V5, &[0xB0, 3, 0, 10, 0], ReasonCode::ProtocolError),
            (Version::V5, &[0xB2, 4, 0, 10, 0, 0], ReasonCode::MalformedPacket),
            (Version::V5, &[0xB0, 4, 0, 10, 0, 0x03], ReasonCode::MalformedPacket),
            (Version::V5, &[0xB0, 6, 0, 10, 2, 0x01, 1, 0], ReasonCode::MalformedPacket),
        ];
        for (version, bytes, reason) in cases {
            assert_refused(version, bytes, reason);
        }
        assert_cut_is_malformed(Version::V5, &[0xB0, 3, 0, 10, 0], 0);
    }

    /// [MQTT-3.11.3-2]
    #[test]
    fn the_reasons_are_those_of_table_3_9() {
        let allowed: Vec<u8> =
            (0..=255).filter(|&code| decode_bytes(&[0xB0, 4, 0, 1, 0, code], Version::V5).is_ok()).collect();
        assert_eq!(allowed, [0x00, 0x11, 0x80, 0x83, 0x87, 0x8F, 0x91]);
    }
}
