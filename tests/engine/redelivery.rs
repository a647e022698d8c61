//! What a client did not acknowledge is sent again when it comes back.

use midge::codec::ack::AckKind;
use midge::codec::packet::Packet;
use midge::codec::reason::ReasonCode;

use crate::harness::{ALL, Network, Q1, Q2, Received, V5, opts};

/// [MQTT-4.4.0-1], [MQTT-3.3.1-1], [MQTT-4.6.0-1], [MQTT3-3.3.1-1], [MQTT3-4.4.0-1], [MQTT3-4.6.0-1], [MQTT3-3.1.2-4],
/// [MQTT3-2.3.1-4]
#[test]
fn unacknowledged_messages_are_sent_again_with_dup_and_in_order() {
    for version in ALL {
        let network = Network::new();
        let mut hearer = opts("to", version).persistent().on(&network);
        hearer.subscribe("t", Q2);
        for n in 0..4 {
            network.publish("t", &n.to_string(), 1 + n % 2, false);
        }
        let first: Vec<_> = (0..4).map(|_| hearer.expect_publish()).collect();
        hearer.acknowledge(&first[1]);
        hearer.hang_up();
        network.publish("t", "4", 1, false);
        let mut hearer = opts("to", version).persistent().on(&network);
        for old in [&first[0], &first[2], &first[3]] {
            let again = hearer.expect_publish();
            assert!(again.dup, "{version}");
            assert_eq!((again.id, again.qos, again.text()), (old.id, old.qos, old.text()));
        }
        let new = hearer.expect_message("t", "4");
        assert!(!new.dup);
        hearer.expect_nothing();
        for old in [&first[0], &first[2], &first[3], &new] {
            hearer.acknowledge(old);
        }
        hearer.hang_up();
        opts("to", version).persistent().on(&network).expect_nothing();
    }
}

/// [MQTT-4.3.3-6]: after PUBREC only PUBREL is sent again.
/// [MQTT3-4.3.3-1], [MQTT3-4.4.0-1]
#[test]
fn after_pubrec_only_pubrel_is_sent_again() {
    for version in ALL {
        let network = Network::new();
        let mut hearer = opts("to", version).persistent().on(&network);
        hearer.subscribe("t", Q2);
        network.publish("t", "1", 2, false);
        network.publish("t", "2", 2, false);
        let (first, second) = (hearer.expect_publish(), hearer.expect_publish());
        hearer.send_ack(AckKind::Pubrec, first.id);
        hearer.expect_ack(AckKind::Pubrel, first.id);
        hearer.hang_up();
        let mut hearer = opts("to", version).persistent().on(&network);
        hearer.expect_ack(AckKind::Pubrel, first.id);
        assert_eq!(hearer.expect_publish().id, second.id);
        hearer.send_ack(AckKind::Pubcomp, first.id);
        hearer.acknowledge(&second);
        hearer.expect_nothing();
        hearer.hang_up();
        opts("to", version).persistent().on(&network).expect_nothing();
    }
}

/// Nothing is sent again on the same connection [MQTT-4.4.0-1]: neither PUBLISH nor PUBREL, whatever comes and goes.
#[test]
fn nothing_is_sent_again_while_the_connection_lives() {
    for version in ALL {
        let network = Network::new();
        let mut hearer = opts("to", version).persistent().on(&network);
        hearer.subscribe("t", Q2);
        for qos in [1, 2, 2] {
            network.publish("t", "x", qos, false);
        }
        let ids: [u16; 3] = std::array::from_fn(|_| hearer.expect_publish().id);
        hearer.send_ack(AckKind::Pubrec, ids[2]);
        hearer.expect_ack(AckKind::Pubrel, ids[2]);
        network.advance(3600);
        hearer.expect_nothing();
        hearer.send(&Packet::Pingreq);
        assert_eq!(hearer.next(), Some(Received::Pingresp));
        hearer.subscribe("t", Q2);
        hearer.unsubscribe(&["u"]);
        network.publish("t", "y", 1, false);
        let other = hearer.expect_message("t", "y");
        hearer.acknowledge(&other);
        hearer.publish("u", "z", Q2);
        hearer.writable();
        network.advance(3600);
        hearer.expect_nothing();
    }
}

#[test]
fn redelivery_obeys_a_smaller_receive_maximum() {
    let network = Network::new();
    let mut hearer = opts("to", V5).persistent().on(&network);
    hearer.subscribe("t", Q1);
    for n in 0..5 {
        network.publish("t", &n.to_string(), 1, false);
    }
    hearer.hang_up();
    let mut hearer = opts("to", V5).persistent().receive_maximum(2).on(&network);
    let first = hearer.expect_publish();
    let second = hearer.expect_publish();
    assert!(first.dup && second.dup);
    hearer.expect_nothing(); // [MQTT-3.3.4-9]
    network.publish("t", "5", 1, false);
    hearer.expect_nothing();
    hearer.acknowledge(&first);
    hearer.acknowledge(&second);
    let mut rest = Vec::new();
    while let Some(Received::Publish(message)) = hearer.next() {
        assert_eq!(message.dup, message.text() != "5");
        hearer.acknowledge(&message);
        rest.push(message.text().to_owned());
    }
    assert_eq!(rest, ["2", "3", "4", "5"]);
}

