//! PUBLISH both ways: QoS, handshakes, order.

use midge::codec::ack::AckKind;
use midge::codec::packet::Packet;
use midge::codec::properties::Properties;
use midge::codec::publish::Publish;
use midge::codec::qos::QoS;
use midge::codec::reason::ReasonCode;
use midge::codec::subscribe::SubscriptionOptions;

use crate::harness::{
    ALL, Client, LastWill, Network, Packets, Q0, Q1, Q2, QOS, V5, V31, V311, id, opts, version_pairs,
};

/// [MQTT-3.8.4-8], [MQTT-4.3.1-1], [MQTT-4.3.2-1], [MQTT-4.3.3-1]: the lower of both QoS, in all nine combinations.
/// [MQTT3-3.8.4-6]
#[test]
fn the_qos_of_a_delivery_is_the_lower_of_publication_and_subscription() {
    for (from, to) in version_pairs() {
        let network = Network::new();
        let mut publisher = opts("from", from).on(&network);
        for published in QOS {
            for granted in QOS {
                let mut hearer = opts("to", to).on(&network);
                hearer.subscribe("a/b", granted);
                let payload = format!("{published:?} {granted:?}");
                assert_eq!(publisher.publish("a/b", &payload, published), ReasonCode::Success);
                let message = hearer.expect_message("a/b", &payload);
                assert_eq!(message.qos, published.min(granted), "{from} to {to}");
                assert!(!message.dup && !message.retain);
                assert_eq!(message.id != 0, message.qos > Q0); // [MQTT-2.2.1-2]
                hearer.acknowledge(&message);
                hearer.expect_nothing();
                hearer.disconnect();
            }
        }
        publisher.expect_nothing();
    }
}

#[test]
fn properties_travel_unaltered_from_mqtt_5_to_mqtt_5() {
    let network = Network::new();
    let mut hearer = opts("to", V5).on(&network);
    let mut old = opts("old", V311).on(&network);
    hearer.subscribe("t", Q1);
    old.subscribe("t", Q1);
    let mut publisher = opts("from", V5).on(&network);
    for qos in [Q0, Q1] {
        let id = publisher.send_with("t", b"x", qos, false, |p| {
            p.payload_format_indicator(1).content_type("text").response_topic("r").correlation_data(b"c");
            p.user_property("a", "1").user_property("a", "2");
        });
        publisher.complete(qos, id);
        let message = hearer.expect_message("t", "x");
        let properties = message.properties();
        assert_eq!(properties.payload_format_indicator(), Some(1)); // [MQTT-3.3.2-4]
        assert_eq!(properties.content_type(), Some("text")); // [MQTT-3.3.2-20]
        assert_eq!(properties.response_topic(), Some("r")); // [MQTT-3.3.2-15]
        assert_eq!(properties.correlation_data(), Some(&b"c"[..])); // [MQTT-3.3.2-16]
        let user: Vec<_> = properties.user_properties().collect();
        assert_eq!(user, [("a", "1"), ("a", "2")]); // [MQTT-3.3.2-17], [MQTT-3.3.2-18]
        old.expect_message("t", "x");
    }
}

#[test]
fn a_payload_that_is_not_the_text_it_claims_to_be_is_refused() {
    let network = Network::new();
    let mut publisher = opts("from", V5).on(&network);
    let bad = [0xFF, 0xFE];
    let id = publisher.send_with("t", &bad, Q1, false, |p| _ = p.payload_format_indicator(1));
    assert_eq!(publisher.expect_ack(AckKind::Puback, id), ReasonCode::PayloadFormatInvalid);
    let id = publisher.send_with("t", &bad, Q2, false, |p| _ = p.payload_format_indicator(1));
    assert_eq!(publisher.expect_ack(AckKind::Pubrec, id), ReasonCode::PayloadFormatInvalid);
    publisher.send_with("t", &bad, Q0, false, |p| _ = p.payload_format_indicator(1));
    publisher.expect_refused(ReasonCode::PayloadFormatInvalid);
}

