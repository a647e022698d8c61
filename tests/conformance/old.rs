//! What MQTT 3.1 demands beside MQTT 3.1.1, and what MQTT 3.1.1 alone demands.

use std::sync::{Arc, Mutex};

use midge::codec::packet::Packet;
use midge::codec::reason::ReasonCode;
use midge::codec::subscribe::SubscriptionOptions;
use midge::codec::version::Version;
use midge::engine::access::hooks::{Answer, ConnectRequest, Host, Wanted};
use midge::session::link::Cause;

use crate::harness::{Client, LastWill, Network, Q1, Q2, Received, V31, V311, opts};

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

/// A CONNECT with these Connect Flags and these fields of the payload, each with its length before it.
fn connect(version: Version, flags: u8, fields: &[&[u8]]) -> Vec<u8> {
    let name: &[u8] = if version == V31 { b"\0\x06MQIsdp\x03" } else { b"\0\x04MQTT\x04" };
    let mut body = [name, &[flags, 0, 0]].concat();
    for field in fields {
        body.extend((field.len() as u16).to_be_bytes());
        body.extend(*field);
    }
    [&[0x10, body.len() as u8][..], &body].concat()
}

/// The reserved bit, and Will QoS and Will Retain without a Will, each and together: the client is let in, keeps its
/// own clean session, and has no Will.
/// [MQTT31-4]
#[test]
fn mqtt_3_1_ignores_flags_that_it_does_not_define() {
    for flags in [0x01, 0x08, 0x10, 0x18, 0x20, 0x39] {
        for clean in [0x00, 0x02] {
            let network = Network::new();
            let mut hearer = opts("to", V311).on(&network);
            hearer.subscribe("#", Q1);
            let mut client = Client::open(&network, V31);
            client.send_bytes(&connect(V31, flags | clean, &[b"a"]));
            assert_eq!(client.line.take(), [0x20, 2, 0, 0], "{flags:#04x}");
            client.subscribe("t", Q1);
            client.hang_up();
            hearer.expect_nothing();
            let stats = network.stats();
            assert_eq!((stats.wills_published, stats.retained_messages), (0, 0), "{flags:#04x}");
            assert_eq!(stats.sessions, if clean == 0 { 2 } else { 1 }, "{flags:#04x}");
        }
    }
}

/// What a host program is shown of a CONNECT.
#[derive(Default)]
struct Door(Mutex<Vec<String>>);

impl Host for Door {
    fn wanted(&self) -> Wanted {
        Wanted { authenticate: true, ..Wanted::default() }
    }

    fn authenticate(&self, request: &ConnectRequest<'_>) -> Answer {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let (name, password) = (request.username.unwrap_or("-"), request.password.map(text));
        let password = password.unwrap_or_else(|| "-".to_owned());
        self.0.lock().unwrap().push(format!("{} {name} {password}", request.client_id));
        Answer::ALLOW
    }
}

/// User name or password may be announced and missing; then the client has none, and is let in.
/// [MQTT31-5]
#[test]
fn in_mqtt_3_1_the_length_of_the_packet_says_whether_there_is_a_user_name() {
    let cases: [(u8, &[&[u8]], &str); 4] = [
        (0x82, &[b"a"], "a - -"),
        (0xC2, &[b"a"], "a - -"),
        (0xC2, &[b"a", b"user"], "a user -"),
        (0xC2, &[b"a", b"user", b"word"], "a user word"),
    ];
    for (flags, fields, shown) in cases {
        let door = Arc::new(Door::default());
        let network = Network::hosted_by(Arc::clone(&door) as Arc<dyn Host>, &[]);
        let mut client = Client::open(&network, V31);
        client.send_bytes(&connect(V31, flags, fields));
        assert_eq!(client.line.take(), [0x20, 2, 0, 0], "{flags:#04x} {fields:?}");
        assert_eq!(*door.0.lock().unwrap(), [shown]);
        client.send(&Packet::Pingreq);
        assert_eq!(client.next(), Some(Received::Pingresp));
    }
}

/// [MQTT3-3.1.3-1], [MQTT3-3.1.3-3], [MQTT3-3.1.2-19], [MQTT3-3.1.2-21], [MQTT3-3.1.2-9]
#[test]
fn the_fields_of_connect_are_read_in_their_order() {
    for version in [V31, V311] {
        let door = Arc::new(Door::default());
        let network = Network::hosted_by(Arc::clone(&door) as Arc<dyn Host>, &[]);
        let mut hearer = opts("to", version).on(&network);
        hearer.subscribe("#", Q1);
        let mut client = Client::open(&network, version);
        // User name, password, Will of QoS 1, Clean Session.
        client.send_bytes(&connect(version, 0xCE, &[b"name", b"topic", b"message", b"user", b"word"]));
        assert_eq!(client.line.take(), [0x20, 2, 0, 0], "{version}");
        client.hang_up();
        assert_eq!(hearer.expect_message("topic", "message").qos, Q1);
        assert_eq!(*door.0.lock().unwrap(), ["to - -", "name user word"], "{version}");
    }
}

