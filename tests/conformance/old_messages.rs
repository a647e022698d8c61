//! Messages and subscriptions of MQTT 3.1.1, where the tests of the engine leave a statement without a test.

use midge::codec::ack::AckKind;
use midge::codec::packet::Packet;
use midge::codec::properties::Properties;
use midge::codec::publish::Publish;
use midge::codec::qos::QoS;
use midge::codec::subscribe::SubscriptionOptions;

use crate::harness::{ALL, Client, Network, Q0, Q1, Q2, QOS, id, opts};

/// Sends a PUBLISH that says that it was sent before.
fn send_again(client: &mut Client<'_>, topic: &str, payload: &str, qos: QoS, number: u16) {
    client.send(&Packet::Publish(Publish {
        dup: true,
        qos,
        retain: false,
        topic,
        packet_id: Some(id(number)),
        properties: Properties::EMPTY,
        payload: payload.as_bytes(),
    }));
}

/// There or away, by an equal filter, by wildcards or by several filters: each gets each message, and gets it once.
/// [MQTT-4.5.0-1], [MQTT3-4.5.0-1], [MQTT3-3.1.2-5]
#[test]
fn a_message_is_added_to_the_session_of_every_client_that_subscribed() {
    let filters: [&[&str]; 5] = [&["a/b"], &["a/+"], &["#"], &["a/b", "a/#", "+/b"], &["a/b/#"]];
    for version in ALL {
        for away in [false, true] {
            let network = Network::new();
            let name = |n: usize| format!("hearer {n}");
            let connect = |n: usize| opts(&name(n), version).persistent().on(&network);
            let mut hearers: Vec<_> = (0..filters.len()).map(connect).collect();
            for (hearer, filters) in hearers.iter_mut().zip(filters) {
                filters.iter().for_each(|filter| hearer.subscribe(filter, Q2));
            }
            let mut stranger = opts("stranger", version).on(&network);
            stranger.subscribe("a/c", Q2);
            if away {
                hearers.into_iter().for_each(Client::hang_up);
                hearers = Vec::new();
            }
            // Who publishes has subscribed as well.
            let mut publisher = opts("from", version).on(&network);
            publisher.subscribe("a/b", Q2);
            publisher.publish("a/b", "one", Q1);
            publisher.publish("a/b", "two", Q2);
            publisher.publish("b/a", "for # alone", Q1);
            if away {
                hearers = (0..filters.len()).map(connect).collect();
            }
            for (n, hearer) in hearers.iter_mut().enumerate() {
                let expected: &[&str] = if n == 2 { &["one", "two", "for # alone"] } else { &["one", "two"] };
                assert_eq!(hearer.drain(), expected, "{version} away: {away} {:?}", filters[n]);
            }
            assert_eq!(publisher.drain(), ["one", "two"], "{version}");
            stranger.expect_nothing();
        }
    }
}

/// [MQTT3-3.3.1-2], [MQTT3-3.3.1-3], [MQTT3-4.3.1-1]: whatever the QoS of the message and of the delivery.
#[test]
fn dup_of_the_publisher_is_not_passed_on() {
    for version in ALL {
        for published in [Q1, Q2] {
            for granted in QOS {
                let network = Network::new();
                let mut hearer = opts("to", version).on(&network);
                hearer.subscribe("t", granted);
                let mut publisher = opts("from", version).on(&network);
                send_again(&mut publisher, "t", "x", published, 5);
                let message = hearer.expect_message("t", "x");
                assert_eq!((message.dup, message.qos), (false, published.min(granted)), "{version}");
            }
        }
    }
}

/// [MQTT-4.3.2-5], [MQTT3-4.3.2-2]: irrespective of DUP.
#[test]
fn after_puback_the_identifier_is_a_new_message_whatever_dup_says() {
    for version in ALL {
        let network = Network::new();
        let mut hearer = opts("to", version).on(&network);
        hearer.subscribe("t", Q1);
        let mut publisher = opts("from", version).on(&network);
        publisher.send_publish("t", "1", Q1, 9);
        publisher.expect_ack(AckKind::Puback, 9);
        for payload in ["1", "2"] {
            send_again(&mut publisher, "t", payload, Q1, 9);
            publisher.expect_ack(AckKind::Puback, 9);
        }
        assert_eq!(hearer.drain(), ["1", "1", "2"], "{version}");
    }
}

/// [MQTT-4.3.3-10], [MQTT-4.3.3-12], [MQTT3-4.3.3-2]: irrespective of DUP, too.
#[test]
fn until_pubrel_the_identifier_is_the_same_message_whatever_dup_says() {
    for version in ALL {
        let network = Network::new();
        let mut hearer = opts("to", version).on(&network);
        hearer.subscribe("t", Q0);
        let mut publisher = opts("from", version).on(&network);
        for payload in ["1", "2"] {
            // A first PUBLISH with DUP is one that was lost on its way.
            send_again(&mut publisher, "t", payload, Q2, 9);
            publisher.expect_ack(AckKind::Pubrec, 9);
            publisher.send_publish("t", payload, Q2, 9);
            publisher.expect_ack(AckKind::Pubrec, 9);
            send_again(&mut publisher, "t", payload, Q2, 9);
            publisher.expect_ack(AckKind::Pubrec, 9);
            publisher.send_ack(AckKind::Pubrel, 9);
            publisher.expect_ack(AckKind::Pubcomp, 9);
        }
        assert_eq!(hearer.drain(), ["1", "2"], "{version}");
    }
}

