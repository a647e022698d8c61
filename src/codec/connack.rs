//! CONNACK: the server's answer to a CONNECT (MQTT 5, section 3.2).

use crate::codec::error::DecodeError;
use crate::codec::properties::{Properties, place};
use crate::codec::reason::ReasonCode;
use crate::codec::version::Version;
use crate::codec::wire::{Reader, put_packet};

/// A CONNACK packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Connack<'a> {
    /// Whether the server still has a session of the client. Always false in MQTT 3.1 and with a failure.
    pub session_present: bool,
    /// Whether the connection is accepted, and if not, why.
    pub reason: ReasonCode,
    /// The properties; none before MQTT 5.
    pub properties: Properties<'a>,
}

impl<'a> Connack<'a> {
    /// Appends the packet. Before MQTT 5 the reason becomes a return code of 0 to 5.
    pub fn encode(&self, version: Version, out: &mut Vec<u8>) {
        // [MQTT-3.2.2-6], [MQTT3-3.2.2-4]; MQTT 3.1 has no such flag
        // [MQTT31-3]
        let present = self.session_present && !self.reason.is_error() && version > Version::V31;
        if version.is_v5() {
            put_packet(out, 0x20, |out| {
                out.extend_from_slice(&[u8::from(present), self.reason.as_u8()]);
                self.properties.write(out);
            });
        } else {
            out.extend_from_slice(&[0x20, 2, u8::from(present), self.reason.connack_return_code()]);
        }
    }

    /// Reads the packet.
    pub(crate) fn decode(body: &'a [u8], version: Version) -> Result<Connack<'a>, DecodeError> {
        let mut reader = Reader::new(body);
        let session_present = match (reader.u8()?, version) {
            (_, Version::V31) | (0, _) => false,
            (1, _) => true,
            _ => return Err(DecodeError::malformed("reserved connect acknowledge flags are set")), // [MQTT-3.2.2-1]
        };
        let code = reader.u8()?;
        let (reason, properties) = if version.is_v5() {
            (read_reason(code)?, Properties::read(&mut reader, place::CONNACK)?)
        } else {
            let reason = ReasonCode::from_connack_return_code(code)
                .ok_or(DecodeError::malformed("the connect return code is not defined"))?;
            (reason, Properties::EMPTY)
        };
        reader.finish()?;
        if session_present && reason.is_error() {
            // [MQTT-3.2.2-6]
            return Err(DecodeError::protocol(
                "the connection is refused, but the session present flag is set",
            ));
        }
        Ok(Connack { session_present, reason, properties })
    }
}

/// A reason code of MQTT 5, table 3-1.
fn read_reason(code: u8) -> Result<ReasonCode, DecodeError> {
    // [MQTT-3.2.2-8]
    ReasonCode::read(code, |reason| {
        matches!(code, 0x00 | 0x80..=0x8A | 0x90 | 0x95 | 0x97 | 0x99..=0x9D | 0x9F)
            || reason == ReasonCode::BadAuthenticationMethod
    })
}

#[cfg(test)]
mod tests {
    use super::Connack;
    use crate::codec::packet::Packet;
    use crate::codec::properties::Properties;
    use crate::codec::reason::ReasonCode;
    use crate::codec::testing::{
        V3, assert_cut_is_malformed, assert_golden, assert_refused, decode_bytes, encode,
    };
    use crate::codec::version::Version;

    fn connack(session_present: bool, reason: ReasonCode) -> Connack<'static> {
        Connack { session_present, reason, properties: Properties::EMPTY }
    }

