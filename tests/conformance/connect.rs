//! CONNECT: what is none, what CONNACK answers, and which session goes on.

use midge::codec::ack::AckKind;
use midge::codec::reason::ReasonCode;
use midge::codec::version::Version;

use crate::harness::{ALL, Client, LastWill, Network, Q0, Q1, Q2, QOS, Received, V5, V31, V311, opts};

const MALFORMED: ReasonCode = ReasonCode::MalformedPacket;
const PROTOCOL: ReasonCode = ReasonCode::ProtocolError;

/// CONNECT with all of its fields. MQTT 5 has these properties, too.
fn full(version: Version, properties: &[u8]) -> Vec<u8> {
    let mut bytes = opts("id", version).will(LastWill::new("w", "x")).username("u").password(b"p").encode();
    if version == V5 {
        bytes.splice(12..13, [&[properties.len() as u8], properties].concat());
        bytes[1] += properties.len() as u8;
    }
    bytes
}

/// Expects that a CONNECT is refused for `reason`, and that the connection takes nothing behind it.
fn assert_refused(version: Version, connect: &[u8], reason: ReasonCode) {
    let network = Network::new();
    let mut client = Client::open(&network, version);
    assert!(!client.send_bytes(connect), "{version} {connect:02x?}");
    let told = (version == V5).then_some(reason);
    assert_eq!(client.refusal(), (told, reason), "{version} {connect:02x?}");
    assert!(!client.send_bytes(&opts("b", version).encode()));
    client.expect_nothing();
    assert_eq!(network.stats().sessions, 0);
}

/// [MQTT-3.1.4-1], [MQTT-2.1.3-1], [MQTT-3.1.2-3]
#[test]
fn a_connect_that_breaks_the_format_in_any_way_is_closed() {
    for version in [V311, V5] {
        let good = full(version, &[]);
        let altered = |at: usize, change: fn(u8) -> u8| {
            let mut bytes = good.clone();
            bytes[at] = change(bytes[at]);
            bytes
        };
        for flags in 1..16 {
            assert_refused(version, &[&[0x10 | flags], &good[1..]].concat(), MALFORMED);
        }
        // The reserved flag, a Will QoS of 3, and each field without its flag.
        let changes: [fn(u8) -> u8; 5] =
            [|f| f | 0x01, |f| f | 0x18, |f| f & !0x04, |f| f & !0x40, |f| f & !0x80];
        for change in changes {
            assert_refused(version, &altered(9, change), MALFORMED);
        }
        // One byte too many and each number of bytes too few.
        assert_refused(version, &[&altered(1, |length| length + 1)[..], &[0]].concat(), MALFORMED);
        for length in 10..good.len() - 2 {
            let mut short = good[..length + 2].to_vec();
            short[1] = length as u8;
            assert_refused(version, &short, MALFORMED);
        }
    }
    let cases: [(&[u8], ReasonCode); 7] = [
        (&[0x23, 0, 1], MALFORMED),
        (&[0x7E], MALFORMED),
        (&[0x11, 0, 0], MALFORMED),
        (&[0x11, 0, 0, 0, 1, 0x11, 0, 0, 0, 1], PROTOCOL),
        (&[0x21, 0, 0], PROTOCOL),
        (&[0x27, 0, 0, 0, 0], PROTOCOL),
        (&[0x16, 0, 1, b'x'], PROTOCOL),
    ];
    for (properties, reason) in cases {
        assert_refused(V5, &full(V5, properties), reason);
    }
}

/// [MQTT-3.2.2-1], [MQTT-3.2.2-2], [MQTT-3.2.2-3], [MQTT-3.1.4-4]: byte by byte, and whether or not there is a session.
#[test]
fn the_flags_of_connack_say_session_present_and_nothing_else() {
    for version in [V311, V5] {
        let network = Network::new();
        let clean = opts("a", version).expiry(u32::MAX);
        let resumed = opts("a", version).persistent();
        // In MQTT 3.1.1 a session that began clean ends with its connection.
        let kept = u8::from(version == V5);
        let cases = [(&resumed, 0), (&resumed, 1), (&clean, 0), (&clean, 0), (&resumed, kept), (&resumed, 1)];
        for (at, (connect, present)) in cases.into_iter().enumerate() {
            let mut client = Client::open(&network, version);
            assert!(client.send_bytes(&connect.encode()));
            let connack = client.line.take();
            assert_eq!((connack[0], connack[2], connack[3]), (0x20, present, 0), "{version} {at}");
            client.hang_up();
        }
    }
}

/// [MQTT-3.1.3-6], [MQTT-3.2.2-16]: neither that of a client that is there nor that of a session that waits.
#[test]
fn an_assigned_client_identifier_is_none_that_a_session_has() {
    let assigned =
        |network: &Network| opts("", V5).on(network).told().assigned_client_identifier().unwrap().to_owned();
    // Brokers with the same seed give the same identifiers.
    let other = Network::new();
    let foreseen: [String; 2] = std::array::from_fn(|_| assigned(&other));
    let network = Network::new();
    let there = opts(&foreseen[0], V5).on(&network);
    opts(&foreseen[1], V5).persistent().on(&network).hang_up();
    assert!(!foreseen.contains(&assigned(&network)));
    assert_eq!(there.line.finished(), None);
    assert_eq!(network.stats().sessions, 3);
}