/// [MQTT-3.4.2-1], [MQTT-3.5.2-1]
#[test]
fn a_message_that_nobody_hears_says_so_in_mqtt_5() {
    for version in ALL {
        let network = Network::new();
        let mut publisher = opts("from", version).on(&network);
        let expected = if version == V5 { ReasonCode::NoMatchingSubscribers } else { ReasonCode::Success };
        for qos in [Q1, Q2] {
            assert_eq!(publisher.publish("nobody", "", qos), expected, "{version}");
        }
    }
}

/// A subscription that No Local keeps from its own message matches all the same: there is a subscriber.
/// [MQTT-3.4.2-1], [MQTT-3.5.2-1]
#[test]
fn a_message_that_only_its_publisher_has_subscribed_to_has_a_subscriber() {
    for qos in [Q1, Q2] {
        let network = Network::new();
        let mut client = opts("a", V5).on(&network);
        let no_local = SubscriptionOptions { no_local: true, ..SubscriptionOptions::with_qos(Q0) };
        client.subscribe_with("t", no_local, 0);
        assert_eq!(client.publish("t", "", qos), ReasonCode::Success);
        assert_eq!(client.publish("u", "", qos), ReasonCode::NoMatchingSubscribers);
        client.expect_nothing();
    }
}

/// [MQTT-3.3.1-3]: DUP of an outgoing PUBLISH is independent of that of the incoming one.
/// [MQTT3-3.3.1-3]
#[test]
fn dup_is_not_passed_on() {
    for version in ALL {
        let network = Network::new();
        let mut hearer = opts("to", version).on(&network);
        hearer.subscribe("t", Q1);
        let mut publisher = opts("from", version).on(&network);
        publisher.send(&Packet::Publish(Publish {
            dup: true,
            qos: Q1,
            retain: false,
            topic: "t",
            packet_id: Some(id(5)),
            properties: Properties::EMPTY,
            payload: b"x",
        }));
        publisher.expect_ack(AckKind::Puback, 5);
        assert!(!hearer.expect_message("t", "x").dup);
    }
}

/// Sends a PUBLISH to `t` with the identifier 9.
fn send_again(client: &mut Client<'_>, dup: bool, qos: QoS, payload: &str) {
    client.send(&Packet::Publish(Publish {
        dup,
        qos,
        retain: false,
        topic: "t",
        packet_id: Some(id(9)),
        properties: Properties::EMPTY,
        payload: payload.as_bytes(),
    }));
}

/// [MQTT-4.3.3-10]: until PUBREL, the same identifier is the same message.
/// [MQTT3-4.3.3-2]
#[test]
fn a_retransmitted_qos_2_message_is_not_delivered_twice() {
    for version in ALL {
        let network = Network::new();
        let mut hearer = opts("to", version).on(&network);
        hearer.subscribe("t", Q2);
        let mut publisher = opts("from", version).persistent().on(&network);
        for dup in [false, true, false] {
            send_again(&mut publisher, dup, Q2, "once");
            assert_eq!(publisher.expect_ack(AckKind::Pubrec, 9), ReasonCode::Success);
        }
        publisher.hang_up();
        // Nor on the next connection of the session.
        let mut publisher = opts("from", version).persistent().on(&network);
        for dup in [true, false] {
            send_again(&mut publisher, dup, Q2, "once");
            assert_eq!(publisher.expect_ack(AckKind::Pubrec, 9), ReasonCode::Success);
        }
        publisher.send_ack(AckKind::Pubrel, 9);
        publisher.expect_ack(AckKind::Pubcomp, 9);
        assert_eq!(hearer.drain(), ["once"], "{version}");
        // [MQTT-4.3.3-12]: after PUBCOMP it is a new message, with DUP or without.
        for dup in [false, true] {
            send_again(&mut publisher, dup, Q2, "again");
            publisher.expect_ack(AckKind::Pubrec, 9);
            assert_eq!(hearer.drain(), ["again"], "{version}");
            publisher.send_ack(AckKind::Pubrel, 9);
            publisher.expect_ack(AckKind::Pubcomp, 9);
        }
    }
}

