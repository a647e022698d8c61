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
            return Err(DecodeError::protocol("there is no authentication method")); // section 3.15.2.2.2
        }
        Ok(Auth { reason, properties })
    }
}

/// Whether the packet may say `reason` (MQTT 5, table 3-11).
const fn is_allowed(reason: ReasonCode) -> bool {
    // [MQTT-3.15.2-1]
    matches!(reason.as_u8(), 0x00 | 0x18 | 0x19)
}
