//! What the broker writes about itself: properties and their absence.

use midge::codec::ack::AckKind;
use midge::codec::frame::{Framing, split};
use midge::codec::packet::{Packet, decode};
use midge::codec::properties::{Properties, Property};
use midge::codec::reason::ReasonCode;
use midge::codec::subscribe::SubscriptionOptions;

use crate::harness::{Client, LastWill, Network, Q1, Q2, V5, opts};

/// The packets that have arrived: their names and the numbers of their properties.
fn arrived(client: &mut Client<'_>) -> Vec<(&'static str, Vec<Property<'static>>)> {
    client.poll();
    let bytes: &'static [u8] = client.line.take().leak();
    let mut rest = bytes;
    let mut all = Vec::new();
    while let Framing::Complete(frame) = split(rest, u32::MAX).unwrap() {
        rest = &rest[frame.whole.len()..];
        let packet = decode(frame, V5).unwrap();
        let properties = match &packet {
            Packet::Connack(p) => p.properties,
            Packet::Publish(p) => p.properties,
            Packet::Puback(p) | Packet::Pubrec(p) | Packet::Pubrel(p) | Packet::Pubcomp(p) => p.properties,
            Packet::Suback(p) => p.properties,
            Packet::Unsuback(p) => p.properties,
            Packet::Disconnect(p) => p.properties,
            _ => Properties::EMPTY,
        };
        all.push((packet.name(), properties.iter().collect()));
    }
    assert!(rest.is_empty());
    all
}

/// A conversation in which the broker refuses whatever can be refused.
fn refusals(network: &Network, problems: bool) -> Vec<(&'static str, Vec<Property<'static>>)> {
    let connect = opts("a", V5).with(|p| {
        p.request_problem_information(problems).request_response_information(true);
    });
    let mut client = Client::open(network, V5);
    client.send_bytes(&connect.encode());
    client.send_subscribe(&[("$queue/", SubscriptionOptions::with_qos(Q2)), ("t", Default::default())], 0);
    client.send_bytes(&[0xA2, 6, 0, 9, 0, 0, 1, b'x']);
    let bad = [0xFF];
    client.send_with("t", &bad, Q1, false, |p| _ = p.payload_format_indicator(1));
    client.send_with("t", &bad, Q2, false, |p| _ = p.payload_format_indicator(1));
    client.send_ack(AckKind::Pubrel, 77);
    client.send_ack(AckKind::Pubrec, 78);
    client.send_with("t", b"hello", Q1, false, |p| _ = p.user_property("a", "b"));
    client.send_bytes(&[0x00, 0]);
    let mut all = arrived(&mut client);
    // And a CONNECT that is refused.
    let mut client = Client::open(network, V5);
    client.send_bytes(&opts("b", V5).will(LastWill::new("$SYS/x", "")).encode());
    all.extend(arrived(&mut client));
    all
}

/// The broker's only Reason Strings are in the CONNACK or DISCONNECT that ends a connection, where they are allowed
/// whatever Request Problem Information says; unwanted, they are left out all the same. It has no User Properties.
/// [MQTT-3.1.2-29], [MQTT-3.2.2-20], [MQTT-3.4.2-2], [MQTT-3.4.2-3], [MQTT-3.5.2-2], [MQTT-3.5.2-3], [MQTT-3.6.2-2],
/// [MQTT-3.6.2-3], [MQTT-3.7.2-2], [MQTT-3.7.2-3], [MQTT-3.9.2-1], [MQTT-3.9.2-2], [MQTT-3.11.2-1], [MQTT-3.11.2-2],
/// [MQTT-3.14.2-4]
#[test]
fn the_broker_explains_itself_in_the_last_packet_alone() {
    for problems in [false, true] {
        let all = refusals(&Network::new(), problems);
        let names: Vec<_> = all.iter().map(|(name, _)| *name).collect();
        let expected = [
            "CONNACK",
            "SUBACK",
            "UNSUBACK",
            "PUBACK",
            "PUBREC",
            "PUBCOMP",
            "PUBREL",
            "PUBLISH",
            "PUBACK",
            "DISCONNECT",
            "CONNACK",
        ];
        assert_eq!(names, expected);
        for (at, (name, properties)) in all.iter().enumerate() {
            let last = at + 1 == all.len();
            let sentence = properties.iter().any(|p| matches!(p, Property::ReasonString(_)));
            // The refused client of the last CONNACK has asked for nothing else than the default.
            assert_eq!(sentence, last || (problems && *name == "DISCONNECT"), "{name}: {properties:?}");
            let pairs = properties.iter().any(|p| matches!(p, Property::UserProperty(..)));
            assert_eq!(pairs, *name == "PUBLISH", "{name}: {properties:?}");
            let may = matches!(*name, "CONNACK" | "PUBLISH" | "DISCONNECT");
            assert!(properties.is_empty() || may, "{name}");
        }
    }
}