/// [MQTT3-3.1.2-3], [MQTT3-3.1.2-11], [MQTT3-3.1.2-13], [MQTT3-3.1.2-14], [MQTT3-3.1.2-15], [MQTT3-3.1.4-1],
/// [MQTT3-3.2.2-6], [MQTT3-4.8.0-1]: no return code says that a packet is malformed.
#[test]
fn a_connect_of_mqtt_3_1_1_with_flags_that_contradict_is_closed_without_connack() {
    for flags in [0x01, 0x08, 0x10, 0x18, 0x20] {
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

/// A field that its flag does not announce, a flag whose field is missing: closed without CONNACK. Each beside the
/// CONNECT that differs in the flag or the field alone, which is taken.
/// [MQTT3-3.1.2-9], [MQTT3-3.1.2-11], [MQTT3-3.1.2-18], [MQTT3-3.1.2-19], [MQTT3-3.1.2-20], [MQTT3-3.1.2-21],
/// [MQTT3-3.1.2-22], [MQTT3-3.1.3-3], [MQTT3-3.1.4-1], [MQTT3-3.2.2-6], [MQTT3-4.8.0-1]
#[test]
fn fields_of_connect_agree_with_its_flags_in_mqtt_3_1_1() {
    let cases: [(&str, u8, &[&[u8]], bool); 15] = [
        ("the client identifier alone", 0x02, &[b"a"], true),
        ("no client identifier", 0x02, &[], false),
        ("a user name", 0x82, &[b"a", b"user"], true),
        ("a user name without its flag", 0x02, &[b"a", b"user"], false),
        ("the user name flag alone", 0x82, &[b"a"], false),
        ("user name and password", 0xC2, &[b"a", b"user", b"word"], true),
        ("a password without its flag", 0x82, &[b"a", b"user", b"word"], false),
        ("the password flag alone", 0xC2, &[b"a", b"user"], false),
        ("a password without a user name", 0x42, &[b"a", b"word"], false),
        ("a password without the user name flag", 0x42, &[b"a", b"user", b"word"], false),
        ("a will", 0x06, &[b"a", b"topic", b"message"], true),
        ("a will without its flag", 0x02, &[b"a", b"topic", b"message"], false),
        ("a will without topic and message", 0x06, &[b"a"], false),
        ("a will without a message", 0x06, &[b"a", b"topic"], false),
        ("all", 0xC6, &[b"a", b"topic", b"message", b"user", b"word"], true),
    ];
    for (what, flags, fields, taken) in cases {
        let network = Network::new();
        let mut client = Client::open(&network, V311);
        client.send_bytes(&connect(V311, flags, fields));
        if taken {
            assert_eq!(client.line.take(), [0x20, 2, 0, 0], "{what}");
        } else {
            assert!(client.line.finished().is_some(), "{what} is taken");
            assert_eq!(client.refusal(), (None, ReasonCode::MalformedPacket), "{what}");
        }
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

/// [MQTT3-3.1.2-8], [MQTT3-3.1.2-9], [MQTT3-3.1.2-16], [MQTT3-3.1.2-17]
#[test]
fn a_will_replaces_the_retained_message_of_its_topic_if_it_is_retained_itself() {
    for version in [V31, V311] {
        for (retained, kept) in [(false, ("old", Q2)), (true, ("gone", Q1))] {
            let network = Network::new();
            network.publish("w", "old", 2, true);
            let mut hearer = opts("to", version).on(&network);
            hearer.subscribe("+", Q2);
            assert_eq!(hearer.drain(), ["old"]);
            let will = LastWill::new("w", "gone").qos(Q1);
            let will = if retained { will.retained() } else { will };
            opts("a", version).will(will).on(&network).hang_up();
            let message = hearer.expect_message("w", "gone");
            assert_eq!((message.qos, message.retain), (Q1, false), "{version}");
            let mut late = opts("late", version).on(&network);
            late.subscribe("w", Q2);
            let message = late.expect_message("w", kept.0);
            assert_eq!((message.qos, message.retain), (kept.1, true), "{version}");
            late.expect_nothing();
        }
    }
}

/// Whatever becomes of the session then: the client comes back without a Will, begins anew, or stays away.
/// [MQTT3-3.1.2-10], [MQTT3-3.1.2-12]
#[test]
fn a_will_is_published_once() {
    for version in [V31, V311] {
        let endings = [
            |network: &Network, version| opts("a", version).persistent().on(network).hang_up(),
            |network: &Network, version| opts("a", version).on(network).hang_up(),
            |network: &Network, _| network.advance(61),
        ];
        for end in endings {
            let network = Network::with(&[("session.max_expiry", "60s")]);
            let mut hearer = opts("to", version).on(&network);
            hearer.subscribe("w", Q1);
            opts("a", version).persistent().will(LastWill::new("w", "gone")).on(&network).hang_up();
            assert_eq!(hearer.drain(), ["gone"]);
            assert_eq!(network.stats().sessions, 2);
            end(&network, version);
            network.advance(61);
            hearer.expect_nothing();
            assert_eq!((network.stats().sessions, network.stats().wills_published), (1, 1), "{version}");
        }
    }
}

/// [MQTT3-3.1.3-6]
#[test]
fn clients_without_an_identifier_each_get_one_of_their_own() {
    let network = Network::new();
    let mut clients: Vec<_> = (0..3).map(|_| opts("", V311).on(&network)).collect();
    let names: Vec<_> = network.engine.clients().into_iter().map(|client| client.client_id).collect();
    assert_eq!(names.len(), 3);
    assert!(names.iter().all(|name| !name.is_empty() && names.iter().filter(|n| *n == name).count() == 1));
    for (n, client) in clients.iter_mut().enumerate() {
        assert_eq!(client.line.finished(), None);
        client.subscribe(&n.to_string(), Q1);
    }
    for (n, client) in clients.iter_mut().enumerate() {
        network.publish(&n.to_string(), "x", 1, false);
        assert_eq!(client.drain(), ["x"]);
    }
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
