//! What MQTT 3.1 demands beside MQTT 3.1.1, and what MQTT 3.1.1 alone demands.

use midge::codec::reason::ReasonCode;
use midge::codec::subscribe::SubscriptionOptions;
use midge::session::link::Cause;

use crate::harness::{Client, LastWill, Network, Q1, Received, V31, V311, opts};

/// [MQTT31-1]
#[test]
fn mqtt_3_1_has_its_own_name_and_level() {
    let network = Network::new();
    let bytes = opts("a", V31).encode();
    assert_eq!(&bytes[2..11], b"\0\x06MQIsdp\x03");
    opts("a", V31).on(&network).disconnect();
    // Either without the other is no version.
    for (name, level) in [("MQIsdp", 4), ("MQTT", 3)] {
        let mut bytes = opts("a", if name == "MQTT" { V311 } else { V31 }).encode();
        let at = 4 + name.len();
        bytes[at] = level;
        let mut client = Client::open(&network, V311);
        client.send_bytes(&bytes);
        let reason = ReasonCode::UnsupportedProtocolVersion;
        assert_eq!(client.refusal(), (Some(reason), reason));
    }
}

/// [MQTT31-2]
#[test]
fn mqtt_3_1_has_no_empty_client_identifier() {
    let network = Network::new();
    let mut client = Client::open(&network, V31);
    client.send_bytes(&opts("", V31).encode());
    assert_eq!(client.line.take(), [0x20, 2, 0, 2]);
    assert_eq!(client.line.finished(), Some(Cause::Refused(ReasonCode::ClientIdentifierNotValid)));
    opts(&"x".repeat(23), V31).on(&network).disconnect();
}

/// [MQTT31-3]
#[test]
fn the_first_byte_of_connack_is_0_in_mqtt_3_1() {
    let network = Network::new();
    for _ in 0..2 {
        let mut client = Client::open(&network, V31);
        client.send_bytes(&opts("a", V31).persistent().encode());
        assert_eq!(client.line.take(), [0x20, 2, 0, 0]);
        client.hang_up();
    }
    assert_eq!(network.stats().sessions, 1);
}

/// [MQTT31-4], [MQTT31-5]
#[test]
fn mqtt_3_1_ignores_flags_that_it_does_not_define() {
    // The reserved bit; Will QoS and Will Retain without a Will; user name and password that are not there.
    for flags in [0x01, 0x08, 0x18, 0x20, 0x80, 0xC0] {
        let network = Network::new();
        let mut bytes = opts("a", V31).encode();
        bytes[11] |= flags;
        let mut client = Client::open(&network, V31);
        client.send_bytes(&bytes);
        assert_eq!(client.line.take(), [0x20, 2, 0, 0], "{flags:#04x}");
        client.hang_up();
    }
}

/// [MQTT3-3.1.2-3], [MQTT3-3.1.2-11], [MQTT3-3.1.2-13], [MQTT3-3.1.2-14], [MQTT3-3.1.2-15], [MQTT3-3.1.2-22],
/// [MQTT3-3.1.4-1], [MQTT3-3.2.2-6], [MQTT3-4.8.0-1]: no return code says that a packet is malformed.
#[test]
fn a_connect_of_mqtt_3_1_1_with_flags_that_contradict_is_closed_without_connack() {
    for flags in [0x01, 0x08, 0x10, 0x18, 0x20, 0x40] {
        let network = Network::new();
        let mut bytes = opts("a", V311).encode();
        bytes[9] |= flags;
        let mut client = Client::open(&network, V311);
        client.send_bytes(&bytes);
        assert_eq!(client.refusal(), (None, ReasonCode::MalformedPacket), "{flags:#04x}");
    }
    let mut bytes = opts("a", V311).will(LastWill::new("w", "")).encode();
    bytes[9] |= 0x18;
    let network = Network::new();
    let mut client = Client::open(&network, V311);
    client.send_bytes(&bytes);
    assert_eq!(client.refusal(), (None, ReasonCode::MalformedPacket));
}

