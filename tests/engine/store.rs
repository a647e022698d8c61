//! The seam to the store: an acknowledgement means that what it stands for is committed.

use midge::codec::ack::AckKind;
use midge::codec::reason::ReasonCode;
use midge::codec::subscribe::SubscriptionOptions;

use crate::harness::{ALL, Commit, LastWill, Network, Q0, Q1, Q2, Received, V5, opts};

#[test]
fn puback_waits_for_the_commit() {
    for version in ALL {
        let (network, store) = Network::with_late_store();
        let mut hearer = opts("to", version).persistent().on(&network);
        hearer.send_subscribe(&[("t", SubscriptionOptions::with_qos(Q1))], 0);
        hearer.expect_nothing();
        store.commit(&network);
        assert!(matches!(hearer.next(), Some(Received::Suback { .. })));
        hearer.hang_up();
        let mut publisher = opts("from", version).on(&network);
        publisher.send_publish("t", "x", Q1, 7);
        publisher.expect_nothing();
        store.commit(&network);
        assert_eq!(publisher.expect_ack(AckKind::Puback, 7), ReasonCode::Success);
        publisher.expect_nothing();
    }
}

#[test]
fn qos_0_waits_for_nothing() {
    let (network, store) = Network::with_late_store();
    let mut publisher = opts("from", V5).on(&network);
    let mut hearer = opts("to", V5).persistent().on(&network);
    hearer.send_subscribe(&[("t", SubscriptionOptions::with_qos(Q0))], 0);
    publisher.send_publish("t", "x", Q0, 0);
    hearer.expect_message("t", "x");
    store.commit(&network);
    assert!(matches!(hearer.next(), Some(Received::Suback { .. })));
}

#[test]
fn qos_2_waits_at_both_steps() {
    for version in ALL {
        let (network, store) = Network::with_late_store();
        let mut publisher = opts("from", version).persistent().on(&network);
        store.commit(&network);
        publisher.send_publish("t", "x", Q2, 7);
        publisher.expect_nothing();
        // A repetition meanwhile is no new message, and its answer waits, too.
        publisher.send_publish("t", "x", Q2, 7);
        publisher.expect_nothing();
        store.commit(&network);
        publisher.expect_ack(AckKind::Pubrec, 7);
        publisher.expect_ack(AckKind::Pubrec, 7);
        publisher.send_ack(AckKind::Pubrel, 7);
        publisher.expect_nothing();
        store.commit(&network);
        publisher.expect_ack(AckKind::Pubcomp, 7);
        publisher.expect_nothing();
        assert_eq!(network.stats().messages_published, 1);
    }
}

/// [MQTT-4.6.0-2], [MQTT-4.6.0-3]: also an acknowledgement with nothing to wait for does not overtake.
#[test]
fn acknowledgements_are_released_in_order_as_far_as_committed() {
    let (network, store) = Network::with_late_store();
    let mut publisher = opts("from", V5).persistent().on(&network);
    store.commit(&network);
    let before = store.len();
    for id in 1..=5 {
        publisher.send_publish("t", "x", Q2, id);
    }
    assert_eq!(store.len(), before + 5);
    store.commit_up_to(&network, before + 2);
    publisher.expect_ack(AckKind::Pubrec, 1);
    publisher.expect_ack(AckKind::Pubrec, 2);
    publisher.expect_nothing();
    store.commit_silently(before + 5);
    publisher.send_ack(AckKind::Pubrel, 99); // Unknown: stands for nothing.
    publisher.expect_nothing();
    network.engine.committed(&mut network.turn(), before as u64 + 5);
    for id in 3..=5 {
        publisher.expect_ack(AckKind::Pubrec, id);
    }
    publisher.expect_ack(AckKind::Pubcomp, 99);
    publisher.expect_nothing();
}

/// The store may commit, and say so, between giving a ticket and being waited for.
#[test]
fn an_acknowledgement_whose_commit_was_told_already_waits_for_nothing() {
    for version in ALL {
        let (network, _store) = Network::with_late_store();
        network.engine.committed(&mut network.turn(), 1000);
        let mut publisher = opts("from", version).persistent().on(&network);
        for (qos, kind) in [(Q1, AckKind::Puback), (Q2, AckKind::Pubrec)] {
            publisher.send_publish("t", "x", qos, 7);
            publisher.expect_ack(kind, 7);
        }
    }
}

