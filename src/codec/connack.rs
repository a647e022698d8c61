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
        // [MQTT-3.2.2-6]; MQTT 3.1 has no such flag
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
            return Err(DecodeError::protocol("the session is present and the connection refused"));
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