/// [MQTT-4.3.2-5]: for QoS 1 a repeated identifier is a new message, whatever DUP says.
/// [MQTT3-4.3.2-2]
#[test]
fn a_retransmitted_qos_1_message_is_delivered_again() {
    for version in ALL {
        let network = Network::new();
        let mut hearer = opts("to", version).on(&network);
        hearer.subscribe("t", Q1);
        let mut publisher = opts("from", version).on(&network);
        for dup in [false, false, true, true, false] {
            send_again(&mut publisher, dup, Q1, "x");
            publisher.expect_ack(AckKind::Puback, 9);
        }
        assert_eq!(hearer.drain(), ["x"; 5]);
    }
}

/// [MQTT-4.3.3-11], [MQTT-3.7.2-1], [MQTT3-4.3.3-2]
#[test]
fn pubrel_of_an_unknown_identifier_succeeds() {
    for version in ALL {
        let network = Network::new();
        let mut client = opts("a", version).on(&network);
        client.send_ack(AckKind::Pubrel, 77);
        assert_eq!(client.expect_ack(AckKind::Pubcomp, 77), ReasonCode::Success);
    }
}

/// A client that has lost PUBCOMP with its connection sends PUBREL again: its message was delivered, once.
#[test]
fn pubrel_that_comes_again_after_a_lost_pubcomp_succeeds() {
    for version in ALL {
        let network = Network::new();
        let mut hearer = opts("to", version).on(&network);
        hearer.subscribe("t", Q0);
        let mut client = opts("a", version).persistent().on(&network);
        client.send_publish("t", "once", Q2, 7);
        client.expect_ack(AckKind::Pubrec, 7);
        client.send_ack(AckKind::Pubrel, 7);
        client.line.take();
        client.hang_up();
        let (mut client, present) = opts("a", version).persistent().join(&network);
        assert_eq!(present, version != V31);
        client.send_ack(AckKind::Pubrel, 7);
        assert_eq!(client.expect_ack(AckKind::Pubcomp, 7), ReasonCode::Success);
        assert_eq!(hearer.drain(), ["once"]);
    }
}

/// An error might make a client discard the message that it holds until PUBREL.
/// [MQTT-3.6.2-1], [MQTT-4.3.3-4]
#[test]
fn pubrec_of_an_unknown_identifier_is_answered_by_pubrel() {
    for version in ALL {
        let network = Network::new();
        let mut client = opts("a", version).on(&network);
        client.send_ack(AckKind::Pubrec, 77);
        assert_eq!(client.expect_ack(AckKind::Pubrel, 77), ReasonCode::Success);
        client.send_ack(AckKind::Puback, 78);
        client.send_ack(AckKind::Pubcomp, 79);
        client.expect_nothing();
    }
}

/// [MQTT-3.3.4-9]: a PUBREC with an error ends the delivery; PUBREL does not follow.
#[test]
fn a_pubrec_with_an_error_ends_the_delivery() {
    let network = Network::new();
    let mut hearer = opts("to", V5).receive_maximum(1).on(&network);
    hearer.subscribe("t", Q2);
    network.publish("t", "1", 2, false);
    network.publish("t", "2", 2, false);
    let first = hearer.expect_message("t", "1");
    hearer.expect_nothing();
    hearer.send_refusal(AckKind::Pubrec, first.id, ReasonCode::QuotaExceeded);
    // The place in the window is free again.
    hearer.expect_message("t", "2");
    hearer.expect_nothing();
}

#[test]
fn a_repeated_pubrec_gets_pubrel_again() {
    for version in ALL {
        let network = Network::new();
        let mut hearer = opts("to", version).on(&network);
        hearer.subscribe("t", Q2);
        network.publish("t", "1", 2, false);
        let message = hearer.expect_publish();
        for _ in 0..2 {
            hearer.send_ack(AckKind::Pubrec, message.id);
            hearer.expect_ack(AckKind::Pubrel, message.id);
        }
        hearer.send_ack(AckKind::Pubcomp, message.id);
        hearer.expect_nothing();
        assert_eq!(network.engine.clients()[0].inflight, 0);
    }
}

