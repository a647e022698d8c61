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
            AckKind::Pubrel => 0x62, // [MQTT-3.6.1-1], [MQTT3-3.6.1-1]
            AckKind::Pubcomp => 0x70,
        }
    }

    /// Whether the packet may say `reason` (MQTT 5, tables 3-4 to 3-7).
    /// [MQTT-3.4.2-1], [MQTT-3.5.2-1], [MQTT-3.6.2-1], [MQTT-3.7.2-1]
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

#[cfg(test)]
mod tests {
    use super::{Ack, AckKind};
    use crate::codec::packet::Packet;
    use crate::codec::properties::Properties;
    use crate::codec::reason::ReasonCode;
    use crate::codec::testing::{
        ALL_VERSIONS, V3, assert_cut_is_malformed, assert_golden, assert_refused, decode_bytes, encode, id,
    };
    use crate::codec::version::Version;

    const KINDS: [AckKind; 4] = [AckKind::Puback, AckKind::Pubrec, AckKind::Pubrel, AckKind::Pubcomp];

    fn packet(kind: AckKind, ack: Ack<'_>) -> Packet<'_> {
        match kind {
            AckKind::Puback => Packet::Puback(ack),
            AckKind::Pubrec => Packet::Pubrec(ack),
            AckKind::Pubrel => Packet::Pubrel(ack),
            AckKind::Pubcomp => Packet::Pubcomp(ack),
        }
    }

    #[test]
    fn success_is_four_bytes_in_every_version() {
        for version in ALL_VERSIONS {
            for (kind, first) in KINDS.into_iter().zip([0x40, 0x50, 0x62, 0x70]) {
                assert_golden(version, &[first, 2, 0x12, 0x34], &packet(kind, Ack::success(id(0x1234))));
            }
        }
    }

    #[test]
    fn a_reason_and_properties_make_it_longer_in_mqtt_5() {
        let not_found = Ack { reason: ReasonCode::PacketIdentifierNotFound, ..Ack::success(id(1)) };
        assert_golden(Version::V5, &[0x62, 3, 0, 1, 0x92], &Packet::Pubrel(not_found));
        assert_golden(Version::V5, &[0x70, 3, 0, 1, 0x92], &Packet::Pubcomp(not_found));
        let properties = Properties::from_encoded(b"\x1f\x00\x01x").unwrap();
        let explained = Ack { reason: ReasonCode::QuotaExceeded, properties, ..Ack::success(id(1)) };
        assert_golden(Version::V5, b"\x40\x08\x00\x01\x97\x04\x1f\x00\x01x", &Packet::Puback(explained));
        let friendly = Ack { properties, ..Ack::success(id(1)) };
        assert_golden(Version::V5, b"\x50\x08\x00\x01\x00\x04\x1f\x00\x01x", &Packet::Pubrec(friendly));
        for version in V3 {
            assert_eq!(encode(&Packet::Puback(explained), version), [0x40, 2, 0, 1]);
        }
    }

    #[test]
    fn the_long_forms_of_success_are_read() {
        let success = Ok(Packet::Puback(Ack::success(id(1))));
        assert_eq!(decode_bytes(&[0x40, 3, 0, 1, 0], Version::V5), success);
        assert_eq!(decode_bytes(&[0x40, 4, 0, 1, 0, 0], Version::V5), success);
    }

    #[test]
    fn what_is_no_acknowledgement_is_refused() {
        for first in [0x40, 0x50, 0x62, 0x70] {
            for version in ALL_VERSIONS {
                assert_refused(version, &[first, 2, 0, 0], ReasonCode::MalformedPacket);
                if version > Version::V31 {
                    assert_refused(version, &[first ^ 0x01, 2, 0, 1], ReasonCode::MalformedPacket);
                    assert_refused(version, &[first ^ 0x02, 2, 0, 1], ReasonCode::MalformedPacket);
                }
                assert_cut_is_malformed(version, &[first, 2, 0, 1], 0);
            }
            for version in V3 {
                assert_refused(version, &[first, 3, 0, 1, 0], ReasonCode::MalformedPacket);
            }
            let cases: [(&[u8], ReasonCode); 6] = [
                (&[first, 3, 0, 1, 0xFF], ReasonCode::MalformedPacket),
                (&[first, 3, 0, 1, 0x8D], ReasonCode::ProtocolError),
                (&[first, 4, 0, 1, 0, 1], ReasonCode::MalformedPacket),
                (&[first, 5, 0, 1, 0, 0, 0], ReasonCode::MalformedPacket),
                (&[first, 6, 0, 1, 0, 2, 0x01, 1], ReasonCode::MalformedPacket),
                (&[first, 12, 0, 1, 0, 8, 0x1F, 0, 1, b'x', 0x1F, 0, 1, b'y'], ReasonCode::ProtocolError),
            ];
            for (bytes, reason) in cases {
                assert_refused(Version::V5, bytes, reason);
            }
        }
    }

    /// [MQTT-3.4.2-1], [MQTT-3.5.2-1], [MQTT-3.6.2-1], [MQTT-3.7.2-1]
    #[test]
    fn the_reasons_are_those_of_tables_3_4_to_3_7() {
        for first in [0x40, 0x50, 0x62, 0x70] {
            let allowed: Vec<u8> = (0..=255)
                .filter(|&code| decode_bytes(&[first, 3, 0, 1, code], Version::V5).is_ok())
                .collect();
            let expected: &[u8] = if first < 0x60 {
                &[0x00, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99]
            } else {
                &[0x00, 0x92]
            };
            assert_eq!(allowed, expected, "{first:#04x}");
        }
    }

    #[test]
    fn mqtt_3_1_marks_a_repeated_pubrel_with_dup() {
        let pubrel = Ok(Packet::Pubrel(Ack::success(id(1))));
        assert_eq!(decode_bytes(&[0x6A, 2, 0, 1], Version::V31), pubrel);
        assert_refused(Version::V311, &[0x6A, 2, 0, 1], ReasonCode::MalformedPacket);
    }
}