/// [MQTT-3.2.2-9], [MQTT-3.2.2-10], [MQTT-3.2.2-11], [MQTT-3.2.2-12], [MQTT-3.8.4-7]: at each level, and at the level
/// itself.
#[test]
fn the_maximum_qos_is_told_granted_and_demanded() {
    for most in QOS {
        let level = most.as_u8().to_string();
        let network = Network::with(&[("mqtt.max_qos", level.as_str())]);
        let told = opts("a", V5).on(&network).told().maximum_qos();
        assert_eq!(told, (most < Q2).then_some(most));
        for qos in QOS {
            let mut client = opts("a", V5).on(&network);
            let options = midge::codec::subscribe::SubscriptionOptions::with_qos(qos);
            assert_eq!(client.subscribe_with("t", options, 0), qos.min(most).as_u8());
            let reason = ReasonCode::QosNotSupported;
            client.send_publish("u", "x", qos, u16::from(qos > Q0));
            match qos > most {
                true => client.expect_refused(reason),
                false => assert_eq!(client.line.finished(), None),
            }
            let will = opts("w", V5).will(LastWill::new("w", "x").qos(qos));
            match qos > most {
                true => assert_eq!(will.refused_by(&network), (Some(reason), reason)),
                false => drop(will.on(&network)),
            }
        }
    }
}

/// What client `a` leaves behind: a subscription to `t`, deliveries in each state, a message that waits, and a QoS 2
/// message of its own to `u` that it has not released. The identifiers of the deliveries.
fn leave_a_session(network: &Network, version: Version) -> [u16; 3] {
    let mut client = opts("a", version).persistent().on(network);
    client.subscribe("t", Q2);
    for (payload, qos) in [("one", 1), ("released", 2), ("two", 2)] {
        network.publish("t", payload, qos, false);
    }
    let ids = std::array::from_fn(|_| client.expect_publish().id);
    client.send_ack(AckKind::Pubrec, ids[1]);
    client.expect_ack(AckKind::Pubrel, ids[1]);
    client.send_publish("u", "known", Q2, 9);
    client.expect_ack(AckKind::Pubrec, 9);
    client.hang_up();
    network.publish("t", "waits", 1, false);
    ids
}

/// [MQTT-3.1.2-5], [MQTT-3.1.2-23], [MQTT-4.4.0-1]
#[test]
fn a_session_goes_on_with_all_of_its_state() {
    for version in ALL {
        let network = Network::new();
        let mut hearer = opts("hearer", version).on(&network);
        hearer.subscribe("u", Q0);
        let ids = leave_a_session(&network, version);
        hearer.expect_message("u", "known");
        let mut client = opts("a", version).persistent().on(&network);
        let one = client.expect_message("t", "one");
        assert_eq!((one.id, one.qos, one.dup), (ids[0], Q1, true));
        assert_eq!(client.expect_ack(AckKind::Pubrel, ids[1]), ReasonCode::Success);
        let two = client.expect_message("t", "two");
        assert_eq!((two.id, two.qos, two.dup), (ids[2], Q2, true));
        let waited = client.expect_message("t", "waits");
        assert!(!waited.dup && !ids.contains(&waited.id));
        client.expect_nothing();
        network.publish("t", "new", 0, false);
        client.expect_message("t", "new");
        client.send_publish("u", "known", Q2, 9);
        client.expect_ack(AckKind::Pubrec, 9);
        hearer.expect_nothing();
    }
}

/// [MQTT-3.1.2-4], [MQTT-3.1.4-4]
#[test]
fn a_clean_start_begins_with_none_of_the_old_state() {
    for version in ALL {
        let network = Network::new();
        let mut hearer = opts("hearer", version).on(&network);
        hearer.subscribe("u", Q0);
        leave_a_session(&network, version);
        hearer.expect_message("u", "known");
        let (mut client, present) = opts("a", version).join(&network);
        assert!(!present);
        client.expect_nothing();
        assert_eq!(network.publish("t", "new", 1, false), 0);
        client.send_publish("u", "again", Q2, 9);
        client.expect_ack(AckKind::Pubrec, 9);
        hearer.expect_message("u", "again");
        let view = network.engine.clients().into_iter().find(|client| client.client_id == "a").unwrap();
        assert_eq!((view.subscriptions, view.inflight, view.queued), (0, 0, 0));
    }
}

/// [MQTT-3.1.2-6]: it is there for the next connection.
#[test]
fn a_session_that_is_not_there_is_created() {
    for version in ALL {
        let network = Network::new();
        let (mut client, present) = opts("a", version).persistent().join(&network);
        assert!(!present);
        client.subscribe("t", Q1);
        client.hang_up();
        network.publish("t", "x", 1, false);
        let (mut client, present) = opts("a", version).persistent().join(&network);
        assert_eq!((present, client.drain()), (version != V31, vec!["x".to_owned()]));
    }
}

/// [MQTT-3.1.4-6]: in the same segment and in a later one, whatever it is that CONNECT is refused for.
#[test]
fn nothing_behind_a_refused_connect_is_processed() {
    for version in ALL {
        let network = Network::with(&[("mqtt.max_client_id_length", "23"), ("session.max_sessions", "2")]);
        let mut hearer = opts("hearer", version).on(&network);
        hearer.subscribe("t", Q0);
        let _second = opts("second", version).on(&network);
        for connect in [
            opts(&"x".repeat(24), version),
            opts("a", version).will(LastWill::new("$SYS/x", "")),
            opts("a", version),
        ] {
            let publish = crate::harness::Packets::default().publish(version, "t", "late", Q0, 0).0;
            let mut client = Client::open(&network, version);
            assert!(!client.send_bytes(&[connect.encode(), publish.clone()].concat()));
            assert!(!client.send_bytes(&publish));
            assert!(!client.send_bytes(&opts("second", version).persistent().encode()));
            assert!(matches!(client.next(), Some(Received::Connack { reason, .. }) if reason.is_error()));
            client.expect_nothing();
            hearer.expect_nothing();
        }
    }
}