#[test]
fn an_acknowledgement_of_the_wrong_kind_is_a_protocol_error() {
    let cases = [(1, AckKind::Pubrec), (1, AckKind::Pubcomp), (2, AckKind::Puback), (2, AckKind::Pubcomp)];
    for (qos, kind) in cases {
        let network = Network::new();
        let mut hearer = opts("to", V5).on(&network);
        hearer.subscribe("t", Q2);
        network.publish("t", "1", qos, false);
        let message = hearer.expect_publish();
        assert!(!hearer.send_ack(kind, message.id), "{qos} {kind:?}");
        hearer.expect_refused(ReasonCode::ProtocolError);
    }
}

/// [MQTT-4.6.0-6], [MQTT-4.6.0-2], [MQTT-4.6.0-3], [MQTT-4.6.0-5], [MQTT3-4.6.0-2], [MQTT3-4.6.0-3], [MQTT3-4.6.0-5],
/// [MQTT3-4.6.0-6]
#[test]
fn messages_and_acknowledgements_keep_their_order() {
    for (from, to) in version_pairs() {
        for qos in QOS {
            let network = Network::new();
            let mut hearer = opts("to", to).on(&network);
            hearer.subscribe("t/#", Q2);
            let mut publisher = opts("from", from).on(&network);
            let mut packets = Packets::default();
            let expected: Vec<String> = (1..=50).map(|n| n.to_string()).collect();
            for (n, payload) in (1..=50).zip(&expected) {
                let id = if qos == Q0 { 0 } else { n };
                packets = packets.publish(from, "t/x", payload, qos, id);
            }
            publisher.send_bytes(&packets.0);
            for n in 1..=50 {
                match qos.as_u8() {
                    0 => {}
                    1 => _ = publisher.expect_ack(AckKind::Puback, n),
                    _ => _ = publisher.expect_ack(AckKind::Pubrec, n),
                }
            }
            let mut ids = Vec::new();
            for payload in &expected {
                ids.push(hearer.expect_message("t/x", payload).id);
            }
            hearer.expect_nothing();
            if qos > Q0 {
                ids.sort_unstable();
                ids.dedup();
                assert_eq!(ids.len(), 50, "identifiers in use are not given again"); // [MQTT-2.2.1-4]
            }
        }
    }
}

/// A QoS 2 message is passed on when PUBLISH arrives, and never again when PUBREL does.
#[test]
fn qos_2_is_passed_on_once_whatever_the_order_of_releases() {
    for version in ALL {
        let network = Network::new();
        let mut hearer = opts("to", version).on(&network);
        hearer.subscribe("t", Q0);
        let mut publisher = opts("from", version).on(&network);
        for id in 1..=3 {
            publisher.send_publish("t", &id.to_string(), Q2, id);
            publisher.expect_ack(AckKind::Pubrec, id);
        }
        for id in [2, 1, 3] {
            publisher.send_ack(AckKind::Pubrel, id);
            publisher.expect_ack(AckKind::Pubcomp, id);
        }
        assert_eq!(hearer.drain(), ["1", "2", "3"]);
    }
}

#[test]
fn large_payloads_arrive_whole() {
    for (from, to) in version_pairs() {
        let network = Network::new();
        let mut hearer = opts("to", to).on(&network);
        hearer.subscribe("t", Q1);
        let mut publisher = opts("from", from).on(&network);
        let large = "x".repeat(300_000);
        for qos in [Q0, Q1, Q2] {
            publisher.publish("t", &large, qos);
            publisher.publish("t", "small", qos);
            assert!(hearer.expect_publish().text() == large);
            assert_eq!(hearer.expect_publish().text(), "small");
        }
    }
}

