//! SUBSCRIBE and UNSUBSCRIBE.

use midge::codec::reason::ReasonCode;
use midge::codec::subscribe::{RetainHandling, SubscriptionOptions};

use crate::harness::{ALL, Network, Q0, Q1, Q2, QOS, V5, V31, V311, opts};

fn qos(level: u8) -> SubscriptionOptions {
    SubscriptionOptions::with_qos(QOS[usize::from(level)])
}

/// [MQTT-3.3.2-3], [MQTT3-3.3.2-3], [MQTT3-4.7.2-1]
#[test]
fn wildcards_match_as_section_4_7_says() {
    let cases: [(&str, &[&str], &[&str]); 7] = [
        ("a/b", &["a/b"], &["a", "a/b/c", "A/b"]),
        ("a/#", &["a", "a/b", "a/b/c", "a/"], &["ab", "b"]), // Section 4.7.1.2: also the level above.
        ("a/+", &["a/b", "a/"], &["a", "a/b/c"]),
        ("+/+", &["/x", "a/b"], &["a", "a/b/c"]),
        ("#", &["a", "/", "a/b/c"], &["$x", "$SYS/a"]), // [MQTT-4.7.2-1]
        ("+/x", &["a/x", "/x"], &["$a/x"]),
        ("$a/+", &["$a/x"], &["a/x"]),
    ];
    for version in ALL {
        let network = Network::new();
        for (filter, heard, unheard) in cases {
            let mut hearer = opts("to", version).on(&network);
            hearer.subscribe(filter, Q0);
            for topic in heard {
                assert_eq!(network.publish(topic, "x", 0, false), 1, "{filter} {topic}");
                hearer.expect_message(topic, "x");
            }
            for topic in unheard {
                assert_eq!(network.publish(topic, "x", 0, false), 0, "{filter} {topic}");
            }
            hearer.expect_nothing();
            hearer.disconnect();
        }
    }
}

/// [MQTT3-3.3.5-1], [MQTT-3.3.4-2], [MQTT-3.3.4-3], [MQTT-3.3.4-4]: one message, the highest QoS, every identifier.
#[test]
fn overlapping_subscriptions_get_one_message() {
    for version in ALL {
        let network = Network::new();
        let mut hearer = opts("to", version).on(&network);
        for (n, filter, granted) in [(1, "a/b", 0), (2, "a/#", 2), (3, "+/b", 1), (0, "#", 0), (9, "c", 2)] {
            let identifier = if version == V5 { n } else { 0 };
            assert_eq!(hearer.subscribe_with(filter, qos(granted), identifier), granted);
        }
        for published in 0..=2 {
            assert_eq!(network.publish("a/b", "x", published, false), 1);
            let message = hearer.expect_message("a/b", "x");
            assert_eq!(message.qos.as_u8(), published);
            let expected: &[u32] = if version == V5 { &[1, 2, 3] } else { &[] };
            assert_eq!(message.identifiers(), expected);
            hearer.acknowledge(&message);
            hearer.expect_nothing();
        }
        // The highest granted one is a bound, wherever it stands.
        for (first, second) in [(0, 1), (1, 0)] {
            let mut hearer = opts("other", version).on(&network);
            hearer.subscribe_with("a/b", qos(first), 0);
            hearer.subscribe_with("a/+", qos(second), 0);
            network.publish("a/b", "x", 2, false);
            assert_eq!(hearer.expect_publish().qos, Q1);
            hearer.expect_nothing();
        }
    }
}

/// [MQTT-3.8.4-3], [MQTT3-3.8.4-3]
#[test]
fn an_equal_filter_replaces_the_subscription() {
    for version in ALL {
        let network = Network::new();
        let mut hearer = opts("to", version).on(&network);
        hearer.subscribe("t", Q2);
        hearer.subscribe("t", Q0);
        assert_eq!(network.stats().subscriptions, 1);
        network.publish("t", "x", 2, false);
        assert_eq!(hearer.expect_publish().qos, Q0);
        hearer.expect_nothing();
    }
    let network = Network::new();
    let mut hearer = opts("to", V5).on(&network);
    hearer.subscribe_with("t", qos(0), 1);
    hearer.subscribe_with("t", qos(0), 2);
    network.publish("t", "x", 0, false);
    assert_eq!(hearer.expect_publish().identifiers(), [2]);
    hearer.subscribe_with("t", qos(0), 0);
    network.publish("t", "x", 0, false);
    assert!(hearer.expect_publish().identifiers().is_empty());
    // All of its options, there and back.
    for (retain_as_published, no_local) in [(true, false), (false, true), (true, true), (false, false)] {
        let retain_handling = RetainHandling::DoNotSend;
        let options = SubscriptionOptions { retain_as_published, no_local, retain_handling, ..qos(1) };
        hearer.subscribe_with("t", options, 0);
        network.publish("t", "x", 0, true);
        assert_eq!(hearer.expect_publish().retain, retain_as_published);
        hearer.send_publish("t", "own", Q0, 0);
        assert_eq!(hearer.drain().len(), usize::from(!no_local));
    }
    assert_eq!(network.stats().subscriptions, 1);
}

