//! Packets that no encoder would write: what is malformed closes its connection.

use midge::codec::reason::ReasonCode;
use midge::codec::version::Version;
use midge::session::link::Cause;

use crate::harness::{ALL, Client, LastWill, Network, Packets, Q0, Q1, Received, V5, V31, V311, opts};

const MALFORMED: ReasonCode = ReasonCode::MalformedPacket;

/// A connected client sends `packet` and is closed; MQTT 5 is told why.
fn assert_closed(version: Version, packet: &[u8], reason: ReasonCode) {
    let network = Network::new();
    let mut client = opts("a", version).on(&network);
    assert!(!client.send_bytes(packet), "{version} {packet:02x?}");
    client.expect_refused(reason);
}

/// A packet with this first byte and these parts, for MQTT 5 with `properties` between them.
fn packet(version: Version, first: u8, head: &[u8], properties: &[u8], tail: &[u8]) -> Vec<u8> {
    let mut body = head.to_vec();
    if version == V5 {
        body.push(properties.len() as u8);
        body.extend_from_slice(properties);
    }
    body.extend_from_slice(tail);
    [&[first, body.len() as u8][..], &body].concat()
}

/// [MQTT-2.1.3-1], [MQTT-3.6.1-1], [MQTT-3.8.1-1], [MQTT-3.10.1-1], [MQTT-3.14.1-1], [MQTT-3.15.1-1], [MQTT-4.13.1-1],
/// [MQTT3-2.2.2-1], [MQTT3-2.2.2-2], [MQTT3-3.6.1-1], [MQTT3-3.8.1-1], [MQTT3-3.10.1-1], [MQTT3-3.14.1-1],
/// [MQTT3-4.8.0-1]
#[test]
fn reserved_flags_of_the_fixed_header_are_checked() {
    for version in [V311, V5] {
        for flags in (0..16).filter(|flags| *flags != 2) {
            assert_closed(version, &[0x60 | flags, 2, 0, 1], MALFORMED);
            assert_closed(version, &packet(version, 0x80 | flags, &[0, 1], &[], b"\0\x01t\0"), MALFORMED);
            assert_closed(version, &packet(version, 0xA0 | flags, &[0, 1], &[], b"\0\x01t"), MALFORMED);
        }
        for flags in 1..16 {
            assert_closed(version, &[0xC0 | flags, 0], MALFORMED);
            assert_closed(version, &[0xE0 | flags, 0], MALFORMED);
            for acknowledgement in [0x40, 0x50, 0x70] {
                assert_closed(version, &[acknowledgement | flags, 2, 0, 1], MALFORMED);
            }
        }
    }
    for flags in 1..16 {
        assert_closed(V5, &[0xF0 | flags, 0], MALFORMED);
    }
    for version in [V311, V5] {
        for flags in 1..16 {
            let network = Network::new();
            let mut bytes = opts("a", version).encode();
            bytes[0] |= flags;
            let mut client = Client::open(&network, version);
            assert!(!client.send_bytes(&bytes), "{version} CONNECT {flags:#06b}");
            assert_eq!(client.refusal().1, MALFORMED, "{version} CONNECT {flags:#06b}");
        }
    }
}

/// Ill-formed UTF-8, cut, too long or beyond U+10FFFF, encoded surrogates, and U+0000.
const BAD_STRINGS: [&[u8]; 10] = [
    b"\0\x01\xFF",
    b"\0\x02\xC3\x28",
    b"\0\x02\xE2\x82",
    b"\0\x03\xE0\x80\x80",
    b"\0\x04\xF4\x90\x80\x80",
    b"\0\x03\xED\xA0\x80",
    b"\0\x03\xED\xBF\xBF",
    b"\0\x02\xC0\x80",
    b"\0\x01\0",
    b"\0\x03a\0b",
];

/// [MQTT-1.5.4-1], [MQTT-1.5.4-2], [MQTT-3.3.2-1], [MQTT-3.8.3-1], [MQTT-3.10.3-1], [MQTT-4.7.3-2],
/// [MQTT3-1.5.3-1], [MQTT3-1.5.3-2], [MQTT3-3.3.2-1], [MQTT3-3.8.3-1], [MQTT3-3.10.3-1], [MQTT3-4.7.3-2]
#[test]
fn strings_that_are_none_close_the_connection() {
    for version in ALL {
        for bad in BAD_STRINGS {
            assert_closed(version, &packet(version, 0x30, bad, &[], &[]), MALFORMED);
            let request = [bad, &[0]].concat();
            assert_closed(version, &packet(version, 0x82, &[0, 1], &[], &request), MALFORMED);
            assert_closed(version, &packet(version, 0xA2, &[0, 1], &[], bad), MALFORMED);
        }
    }
}

