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
    /// How matching messages are delivered.
    pub options: SubscriptionOptions,
}

/// How the messages of a subscription are delivered. The default is QoS 0 and no option.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct SubscriptionOptions {
    /// The highest QoS of a delivery.
    pub qos: QoS,
    /// Whether the client does not get messages that it publishes itself.
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
    /// `requests` is empty, or is not a list of encoded entries.
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
        // [MQTT-3.8.1-1], [MQTT3-3.8.1-1]
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
            // [MQTT3-3.8.3-4]
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
    let filter = reader.utf8()?; // [MQTT-3.8.3-1], [MQTT3-3.8.3-1]
    let options = SubscriptionOptions::from_byte(reader.u8()?, version)?;
    Ok(SubscriptionRequest { filter, options })
}

fn check_requests(requests: &[u8], version: Version) -> Result<(), DecodeError> {
    let mut reader = Reader::new(requests);
    if reader.is_empty() {
        return Err(DecodeError::protocol("the packet has no topic filter")); // [MQTT-3.8.3-2], [MQTT3-3.8.3-3]
    }
    while !reader.is_empty() {
        read_request(&mut reader, version)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{RetainHandling, Subscribe, SubscriptionOptions, SubscriptionRequest};
    use crate::codec::packet::Packet;
    use crate::codec::properties::Properties;
    use crate::codec::qos::QoS;
    use crate::codec::reason::ReasonCode;
    use crate::codec::testing::{
        ALL_VERSIONS, V3, assert_cut_is_malformed, assert_golden, assert_refused, decode_bytes, encode, id,
    };
    use crate::codec::version::Version;

    const FULL: SubscriptionOptions = SubscriptionOptions {
        qos: QoS::ExactlyOnce,
        no_local: true,
        retain_as_published: true,
        retain_handling: RetainHandling::DoNotSend,
    };

    fn encoded(requests: &[(&str, SubscriptionOptions)]) -> Vec<u8> {
        let mut out = Vec::new();
        for &(filter, options) in requests {
            SubscriptionRequest { filter, options }.encode(&mut out);
        }
        out
    }

    #[test]
    fn golden_bytes_of_every_version() {
        let requests =
            encoded(&[("a/#", SubscriptionOptions::with_qos(QoS::AtLeastOnce)), ("b", Default::default())]);
        let subscribe = Subscribe::from_encoded(id(10), Properties::EMPTY, &requests).unwrap();
        for version in V3 {
            let bytes = b"\x82\x0c\x00\x0a\x00\x03a/#\x01\x00\x01b\x00";
            assert_golden(version, bytes, &Packet::Subscribe(subscribe));
        }
        let bytes = b"\x82\x0d\x00\x0a\x00\x00\x03a/#\x01\x00\x01b\x00";
        assert_golden(Version::V5, bytes, &Packet::Subscribe(subscribe));

        let requests = encoded(&[("a", FULL)]);
        let properties = Properties::from_encoded(&[0x0B, 0x80, 0x01]).unwrap();
        let subscribe = Subscribe::from_encoded(id(1), properties, &requests).unwrap();
        let bytes = b"\x82\x0a\x00\x01\x03\x0b\x80\x01\x00\x01a\x2e";
        assert_golden(Version::V5, bytes, &Packet::Subscribe(subscribe));
        assert_eq!(subscribe.properties.subscription_identifier(), Some(128));
        assert_eq!(encode(&Packet::Subscribe(subscribe), Version::V311), b"\x82\x06\x00\x01\x00\x01a\x02");
    }

    #[test]
    fn entries_come_in_order_with_their_options() {
        let requests = encoded(&[("a", FULL), ("+/b", Default::default())]);
        let subscribe = Subscribe::from_encoded(id(1), Properties::EMPTY, &requests).unwrap();
        let expected = [
            SubscriptionRequest { filter: "a", options: FULL },
            SubscriptionRequest { filter: "+/b", options: SubscriptionOptions::default() },
        ];
        assert!(subscribe.filters().eq(expected));
    }

    #[test]
    fn the_syntax_of_a_filter_is_left_to_the_engine() {
        for filter in ["", "a#", "$share//x"] {
            let requests = encoded(&[(filter, Default::default())]);
            let subscribe =
                Packet::Subscribe(Subscribe::from_encoded(id(1), Properties::EMPTY, &requests).unwrap());
            for version in ALL_VERSIONS {
                assert_eq!(decode_bytes(&encode(&subscribe, version), version), Ok(subscribe));
            }
        }
    }

    #[test]
    fn every_option_byte_is_read_back_or_refused() {
        for byte in 0..=255u8 {
            let valid_v3 = byte < 3;
            let valid_v5 = byte & 0xC0 == 0 && byte & 0x03 != 3 && byte & 0x30 != 0x30;
            for (version, valid) in
                [(Version::V31, valid_v3), (Version::V311, valid_v3), (Version::V5, valid_v5)]
            {
                let options = SubscriptionOptions::from_byte(byte, version);
                assert_eq!(options.is_ok(), valid, "{byte:#04x} in {version}");
                if let Ok(options) = options {
                    assert_eq!(options.to_byte(version), byte);
                }
            }
        }
        let reason = |byte, version| SubscriptionOptions::from_byte(byte, version).unwrap_err().reason;
        assert_eq!(reason(0x40, Version::V5), ReasonCode::MalformedPacket);
        assert_eq!(reason(0x80, Version::V5), ReasonCode::MalformedPacket);
        assert_eq!(reason(0x04, Version::V311), ReasonCode::MalformedPacket);
        assert_eq!(reason(0x03, Version::V5), ReasonCode::ProtocolError);
        assert_eq!(reason(0x30, Version::V5), ReasonCode::ProtocolError);
    }

    #[test]
    fn what_is_no_subscribe_is_refused() {
        let cases: [(Version, &[u8], ReasonCode); 14] = [
            (Version::V31, b"\x82\x02\x00\x01", ReasonCode::ProtocolError), // [MQTT-3.8.3-2]
            (Version::V311, b"\x82\x02\x00\x01", ReasonCode::ProtocolError),
            (Version::V5, b"\x82\x03\x00\x01\x00", ReasonCode::ProtocolError),
            (Version::V311, b"\x82\x06\x00\x00\x00\x01a\x00", ReasonCode::MalformedPacket), // [MQTT-2.2.1-3]
            (Version::V311, b"\x80\x06\x00\x01\x00\x01a\x00", ReasonCode::MalformedPacket), // [MQTT-3.8.1-1]
            (Version::V311, b"\x8a\x06\x00\x01\x00\x01a\x00", ReasonCode::MalformedPacket),
            (Version::V311, b"\x82\x06\x00\x01\x00\x01\xff\x00", ReasonCode::MalformedPacket), // [MQTT-3.8.3-1]
            (Version::V311, b"\x82\x06\x00\x01\x00\x01\x00\x00", ReasonCode::MalformedPacket),
            (Version::V311, b"\x82\x06\x00\x01\x00\x01a\x04", ReasonCode::MalformedPacket),
            (Version::V5, b"\x82\x07\x00\x01\x00\x00\x01a\x03", ReasonCode::ProtocolError),
            // The second entry has no options.
            (Version::V311, b"\x82\x09\x00\x01\x00\x01a\x00\x00\x01b", ReasonCode::MalformedPacket),
            (Version::V5, b"\x82\x09\x00\x01\x02\x0b\x00\x00\x01a\x00", ReasonCode::ProtocolError),
            (Version::V5, b"\x82\x0b\x00\x01\x04\x0b\x01\x0b\x02\x00\x01a\x00", ReasonCode::ProtocolError),
            (Version::V5, b"\x82\x0a\x00\x01\x03\x23\x00\x01\x00\x01a\x00", ReasonCode::MalformedPacket),
        ];
        for (version, bytes, reason) in cases {
            assert_refused(version, bytes, reason);
        }
        assert_cut_is_malformed(Version::V311, b"\x82\x06\x00\x01\x00\x01a\x00", 3);
        for bytes in [&[0x82, 0][..], &[0x82, 1, 0], &[0x82, 2, 0, 1], &[0x82, 3, 0, 1, 5]] {
            assert_refused(Version::V5, bytes, ReasonCode::MalformedPacket);
        }
        assert_eq!(
            Subscribe::from_encoded(id(1), Properties::EMPTY, &[]).unwrap_err().reason,
            ReasonCode::ProtocolError
        );
    }

    #[test]
    fn mqtt_3_1_marks_a_repeated_subscribe_with_dup() {
        assert!(decode_bytes(b"\x8a\x06\x00\x01\x00\x01a\x00", Version::V31).is_ok());
    }
}
