//! PUBACK, PUBREC, PUBREL, PUBCOMP: the steps of a QoS 1 or QoS 2 delivery (MQTT 5, sections 3.4 to 3.7).

use crate::codec::error::DecodeError;
use crate::codec::packet_id::PacketId;
use crate::codec::properties::{Properties, place};
use crate::codec::reason::ReasonCode;
use crate::codec::version::Version;
use crate::codec::wire::{Reader, put_packet, put_u16};

/// Which of the four packets an [`Ack`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AckKind {
    /// The receiver of a QoS 1 message has it.
    Puback,
    /// The receiver of a QoS 2 message has it.
    Pubrec,
    /// The sender of a QoS 2 message has seen the PUBREC.
    Pubrel,
    /// The receiver of a QoS 2 message has seen the PUBREL.
    Pubcomp,
}

/// What PUBACK, PUBREC, PUBREL and PUBCOMP carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ack<'a> {
    /// The identifier of the PUBLISH.
    pub packet_id: PacketId,
    /// The outcome; Success before MQTT 5.
    pub reason: ReasonCode,
    /// The properties; none before MQTT 5.
    pub properties: Properties<'a>,
}

impl AckKind {
    /// The first byte of the packet.
    const fn first(self) -> u8 {
        match self {
            AckKind::Puback => 0x40,
            AckKind::Pubrec => 0x50,
            AckKind::Pubrel => 0x62, // [MQTT-3.6.1-1]
            AckKind::Pubcomp => 0x70,
        }
    }

    /// Whether the packet may say `reason` (MQTT 5, tables 3-4 to 3-7).
    const fn allows(self, reason: ReasonCode) -> bool {
        match self {
            AckKind::Puback | AckKind::Pubrec => {
                matches!(reason.as_u8(), 0x00 | 0x10 | 0x80 | 0x83 | 0x87 | 0x90 | 0x91 | 0x97 | 0x99)
            }
            AckKind::Pubrel | AckKind::Pubcomp => matches!(reason.as_u8(), 0x00 | 0x92),
        }
    }
}

impl<'a> Ack<'a> {
    /// The acknowledgement of success, without properties.
    #[inline]
    pub const fn success(packet_id: PacketId) -> Ack<'static> {
        Ack { packet_id, reason: ReasonCode::Success, properties: Properties::EMPTY }
    }

    /// Appends the packet in its shortest form. Before MQTT 5 the reason and the properties are left out.
    #[inline]
    pub fn encode(&self, kind: AckKind, version: Version, out: &mut Vec<u8>) {
        let [high, low] = self.packet_id.get().to_be_bytes();
        if !version.is_v5() || (self.reason == ReasonCode::Success && self.properties.is_empty()) {
            out.extend_from_slice(&[kind.first(), 2, high, low]);
        } else if self.properties.is_empty() {
            out.extend_from_slice(&[kind.first(), 3, high, low, self.reason.as_u8()]);
        } else {
            put_packet(out, kind.first(), |out| {
                put_u16(out, self.packet_id.get());
                out.push(self.reason.as_u8());
                self.properties.write(out);
            });
        }
    }

    /// Reads the packet.
    #[inline]
    pub(crate) fn decode(kind: AckKind, body: &'a [u8], version: Version) -> Result<Ack<'a>, DecodeError> {
        let mut reader = Reader::new(body);
        let packet_id = reader.packet_id()?;
        if reader.is_empty() {
            return Ok(Ack::success(packet_id));
        }
        if !version.is_v5() {
            reader.finish()?;
        }
        let reason = ReasonCode::read(reader.u8()?, |reason| kind.allows(reason))?;
        let properties =
            if reader.is_empty() { Properties::EMPTY } else { Properties::read(&mut reader, place::ACK)? };
        reader.finish()?;
        Ok(Ack { packet_id, reason, properties })
    }
}