/// [MQTT3-3.3.1-9]
#[test]
fn a_running_subscription_gets_no_retain_flag() {
    for version in ALL {
        for qos in QOS {
            let network = Network::new();
            let mut hearer = opts("to", version).on(&network);
            hearer.subscribe("t", Q2);
            let mut publisher = opts("from", version).on(&network);
            for payload in ["1", "2", ""] {
                publisher.retain("t", payload, qos);
                let message = hearer.expect_message("t", payload);
                assert!(!message.retain, "{version} {qos:?} {payload:?}");
                hearer.acknowledge(&message);
            }
        }
    }
}

/// Neither one with a payload nor an empty one.
/// [MQTT3-3.3.1-12]
#[test]
fn a_publish_without_retain_leaves_the_retained_message_alone() {
    for version in ALL {
        for qos in QOS {
            let network = Network::new();
            let mut publisher = opts("from", version).on(&network);
            publisher.publish("t", "not kept", qos);
            publisher.retain("u", "kept", qos);
            publisher.publish("u", "not kept", qos);
            publisher.publish("u", "", qos);
            let mut hearer = opts("to", version).on(&network);
            hearer.subscribe("#", Q2);
            assert_eq!(hearer.drain(), ["kept"], "{version} {qos:?}");
        }
    }
}

/// As if there were two packets: the later entry replaces the earlier one.
/// [MQTT-3.8.4-5], [MQTT3-3.8.4-4]
#[test]
fn a_filter_that_stands_twice_in_a_subscribe_has_its_last_qos() {
    for version in ALL {
        let network = Network::new();
        let mut hearer = opts("to", version).on(&network);
        let [zero, one, two] = QOS.map(SubscriptionOptions::with_qos);
        assert_eq!(hearer.subscribe_all(&[("t", two), ("u", one), ("t", zero)], 0), [2, 1, 0]);
        assert_eq!(network.stats().subscriptions, 2);
        network.publish("t", "x", 2, false);
        assert_eq!(hearer.expect_message("t", "x").qos, Q0, "{version}");
        hearer.expect_nothing();
    }
}

/// [MQTT-3.10.4-1], [MQTT3-3.10.4-1]
#[test]
fn unsubscribing_compares_filters_byte_for_byte() {
    let held = ["a/b", "a/#", "Größe", "$share/g/a/b"];
    let others = [
        "a/B",
        "a/b/",
        "/a/b",
        "a/+",
        "#",
        "+/b",
        "a/b/#",
        "a",
        "Gro\u{308}ße",
        "$share/h/a/b",
        "$queue/a/b",
    ];
    for version in ALL {
        let network = Network::new();
        let mut hearer = opts("to", version).on(&network);
        held.iter().for_each(|filter| hearer.subscribe(filter, Q0));
        hearer.unsubscribe(&others);
        assert_eq!(network.stats().subscriptions, 4, "{version}");
        for (n, filter) in held.iter().enumerate() {
            hearer.unsubscribe(&[filter]);
            let left: Vec<_> = network.engine.subscriptions().into_iter().map(|held| held.filter).collect();
            assert!(left.len() == 3 - n && left.iter().all(|left| &**left != *filter), "{version} {left:?}");
        }
    }
}

/// Of QoS 1 and of QoS 2 before and behind PUBREC, on this connection and on the next one.
/// [MQTT-3.10.4-3], [MQTT3-3.10.4-3]
#[test]
fn what_was_sent_before_unsubscribe_is_completed() {
    for version in ALL {
        for returns in [false, true] {
            let network = Network::new();
            let mut hearer = opts("to", version).persistent().on(&network);
            hearer.subscribe("t", Q2);
            for (payload, qos) in [("1", 1), ("2", 2), ("3", 2)] {
                network.publish("t", payload, qos, false);
            }
            let [one, two, three] = std::array::from_fn(|_| hearer.expect_publish());
            hearer.send_ack(AckKind::Pubrec, three.id);
            hearer.expect_ack(AckKind::Pubrel, three.id);
            hearer.unsubscribe(&["t"]);
            if returns {
                hearer.hang_up();
                hearer = opts("to", version).persistent().on(&network);
                for message in [&one, &two] {
                    assert_eq!(hearer.expect_message("t", message.text()).id, message.id, "{version}");
                }
                hearer.expect_ack(AckKind::Pubrel, three.id);
            }
            hearer.acknowledge(&one);
            hearer.acknowledge(&two);
            hearer.send_ack(AckKind::Pubcomp, three.id);
            hearer.expect_nothing();
            assert_eq!(network.engine.clients()[0].inflight, 0, "{version}");
            assert_eq!(network.publish("t", "late", 1, false), 0);
        }
    }
}