/// [MQTT-1.5.4-1], [MQTT-1.5.4-2], [MQTT-3.1.3-4], [MQTT-3.1.3-11], [MQTT-3.1.3-12],
/// [MQTT3-1.5.3-1], [MQTT3-1.5.3-2], [MQTT3-3.1.3-4], [MQTT3-3.1.3-10], [MQTT3-3.1.3-11]
#[test]
fn strings_of_connect_that_are_none_close_the_connection() {
    for version in ALL {
        let good = opts("idid", version).will(LastWill::new("wiwi", "x")).username("usus").encode();
        for text in [b"idid", b"wiwi", b"usus"] {
            let at = good.windows(4).position(|part| part == text).unwrap();
            for bad in [
                b"\0ddd",
                b"ddd\0",
                b"d\xFFdd",
                b"\xC3\x28dd",
                b"\xED\xA0\x80d",
                b"d\xED\xBF\xBF",
                b"dd\xC0\x80",
            ] {
                let network = Network::new();
                let mut bytes = good.clone();
                bytes[at..at + 4].copy_from_slice(bad);
                let mut client = Client::open(&network, version);
                assert!(!client.send_bytes(&bytes));
                let told = (version == V5).then_some(MALFORMED);
                assert_eq!(client.refusal(), (told, MALFORMED), "{version}");
            }
        }
    }
}

/// [MQTT-1.5.4-3], [MQTT-4.7.3-4], [MQTT3-1.5.3-3], [MQTT3-4.7.3-4]: also letters that look alike stay what they are.
#[test]
fn characters_are_neither_stripped_nor_normalised() {
    for version in ALL {
        let network = Network::new();
        let mut hearer = opts("to", version).on(&network);
        let topics =
            ["\u{FEFF}a", "a\u{FEFF}", "a", "\u{E9}", "e\u{301}", "\u{212B}", "\u{C5}", "\u{FFFD}", "A"];
        for topic in topics {
            hearer.subscribe(topic, Q0);
        }
        let mut publisher = opts("from", version).on(&network);
        for topic in topics {
            publisher.publish(topic, "x", Q0);
            hearer.expect_message(topic, "x");
            hearer.expect_nothing();
        }
    }
}

/// [MQTT-1.5.7-1], [MQTT-3.3.2-13], [MQTT-3.3.2-14], [MQTT-3.3.2-19]
#[test]
fn strings_of_properties_that_are_none_close_the_connection() {
    for bad in BAD_STRINGS {
        let good: &[u8] = b"\0\x01a";
        for property in [
            [&[0x03], bad].concat(),
            [&[0x08], bad].concat(),
            [&[0x26], bad, good].concat(),
            [&[0x26], good, bad].concat(),
        ] {
            assert_closed(V5, &packet(V5, 0x30, b"\0\x01t", &property, b"x"), MALFORMED);
        }
    }
    for wildcard in [b"\x08\0\x01+", b"\x08\0\x01#"] {
        assert_closed(V5, &packet(V5, 0x30, b"\0\x01t", wildcard, b"x"), ReasonCode::ProtocolError);
    }
}

/// [MQTT-1.5.4-1], [MQTT-1.5.4-2], [MQTT-1.5.7-1]: in every place for a string that a client's packet has.
#[test]
fn strings_of_the_properties_of_any_packet_that_are_none_close_the_connection() {
    let good: &[u8] = b"\0\x01a";
    let method = [&[0x15], good].concat();
    for bad in BAD_STRINGS {
        let pairs = [[&[0x26], bad, good].concat(), [&[0x26], good, bad].concat()];
        let sentence = [&[0x1F], bad].concat();
        for property in pairs.iter().chain([&sentence]) {
            for first in [0x40, 0x50, 0x62, 0x70] {
                assert_closed(V5, &packet(V5, first, &[0, 1, 0], property, &[]), MALFORMED);
            }
            assert_closed(V5, &packet(V5, 0xE0, &[0], property, &[]), MALFORMED);
            let auth = [&method[..], property].concat();
            assert_closed(V5, &packet(V5, 0xF0, &[0x19], &auth, &[]), MALFORMED);
        }
        for property in &pairs {
            assert_closed(V5, &packet(V5, 0x82, &[0, 1], property, b"\0\x01t\0"), MALFORMED);
            assert_closed(V5, &packet(V5, 0xA2, &[0, 1], property, b"\0\x01t"), MALFORMED);
        }
        assert_closed(V5, &packet(V5, 0xE0, &[0], &[&[0x1C], bad].concat(), &[]), MALFORMED);
        assert_closed(V5, &packet(V5, 0xF0, &[0x19], &[&[0x15], bad].concat(), &[]), MALFORMED);
        // CONNECT: of itself, then of its will.
        for (own, wills) in [
            (&pairs[0][..], &[][..]),
            (&pairs[1], &[]),
            (&[&[0x15], bad].concat(), &[]),
            (&[], &pairs[0]),
            (&[], &pairs[1]),
            (&[], &[&[0x03], bad].concat()),
            (&[], &[&[0x08], bad].concat()),
        ] {
            let head = b"\0\x04MQTT\x05\x06\0\0";
            let tail = [&b"\0\x02id"[..], &[wills.len() as u8], wills, b"\0\x01w\0\x01x"].concat();
            let network = Network::new();
            let mut client = Client::open(&network, V5);
            assert!(!client.send_bytes(&packet(V5, 0x10, head, own, &tail)));
            assert_eq!(client.refusal(), (Some(MALFORMED), MALFORMED), "{own:02x?} {wills:02x?}");
        }
    }
}