/// [MQTT-4.12.0-6]
#[test]
fn connack_and_disconnect_hold_nothing_that_is_not_asked_for() {
    for (name, properties) in refusals(&Network::new(), true) {
        for property in properties {
            let unwanted = match name {
                "CONNACK" => matches!(
                    property,
                    Property::ResponseInformation(_)
                        | Property::AuthenticationMethod(_)
                        | Property::AuthenticationData(_)
                ),
                "DISCONNECT" => matches!(property, Property::SessionExpiryInterval(_)),
                _ => false,
            };
            assert!(!unwanted, "{name}: {property:?}");
        }
    }
}

/// [MQTT-3.1.3-10]
#[test]
fn user_properties_of_a_will_keep_their_order() {
    let network = Network::new();
    let mut hearer = opts("to", V5).on(&network);
    hearer.subscribe("w", Q1);
    let pairs = [("z", "1"), ("a", "2"), ("z", "3"), ("", ""), ("a", "2")];
    let will = LastWill::new("w", "x").with(|p| {
        for (name, value) in pairs {
            p.user_property(name, value);
        }
    });
    opts("a", V5).will(will).on(&network).hang_up();
    let message = hearer.expect_publish();
    assert!(message.properties().user_properties().eq(pairs));
}

/// [MQTT-3.2.2-1], [MQTT-3.2.2-6], [MQTT-3.2.2-7], [MQTT-3.2.2-8], [MQTT-3.1.3-8], [MQTT-3.1.4-2], [MQTT-4.12.0-4],
/// [MQTT-4.13.2-1]: whatever the reason, also where the client has a session.
#[test]
fn a_refusal_of_mqtt_5_has_no_session_present_and_closes() {
    let settings = [
        ("mqtt.max_client_id_length", "23"),
        ("mqtt.max_qos", "1"),
        ("mqtt.retain", "false"),
        ("session.max_sessions", "1"),
    ];
    let network = Network::with(&settings);
    opts("a", V5).persistent().on(&network).hang_up();
    let a = || opts("a", V5).persistent();
    let will = || LastWill::new("w", "");
    let cases = [
        (opts(&"x".repeat(24), V5), ReasonCode::ClientIdentifierNotValid),
        (a().will(will().qos(Q2)), ReasonCode::QosNotSupported),
        (a().will(will().retained()), ReasonCode::RetainNotSupported),
        (a().will(LastWill::new("$SYS/x", "")), ReasonCode::NotAuthorized),
        (a().with(|p| _ = p.authentication_method("x")), ReasonCode::BadAuthenticationMethod),
        (a().with(|p| _ = p.authentication_data(b"x")), ReasonCode::ProtocolError),
        (opts("b", V5), ReasonCode::QuotaExceeded),
    ];
    for (connect, reason) in cases {
        let mut client = Client::open(&network, V5);
        assert!(!client.send_bytes(&connect.encode()));
        let bytes = client.line.take();
        assert_eq!((bytes[0], bytes[2], bytes[3]), (0x20, 0, reason.as_u8()));
        let Framing::Complete(frame) = split(&bytes, u32::MAX).unwrap() else {
            panic!("half a packet: {bytes:?}");
        };
        assert_eq!(frame.whole.len(), bytes.len());
        let Packet::Connack(connack) = decode(frame, V5).unwrap() else {
            panic!("no CONNACK: {bytes:?}");
        };
        assert!(!connack.session_present);
        assert!(client.line.finished().is_some());
        assert!(!client.send_bytes(&[0xC0, 0]));
    }
}