/// [MQTT-3.8.4-5]: as if each filter had come in a SUBSCRIBE of its own. Retained messages for the first are not yet under
/// way when the second comes, so that they are sent once.
#[test]
fn a_filter_that_comes_twice_in_one_packet_is_replaced() {
    let network = Network::new();
    network.publish("t", "kept", 0, true);
    for (retain_handling, expected) in
        [(RetainHandling::SendAlways, 1), (RetainHandling::SendIfNew, 1), (RetainHandling::DoNotSend, 0)]
    {
        let mut hearer = opts("to", V5).on(&network);
        let options = |level| SubscriptionOptions { retain_handling, ..qos(level) };
        assert_eq!(hearer.subscribe_all(&[("t", options(2)), ("t", options(1))], 0), [2, 1]);
        assert_eq!(hearer.drain().len(), expected);
        network.publish("t", "x", 2, false);
        assert_eq!(hearer.expect_publish().qos, Q1);
        hearer.expect_nothing();
        assert_eq!(network.stats().subscriptions, 1);
    }
}

/// [MQTT-3.10.4-1], [MQTT-3.10.4-6], [MQTT-3.11.3-1]: a filter that matches another is another, and one that comes
/// twice is there once.
#[test]
fn filters_to_unsubscribe_from_are_compared_character_by_character() {
    let network = Network::new();
    let mut hearer = opts("to", V5).on(&network);
    let kept = ["a", "a/b", "a/+", "+/b", "A/b", "a/b/", "/a/b", "$share/g/a/b"];
    for filter in kept {
        hearer.subscribe(filter, Q0);
    }
    assert_eq!(hearer.unsubscribe(&["#", "+", "+/+", "a/#", "a/B", "/a", "a/", "$share/h/a/b"]), [0x11; 8]);
    assert_eq!(network.stats().subscriptions, 8);
    assert_eq!(hearer.unsubscribe(&["a/b", "a/b", "+/b", "a/+", "a/+"]), [0, 0x11, 0, 0, 0x11]);
    let mut left: Vec<_> =
        network.engine.subscriptions().iter().map(|view| view.filter.to_string()).collect();
    left.sort();
    assert_eq!(left, ["$share/g/a/b", "/a/b", "A/b", "a", "a/b/"]);
}

/// [MQTT-3.8.4-5], [MQTT-3.8.4-6]: one reason code per filter, in their order.
/// [MQTT-3.9.3-1], [MQTT-3.9.3-2], [MQTT3-3.8.4-4], [MQTT3-3.8.4-5], [MQTT3-3.9.3-1], [MQTT3-3.9.3-2]
#[test]
fn every_filter_is_answered() {
    for version in ALL {
        let network = Network::with(&[("mqtt.max_topic_levels", "3")]);
        let mut hearer = opts("to", version).on(&network);
        let filters = [("a", qos(2)), ("$queue/", qos(1)), ("c", qos(0)), ("a/b/c/d", qos(1)), ("+", qos(1))];
        let bad = if version == V5 { ReasonCode::TopicFilterInvalid } else { ReasonCode::UnspecifiedError };
        assert_eq!(hearer.subscribe_all(&filters, 0), [2, bad.as_u8(), 0, bad.as_u8(), 1]);
        assert_eq!(network.stats().subscriptions, 3);
    }
}

