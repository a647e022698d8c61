//! DISCONNECT: the last packet of a connection (MQTT 5, section 3.14).

use crate::codec::error::DecodeError;
use crate::codec::properties::{Properties, place};
use crate::codec::reason::ReasonCode;
use crate::codec::version::Version;
use crate::codec::wire::{Reader, put_packet};

/// A DISCONNECT packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Disconnect<'a> {
    /// Why the connection ends; `NormalDisconnection` before MQTT 5.
    pub reason: ReasonCode,
    /// The properties; none before MQTT 5.
    pub properties: Properties<'a>,
}

impl<'a> Disconnect<'a> {
    /// Appends the packet in its shortest form. Before MQTT 5 it has no body, and only a client may send it.
    pub fn encode(&self, version: Version, out: &mut Vec<u8>) {
        put_packet(out, 0xE0, |out| {
            if version.is_v5() {
                write_outcome(self.reason, self.properties, out);
            }
        });
    }

    /// Reads the packet.
    pub(crate) fn decode(body: &'a [u8], version: Version) -> Result<Disconnect<'a>, DecodeError> {
        let mut reader = Reader::new(body);
        if !version.is_v5() {
            reader.finish()?;
        }
        let (reason, properties) = read_outcome(&mut reader, is_allowed, place::DISCONNECT)?;
        reader.finish()?;
        Ok(Disconnect { reason, properties })
    }
}

/// Appends the body of a DISCONNECT or AUTH in its shortest form.
pub(crate) fn write_outcome(reason: ReasonCode, properties: Properties<'_>, out: &mut Vec<u8>) {
    if reason != ReasonCode::Success || !properties.is_empty() {
        out.push(reason.as_u8());
    }
    if !properties.is_empty() {
        properties.write(out);
    }
}

/// Reads the body of a DISCONNECT or AUTH, which may leave out the properties and then the reason code.
pub(crate) fn read_outcome<'a>(
    reader: &mut Reader<'a>,
    is_allowed: impl Fn(ReasonCode) -> bool,
    place: u16,
) -> Result<(ReasonCode, Properties<'a>), DecodeError> {
    if reader.is_empty() {
        return Ok((ReasonCode::Success, Properties::EMPTY));
    }
    let reason = ReasonCode::read(reader.u8()?, is_allowed)?;
    let properties = if reader.is_empty() { Properties::EMPTY } else { Properties::read(reader, place)? };
    Ok((reason, properties))
}

/// Whether the packet may say `reason` (MQTT 5, tables 2-6 and 3-10).
const fn is_allowed(reason: ReasonCode) -> bool {
    // [MQTT-3.14.2-1]
    matches!(
        reason.as_u8(),
        0x00 | 0x04 | 0x80..=0x83 | 0x87 | 0x89 | 0x8B..=0x90 | 0x93..=0xA2
    )
}

#[cfg(test)]
mod tests {
    use super::Disconnect;
    use crate::codec::packet::Packet;
    use crate::codec::properties::Properties;
    use crate::codec::reason::ReasonCode;
    use crate::codec::testing::{ALL_VERSIONS, V3, assert_golden, assert_refused, decode_bytes, encode};
    use crate::codec::version::Version;

    const NORMAL: Disconnect<'_> =
        Disconnect { reason: ReasonCode::NormalDisconnection, properties: Properties::EMPTY };

    #[test]
    fn golden_bytes_of_every_version() {
        for version in ALL_VERSIONS {
            assert_golden(version, &[0xE0, 0], &Packet::Disconnect(NORMAL));
        }
        let taken_over = Packet::Disconnect(Disconnect { reason: ReasonCode::SessionTakenOver, ..NORMAL });
        assert_golden(Version::V5, &[0xE0, 1, 0x8E], &taken_over);
        let properties = Properties::from_encoded(&[0x11, 0, 0, 0, 9]).unwrap();
        let expiring = Packet::Disconnect(Disconnect { properties, ..NORMAL });
        assert_golden(Version::V5, &[0xE0, 7, 0, 5, 0x11, 0, 0, 0, 9], &expiring);
        for version in V3 {
            assert_eq!(encode(&taken_over, version), [0xE0, 0]);
        }
    }

    #[test]
    fn the_long_forms_of_a_normal_disconnection_are_read() {
        for bytes in [&[0xE0, 1, 0][..], &[0xE0, 2, 0, 0]] {
            assert_eq!(decode_bytes(bytes, Version::V5), Ok(Packet::Disconnect(NORMAL)));
        }
    }

    #[test]
    fn what_is_no_disconnect_is_refused() {
        for version in V3 {
            assert_refused(version, &[0xE0, 1, 0], ReasonCode::MalformedPacket);
        }
        let cases: [(&[u8], ReasonCode); 7] = [
            (&[0xE1, 0], ReasonCode::MalformedPacket), // [MQTT-3.14.1-1]
            (&[0xE0, 1, 0x03], ReasonCode::MalformedPacket),
            (&[0xE0, 1, 0x18], ReasonCode::ProtocolError),
            (&[0xE0, 2, 0, 1], ReasonCode::MalformedPacket),
            (&[0xE0, 3, 0, 0, 0], ReasonCode::MalformedPacket),
            (&[0xE0, 5, 0, 3, 0x21, 0, 1], ReasonCode::MalformedPacket),
            (&[0xE0, 12, 0, 10, 0x11, 0, 0, 0, 9, 0x11, 0, 0, 0, 9], ReasonCode::ProtocolError),
        ];
        for (bytes, reason) in cases {
            assert_refused(Version::V5, bytes, reason);
        }
    }

    /// [MQTT-3.14.2-1]
    #[test]
    fn the_reasons_are_those_of_table_3_10() {
        let allowed: Vec<u8> =
            (0..=255).filter(|&code| decode_bytes(&[0xE0, 1, code], Version::V5).is_ok()).collect();
        let mut expected = vec![0x00, 0x04, 0x80, 0x81, 0x82, 0x83, 0x87, 0x89];
        expected.extend([0x8B, 0x8C, 0x8D, 0x8E, 0x8F, 0x90]);
        expected.extend(0x93..=0xA2);
        assert_eq!(allowed, expected);
    }
}
