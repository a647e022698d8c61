//! The in-flight window: Receive Maximum both ways.

use midge::codec::ack::AckKind;
use midge::codec::reason::ReasonCode;

use crate::harness::{ALL, Network, Packets, Q0, Q1, Q2, V5, opts};

/// [MQTT-3.3.4-9], [MQTT-4.9.0-1], [MQTT-4.9.0-2]
#[test]
fn the_broker_sends_no_more_than_the_clients_receive_maximum() {
    for qos in 1..=2 {
        let network = Network::new();
        let mut hearer = opts("to", V5).receive_maximum(3).on(&network);
        hearer.subscribe("t", Q2);
        for n in 0..10 {
            network.publish("t", &n.to_string(), qos, false);
        }
        let first: Vec<_> = (0..3).map(|_| hearer.expect_publish()).collect();
        hearer.expect_nothing();
        // QoS 0 is not bounded by it.
        network.publish("t", "zero", 0, false);
        hearer.expect_message("t", "zero");
        hearer.acknowledge(&first[1]);
        assert_eq!(hearer.expect_publish().text(), "3");
        hearer.expect_nothing();
        hearer.acknowledge(&first[0]);
        hearer.acknowledge(&first[2]);
        assert_eq!(hearer.expect_publish().text(), "4");
        assert_eq!(hearer.expect_publish().text(), "5");
        hearer.expect_nothing();
    }
}

#[test]
fn the_window_of_old_versions_is_a_setting() {
    for version in ALL {
        let network = Network::with(&[("mqtt.max_inflight", "2")]);
        let mut hearer = opts("to", version).on(&network);
        hearer.subscribe("t", Q1);
        for n in 0..5 {
            network.publish("t", &n.to_string(), 1, false);
        }
        let first = hearer.expect_publish();
        let second = hearer.expect_publish();
        hearer.expect_nothing();
        hearer.acknowledge(&first);
        hearer.acknowledge(&second);
        assert_eq!(hearer.drain(), ["2", "3", "4"]);
    }
}

/// [MQTT-3.3.4-9]: a QoS 2 place is free after PUBCOMP, not after PUBREC.
#[test]
fn a_qos_2_delivery_holds_its_place_until_pubcomp() {
    let network = Network::new();
    let mut hearer = opts("to", V5).receive_maximum(1).on(&network);
    hearer.subscribe("t", Q2);
    network.publish("t", "1", 2, false);
    network.publish("t", "2", 2, false);
    let first = hearer.expect_message("t", "1");
    hearer.send_ack(AckKind::Pubrec, first.id);
    hearer.expect_ack(AckKind::Pubrel, first.id);
    hearer.expect_nothing();
    hearer.send_ack(AckKind::Pubcomp, first.id);
    hearer.expect_message("t", "2");
}

/// [MQTT-3.3.4-7]
#[test]
fn a_client_that_exceeds_the_receive_maximum_is_disconnected() {
    let network = Network::with(&[("mqtt.receive_maximum", "3")]);
    let mut client = opts("a", V5).on(&network);
    for id in 1..=3 {
        client.send_publish("t", "", Q2, id);
        client.expect_ack(AckKind::Pubrec, id);
    }
    // A known identifier is no new message.
    client.send_publish("t", "", Q2, 2);
    client.expect_ack(AckKind::Pubrec, 2);
    client.send_ack(AckKind::Pubrel, 1);
    client.expect_ack(AckKind::Pubcomp, 1);
    client.send_publish("t", "", Q2, 4);
    client.expect_ack(AckKind::Pubrec, 4);
    assert!(!client.send_publish("t", "", Q2, 5));
    client.expect_refused(ReasonCode::ReceiveMaximumExceeded);
}

#[test]
fn qos_1_in_one_segment_does_not_exceed_the_receive_maximum() {
    for version in ALL {
        let network = Network::with(&[("mqtt.receive_maximum", "3")]);
        let mut client = opts("a", version).on(&network);
        let packets =
            (1..=20).fold(Packets::default(), |packets, id| packets.publish(version, "t", "", Q1, id));
        assert!(client.send_bytes(&packets.0));
        for id in 1..=20 {
            client.expect_ack(AckKind::Puback, id);
        }
    }
}

/// Identifiers come round after 65,535 and pass over one that is in use [MQTT-2.2.1-4], [MQTT3-2.3.1-4].
#[test]
fn identifiers_come_round() {
    let network = Network::new();
    let mut hearer = opts("to", V5).on(&network);
    hearer.subscribe("t", Q1);
    network.publish("t", "stuck", 1, false);
    let stuck = hearer.expect_publish();
    for _ in 0..65_534 {
        network.publish("t", "", 1, false);
        let message = hearer.expect_publish();
        assert_ne!(message.id, stuck.id);
        hearer.acknowledge(&message);
    }
    network.publish("t", "", 1, false);
    assert_eq!(hearer.expect_publish().id, stuck.id + 1);
    hearer.acknowledge(&stuck);
    hearer.expect_nothing();
    network.publish("t", "", 0, false);
    assert_eq!(hearer.expect_publish().qos, Q0);
}