/// [MQTT-2.2.1-3], [MQTT3-2.3.1-1]
#[test]
fn a_packet_identifier_is_not_zero() {
    for version in ALL {
        assert_closed(version, &packet(version, 0x32, b"\0\x01t\0\0", &[], b"x"), MALFORMED);
        assert_closed(version, &packet(version, 0x34, b"\0\x01t\0\0", &[], b"x"), MALFORMED);
        assert_closed(version, &packet(version, 0x82, &[0, 0], &[], b"\0\x01t\0"), MALFORMED);
        assert_closed(version, &packet(version, 0xA2, &[0, 0], &[], b"\0\x01t"), MALFORMED);
    }
}

/// [MQTT-3.8.3-2], [MQTT-3.10.3-2], [MQTT3-3.8.3-3], [MQTT3-3.10.3-2]
#[test]
fn subscribe_and_unsubscribe_have_a_filter() {
    for version in ALL {
        for first in [0x82, 0xA2] {
            assert_closed(version, &packet(version, first, &[0, 1], &[], &[]), ReasonCode::ProtocolError);
        }
    }
}

/// [MQTT-3.8.3-5], [MQTT3-3.8.3-4]
#[test]
fn reserved_bits_of_a_subscription_are_checked() {
    for version in [V311, V5] {
        let reserved = if version == V5 { 0xC0 } else { 0xFC };
        for options in (0..=255_u8).filter(|options| options & reserved != 0) {
            assert_closed(version, &packet(version, 0x82, &[0, 1], &[], &[0, 1, b't', options]), MALFORMED);
        }
    }
    for version in ALL {
        let qos_3 = packet(version, 0x82, &[0, 1], &[], b"\0\x01t\x03");
        assert_closed(version, &qos_3, ReasonCode::ProtocolError);
    }
}

/// [MQTT-3.3.1-2], [MQTT-3.3.1-4], [MQTT3-3.3.1-2], [MQTT3-3.3.1-4]
#[test]
fn a_publish_has_no_qos_3_and_no_dup_with_qos_0() {
    for version in ALL {
        assert_closed(version, &packet(version, 0x36, b"\0\x01t\0\x01", &[], b"x"), MALFORMED);
        assert_closed(version, &packet(version, 0x38, b"\0\x01t", &[], b"x"), MALFORMED);
    }
}

/// No Topic Filters: empty, a wildcard beside other characters, `#` before the end, a ShareName or a filter missing.
const BAD_FILTERS: [&str; 28] = [
    "",
    "#/",
    "#/a",
    "##",
    "a#",
    "#a",
    "a/b#",
    "a/#b",
    "a/#/b",
    "+#",
    "a+",
    "+a/b",
    "a/b+/c",
    "a/+b",
    "++",
    "$share/",
    "$share//a",
    "$share/g",
    "$share/g/",
    "$share/+/a",
    "$share/#/a",
    "$share/g+/a",
    "$share/#g/a",
    "$share/#",
    "$share/g/a#",
    "$share/g/#/a",
    "$share/g/a+/b",
    "$queue/+a",
];

/// SUBSCRIBE, or UNSUBSCRIBE, with these filters.
fn filters(version: Version, first: u8, filters: &[&str]) -> Vec<u8> {
    let mut tail = Vec::new();
    for filter in filters {
        tail.extend((filter.len() as u16).to_be_bytes());
        tail.extend(filter.as_bytes());
        tail.extend((first == SUBSCRIBE).then_some(1));
    }
    packet(version, first, &[0, 7], &[], &tail)
}

