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
            return Err(DecodeError::protocol("there is no reason code")); // [MQTT-3.11.3-1]
        }
        for &code in reasons {
            ReasonCode::read(code, is_allowed)?;
        }
        Ok(Unsuback { packet_id, properties, reasons })
    }
}

/// Whether the packet may say `reason` (MQTT 5, table 3-9).
const fn is_allowed(reason: ReasonCode) -> bool {
    matches!(reason.as_u8(), 0x00 | 0x11 | 0x80 | 0x83 | 0x87 | 0x8F | 0x91)
}
