//! UNSUBSCRIBE: a client ends subscriptions (MQTT 5, section 3.10).

use crate::codec::error::DecodeError;
use crate::codec::packet_id::PacketId;
use crate::codec::properties::{Properties, place};
use crate::codec::version::Version;
use crate::codec::wire::{Reader, put_packet, put_u16, put_utf8};

/// An UNSUBSCRIBE packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unsubscribe<'a> {
    /// The identifier that the UNSUBACK repeats.
    pub packet_id: PacketId,
    /// The properties; none before MQTT 5.
    pub properties: Properties<'a>,
    filters: &'a [u8],
}

/// The filters of an UNSUBSCRIBE packet, in the order of the wire: UTF-8 texts without U+0000.
#[derive(Clone, Debug)]
pub struct UnsubscribeFilters<'a>(Reader<'a>);

/// Appends a filter as [`Unsubscribe::from_encoded`] takes it.
pub fn encode_filter(filter: &str, out: &mut Vec<u8>) {
    put_utf8(out, filter);
}

impl<'a> Unsubscribe<'a> {
    /// A packet with the filters that [`encode_filter`] has written to `filters`.
    ///
    /// # Errors
    /// `filters` is empty, or is not a list of encoded filters.
    pub fn from_encoded(
        packet_id: PacketId,
        properties: Properties<'a>,
        filters: &'a [u8],
    ) -> Result<Unsubscribe<'a>, DecodeError> {
        check_filters(filters)?;
        Ok(Unsubscribe { packet_id, properties, filters })
    }

    /// The filters, at least one; whether they are Topic Filters is not checked.
    pub fn filters(&self) -> UnsubscribeFilters<'a> {
        UnsubscribeFilters(Reader::new(self.filters))
    }

    /// Appends the packet. Before MQTT 5 the properties are left out.
    pub fn encode(&self, version: Version, out: &mut Vec<u8>) {
        // [MQTT-3.10.1-1], [MQTT3-3.10.1-1]
        put_packet(out, 0xA2, |out| {
            put_u16(out, self.packet_id.get());
            if version.is_v5() {
                self.properties.write(out);
            }
            out.extend_from_slice(self.filters);
        });
    }

    /// Reads the packet and checks every filter but its syntax.
    pub(crate) fn decode(body: &'a [u8], version: Version) -> Result<Unsubscribe<'a>, DecodeError> {
        let mut reader = Reader::new(body);
        let packet_id = reader.packet_id()?;
        let properties = if version.is_v5() {
            Properties::read(&mut reader, place::UNSUBSCRIBE)?
        } else {
            Properties::EMPTY
        };
        let filters = reader.rest();
        check_filters(filters)?;
        Ok(Unsubscribe { packet_id, properties, filters })
    }
}

impl<'a> Iterator for UnsubscribeFilters<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        self.0.utf8().ok()
    }
}

fn check_filters(filters: &[u8]) -> Result<(), DecodeError> {
    let mut reader = Reader::new(filters);
    if reader.is_empty() {
        return Err(DecodeError::protocol("the packet has no topic filter")); // [MQTT-3.10.3-2], [MQTT3-3.10.3-2]
    }
    while !reader.is_empty() {
        reader.utf8()?; // [MQTT-3.10.3-1], [MQTT3-3.10.3-1]
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{Unsubscribe, encode_filter};
    use crate::codec::packet::Packet;
    use crate::codec::properties::Properties;
    use crate::codec::reason::ReasonCode;
    use crate::codec::testing::{
        V3, assert_cut_is_malformed, assert_golden, assert_refused, decode_bytes, encode, id,
    };
    use crate::codec::version::Version;

    #[test]
    fn golden_bytes_of_every_version() {
        let mut filters = Vec::new();
        encode_filter("a/#", &mut filters);
        encode_filter("b", &mut filters);
        let unsubscribe = Unsubscribe::from_encoded(id(10), Properties::EMPTY, &filters).unwrap();
        assert!(unsubscribe.filters().eq(["a/#", "b"]));
        for version in V3 {
            let bytes = b"\xa2\x0a\x00\x0a\x00\x03a/#\x00\x01b";
            assert_golden(version, bytes, &Packet::Unsubscribe(unsubscribe));
        }
        let bytes = b"\xa2\x0b\x00\x0a\x00\x00\x03a/#\x00\x01b";
        assert_golden(Version::V5, bytes, &Packet::Unsubscribe(unsubscribe));

        let properties = Properties::from_encoded(b"\x26\x00\x00\x00\x00").unwrap();
        let packet = Packet::Unsubscribe(Unsubscribe { properties, ..unsubscribe });
        let bytes = b"\xa2\x10\x00\x0a\x05\x26\x00\x00\x00\x00\x00\x03a/#\x00\x01b";
        assert_golden(Version::V5, bytes, &packet);
        assert_eq!(encode(&packet, Version::V311), b"\xa2\x0a\x00\x0a\x00\x03a/#\x00\x01b");
    }

    #[test]
    fn what_is_no_unsubscribe_is_refused() {
        let cases: [(Version, &[u8], ReasonCode); 7] = [
            (Version::V311, b"\xa2\x02\x00\x01", ReasonCode::ProtocolError), // [MQTT-3.10.3-2]
            (Version::V5, b"\xa2\x03\x00\x01\x00", ReasonCode::ProtocolError),
            (Version::V311, b"\xa2\x05\x00\x00\x00\x01a", ReasonCode::MalformedPacket),
            (Version::V311, b"\xa0\x05\x00\x01\x00\x01a", ReasonCode::MalformedPacket), // [MQTT-3.10.1-1]
            (Version::V311, b"\xa2\x05\x00\x01\x00\x01\xff", ReasonCode::MalformedPacket),
            (Version::V311, b"\xa2\x06\x00\x01\x00\x01a\x00", ReasonCode::MalformedPacket),
            (Version::V5, b"\xa2\x08\x00\x01\x02\x0b\x01\x00\x01a", ReasonCode::MalformedPacket),
        ];
        for (version, bytes, reason) in cases {
            assert_refused(version, bytes, reason);
        }
        assert_cut_is_malformed(Version::V311, b"\xa2\x05\x00\x01\x00\x01a", 3);
        assert!(decode_bytes(b"\xaa\x05\x00\x01\x00\x01a", Version::V31).is_ok());
        assert!(Unsubscribe::from_encoded(id(1), Properties::EMPTY, &[]).is_err());
        assert!(Unsubscribe::from_encoded(id(1), Properties::EMPTY, &[0, 2, b'a']).is_err());
    }
}