const SUBSCRIBE: u8 = 0x82;
const UNSUBSCRIBE: u8 = 0xA2;

/// [MQTT-4.7.3-1], [MQTT-4.7.1-1], [MQTT-4.7.1-2], [MQTT-4.8.2-1], [MQTT-4.8.2-2], [MQTT-4.13.1-1],
/// [MQTT3-4.7.3-1], [MQTT3-4.7.1-2], [MQTT3-4.7.1-3], [MQTT3-4.8.0-1]
#[test]
fn a_filter_that_is_none_ends_the_connection() {
    for version in ALL {
        for bad in BAD_FILTERS {
            assert_closed(version, &filters(version, SUBSCRIBE, &[bad]), MALFORMED);
            assert_closed(version, &filters(version, UNSUBSCRIBE, &[bad]), MALFORMED);
        }
    }
}

/// Wherever it stands among good ones: no subscription is made, replaced or ended, and no retained message is sent.
/// [MQTT-4.13.1-1], [MQTT3-4.8.0-1]
#[test]
fn a_filter_that_is_none_spoils_its_whole_packet() {
    for version in ALL {
        for bad in BAD_FILTERS {
            for at in 0..=2 {
                let network = Network::new();
                network.publish("kept", "retained", 1, true);
                let mut client = opts("a", version).persistent().on(&network);
                client.subscribe("kept", Q0);
                client.drain();
                let mut names = vec!["kept", "new"];
                names.insert(at, bad);
                for first in [SUBSCRIBE, UNSUBSCRIBE] {
                    client.send_bytes(&filters(version, first, &names));
                    client.expect_refused(MALFORMED);
                    let held = network.engine.subscriptions();
                    let held: Vec<_> = held.iter().map(|held| (&*held.filter, held.options.qos)).collect();
                    assert_eq!(held, [("kept", Q0)], "{version} {first:#x} {names:?}");
                    client = opts("a", version).persistent().on(&network);
                }
                client.expect_nothing();
            }
        }
    }
}

/// Wildcards at every place where they may be, and what only looks like a shared subscription.
/// [MQTT-4.7.1-1], [MQTT-4.7.1-2], [MQTT-4.7.3-1], [MQTT-4.8.2-1], [MQTT-4.8.2-2],
/// [MQTT3-4.7.1-2], [MQTT3-4.7.1-3], [MQTT3-4.7.3-1]
#[test]
fn every_filter_that_is_one_is_taken() {
    let good = [
        "#",
        "/#",
        "a/#",
        "+/#",
        "a/b/#",
        "+",
        "/+",
        "+/",
        "+/+",
        "a/+",
        "+/a",
        "a/+/b",
        "+/a/#",
        "a/+/#",
        "/",
        "//",
        " ",
        "a b",
        "x",
        "$",
        "$SYS/#",
        "$share",
        "$queue",
        "$shared/a",
        "a/$share",
        "/$share/",
        "$SHARE/",
        "$share/g/#",
        "$share/g/+",
        "$share/g//",
        "$share/g/ ",
        "$share/ /a",
        "$share/$share/a",
        "$share/g/$share/",
        "$queue/a",
    ];
    for version in ALL {
        let network = Network::with(&[("sys.interval", "0")]);
        let mut client = opts("a", version).on(&network);
        for filter in good {
            client.subscribe(filter, Q1);
            let reasons = client.unsubscribe(&[filter]);
            assert_eq!(reasons, if version == V5 { &[0][..] } else { &[] }, "{version} {filter}");
        }
        client.expect_nothing();
        assert_eq!(network.stats().subscriptions, 0);
    }
}

/// [MQTT-4.7.3-3], [MQTT3-4.7.3-3]: the two bytes of a length hold no more, and all that they hold is passed on.
#[test]
fn a_topic_of_65_535_bytes_passes() {
    for version in ALL {
        let network = Network::with(&[("mqtt.max_topic_length", "65535")]);
        let topic = "x".repeat(65_535);
        let mut client = opts("a", version).on(&network);
        client.subscribe(&topic, Q0);
        client.publish(&topic, "x", Q0);
        assert!(client.expect_publish().topic == topic);
    }
}