/// [MQTT-3.10.4-1], [MQTT-3.10.4-2], [MQTT-3.10.4-4], [MQTT-3.10.4-5], [MQTT-3.10.4-6], [MQTT-3.11.3-1],
/// [MQTT-3.11.3-2], [MQTT3-3.10.4-1], [MQTT3-3.10.4-2], [MQTT3-3.10.4-4], [MQTT3-3.10.4-6]
#[test]
fn unsubscribing_ends_exactly_the_named_subscriptions() {
    for version in ALL {
        let network = Network::new();
        let mut hearer = opts("to", version).on(&network);
        for filter in ["a", "a/#", "b"] {
            hearer.subscribe(filter, Q0);
        }
        let reasons = hearer.unsubscribe(&["a", "nothing", "b", "$queue/"]);
        let expected: &[u8] = if version == V5 { &[0, 0x11, 0, 0x8F] } else { &[] };
        assert_eq!(reasons, expected);
        assert_eq!(network.publish("b", "x", 0, false), 0);
        assert_eq!(network.publish("a", "x", 0, false), 1);
        hearer.expect_message("a", "x");
        assert_eq!(network.stats().subscriptions, 1);
        hearer.unsubscribe(&["a/#"]);
        assert_eq!(network.stats().subscriptions, 0);
    }
}

/// [MQTT-3.10.4-2], [MQTT-3.10.4-3]: what has begun is completed, what waits may be sent.
/// [MQTT3-3.10.4-3]
#[test]
fn deliveries_that_have_begun_outlive_the_subscription() {
    for version in ALL {
        for qos in 1..=2 {
            let network = Network::new();
            let mut hearer = opts("to", version).persistent().on(&network);
            hearer.subscribe("t", Q2);
            network.publish("t", "1", qos, false);
            network.publish("t", "2", qos, false);
            let first = hearer.expect_publish();
            let second = hearer.expect_publish();
            hearer.unsubscribe(&["t"]);
            assert_eq!(network.publish("t", "3", qos, false), 0);
            // On this connection, and on the next.
            hearer.acknowledge(&second);
            hearer.hang_up();
            let mut hearer = opts("to", version).persistent().on(&network);
            let again = hearer.expect_publish();
            assert!(again.dup && again.id == first.id);
            hearer.acknowledge(&again);
            hearer.expect_nothing();
            assert_eq!(network.engine.clients()[0].inflight, 0);
        }
    }
}

/// [MQTT-3.8.3-3]
#[test]
fn no_local_spares_a_client_its_own_messages() {
    let network = Network::new();
    let mut client = opts("a", V5).on(&network);
    let no_local = SubscriptionOptions { no_local: true, ..qos(1) };
    client.subscribe_with("t/#", no_local, 1);
    let mut other = opts("b", V5).on(&network);
    assert_eq!(client.publish("t/x", "own", Q1), ReasonCode::Success);
    client.expect_nothing();
    other.publish("t/x", "other", Q1);
    assert_eq!(client.drain(), ["other"]);
    // An overlapping subscription without the option still gets it, with its own identifier alone.
    client.subscribe_with("t/+", qos(0), 2);
    client.send_publish("t/x", "own", Q0, 0);
    let message = client.expect_message("t/x", "own");
    assert_eq!((message.identifiers(), message.qos), (vec![2], Q0));
    // The host is another client.
    network.publish("t/x", "host", 0, false);
    assert_eq!(client.expect_publish().identifiers(), [1, 2]);
}

/// A packet that ends the connection does nothing to a session that outlives it.
#[test]
fn what_stands_before_a_protocol_error_is_not_subscribed_to() {
    let no_local = SubscriptionOptions { no_local: true, ..qos(0) };
    for (setting, last, reason) in [
        ("mqtt.retain", ("$share/g/t", no_local), ReasonCode::ProtocolError),
        ("mqtt.shared_subscriptions", ("$share/g/t", qos(0)), ReasonCode::SharedSubscriptionsNotSupported),
        ("mqtt.wildcard_subscriptions", ("a/#", qos(0)), ReasonCode::WildcardSubscriptionsNotSupported),
    ] {
        let network = Network::with(&[(setting, "false")]);
        let mut client = opts("a", V5).persistent().on(&network);
        client.send_subscribe(&[("first", qos(1)), ("second", qos(1)), last], 0);
        client.expect_refused(reason);
        assert_eq!((network.stats().subscriptions, network.stats().sessions), (0, 1), "{reason:?}");
    }
}

/// [MQTT-3.8.3-4]
#[test]
fn no_local_with_a_shared_subscription_is_a_protocol_error() {
    let network = Network::new();
    let mut client = opts("a", V5).on(&network);
    client.send_subscribe(&[("$share/g/t", SubscriptionOptions { no_local: true, ..qos(0) })], 0);
    client.expect_refused(ReasonCode::ProtocolError);
    assert_eq!(network.stats().subscriptions, 0);
}