/// [MQTT-3.3.4-7]: a QoS 1 message counts until its PUBACK is sent. Old versions were not told, and may go on.
#[test]
fn what_waits_for_the_store_counts_in_the_receive_maximum() {
    for version in ALL {
        let (network, store) = Network::with_late_store();
        let connect = opts("from", version).persistent();
        let mut publisher = connect.on(&network);
        let retain = |publisher: &mut crate::harness::Client<'_>, count: u16| {
            (0..count).for_each(|_| _ = publisher.send_with("t", b"x", Q1, true, |_| {}));
        };
        retain(&mut publisher, 100);
        publisher.expect_nothing();
        store.commit(&network);
        (1..=100).for_each(|id| _ = publisher.expect_ack(AckKind::Puback, id));
        retain(&mut publisher, 90);
        // A new connection begins from nothing, whatever is still committed for the old one.
        let mut publisher = connect.on(&network);
        retain(&mut publisher, 90);
        store.commit(&network);
        (1..=90).for_each(|id| _ = publisher.expect_ack(AckKind::Puback, id));
        retain(&mut publisher, 101);
        match version {
            V5 => publisher.expect_refused(ReasonCode::ReceiveMaximumExceeded),
            _ => assert_eq!(publisher.line.finished(), None),
        }
    }
}

#[test]
fn a_commit_after_the_connection_is_gone_answers_nobody() {
    for version in ALL {
        let (network, store) = Network::with_late_store();
        let mut publisher = opts("from", version).persistent().on(&network);
        store.commit(&network);
        publisher.send_publish("t", "x", Q2, 7);
        let mut again = opts("from", version).persistent().on(&network);
        store.commit(&network);
        while let Some(packet) = publisher.next() {
            assert!(matches!(packet, Received::Disconnect(_)), "{packet:?}");
        }
        // The message is known: the client repeats it and learns so.
        again.expect_nothing();
        again.send_publish("t", "x", Q2, 7);
        again.expect_ack(AckKind::Pubrec, 7);
        assert_eq!(network.stats().messages_published, 1);
    }
}

#[test]
fn every_change_that_outlives_a_connection_is_recorded() {
    let (network, store) = Network::with_late_store();
    let mut hearer = opts("to", V5).expiry(50).on(&network);
    hearer.send_subscribe(&[("t", SubscriptionOptions::with_qos(Q2))], 0);
    store.commit(&network);
    hearer.next();
    network.publish("t", "x", 1, true);
    network.publish("t", "x", 0, false);
    network.publish("t", "", 1, true);
    hearer.send_publish("u", "y", Q2, 3);
    hearer.send_ack(AckKind::Pubrel, 3);
    store.commit_silently(usize::MAX);
    hearer.send_disconnect(ReasonCode::Success, Some(20));
    network.advance(21);
    let expected = [
        "to begun 50",
        "to subscribed t",
        "retained t",
        "to queued t",
        "to sent 1",
        "cleared t",
        "to queued t",
        "to sent 2",
        "to received 3",
        "to released 3",
        "to detached 20",
        "to ended",
    ];
    assert_eq!(store.lines_from(0), expected);
}

#[test]
fn a_session_that_ends_with_its_connection_is_not_recorded() {
    let (network, store) = Network::with_late_store();
    let mut client = opts("a", V5).on(&network);
    client.subscribe("t", Q1);
    client.publish("t", "x", Q1);
    client.unsubscribe(&["t"]);
    client.hang_up();
    assert_eq!(store.lines_from(0), [""; 0]);
}

#[test]
fn a_topic_that_holds_nothing_is_not_recorded_as_cleared() {
    let (network, store) = Network::with_late_store();
    network.publish("t", "", 1, true);
    assert_eq!(store.len(), 0);
    network.publish("t", "x", 1, true);
    network.publish("t", "", 1, true);
    network.publish("t", "", 1, true);
    assert_eq!(store.lines_from(0), ["retained t", "cleared t"]);
}

#[test]
fn a_client_waits_for_no_commit_that_only_another_has_to_be_told_of() {
    let (network, store) = Network::with_late_store();
    let mut first = opts("first", V5).persistent().on(&network);
    let mut second = opts("second", V5).on(&network);
    first.send_publish("t", "x", Q2, 7);
    first.expect_nothing();
    // Committed, and the engine has not heard of it.
    store.commit_silently(store.len());
    second.send_publish("u", "x", Q1, 8);
    assert_eq!(second.expect_ack(AckKind::Puback, 8), ReasonCode::NoMatchingSubscribers);
    store.commit(&network);
    first.expect_ack(AckKind::Pubrec, 7);
}

/// [MQTT-4.6.0-2], [MQTT-4.6.0-3]: one that waits is enough to wait behind.
#[test]
fn an_acknowledgement_waits_behind_a_single_one_of_its_client() {
    let (network, store) = Network::with_late_store();
    let mut publisher = opts("from", V5).persistent().on(&network);
    publisher.send_publish("t", "x", Q2, 7);
    store.commit_silently(store.len());
    publisher.send_publish("u", "x", Q1, 8);
    publisher.expect_nothing();
    store.commit(&network);
    publisher.expect_ack(AckKind::Pubrec, 7);
    publisher.expect_ack(AckKind::Puback, 8);
}

