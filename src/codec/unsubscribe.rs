//! UNSUBSCRIBE: a client wants no more messages (MQTT 5, section 3.10).

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
    /// `filters` is empty or holds something else.
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
        // [MQTT-3.10.1-1]
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
        return Err(DecodeError::protocol("there is no topic filter")); // [MQTT-3.10.3-2]
    }
    while !reader.is_empty() {
        reader.utf8()?; // [MQTT-3.10.3-1]
    }
    Ok(())
}