/// [MQTT3-3.8.4-6]
#[test]
fn the_granted_qos_is_at_most_the_servers() {
    for version in ALL {
        let network = Network::with(&[("mqtt.max_qos", "1")]);
        let mut client = opts("a", version).on(&network);
        assert_eq!(client.subscribe_with("t", qos(2), 0), 1);
        network.publish("t", "x", 2, false);
        assert_eq!(client.expect_publish().qos, Q1);
    }
}

#[test]
fn what_the_server_does_not_offer_is_refused() {
    let settings = [
        ("mqtt.wildcard_subscriptions", "false"),
        ("mqtt.shared_subscriptions", "false"),
        ("mqtt.subscription_identifiers", "false"),
    ];
    let network = Network::with(&settings);
    // MQTT 5, sections 3.2.2.3.11 to 13: CONNACK said so, and who asks all the same breaks a rule.
    let cases = [
        ("a/#", 0, ReasonCode::WildcardSubscriptionsNotSupported),
        ("$share/g/a", 0, ReasonCode::SharedSubscriptionsNotSupported),
        ("a", 7, ReasonCode::SubscriptionIdentifiersNotSupported),
    ];
    for (filter, identifier, reason) in cases {
        let mut client = opts("a", V5).on(&network);
        assert_eq!(client.subscribe_with("a", qos(1), 0), 1);
        client.send_subscribe(&[(filter, qos(0))], identifier);
        client.expect_refused(reason);
    }
    // Older clients were not told.
    for version in [ALL[0], ALL[1]] {
        let mut client = opts("a", version).on(&network);
        let filters = [("a/#", qos(0)), ("$share/g/a", qos(0)), ("a", qos(0))];
        assert_eq!(client.subscribe_all(&filters, 0), [0x80, 0x80, 0]);
    }
}

/// [MQTT-3.8.4-6], [MQTT-3.8.4-7], [MQTT-3.9.3-1], [MQTT-3.9.3-2]
#[test]
fn subscriptions_are_bounded() {
    for version in ALL {
        let settings = [
            ("mqtt.max_subscriptions_per_client", "2"),
            ("mqtt.max_topic_levels", "3"),
            ("mqtt.max_topic_length", "20"),
        ];
        let network = Network::with(&settings);
        let mut client = opts("a", version).on(&network);
        let filters =
            [("a/b/c/d", qos(0)), ("abcdefghijklmnopqrstuvw", qos(0)), ("a", qos(0)), ("b", qos(0))];
        let invalid = if version == V5 { 0x8F } else { 0x80 };
        assert_eq!(client.subscribe_all(&filters, 0), [invalid, invalid, 0, 0]);
        // A third one is refused, an equal one is not.
        let full = if version == V5 { 0x97 } else { 0x80 };
        assert_eq!(client.subscribe_all(&[("c", qos(0)), ("b", qos(1))], 0), [full, 1]);
        client.unsubscribe(&["a"]);
        assert_eq!(client.subscribe_with("c", qos(0), 0), 0);
    }
}

/// Filters count with their length, and a bit more.
#[test]
fn the_bytes_of_subscriptions_are_bounded() {
    for version in ALL {
        let network = Network::with(&[("mqtt.max_subscription_bytes_per_client", "2KiB")]);
        let mut client = opts("a", version).on(&network);
        let full = if version == V5 { 0x97 } else { 0x80 };
        let long = |first: &str, len: usize| format!("{first}{}", "x".repeat(len - 1));
        let [a, b, c, too_long] = [long("a", 1000), long("b", 728), long("c", 729), long("d", 1889)];
        assert_eq!(client.subscribe_with(&too_long, qos(0), 0), full);
        assert_eq!(client.subscribe_with(&a, qos(0), 0), 0);
        assert_eq!(client.subscribe_with(&c, qos(0), 0), full);
        assert_eq!(client.subscribe_with(&b, qos(0), 0), 0);
        assert_eq!(client.subscribe_with(&b, qos(1), 0), 1, "an equal one takes no more");
        assert_eq!(client.subscribe_with("t", qos(0), 0), full);
        client.unsubscribe(&[&b]);
        assert_eq!(client.subscribe_with(&c, qos(0), 0), full);
        client.unsubscribe(&[&a]);
        assert_eq!(client.subscribe_with(&c, qos(0), 0), 0);
    }
}

