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
