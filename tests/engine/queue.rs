//! Messages that wait for an absent client, and what happens when there are too many.

use midge::codec::reason::ReasonCode;
use midge::session::link::Cause;

use crate::harness::{ALL, Network, Q0, Q1, Q2, Received, V5, opts};

/// [MQTT3-3.1.2-5], [MQTT-3.1.2-23]
#[test]
fn messages_wait_for_an_absent_client_in_order() {
    for version in ALL {
        let network = Network::new();
        let mut hearer = opts("to", version).persistent().on(&network);
        hearer.subscribe("t", Q2);
        hearer.hang_up();
        for (n, qos) in [1, 2, 1, 2].into_iter().enumerate() {
            network.publish("t", &n.to_string(), qos, false);
        }
        assert_eq!(network.engine.clients()[0].queued, 4);
        let mut hearer = opts("to", version).persistent().on(&network);
        assert_eq!(hearer.drain(), ["0", "1", "2", "3"]);
        assert_eq!(network.engine.clients()[0].queued, 0);
    }
}

#[test]
fn qos_0_waits_only_where_the_setting_says_so() {
    for (setting, expected) in [("false", vec!["1"]), ("true", vec!["0", "1"])] {
        for version in ALL {
            let network = Network::with(&[("session.queue_qos0", setting)]);
            let mut hearer = opts("to", version).persistent().on(&network);
            hearer.subscribe("t", Q1);
            hearer.hang_up();
            network.publish("t", "0", 0, false);
            network.publish("t", "1", 1, false);
            let mut hearer = opts("to", version).persistent().on(&network);
            assert_eq!(hearer.drain(), expected);
            assert_eq!(network.stats().messages_dropped_offline, u64::from(setting == "false"));
        }
    }
}

#[test]
fn a_full_queue_drops_the_newest_or_the_oldest() {
    for (overflow, kept) in [("drop_newest", ["0", "1", "2"]), ("drop_oldest", ["2", "3", "4"])] {
        let settings = [("session.max_queued_messages", "3"), ("session.queue_overflow", overflow)];
        let network = Network::with(&settings);
        let mut hearer = opts("to", V5).persistent().on(&network);
        hearer.subscribe("t", Q1);
        hearer.hang_up();
        for n in 0..5 {
            network.publish("t", &n.to_string(), 1, false);
        }
        let mut hearer = opts("to", V5).persistent().on(&network);
        assert_eq!(hearer.drain(), kept);
        assert_eq!(network.stats().messages_dropped_queue_full, 2);
    }
}

#[test]
fn a_full_queue_disconnects_a_slow_client_and_drops_for_an_absent_one() {
    let settings = [("session.max_queued_messages", "2"), ("session.queue_overflow", "disconnect")];
    let network = Network::with(&settings);
    let mut hearer = opts("to", V5).persistent().receive_maximum(1).on(&network);
    hearer.subscribe("t", Q1);
    for n in 0..3 {
        network.publish("t", &n.to_string(), 1, false);
    }
    hearer.poll();
    assert_eq!(hearer.line.finished(), None);
    network.publish("t", "one too many", 1, false);
    hearer.expect_message("t", "0");
    assert_eq!(hearer.next(), Some(Received::Disconnect(ReasonCode::QuotaExceeded)));
    assert_eq!(hearer.line.finished(), Some(Cause::Refused(ReasonCode::QuotaExceeded)));
    hearer.hang_up();
    network.publish("t", "absent", 1, false);
    assert_eq!(network.stats().messages_dropped_queue_full, 2);
    let mut hearer = opts("to", V5).persistent().on(&network);
    assert_eq!(hearer.drain(), ["0", "1", "2"]);
}

/// A client that came back meanwhile is not disconnected for what its last connection did.
#[test]
fn an_overflow_is_forgotten_with_its_connection() {
    let settings = [("session.max_queued_messages", "1"), ("session.queue_overflow", "disconnect")];
    let network = Network::with(&settings);
    let mut hearer = opts("to", V5).persistent().receive_maximum(1).on(&network);
    hearer.subscribe("t", Q1);
    for n in 0..3 {
        network.publish("t", &n.to_string(), 1, false);
    }
    let mut again = opts("to", V5).persistent().on(&network);
    hearer.poll();
    again.poll();
    assert_eq!(hearer.line.finished(), Some(Cause::SessionTakenOver));
    assert_eq!(again.line.finished(), None);
    assert_eq!(again.drain(), ["0", "1"]);
}

#[test]
fn the_queue_is_bounded_in_bytes() {
    let network = Network::with(&[("session.max_queued_bytes", "1KiB")]);
    let mut hearer = opts("to", V5).persistent().on(&network);
    hearer.subscribe("t", Q1);
    hearer.hang_up();
    for _ in 0..100 {
        network.publish("t", &"x".repeat(100), 1, false);
    }
    network.publish("t", &"x".repeat(2000), 1, false);
    let waiting = network.engine.clients()[0].queued;
    assert!((1..=10).contains(&waiting), "{waiting}");
    assert_eq!(network.stats().messages_dropped_queue_full, 101 - waiting as u64);
}

#[test]
fn a_queue_of_none_holds_none() {
    let network = Network::with(&[("session.max_queued_messages", "0")]);
    let mut hearer = opts("to", V5).persistent().on(&network);
    hearer.subscribe("t", Q1);
    network.publish("t", "connected", 1, false);
    let message = hearer.expect_message("t", "connected");
    hearer.acknowledge(&message);
    hearer.hang_up();
    network.publish("t", "absent", 1, false);
    let mut hearer = opts("to", V5).persistent().on(&network);
    hearer.expect_nothing();
}

/// [MQTT-4.6.0-5], [MQTT-4.6.0-6]: QoS 0 messages that waited are not overtaken by younger ones of QoS 0.
#[test]
fn waiting_qos_0_messages_keep_their_order() {
    let network = Network::with(&[("session.queue_qos0", "true")]);
    let mut hearer = opts("to", V5).persistent().receive_maximum(1).on(&network);
    hearer.subscribe("t", Q1);
    hearer.hang_up();
    network.publish("t", "1", 1, false);
    network.publish("t", "2", 1, false);
    network.publish("t", "3", 0, false);
    let mut hearer = opts("to", V5).persistent().receive_maximum(1).on(&network);
    network.publish("t", "4", 0, false);
    assert_eq!(hearer.drain(), ["1", "2", "3", "4"]);
}

#[test]
fn a_session_without_expiry_keeps_nothing() {
    for version in ALL {
        let network = Network::new();
        let mut hearer = opts("to", version).on(&network);
        hearer.subscribe("t", Q1);
        hearer.hang_up();
        assert_eq!(network.publish("t", "1", 1, false), 0);
        let (mut hearer, present) = opts("to", version).resume().join(&network);
        assert!(!present);
        hearer.expect_nothing();
        assert_eq!(hearer.publish("t", "", Q0), ReasonCode::Success);
        hearer.expect_nothing();
    }
}
