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
            return Err(DecodeError::protocol("there is no reason code")); // [MQTT-3.8.4-6]
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