#[test]
fn what_the_server_told_that_it_cannot_do_ends_the_connection() {
    let network = Network::with(&[("mqtt.max_qos", "1"), ("mqtt.retain", "false")]);
    let mut client = opts("a", V5).on(&network);
    client.send_publish("t", "", Q2, 1);
    client.expect_refused(ReasonCode::QosNotSupported);
    let mut client = opts("a", V5).on(&network);
    client.send_with("t", b"x", Q0, true, |_| {});
    client.expect_refused(ReasonCode::RetainNotSupported); // [MQTT-3.2.2-14]
}

/// [MQTT-3.3.4-6]: a client does not send Subscription Identifiers.
#[test]
fn a_subscription_identifier_from_a_client_is_a_protocol_error() {
    let network = Network::new();
    let mut client = opts("a", V5).on(&network);
    client.send_with("t", b"x", Q0, false, |p| _ = p.subscription_identifier(1));
    client.expect_refused(ReasonCode::ProtocolError);
}

/// [MQTT-4.7.0-1], [MQTT3-3.3.2-2], [MQTT3-4.7.1-1], [MQTT3-4.7.3-1]
#[test]
fn wildcards_and_empty_names_are_no_topics() {
    for version in ALL {
        for topic in ["a/+", "+/a", "+", "a+b", "#", "a/#", "a#", "/#/b", "$share/g/+"] {
            let network = Network::new();
            let mut client = opts("a", version).on(&network);
            client.send_publish(topic, "", Q0, 0);
            client.expect_refused(ReasonCode::TopicNameInvalid); // [MQTT-3.3.2-2]
        }
        let network = Network::new();
        let mut client = opts("a", version).on(&network);
        client.send_publish("", "", Q0, 0); // [MQTT-4.7.3-1]
        let reason = if version == V5 { ReasonCode::ProtocolError } else { ReasonCode::TopicNameInvalid };
        client.expect_refused(reason);
    }
}

#[test]
fn topics_are_bounded_in_length_and_levels() {
    for version in [V31, V311, V5] {
        for (key, value, topic) in
            [("mqtt.max_topic_levels", "3", "a/b/c/d"), ("mqtt.max_topic_length", "5", "abcdef")]
        {
            let network = Network::with(&[(key, value)]);
            let mut client = opts("a", version).on(&network);
            client.publish("a/b/c", "", Q0);
            client.send_publish(topic, "", Q0, 0);
            client.expect_refused(ReasonCode::TopicNameInvalid);
        }
    }
}

/// [MQTT-3.1.2-24], [MQTT-3.1.2-25]: what is too large for a client is as if it had been sent.
#[test]
fn a_message_above_the_clients_maximum_packet_size_is_left_out() {
    let network = Network::new();
    let mut small = opts("small", V5).with(|p| _ = p.maximum_packet_size(64)).on(&network);
    let mut large = opts("large", V5).on(&network);
    for client in [&mut small, &mut large] {
        client.subscribe("t", Q2);
    }
    for qos in 0..=2 {
        network.publish("t", &"x".repeat(100), qos, false);
        network.publish("t", "fits", qos, false);
    }
    assert_eq!(small.drain(), ["fits"; 3]);
    assert_eq!(large.drain().len(), 6);
    assert_eq!(network.stats().messages_dropped_packet_too_large, 3);
    assert_eq!(network.engine.clients().iter().map(|c| c.inflight).sum::<usize>(), 0);
}

/// The size is exact: a packet as large as the maximum passes, one byte more does not.
#[test]
fn the_maximum_packet_size_counts_the_whole_packet() {
    for publisher in ALL {
        for payload in 0..=60 {
            let network = Network::new();
            let mut hearer = opts("to", V5).with(|p| _ = p.maximum_packet_size(50)).on(&network);
            hearer.subscribe("ab", Q1);
            let mut from = opts("from", publisher).on(&network);
            from.publish("ab", &"x".repeat(payload), Q1);
            // Fixed header 2, topic 4, identifier 2, property length 1.
            let fits = 9 + payload <= 50;
            assert_eq!(hearer.drain().len(), usize::from(fits), "{publisher} {payload}");
        }
    }
}