/// [MQTT-4.4.0-1]: a client may acknowledge what it has of an earlier connection, before it is sent again.
#[test]
fn an_acknowledgement_that_overtakes_the_redelivery_counts_for_nothing_that_was_sent() {
    let network = Network::new();
    let mut hearer = opts("to", V5).persistent().on(&network);
    hearer.subscribe("t", Q1);
    for n in 1..=3 {
        network.publish("t", &n.to_string(), 1, false);
    }
    let old: Vec<_> = (0..3).map(|_| hearer.expect_publish()).collect();
    hearer.hang_up();
    let mut hearer = opts("to", V5).persistent().receive_maximum(1).on(&network);
    hearer.expect_message("t", "1");
    hearer.acknowledge(&old[1]);
    hearer.expect_nothing();
    hearer.acknowledge(&old[0]);
    hearer.expect_message("t", "3");
    hearer.acknowledge(&old[2]);
    hearer.expect_nothing();
    assert_eq!(network.engine.clients()[0].inflight, 0);
}

/// [MQTT-3.3.4-9]: a delivery of which PUBREL was sent again has its place in the window until PUBCOMP.
#[test]
fn a_pubrel_that_was_sent_again_counts_in_the_window() {
    let network = Network::new();
    let mut hearer = opts("to", V5).persistent().receive_maximum(2).on(&network);
    hearer.subscribe("t", Q2);
    network.publish("t", "1", 2, false);
    let first = hearer.expect_message("t", "1");
    hearer.send_ack(AckKind::Pubrec, first.id);
    hearer.expect_ack(AckKind::Pubrel, first.id);
    hearer.hang_up();
    for n in 2..=5 {
        network.publish("t", &n.to_string(), 1, false);
    }
    let mut hearer = opts("to", V5).persistent().receive_maximum(2).on(&network);
    hearer.expect_ack(AckKind::Pubrel, first.id);
    let second = hearer.expect_message("t", "2");
    hearer.expect_nothing();
    hearer.send_ack(AckKind::Pubcomp, first.id);
    hearer.expect_message("t", "3");
    hearer.expect_nothing();
    // An acknowledgement that comes twice makes no room.
    hearer.acknowledge(&second);
    hearer.acknowledge(&second);
    hearer.expect_message("t", "4");
    hearer.expect_nothing();
}

#[test]
fn a_message_too_large_for_the_new_connection_is_dropped() {
    let network = Network::new();
    let mut hearer = opts("to", V5).persistent().on(&network);
    hearer.subscribe("t", Q2);
    network.publish("t", &"x".repeat(200), 1, false);
    network.publish("t", "small", 2, false);
    hearer.hang_up();
    network.publish("t", &"x".repeat(200), 2, false);
    let small = opts("to", V5).persistent().with(|p| _ = p.maximum_packet_size(100));
    let mut hearer = small.on(&network);
    assert_eq!(hearer.drain(), ["small"]);
    assert_eq!(network.stats().messages_dropped_packet_too_large, 2);
    assert_eq!(network.engine.clients()[0].inflight, 0);
}

/// A session can go on in another version.
#[test]
fn a_session_may_change_its_version() {
    for (before, after) in crate::harness::version_pairs() {
        let network = Network::new();
        let mut hearer = opts("to", before).persistent().on(&network);
        hearer.subscribe("t", Q2);
        network.publish("t", "1", 1, false);
        hearer.hang_up();
        network.publish("t", "2", 2, false);
        let mut hearer = opts("to", after).persistent().on(&network);
        assert_eq!(hearer.drain(), ["1", "2"]);
    }
}

/// [MQTT-3.1.2-4], [MQTT3-3.1.2-6], [MQTT3-3.1.4-3]
#[test]
fn a_clean_start_gets_nothing_again() {
    for version in ALL {
        let network = Network::new();
        let mut hearer = opts("to", version).persistent().on(&network);
        hearer.subscribe("t", Q2);
        network.publish("t", "1", 1, false);
        network.publish("t", "2", 2, false);
        hearer.hang_up();
        network.publish("t", "3", 1, false);
        let mut hearer = opts("to", version).on(&network);
        hearer.expect_nothing();
        assert_eq!(network.publish("t", "4", 1, false), 0);
        assert!(!hearer.publish("x", "", Q1).is_error());
        assert_ne!(network.stats().messages_dropped_session_ended, 0);
        assert_eq!(hearer.unsubscribe(&["t"]).first().copied().unwrap_or(0x11), 0x11);
        assert_eq!(ReasonCode::NoSubscriptionExisted.as_u8(), 0x11);
    }
}