/// What cannot be stored is not taken; what need not be stored goes on.
#[test]
fn a_full_store_refuses_messages_of_qos_1_and_2_alone() {
    let (network, store) = Network::with_late_store();
    let mut hearer = opts("to", V5).persistent().on(&network);
    hearer.send_subscribe(&[("t", SubscriptionOptions::with_qos(Q2))], 0);
    let mut publisher = opts("from", V5).on(&network);
    store.commit(&network);
    assert!(matches!(hearer.next(), Some(Received::Suback { .. })));
    store.fill(true);
    let changes = store.len();
    publisher.send_publish("t", "x", Q1, 1);
    assert_eq!(publisher.expect_ack(AckKind::Puback, 1), ReasonCode::QuotaExceeded);
    publisher.send_publish("t", "x", Q2, 2);
    assert_eq!(publisher.expect_ack(AckKind::Pubrec, 2), ReasonCode::QuotaExceeded);
    hearer.expect_nothing();
    assert_eq!(store.len(), changes);
    publisher.send_publish("t", "0", Q0, 0);
    hearer.expect_message("t", "0");
    store.fill(false);
    publisher.send_publish("t", "1", Q1, 1);
    store.commit(&network);
    assert_eq!(publisher.expect_ack(AckKind::Puback, 1), ReasonCode::Success);
    hearer.expect_message("t", "1");
}

/// Any acknowledgement would be success to it. Its connection ends, so that it sends the message again.
#[test]
fn a_full_store_ends_the_connection_of_a_publisher_of_mqtt_3() {
    let (network, store) = Network::with_late_store();
    let mut publisher = opts("from", midge::codec::version::Version::V311).on(&network);
    publisher.send_publish("t", "0", Q0, 0);
    publisher.expect_nothing();
    store.fill(true);
    publisher.send_publish("t", "x", Q1, 1);
    publisher.expect_refused(ReasonCode::QuotaExceeded);
    assert_eq!(network.stats().messages_published, 1);
}

fn retained(network: &Network) -> Vec<String> {
    let page = network.engine.retained_page(None, 10);
    page.iter().map(|it| format!("{} {}", it.topic(), String::from_utf8_lossy(it.payload()))).collect()
}

/// The topic has the new message, and the store has the old one until it takes the new one.
#[test]
fn a_retained_message_of_qos_0_reaches_a_full_store_when_it_takes_some_again() {
    let (network, store) = Network::with_late_store();
    let mut publisher = opts("from", V5).on(&network);
    publisher.retain("r", "1", Q0);
    publisher.retain("s", "1", Q0);
    publisher.retain("t", "1", Q0);
    store.commit(&network);
    store.fill(true);
    let changes = store.len();
    for topic in ["r", "s", "t", "u"] {
        publisher.retain(topic, "2", Q0);
        publisher.retain(topic, "3", Q0);
    }
    assert_eq!(store.len(), changes);
    assert_eq!(retained(&network), ["r 3", "s 3", "t 3", "u 3"]);
    // Nothing is left to be told of them.
    publisher.retain("s", "", Q0);
    assert_eq!(store.lines_from(changes), ["cleared s"]);
    store.commit(&network);
    store.fill(false);
    publisher.retain("t", "4", Q0);
    assert_eq!(store.lines_from(changes + 1), ["retained t"]);
    store.commit(&network);
    assert_eq!(store.lines_from(changes + 2), ["retained r", "retained u"]);
    store.commit(&network);
    let last = store.len();
    assert_eq!(last, changes + 4);
    let (network, _store) = network.after_crash(&store, last, 1);
    assert_eq!(retained(&network), ["r 3", "t 4", "u 3"]);
}

/// A stop waits for no commit, after each of which some would be recorded.
#[test]
fn a_store_that_takes_messages_again_has_all_retained_ones_when_the_broker_stops() {
    let (network, store) = Network::with_late_store();
    store.fill(true);
    for number in 0..3000 {
        network.publish(&format!("t/{number}"), "x", 0, true);
    }
    let changes = store.len();
    network.engine.record_rest(&mut network.turn());
    assert_eq!(store.len(), changes, "the store is full");
    store.fill(false);
    network.engine.record_rest(&mut network.turn());
    assert_eq!(store.len(), changes + 3000);
}

/// An acknowledged message is recorded, even if the store became full meanwhile, and a will that CONNACK has promised.
#[test]
fn a_full_store_takes_the_retained_will_of_a_kept_session() {
    let (network, store) = Network::with_late_store();
    let will = LastWill::new("w", "gone").qos(Q1).retained();
    let client = opts("c", V5).persistent().will(will).on(&network);
    store.commit(&network);
    store.fill(true);
    let changes = store.len();
    client.hang_up();
    let lines = store.lines_from(changes);
    assert!(lines.contains(&"retained w".to_owned()), "{lines:?}");
}