/// [MQTT-2.2.2-1], [MQTT-2.2.1-2], [MQTT-4.3.1-1], [MQTT3-2.3.1-5], [MQTT3-4.3.1-1]: byte by byte.
#[test]
fn a_publish_without_properties_has_a_property_length_of_zero_in_mqtt_5() {
    for from in ALL {
        for to in [V31, V311, V5] {
            let network = Network::new();
            let mut hearer = opts("to", to).on(&network);
            hearer.subscribe("t", Q1);
            let mut publisher = opts("from", from).on(&network);
            publisher.publish("t", "x", Q0);
            publisher.publish("t", "y", Q1);
            let expected: &[u8] = match to {
                V5 => b"\x30\x05\0\x01t\0x\x32\x07\0\x01t\0\x01\0y",
                _ => b"\x30\x04\0\x01tx\x32\x06\0\x01t\0\x01y",
            };
            assert_eq!(hearer.line.take(), expected, "{from} to {to}");
        }
    }
}

/// [MQTT-2.2.2-1]: byte by byte, in each packet of the broker that must say so.
#[test]
fn a_packet_without_properties_has_a_property_length_of_zero_in_mqtt_5() {
    let network = Network::new();
    let mut client = opts("a", V5).on(&network);
    client.send_bytes(b"\x82\x07\0\x07\0\0\x01t\x01");
    assert_eq!(client.line.take(), b"\x90\x04\0\x07\0\x01");
    client.send_bytes(b"\xA2\x06\0\x08\0\0\x01t");
    assert_eq!(client.line.take(), b"\xB0\x04\0\x08\0\0");
    // A CONNACK that refuses and may not say why in words.
    let connect = opts("b", V5).will(LastWill::new("$SYS/x", ""));
    let mut client = Client::open(&network, V5);
    client.send_bytes(&connect.with(|p| _ = p.request_problem_information(false)).encode());
    assert_eq!(client.line.take(), b"\x20\x03\0\x87\0");
}

/// Packets that break the protocol in each of its layers: the frame, the body, what the body holds, and the order.
fn violations(version: Version) -> Vec<Vec<u8>> {
    let again = opts("a", version).encode();
    let body = |first, head: &[u8], tail: &[u8]| packet(version, first, head, &[], tail);
    vec![
        vec![0x00, 0],
        vec![0xC0, 1, 0],
        vec![0xC0, 0xFF, 0xFF, 0xFF, 0xFF],
        vec![0x10, 0],
        vec![0xD0, 0],
        vec![0xF0, 2, 0x55, 0],
        again,
        body(0x36, b"\0\x01t\0\x01", b"x"),
        body(0x32, b"\0\x01t\0\0", b"x"),
        body(0x30, b"\0\0", b"x"),
        body(0x30, b"\0\x01#", b"x"),
        body(0x30, b"\0\x02a\0", b"x"),
        vec![0x40, 1, 0],
        vec![0x40, 2, 0, 0],
        body(SUBSCRIBE, &[0, 1], b""),
        body(SUBSCRIBE, &[0, 1], b"\0\x01t"),
        body(SUBSCRIBE, &[0, 1], b"\0\x01t\x03"),
        filters(version, SUBSCRIBE, &["a#"]),
        filters(version, SUBSCRIBE, &["$share/g"]),
        body(UNSUBSCRIBE, &[0, 1], b""),
        body(UNSUBSCRIBE, &[0, 0], b"\0\x01t"),
        filters(version, UNSUBSCRIBE, &[""]),
        filters(version, UNSUBSCRIBE, &["a+"]),
    ]
}

/// [MQTT-4.13.1-1], [MQTT3-4.8.0-1], [MQTT-4.13.2-1]: it closes, and whatever comes behind it is not processed.
#[test]
fn nothing_is_processed_behind_a_packet_that_breaks_the_protocol() {
    for version in ALL {
        for bad in violations(version) {
            let network = Network::new();
            let mut hearer = opts("to", version).on(&network);
            hearer.subscribe("t", Q0);
            let mut client = opts("a", version).on(&network);
            let packets = Packets(bad.clone()).publish(version, "t", "after", Q0, 0);
            assert!(!client.send_bytes(&packets.0), "{version} {bad:02x?}");
            match (version, client.next()) {
                (V5, Some(Received::Disconnect(reason))) => assert!(reason.is_error(), "{bad:02x?}"),
                (V31 | V311, None) => {}
                (_, other) => panic!("{version} {bad:02x?}: {other:?}"),
            }
            client.expect_nothing();
            assert!(matches!(client.line.finished(), Some(Cause::Refused(_))), "{version} {bad:02x?}");
            hearer.expect_nothing();
            assert_eq!(network.stats().clients_connected, 1, "{version} {bad:02x?}");
        }
    }
}