/// A message is delivered once for each shared subscription, so their number bounds what one message costs.
#[test]
fn shared_subscriptions_are_bounded() {
    for version in ALL {
        let network = Network::with(&[("mqtt.max_shared_subscriptions_per_client", "2")]);
        let mut client = opts("a", version).on(&network);
        let full = if version == V5 { 0x97 } else { 0x80 };
        let filters = [
            ("$share/1/t", qos(0)),
            ("t", qos(0)),
            ("$share/2/t", qos(0)),
            ("$share/3/t", qos(0)),
            ("u", qos(0)),
        ];
        assert_eq!(client.subscribe_all(&filters, 0), [0, 0, 0, full, 0]);
        assert_eq!(client.subscribe_with("$share/2/t", qos(1), 0), 1, "an equal one is not one more");
        client.unsubscribe(&["$share/1/t"]);
        assert_eq!(client.subscribe_with("$share/3/t", qos(0), 0), 0);
        assert_eq!(client.subscribe_with("$share/4/t", qos(0), 0), full);
    }
}

#[test]
fn subscriptions_are_shown() {
    let network = Network::new();
    let mut client = opts("a", V5).on(&network);
    client.subscribe_with("x/#", qos(1), 5);
    client.subscribe_with("$share/g/y", qos(2), 0);
    let mut views = network.engine.subscriptions();
    views.sort_by(|a, b| b.filter.cmp(&a.filter));
    assert_eq!((views[0].filter.as_str(), views[0].identifier, views[0].options.qos), ("x/#", 5, Q1));
    assert_eq!((views[1].filter.as_str(), views[1].client_id.as_deref()), ("$share/g/y", Some("a")));
    assert_eq!(views.len(), 2);
}

#[test]
fn subscriptions_live_as_long_as_the_session() {
    for version in [V31, V311, V5] {
        let network = Network::new();
        let mut client = opts("a", version).persistent().on(&network);
        client.subscribe("t", Q1);
        client.disconnect();
        assert_eq!(network.stats().subscriptions, 1);
        let mut client = opts("a", version).persistent().on(&network);
        network.publish("t", "x", 1, false);
        assert_eq!(client.drain(), ["x"]);
        client.disconnect();
        opts("a", version).on(&network);
        assert_eq!(network.stats().subscriptions, 0);
    }
}

#[test]
fn a_client_hears_itself() {
    for version in ALL {
        for qos in QOS {
            let network = Network::new();
            let mut client = opts("a", version).on(&network);
            client.subscribe("t", qos);
            client.send_publish("t", "x", qos, if qos > Q0 { 9 } else { 0 });
            let mut heard = false;
            while let Some(packet) = client.next() {
                heard |= matches!(packet, crate::harness::Received::Publish(_));
            }
            assert!(heard, "{version} {qos:?}");
        }
    }
}

/// Whatever the order of the filters, and of other subscribers.
#[test]
fn a_message_names_the_identifiers_of_its_subscriptions_in_ascending_order() {
    let network = Network::new();
    let mut hearer = opts("to", V5).on(&network);
    for (filter, identifier) in [("a/b", 9), ("a/+", 7), ("#", 300), ("a/#", 8)] {
        hearer.subscribe_with(filter, SubscriptionOptions::with_qos(Q0), identifier);
    }
    network.publish("a/b", "x", 0, false);
    assert_eq!(hearer.expect_message("a/b", "x").identifiers_as_sent(), [7, 8, 9, 300]);
}

/// A bridge of MQTT 3 gets no message of its own, also from a session that it comes back to, and RETAIN as it was published.
#[test]
fn a_bridge_subscribes_as_bridges_expect() {
    for version in [V31, V311] {
        let network = Network::new();
        let bridge = opts("bridge", version).persistent().bridge();
        let mut client = bridge.on(&network);
        client.subscribe("t/#", Q1);
        client.subscribe("$share/g/s", Q0);
        client.publish("t/x", "own", Q1);
        client.hang_up();
        let mut client = bridge.on(&network);
        client.publish("t/x", "own", Q1);
        client.expect_nothing();
        let mut other = opts("other", version).on(&network);
        other.retain("t/x", "kept", Q1);
        let message = client.expect_message("t/x", "kept");
        assert!(message.retain);
        // Who takes turns with others gets its own, too.
        client.publish("s", "shared", Q0);
        client.expect_message("s", "shared");
        assert_eq!(client.line.finished(), None);
    }
}