/// The client is told while the disk is full, and not when it no longer is.
#[test]
fn a_refusal_does_not_wait_for_the_commit_of_others() {
    let (network, store) = Network::with_late_store();
    let mut other = opts("other", V5).on(&network);
    let mut publisher = opts("from", V5).on(&network);
    network.publish("uncommitted", "x", 1, true);
    other.send_publish("t", "x", Q1, 1);
    store.fill(true);
    publisher.send_publish("t", "x", Q1, 1);
    assert_eq!(publisher.expect_ack(AckKind::Puback, 1), ReasonCode::QuotaExceeded);
    // One of the same client waits, which comes first.
    other.send_publish("t", "x", Q1, 2);
    other.expect_nothing();
    store.commit(&network);
    assert_eq!(other.expect_ack(AckKind::Puback, 1), ReasonCode::NoMatchingSubscribers);
    assert_eq!(other.expect_ack(AckKind::Puback, 2), ReasonCode::QuotaExceeded);
}

/// What is refused has changed nothing: neither in the store nor in memory.
#[test]
fn a_full_store_refuses_subscriptions_and_connections_of_kept_sessions() {
    for version in ALL {
        for failed in [false, true] {
            let (network, store) = Network::with_late_store();
            let mut client = opts("c", version).persistent().on(&network);
            let mut guest = opts("guest", version).on(&network);
            store.commit(&network);
            client.send_subscribe(&[("old", SubscriptionOptions::with_qos(Q1))], 0);
            store.commit(&network);
            assert!(matches!(client.next(), Some(Received::Suback { .. })));
            network.publish("uncommitted", "x", 1, true);
            match failed {
                false => store.fill(true),
                true => store.fail("the disk is gone"),
            }
            let changes = store.len();
            client.send_subscribe(&[("new", SubscriptionOptions::with_qos(Q1))], 0);
            let refused = if version == V5 { 0x97 } else { 0x80 };
            match client.next() {
                Some(Received::Suback { reasons, .. }) => assert_eq!(reasons, [refused]),
                other => panic!("{other:?}"),
            }
            network.publish("new", "x", 0, false);
            client.expect_nothing();
            let again = opts("c", version).persistent().refused_by(&network);
            assert_eq!(again.1, ReasonCode::ServerUnavailable);
            assert!(again.0.is_some(), "CONNACK says so");
            // A clean start would end a session that is there again after a restart.
            let clean = opts("c", version).refused_by(&network);
            assert_eq!(clean.1, ReasonCode::ServerUnavailable);
            network.publish("old", "x", 0, false);
            client.expect_message("old", "x");
            assert_eq!(store.len(), changes);
            // What the store need not keep goes on.
            guest.subscribe("old", Q1);
            guest.unsubscribe(&["new"]);
            network.publish("old", "y", 0, false);
            guest.expect_message("old", "y");
        }
    }
}

/// What is found to be expired leaves the store, too, and does not lie in its files until the next start.
#[test]
fn an_expired_retained_message_is_recorded_as_cleared() {
    let (network, store) = Network::with_late_store();
    let mut publisher = opts("from", V5).on(&network);
    publisher.retain("stays", "1", Q0);
    for (topic, seconds) in [("soon", 10), ("late", 100)] {
        publisher.send_with(topic, b"1", Q0, true, |p| _ = p.message_expiry_interval(seconds));
    }
    store.fill(true);
    publisher.send_with("unrecorded", b"1", Q0, true, |p| _ = p.message_expiry_interval(10));
    let changes = store.len();
    network.advance(70);
    assert_eq!(store.lines_from(changes), ["cleared soon", "cleared unrecorded"]);
    network.advance(60);
    assert_eq!(store.lines_from(changes + 2), ["cleared late"]);
    store.fill(false);
    store.commit(&network);
    assert_eq!(store.len(), changes + 3, "nothing is recorded late");
    assert_eq!(retained(&network), ["stays 1"]);
}

/// A stop puts it off, as a crash does.
#[test]
fn the_will_of_a_kept_session_is_published_after_the_restart() {
    for away in [false, true] {
        let (network, store) = Network::with_late_store();
        let will = LastWill::new("w", "gone").delay(60);
        let client = opts("c", V5).expiry(3600).will(will).on(&network);
        if away {
            client.hang_up();
        }
        network.engine.stop(&mut network.turn());
        let (network, _store) = network.after_crash(&store, store.len(), 20);
        let mut hearer = opts("to", V5).on(&network);
        hearer.subscribe("w", Q0);
        network.advance(30);
        hearer.expect_nothing();
        network.advance(15);
        hearer.expect_message("w", "gone");
    }
}