    #[test]
    fn golden_bytes_of_every_version() {
        for version in V3 {
            assert_golden(version, &[0x20, 2, 0, 0], &Packet::Connack(connack(false, ReasonCode::Success)));
            let refused = connack(false, ReasonCode::NotAuthorized);
            assert_golden(version, &[0x20, 2, 0, 5], &Packet::Connack(refused));
        }
        assert_golden(Version::V311, &[0x20, 2, 1, 0], &Packet::Connack(connack(true, ReasonCode::Success)));
        assert_golden(Version::V5, &[0x20, 3, 1, 0, 0], &Packet::Connack(connack(true, ReasonCode::Success)));
        let properties = Properties::from_encoded(&[0x21, 0, 20, 0x24, 1]).unwrap();
        let busy = Connack { properties, ..connack(false, ReasonCode::ServerBusy) };
        assert_golden(Version::V5, &[0x20, 8, 0, 0x89, 5, 0x21, 0, 20, 0x24, 1], &Packet::Connack(busy));
    }

    /// [MQTT31-3]
    #[test]
    fn mqtt_3_1_has_no_session_present_flag() {
        let present = connack(true, ReasonCode::Success);
        assert_eq!(encode(&Packet::Connack(present), Version::V31), [0x20, 2, 0, 0]);
        let absent = Packet::Connack(connack(false, ReasonCode::Success));
        assert_eq!(decode_bytes(&[0x20, 2, 0xFF, 0], Version::V31), Ok(absent));
    }

    /// [MQTT-3.2.2-6], [MQTT3-3.2.2-4]
    #[test]
    fn mqtt_3_2_2_6_a_refusal_has_no_session() {
        let refused = connack(true, ReasonCode::Banned);
        assert_eq!(encode(&Packet::Connack(refused), Version::V311), [0x20, 2, 0, 5]);
        assert_eq!(encode(&Packet::Connack(refused), Version::V5), [0x20, 3, 0, 0x8A, 0]);
        assert_refused(Version::V311, &[0x20, 2, 1, 5], ReasonCode::ProtocolError);
        assert_refused(Version::V5, &[0x20, 3, 1, 0x8A, 0], ReasonCode::ProtocolError);
    }

    #[test]
    fn what_is_no_connack_is_refused() {
        let cases: [(Version, &[u8], ReasonCode); 10] = [
            (Version::V311, &[0x20, 2, 2, 0], ReasonCode::MalformedPacket),
            (Version::V5, &[0x20, 3, 0x80, 0, 0], ReasonCode::MalformedPacket),
            (Version::V311, &[0x20, 2, 0, 6], ReasonCode::MalformedPacket),
            (Version::V311, &[0x20, 3, 0, 0, 0], ReasonCode::MalformedPacket),
            (Version::V5, &[0x20, 4, 0, 0, 0, 0], ReasonCode::MalformedPacket),
            (Version::V5, &[0x20, 3, 0, 0xFF, 0], ReasonCode::MalformedPacket),
            (Version::V5, &[0x20, 3, 0, 0x8D, 0], ReasonCode::ProtocolError),
            (Version::V5, &[0x20, 5, 0, 0, 2, 0x17, 1], ReasonCode::MalformedPacket),
            (Version::V5, &[0x20, 5, 0, 0, 2, 0x24, 2], ReasonCode::ProtocolError),
            (Version::V5, &[0x22, 3, 0, 0, 0], ReasonCode::MalformedPacket),
        ];
        for (version, bytes, reason) in cases {
            assert_refused(version, bytes, reason);
        }
        assert_cut_is_malformed(Version::V311, &[0x20, 2, 0, 0], 0);
        assert_cut_is_malformed(Version::V5, &[0x20, 6, 0, 0, 3, 0x21, 0, 9], 0);
    }

    /// [MQTT-3.2.2-8]
    #[test]
    fn the_reasons_are_those_of_table_3_1() {
        let allowed: Vec<u8> =
            (0..=255).filter(|&code| decode_bytes(&[0x20, 3, 0, code, 0], Version::V5).is_ok()).collect();
        let expected = [
            0x00, 0x80, 0x81, 0x82, 0x83, 0x84, 0x85, 0x86, 0x87, 0x88, 0x89, 0x8A, 0x8C, 0x90, 0x95, 0x97,
            0x99, 0x9A, 0x9B, 0x9C, 0x9D, 0x9F,
        ];
        assert_eq!(allowed, expected);
    }
}