/// [MQTT3-3.1.2-18], [MQTT3-3.1.2-19], [MQTT3-3.1.2-20], [MQTT3-3.1.2-21], [MQTT3-3.1.3-1], [MQTT3-3.1.3-3],
/// [MQTT3-3.1.4-1]
#[test]
fn fields_of_connect_agree_with_its_flags_in_mqtt_3_1_1() {
    let plain = opts("a", V311).encode();
    let full = opts("a", V311).username("u").encode();
    let cut_and_grown = [
        // A flag without its field, a field without its flag, and no Client Identifier.
        {
            let mut bytes = plain.clone();
            bytes[9] |= 0x80;
            bytes
        },
        {
            let mut bytes = plain.clone();
            bytes[9] |= 0x04;
            bytes
        },
        {
            let mut bytes = full.clone();
            bytes[9] |= 0x40;
            bytes
        },
        {
            let mut bytes = full;
            bytes[9] &= !0x80;
            bytes
        },
        {
            let mut bytes = plain;
            bytes[1] = 10;
            bytes.truncate(12);
            bytes
        },
    ];
    for bytes in cut_and_grown {
        let network = Network::new();
        let mut client = Client::open(&network, V311);
        client.send_bytes(&bytes);
        assert_eq!(client.refusal(), (None, ReasonCode::MalformedPacket), "{bytes:02x?}");
    }
}

/// [MQTT3-3.2.2-4], [MQTT3-3.2.2-5], [MQTT3-3.1.3-8], [MQTT3-3.1.3-9]: also where the client has a session.
#[test]
fn a_refusal_of_mqtt_3_1_1_has_no_session_present_and_closes() {
    let network = Network::with(&[("mqtt.max_client_id_length", "23")]);
    opts("a", V311).persistent().on(&network).disconnect();
    let refused = [
        (opts("a", V311).persistent().will(LastWill::new("$SYS/x", "")), 5),
        (opts("", V311).resume(), 2),
        (opts(&"x".repeat(24), V311), 2),
    ];
    for (connect, code) in refused {
        let mut client = Client::open(&network, V311);
        assert!(!client.send_bytes(&connect.encode()));
        assert_eq!(client.line.take(), [0x20, 2, 0, code]);
        assert!(matches!(client.line.finished(), Some(Cause::Refused(_))));
    }
}

/// [MQTT3-3.1.2-2]
#[test]
fn an_unknown_level_of_mqtt_3_1_1_gets_return_code_1() {
    let network = Network::new();
    for level in [0, 1, 2, 3] {
        let mut bytes = opts("a", V311).encode();
        bytes[8] = level;
        let mut client = Client::open(&network, V311);
        assert!(!client.send_bytes(&bytes));
        assert_eq!(client.line.take(), [0x20, 2, 0, 1]);
        assert!(client.line.finished().is_some());
    }
}

/// [MQTT3-3.8.3-2], [MQTT3-3.8.4-5], [MQTT3-3.9.3-1], [MQTT3-3.9.3-2]
#[test]
fn a_server_without_wildcards_refuses_them_with_0x80() {
    for version in [V31, V311] {
        let network = Network::with(&[("mqtt.wildcard_subscriptions", "false")]);
        let mut client = opts("a", version).on(&network);
        let options = SubscriptionOptions::with_qos(Q1);
        let filters = [("a", options), ("a/#", options), ("+", options), ("b", options)];
        assert_eq!(client.subscribe_all(&filters, 0), [1, 0x80, 0x80, 1]);
    }
}

/// [MQTT3-3.1.2-12]
#[test]
fn without_a_will_nothing_is_published_at_the_end() {
    let network = Network::new();
    let mut hearer = opts("to", V311).on(&network);
    hearer.subscribe("#", Q1);
    opts("a", V311).on(&network).hang_up();
    opts("b", V311).persistent().on(&network).hang_up();
    hearer.expect_nothing();
    assert_eq!(network.stats().wills_published, 0);
}

/// [MQTT3-3.1.2-7]
#[test]
fn retained_messages_outlive_the_session_of_their_publisher() {
    for version in [V31, V311] {
        let network = Network::new();
        let mut publisher = opts("from", version).on(&network);
        publisher.retain("t", "kept", Q1);
        publisher.hang_up();
        assert_eq!(network.stats().sessions, 0);
        let mut hearer = opts("to", version).on(&network);
        hearer.subscribe("t", Q1);
        assert!(hearer.expect_message("t", "kept").retain);
    }
}

/// [MQTT3-7.0.0-2]: CONNECT, SUBSCRIBE, PUBLISH and DISCONNECT as the standard has them, byte by byte.
#[test]
fn a_conversation_needs_no_extension() {
    let network = Network::new();
    let mut client = Client::open(&network, V311);
    client.send_bytes(b"\x10\x0d\0\x04MQTT\x04\x02\0\0\0\x01a");
    client.send_bytes(b"\x82\x09\0\x01\0\x04chat\x00");
    client.send_bytes(b"\x30\x08\0\x04chathi");
    assert_eq!(client.line.take(), b"\x20\x02\0\0\x90\x03\0\x01\0\x30\x08\0\x04chathi");
    assert!(!client.send_bytes(&[0xE0, 0]));
    assert_eq!(client.next(), None::<Received>);
}