/// Where a bridge says whether it is connected: an ordinary message, the only one of clients below `$SYS`.
#[test]
fn what_bridges_say_of_themselves_is_taken_and_kept() {
    const STATE: &str = "$SYS/broker/connection/host.bridge/state";
    for (from, to) in version_pairs() {
        for qos in QOS {
            let network = Network::new();
            let mut hears = opts("hears", to).on(&network);
            hears.subscribe("$SYS/broker/connection/#", Q0);
            opts("bridge", from).will(LastWill::new(STATE, "0").retained()).on(&network).hang_up();
            hears.expect_message(STATE, "0");
            let mut bridge = opts("bridge", from).on(&network);
            assert_eq!(bridge.retain(STATE, "1", qos), ReasonCode::Success);
            hears.expect_message(STATE, "1");
            assert_eq!(network.stats().messages_dropped(), 0);
            let mut late = opts("late", to).on(&network);
            late.subscribe("$SYS/broker/connection/+/state", Q1);
            let kept = late.expect_message(STATE, "1");
            assert!(kept.retain);
            assert_eq!(network.stats().messages_delivered, 3);
        }
    }
}

/// What a client publishes below `$SYS` is dropped; MQTT 5 is told.
#[test]
fn a_client_does_not_publish_below_sys() {
    for version in ALL {
        for qos in QOS {
            let network = Network::new();
            let mut hears = opts("hears", V5).on(&network);
            hears.subscribe("$SYS/#", Q0);
            let mut client = opts("a", version).on(&network);
            let id = client.send_with("$SYS/broker/mine", b"x", qos, true, |_| {});
            let told = if version == V5 { ReasonCode::NotAuthorized } else { ReasonCode::Success };
            match qos {
                Q0 => {}
                Q1 => assert_eq!(client.expect_ack(AckKind::Puback, id), told),
                _ => assert_eq!(client.expect_ack(AckKind::Pubrec, id), told),
            }
            hears.expect_nothing();
            let stats = network.stats();
            assert_eq!((stats.messages_published, stats.retained_messages), (0, 0), "{version} {qos:?}");
            assert_eq!(stats.messages_dropped_not_authorized, 1, "{version} {qos:?}");
            // The connection goes on.
            assert_eq!(
                client.publish("t", "x", Q1),
                if version == V5 { ReasonCode::NoMatchingSubscribers } else { ReasonCode::Success }
            );
        }
    }
}

/// The client was not told how many it may have: its message is refused where there is an answer for that, and it goes on.
#[test]
fn a_message_with_too_many_user_properties_is_refused() {
    let network = Network::with(&[("mqtt.max_user_properties", "2")]);
    let mut hears = opts("hears", V5).on(&network);
    hears.subscribe("#", Q2);
    let mut client = opts("a", V5).on(&network);
    let publish = |client: &mut Client<'_>, qos, count: usize| {
        client.send_with("t", b"x", qos, false, |p| {
            // Others do not count.
            p.content_type(&"c".repeat(100));
            (0..count).for_each(|_| _ = p.user_property("", ""));
        })
    };
    for (qos, kind) in [(Q1, AckKind::Puback), (Q2, AckKind::Pubrec)] {
        let id = publish(&mut client, qos, 3);
        assert_eq!(client.expect_ack(kind, id), ReasonCode::QuotaExceeded);
        hears.expect_nothing();
        let id = publish(&mut client, qos, 2);
        assert_eq!(client.complete(qos, id), ReasonCode::Success);
        assert_eq!(hears.drain(), ["x"]);
    }
    publish(&mut client, Q0, 2);
    assert_eq!(hears.drain(), ["x"]);
    publish(&mut client, Q0, 3);
    client.expect_refused(ReasonCode::QuotaExceeded);
    hears.expect_nothing();
    let will = LastWill::new("t", "").with(|p| (0..3).for_each(|_| _ = p.user_property("", "")));
    let refused = (Some(ReasonCode::QuotaExceeded), ReasonCode::QuotaExceeded);
    assert_eq!(opts("a", V5).will(will).refused_by(&network), refused);
}
