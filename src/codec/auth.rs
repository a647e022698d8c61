//! AUTH: a step of an extended authentication, in MQTT 5 alone (section 3.15).

use crate::codec::disconnect::{read_outcome, write_outcome};
use crate::codec::error::DecodeError;
use crate::codec::properties::{Properties, place};
use crate::codec::reason::ReasonCode;
use crate::codec::version::Version;
use crate::codec::wire::{Reader, put_packet};

/// An AUTH packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Auth<'a> {
    /// `Success`, `ContinueAuthentication` or `ReAuthenticate`.
    pub reason: ReasonCode,
    /// The properties; an authentication method is among them unless the packet is a bare `Success`.
    pub properties: Properties<'a>,
}

impl<'a> Auth<'a> {
    /// Appends the packet in its shortest form. Before MQTT 5 there is no such packet, and nothing is appended.
    pub fn encode(&self, version: Version, out: &mut Vec<u8>) {
        if version.is_v5() {
            put_packet(out, 0xF0, |out| write_outcome(self.reason, self.properties, out));
        }
    }

    /// Reads the packet, which is one of MQTT 5.
    pub(crate) fn decode(body: &'a [u8]) -> Result<Auth<'a>, DecodeError> {
        let mut reader = Reader::new(body);
        let (reason, properties) = read_outcome(&mut reader, is_allowed, place::AUTH)?;
        reader.finish()?;
        let is_bare = reason == ReasonCode::Success && properties.is_empty();
        if !is_bare && properties.authentication_method().is_none() {
            return Err(DecodeError::protocol("the authentication method is missing")); // section 3.15.2.2.2
        }
        Ok(Auth { reason, properties })
    }
}

/// Whether the packet may say `reason` (MQTT 5, table 3-11).
const fn is_allowed(reason: ReasonCode) -> bool {
    // [MQTT-3.15.2-1]
    matches!(reason.as_u8(), 0x00 | 0x18 | 0x19)
}

#[cfg(test)]
mod tests {
    use super::Auth;
    use crate::codec::packet::Packet;
    use crate::codec::properties::Properties;
    use crate::codec::reason::ReasonCode;
    use crate::codec::testing::{V3, assert_golden, assert_refused, encode};
    use crate::codec::version::Version;

    const BARE: Auth<'_> = Auth { reason: ReasonCode::Success, properties: Properties::EMPTY };

    #[test]
    fn golden_bytes() {
        assert_golden(Version::V5, &[0xF0, 0], &Packet::Auth(BARE));
        let properties = Properties::from_encoded(b"\x15\x00\x01m\x16\x00\x01\xff").unwrap();
        let step = Packet::Auth(Auth { reason: ReasonCode::ContinueAuthentication, properties });
        assert_golden(Version::V5, b"\xf0\x0a\x18\x08\x15\x00\x01m\x16\x00\x01\xff", &step);
        for version in V3 {
            assert!(encode(&step, version).is_empty());
        }
    }

    #[test]
    fn what_is_no_auth_is_refused() {
        for version in V3 {
            assert_refused(version, &[0xF0, 0], ReasonCode::MalformedPacket);
        }
        let cases: [(&[u8], ReasonCode); 7] = [
            (&[0xF1, 0], ReasonCode::MalformedPacket), // [MQTT-3.15.1-1]
            (&[0xF0, 1, 0x17], ReasonCode::MalformedPacket),
            (&[0xF0, 1, 0x80], ReasonCode::ProtocolError),
            (&[0xF0, 1, 0x18], ReasonCode::ProtocolError),
            (&[0xF0, 6, 0, 4, 0x16, 0, 1, 9], ReasonCode::ProtocolError),
            (&[0xF0, 7, 0, 5, 0x11, 0, 0, 0, 1], ReasonCode::MalformedPacket),
            (&[0xF0, 7, 0x18, 4, 0x15, 0, 1, b'm', 0], ReasonCode::MalformedPacket),
        ];
        for (bytes, reason) in cases {
            assert_refused(Version::V5, bytes, reason);
        }
    }
}
