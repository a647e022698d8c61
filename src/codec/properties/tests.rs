//! Tests of properties: each one, the packets that carry it, repetitions, values, and forwarding.

use crate::codec::properties::property::place;
use crate::codec::properties::{Properties, Property, PropertyId, PropertyWriter};
use crate::codec::qos::QoS;
use crate::codec::reason::ReasonCode;
use crate::codec::wire::Reader;

/// Every property, as encoded in table 2-4 of the specification.
const ALL: [(Property<'_>, &[u8]); 27] = [
    (Property::PayloadFormatIndicator(1), &[0x01, 1]),
    (Property::MessageExpiryInterval(0x0102_0304), &[0x02, 1, 2, 3, 4]),
    (Property::ContentType("c"), &[0x03, 0, 1, b'c']),
    (Property::ResponseTopic("r"), &[0x08, 0, 1, b'r']),
    (Property::CorrelationData(&[0xFF]), &[0x09, 0, 1, 0xFF]),
    (Property::SubscriptionIdentifier(268_435_455), &[0x0B, 0xFF, 0xFF, 0xFF, 0x7F]),
    (Property::SessionExpiryInterval(u32::MAX), &[0x11, 0xFF, 0xFF, 0xFF, 0xFF]),
    (Property::AssignedClientIdentifier("i"), &[0x12, 0, 1, b'i']),
    (Property::ServerKeepAlive(300), &[0x13, 1, 44]),
    (Property::AuthenticationMethod("m"), &[0x15, 0, 1, b'm']),
    (Property::AuthenticationData(&[0]), &[0x16, 0, 1, 0]),
    (Property::RequestProblemInformation(false), &[0x17, 0]),
    (Property::WillDelayInterval(0), &[0x18, 0, 0, 0, 0]),
    (Property::RequestResponseInformation(true), &[0x19, 1]),
    (Property::ResponseInformation(""), &[0x1A, 0, 0]),
    (Property::ServerReference("s"), &[0x1C, 0, 1, b's']),
    (Property::ReasonString("é"), &[0x1F, 0, 2, 0xC3, 0xA9]),
    (Property::ReceiveMaximum(1), &[0x21, 0, 1]),
    (Property::TopicAliasMaximum(0), &[0x22, 0, 0]),
    (Property::TopicAlias(65_535), &[0x23, 0xFF, 0xFF]),
    (Property::MaximumQos(QoS::AtLeastOnce), &[0x24, 1]),
    (Property::RetainAvailable(false), &[0x25, 0]),
    (Property::UserProperty("n", "v"), &[0x26, 0, 1, b'n', 0, 1, b'v']),
    (Property::MaximumPacketSize(1), &[0x27, 0, 0, 0, 1]),
    (Property::WildcardSubscriptionAvailable(true), &[0x28, 1]),
    (Property::SubscriptionIdentifierAvailable(false), &[0x29, 0]),
    (Property::SharedSubscriptionAvailable(true), &[0x2A, 1]),
];

/// Packets and the identifiers that they may carry (table 2-4).
const PLACES: [(u16, &[u8]); 11] = [
    (place::CONNECT, &[0x11, 0x15, 0x16, 0x17, 0x19, 0x21, 0x22, 0x26, 0x27]),
    (place::WILL, &[0x01, 0x02, 0x03, 0x08, 0x09, 0x18, 0x26]),
    (
        place::CONNACK,
        &[
            0x11, 0x12, 0x13, 0x15, 0x16, 0x1A, 0x1C, 0x1F, 0x21, 0x22, 0x24, 0x25, 0x26, 0x27, 0x28, 0x29,
            0x2A,
        ],
    ),
    (place::PUBLISH, &[0x01, 0x02, 0x03, 0x08, 0x09, 0x0B, 0x23, 0x26]),
    (place::ACK, &[0x1F, 0x26]),
    (place::SUBSCRIBE, &[0x0B, 0x26]),
    (place::SUBACK, &[0x1F, 0x26]),
    (place::UNSUBSCRIBE, &[0x26]),
    (place::UNSUBACK, &[0x1F, 0x26]),
    (place::DISCONNECT, &[0x11, 0x1C, 0x1F, 0x26]),
    (place::AUTH, &[0x15, 0x16, 0x1F, 0x26]),
];

/// Whether `bytes` are properties that a packet of `place` may carry.
fn read(bytes: &[u8], place: u16) -> Result<(), ReasonCode> {
    let block = [&[bytes.len() as u8], bytes].concat();
    Properties::read(&mut Reader::new(&block), place).map(drop).map_err(|error| error.reason)
}

#[test]
fn every_property_has_its_golden_bytes() {
    let mut all = Vec::new();
    for (property, bytes) in ALL {
        let mut out = Vec::new();
        PropertyWriter::new(&mut out).property(&property);
        assert_eq!(out, bytes, "{property:?}");
        assert!(Properties::from_encoded(bytes).unwrap().iter().eq([property]));
        all.extend_from_slice(bytes);
    }
    let properties = Properties::from_encoded(&all).unwrap();
    assert!(properties.iter().eq(ALL.map(|(property, _)| property)));
    assert_eq!(properties.raw(), all);
}

#[test]
fn every_accessor_finds_its_property_among_all() {
    let all = ALL.map(|(_, bytes)| bytes).concat();
    let all = Properties::from_encoded(&all).unwrap();
    assert_eq!(all.payload_format_indicator(), Some(1));
    assert_eq!(all.message_expiry_interval(), Some(0x0102_0304));
    assert_eq!(all.content_type(), Some("c"));
    assert_eq!(all.response_topic(), Some("r"));
    assert_eq!(all.correlation_data(), Some(&[0xFF][..]));
    assert_eq!(all.subscription_identifier(), Some(268_435_455));
    assert_eq!(all.session_expiry_interval(), Some(u32::MAX));
    assert_eq!(all.assigned_client_identifier(), Some("i"));
    assert_eq!(all.server_keep_alive(), Some(300));
    assert_eq!(all.authentication_method(), Some("m"));
    assert_eq!(all.authentication_data(), Some(&[0][..]));
    assert_eq!(all.request_problem_information(), Some(false));
    assert_eq!(all.will_delay_interval(), Some(0));
    assert_eq!(all.request_response_information(), Some(true));
    assert_eq!(all.response_information(), Some(""));
    assert_eq!(all.server_reference(), Some("s"));
    assert_eq!(all.reason_string(), Some("é"));
    assert_eq!(all.receive_maximum(), Some(1));
    assert_eq!(all.topic_alias_maximum(), Some(0));
    assert_eq!(all.topic_alias(), Some(65_535));
    assert_eq!(all.maximum_qos(), Some(QoS::AtLeastOnce));
    assert_eq!(all.retain_available(), Some(false));
    assert_eq!(all.maximum_packet_size(), Some(1));
    assert_eq!(all.wildcard_subscription_available(), Some(true));
    assert_eq!(all.subscription_identifier_available(), Some(false));
    assert_eq!(all.shared_subscription_available(), Some(true));
    assert!(all.user_properties().eq([("n", "v")]));
    assert_eq!(Properties::EMPTY.topic_alias(), None);
    assert!(Properties::EMPTY.is_empty() && Properties::EMPTY.iter().next().is_none());
}

#[test]
fn the_places_are_those_of_table_2_4() {
    for (place, expected) in PLACES {
        let allowed: Vec<u8> = ALL
            .iter()
            .map(|(_, bytes)| bytes)
            .filter(|bytes| read(bytes, place).is_ok())
            .map(|b| b[0])
            .collect();
        assert_eq!(allowed, expected, "{place:#b}");
        for (property, bytes) in ALL.iter().filter(|(_, bytes)| !expected.contains(&bytes[0])) {
            assert_eq!(read(bytes, place), Err(ReasonCode::MalformedPacket), "{property:?}");
        }
    }
}

#[test]
fn a_property_occurs_once_but_user_properties_and_the_identifiers_of_a_publish() {
    for (place, ids) in PLACES {
        for (property, bytes) in ALL.iter().filter(|(_, bytes)| ids.contains(&bytes[0])) {
            let twice = [*bytes, *bytes].concat();
            let repeats = bytes[0] == 0x26
                || bytes[0] == PropertyId::SubscriptionIdentifier as u8 && place == place::PUBLISH;
            let expected = if repeats { Ok(()) } else { Err(ReasonCode::ProtocolError) };
            assert_eq!(read(&twice, place), expected, "{property:?}");
        }
    }
}

/// [MQTT-1.5.5-1], [MQTT-1.5.7-1], [MQTT-3.3.2-8], [MQTT-3.3.2-14], [MQTT-3.3.2-19]
#[test]
fn wrong_values_are_protocol_errors_and_wrong_encodings_malformed() {
    let cases: [(&[u8], ReasonCode); 24] = [
        (&[0x01, 2], ReasonCode::ProtocolError),
        (&[0x17, 2], ReasonCode::ProtocolError),
        (&[0x19, 0xFF], ReasonCode::ProtocolError),
        (&[0x24, 2], ReasonCode::ProtocolError),
        (&[0x25, 2], ReasonCode::ProtocolError),
        (&[0x28, 2], ReasonCode::ProtocolError),
        (&[0x29, 2], ReasonCode::ProtocolError),
        (&[0x2A, 2], ReasonCode::ProtocolError),
        (&[0x0B, 0], ReasonCode::ProtocolError),
        (&[0x21, 0, 0], ReasonCode::ProtocolError),
        (&[0x27, 0, 0, 0, 0], ReasonCode::ProtocolError),
        (&[0x08, 0, 1, b'+'], ReasonCode::ProtocolError),
        (&[0x08, 0, 0], ReasonCode::ProtocolError),
        (&[0x23, 0, 0], ReasonCode::TopicAliasInvalid),
        (&[0x00], ReasonCode::MalformedPacket),
        (&[0x04, 0], ReasonCode::MalformedPacket),
        (&[0x2B, 0], ReasonCode::MalformedPacket),
        (&[0x81, 0x00, 1], ReasonCode::MalformedPacket),
        (&[0x0B, 0x81, 0x00], ReasonCode::MalformedPacket),
        (&[0x0B, 0xFF, 0xFF, 0xFF, 0xFF, 0x01], ReasonCode::MalformedPacket),
        (&[0x03, 0, 1, 0xFF], ReasonCode::MalformedPacket),
        (&[0x03, 0, 1, 0x00], ReasonCode::MalformedPacket),
        (&[0x26, 0, 1, b'a', 0, 1, 0xC0], ReasonCode::MalformedPacket),
        (&[0x26, 0, 1, b'a'], ReasonCode::MalformedPacket),
    ];
    for (bytes, reason) in cases {
        assert_eq!(Properties::from_encoded(bytes).unwrap_err().reason, reason, "{bytes:02x?}");
    }
}

#[test]
fn a_property_cut_short_is_malformed() {
    for (property, bytes) in ALL {
        for length in 1..bytes.len() {
            let error = Properties::from_encoded(&bytes[..length]).unwrap_err();
            assert_eq!(error.reason, ReasonCode::MalformedPacket, "{property:?} {length}");
        }
    }
}

#[test]
fn what_is_forwarded_comes_in_joined_spans() {
    let mut bytes = Vec::new();
    PropertyWriter::new(&mut bytes).payload_format_indicator(1).content_type("c");
    let first = bytes.len();
    PropertyWriter::new(&mut bytes).topic_alias(1).message_expiry_interval(5);
    let second = bytes.len();
    PropertyWriter::new(&mut bytes).user_property("a", "b").correlation_data(&[1]);
    let third = bytes.len();
    PropertyWriter::new(&mut bytes)
        .subscription_identifier(200)
        .subscription_identifier(1)
        .will_delay_interval(1);

    let properties = Properties::from_encoded(&bytes).unwrap();
    assert!(!properties.is_forwardable_as_is());
    assert!(properties.forwardable().eq([&bytes[..first], &bytes[second..third]]));
    let kept = Properties::from_encoded(&bytes[second..third]).unwrap();
    assert!(kept.is_forwardable_as_is());
    assert!(kept.forwardable().eq([kept.raw()]));
    assert!(Properties::EMPTY.is_forwardable_as_is() && Properties::EMPTY.forwardable().next().is_none());
    let dropped = Properties::from_encoded(&bytes[first..second]).unwrap();
    assert!(dropped.forwardable().next().is_none());
}

#[test]
fn a_value_is_found_behind_user_properties() {
    let mut bytes = Vec::new();
    PropertyWriter::new(&mut bytes).user_property("#", "\u{23}").user_property("a", "2").topic_alias(7);
    let properties = Properties::from_encoded(&bytes).unwrap();
    assert_eq!(properties.topic_alias(), Some(7));
    assert!(properties.user_properties().eq([("#", "#"), ("a", "2")]));
}
