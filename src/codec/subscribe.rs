//! SUBSCRIBE: a client asks for messages (MQTT 5, section 3.8).

use crate::codec::error::DecodeError;
use crate::codec::packet_id::PacketId;
use crate::codec::properties::{Properties, place};
use crate::codec::qos::QoS;
use crate::codec::version::Version;
use crate::codec::wire::{Reader, put_packet, put_u16, put_utf8};

/// A SUBSCRIBE packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subscribe<'a> {
    /// The identifier that the SUBACK repeats.
    pub packet_id: PacketId,
    /// The properties; none before MQTT 5.
    pub properties: Properties<'a>,
    requests: &'a [u8],
}

/// One entry of a SUBSCRIBE packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SubscriptionRequest<'a> {
    /// UTF-8 text without U+0000; whether it is a Topic Filter is not checked.
    pub filter: &'a str,
    /// How to deliver.
    pub options: SubscriptionOptions,
}

/// How the messages of a subscription are delivered. The default is QoS 0 and no option.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct SubscriptionOptions {
    /// The highest QoS of a delivery.
    pub qos: QoS,
    /// Whether the client is spared its own messages.
    pub no_local: bool,
    /// Whether deliveries keep the RETAIN flag of the publisher.
    pub retain_as_published: bool,
    /// What happens to retained messages when the subscription is made.
    pub retain_handling: RetainHandling,
}

/// What a new subscription does with the retained messages that match it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum RetainHandling {
    /// They are sent.
    #[default]
    SendAlways = 0,
    /// They are sent if the subscription did not exist before.
    SendIfNew = 1,
    /// They are not sent.
    DoNotSend = 2,
}

/// The entries of a SUBSCRIBE packet, in the order of the wire.
#[derive(Clone, Debug)]
pub struct SubscriptionRequests<'a>(Reader<'a>);

impl<'a> Subscribe<'a> {
    /// A packet with the entries that [`SubscriptionRequest::encode`] has written to `requests`.
    ///
    /// # Errors
    /// `requests` is empty or holds something else.
    pub fn from_encoded(
        packet_id: PacketId,
        properties: Properties<'a>,
        requests: &'a [u8],
    ) -> Result<Subscribe<'a>, DecodeError> {
        check_requests(requests, Version::V5)?;
        Ok(Subscribe { packet_id, properties, requests })
    }

    /// The entries, at least one.
    pub fn filters(&self) -> SubscriptionRequests<'a> {
        SubscriptionRequests(Reader::new(self.requests))
    }

    /// Appends the packet. Before MQTT 5 the properties and all options but the QoS are left out.
    pub fn encode(&self, version: Version, out: &mut Vec<u8>) {
        // [MQTT-3.8.1-1]
        put_packet(out, 0x82, |out| {
            put_u16(out, self.packet_id.get());
            if version.is_v5() {
                self.properties.write(out);
            }
            for request in self.filters() {
                put_utf8(out, request.filter);
                out.push(request.options.to_byte(version));
            }
        });
    }

    /// Reads the packet and checks every entry but the syntax of its filter.
    pub(crate) fn decode(body: &'a [u8], version: Version) -> Result<Subscribe<'a>, DecodeError> {
        let mut reader = Reader::new(body);
        let packet_id = reader.packet_id()?;
        let properties = if version.is_v5() {
            Properties::read(&mut reader, place::SUBSCRIBE)?
        } else {
            Properties::EMPTY
        };
        let requests = reader.rest();
        check_requests(requests, version)?;
        Ok(Subscribe { packet_id, properties, requests })
    }
}

impl SubscriptionRequest<'_> {
    /// Appends the entry as [`Subscribe::from_encoded`] takes it.
    pub fn encode(&self, out: &mut Vec<u8>) {
        put_utf8(out, self.filter);
        out.push(self.options.to_byte(Version::V5));
    }
}

impl SubscriptionOptions {
    /// Delivery with at most `qos` and no other option.
    pub const fn with_qos(qos: QoS) -> SubscriptionOptions {
        SubscriptionOptions {
            qos,
            no_local: false,
            retain_as_published: false,
            retain_handling: RetainHandling::SendAlways,
        }
    }

    /// The options in the byte behind a filter.
    ///
    /// # Errors
    /// The QoS or the Retain Handling is 3, or a bit is set that `version` reserves.
    pub const fn from_byte(byte: u8, version: Version) -> Result<SubscriptionOptions, DecodeError> {
        let reserved = if version.is_v5() { 0xC0 } else { 0xFC };
        if byte & reserved != 0 {
            return Err(DecodeError::malformed("reserved subscription options are set")); // [MQTT-3.8.3-5]
        }
        let Some(qos) = QoS::from_u8(byte & 0x03) else {
            return Err(DecodeError::protocol("the QoS of a subscription is 3"));
        };
        let retain_handling = match byte >> 4 {
            0 => RetainHandling::SendAlways,
            1 => RetainHandling::SendIfNew,
            2 => RetainHandling::DoNotSend,
            _ => return Err(DecodeError::protocol("the retain handling of a subscription is 3")),
        };
        Ok(SubscriptionOptions {
            qos,
            no_local: byte & 0x04 != 0,
            retain_as_published: byte & 0x08 != 0,
            retain_handling,
        })
    }

    /// The byte behind a filter; before MQTT 5 it holds the QoS alone.
    pub const fn to_byte(self, version: Version) -> u8 {
        if !version.is_v5() {
            return self.qos.as_u8();
        }
        self.qos.as_u8()
            | (self.no_local as u8) << 2
            | (self.retain_as_published as u8) << 3
            | (self.retain_handling as u8) << 4
    }
}

impl<'a> Iterator for SubscriptionRequests<'a> {
    type Item = SubscriptionRequest<'a>;

    fn next(&mut self) -> Option<SubscriptionRequest<'a>> {
        // A byte that is valid in an earlier version means the same in MQTT 5.
        read_request(&mut self.0, Version::V5).ok()
    }
}

fn read_request<'a>(
    reader: &mut Reader<'a>,
    version: Version,
) -> Result<SubscriptionRequest<'a>, DecodeError> {
    let filter = reader.utf8()?; // [MQTT-3.8.3-1]
    let options = SubscriptionOptions::from_byte(reader.u8()?, version)?;
    Ok(SubscriptionRequest { filter, options })
}

fn check_requests(requests: &[u8], version: Version) -> Result<(), DecodeError> {
    let mut reader = Reader::new(requests);
    if reader.is_empty() {
        return Err(DecodeError::protocol("there is no topic filter")); // [MQTT-3.8.3-2]
    }
    while !reader.is_empty() {
        read_request(&mut reader, version)?;
    }
    Ok(())
}
