//! Retained messages.

use midge::codec::ack::AckKind;
use midge::codec::reason::ReasonCode;
use midge::codec::subscribe::{RetainHandling, SubscriptionOptions};

use crate::harness::{ALL, Client, Network, Q0, Q1, Q2, QOS, V5, V311, opts, version_pairs};

/// The retained messages that a new client gets for a filter, as `topic=payload`, sorted.
fn seen(network: &Network, filter: &str) -> Vec<String> {
    let mut client = opts("seer", V311).on(network);
    client.subscribe(filter, Q2);
    let mut all = Vec::new();
    while let Some(crate::harness::Received::Publish(message)) = client.next() {
        assert!(message.retain);
        client.acknowledge(&message);
        all.push(format!("{}={}", message.topic, message.text()));
    }
    client.disconnect();
    all.sort();
    all
}

/// [MQTT-3.3.1-5], [MQTT-3.3.1-6], [MQTT-3.3.1-7], [MQTT-3.3.1-8], [MQTT3-3.3.1-5], [MQTT3-3.3.1-6], [MQTT3-3.3.1-7],
/// [MQTT3-3.3.1-8], [MQTT3-3.3.1-9], [MQTT3-3.3.1-10], [MQTT3-3.3.1-11], [MQTT3-3.3.1-12]
#[test]
fn a_retained_message_is_kept_replaced_and_cleared() {
    for (from, to) in version_pairs() {
        let network = Network::new();
        let mut publisher = opts("from", from).on(&network);
        for qos in QOS {
            publisher.retain("t", "1", qos);
            publisher.retain("t", "2", qos);
            // Neither these nor what they are published to are kept, and nothing is replaced or removed.
            for topic in ["t", "u"] {
                publisher.publish(topic, "not retained", qos);
                publisher.publish(topic, "", qos);
            }
            // Nor is an empty message where there is nothing to remove.
            publisher.retain("v", "", qos);
            assert_eq!(network.stats().retained_messages, 1);
            assert_eq!(seen(&network, "#"), ["t=2"]);
            let mut hearer = opts("to", to).on(&network);
            hearer.subscribe("t", Q2);
            let message = hearer.expect_message("t", "2");
            assert!(message.retain && !message.dup);
            assert_eq!(message.qos, qos);
            hearer.acknowledge(&message);
            hearer.expect_nothing();
            publisher.retain("t", "", qos);
            // The empty message itself is passed on as any other, without RETAIN.
            let empty = hearer.expect_message("t", "");
            assert!(!empty.retain);
            hearer.acknowledge(&empty);
            hearer.disconnect();
            assert!(seen(&network, "t").is_empty());
            assert_eq!(network.stats().retained_messages, 0);
        }
    }
}

/// [MQTT-3.8.4-8], [MQTT3-3.8.4-6]
#[test]
fn the_qos_of_a_retained_message_is_the_lower_one() {
    for version in ALL {
        for published in QOS {
            for granted in QOS {
                let network = Network::new();
                network.publish("t", "x", published.as_u8(), true);
                let mut hearer = opts("to", version).on(&network);
                hearer.subscribe("t", granted);
                assert_eq!(hearer.expect_publish().qos, published.min(granted));
            }
        }
    }
}

/// [MQTT-3.3.1-12], [MQTT-3.3.1-13]: from the host.
#[test]
fn a_running_subscription_gets_retain_only_as_published() {
    let network = Network::new();
    let mut plain = opts("plain", V5).on(&network);
    let mut kept = opts("kept", V5).on(&network);
    plain.subscribe("t", Q1);
    let options = SubscriptionOptions { retain_as_published: true, ..SubscriptionOptions::with_qos(Q1) };
    kept.subscribe_with("t", options, 0);
    for (retain, qos) in [(true, 0), (false, 0), (true, 1), (false, 1)] {
        network.publish("t", "x", qos, retain);
        assert!(!plain.expect_publish().retain);
        assert_eq!(kept.expect_publish().retain, retain);
    }
}

fn handling(client: &mut Client<'_>, retain_handling: RetainHandling) -> usize {
    client.subscribe_with("t/+", SubscriptionOptions { retain_handling, ..Default::default() }, 0);
    client.drain().len()
}

/// [MQTT-3.3.1-9], [MQTT-3.3.1-10], [MQTT-3.3.1-11]
#[test]
fn retain_handling_says_when_retained_messages_are_sent() {
    let network = Network::new();
    network.publish("t/1", "x", 0, true);
    network.publish("t/2", "x", 0, true);
    let mut client = opts("a", V5).on(&network);
    assert_eq!(handling(&mut client, RetainHandling::DoNotSend), 0);
    assert_eq!(handling(&mut client, RetainHandling::SendIfNew), 0);
    assert_eq!(handling(&mut client, RetainHandling::SendAlways), 2);
    assert_eq!(handling(&mut client, RetainHandling::SendAlways), 2);
    client.unsubscribe(&["t/+"]);
    assert_eq!(handling(&mut client, RetainHandling::SendIfNew), 2);
    assert_eq!(handling(&mut client, RetainHandling::SendIfNew), 0);
}

/// [MQTT3-3.8.4-3], [MQTT-3.8.4-4]: a repeated subscription gets the retained messages again.
#[test]
fn old_versions_get_retained_messages_at_every_subscribe() {
    for version in ALL {
        let network = Network::new();
        network.publish("t", "x", 1, true);
        let mut client = opts("a", version).on(&network);
        for _ in 0..2 {
            client.subscribe("t", Q1);
            assert_eq!(client.drain(), ["x"]);
        }
    }
}

/// [MQTT3-3.3.1-6], [MQTT3-4.7.2-1]
#[test]
fn a_filter_with_wildcards_gets_all_that_match() {
    let network = Network::new();
    for topic in ["a", "a/b", "a/b/c", "a/d", "ab", "/a", "$sys/a", "$SYS/x"] {
        network.publish(topic, "1", 0, true);
    }
    let cases: [(&str, &[&str]); 8] = [
        ("a", &["a=1"]),
        ("a/#", &["a/b/c=1", "a/b=1", "a/d=1", "a=1"]), // Section 4.7.1.2: also the level above.
        ("a/+", &["a/b=1", "a/d=1"]),
        ("+/b", &["a/b=1"]),
        ("+/+", &["/a=1", "a/b=1", "a/d=1"]),
        ("#", &["/a=1", "a/b/c=1", "a/b=1", "a/d=1", "a=1", "ab=1"]), // [MQTT-4.7.2-1]
        ("$sys/#", &["$sys/a=1"]),
        ("none/#", &[]),
    ];
    for (filter, expected) in cases {
        assert_eq!(seen(&network, filter), expected, "{filter}");
    }
}

#[test]
fn several_filters_of_one_packet_each_get_theirs() {
    for version in ALL {
        let network = Network::new();
        network.publish("a", "1", 0, true);
        network.publish("b", "2", 0, true);
        let mut client = opts("c", version).on(&network);
        let options = SubscriptionOptions::with_qos(Q1);
        assert_eq!(client.subscribe_all(&[("a", options), ("b", options), ("#", options)], 0), [1, 1, 1]);
        let mut all = client.drain();
        all.sort();
        assert_eq!(all, ["1", "1", "2", "2"]);
    }
}

/// MQTT 5, section 4.8.2: a shared subscription gets no retained messages.
#[test]
fn a_shared_subscription_gets_no_retained_messages() {
    let network = Network::new();
    network.publish("a", "1", 0, true);
    for filter in ["$share/g/a", "$queue/a"] {
        assert!(seen(&network, filter).is_empty());
    }
}

#[test]
fn the_subscription_identifier_comes_with_retained_messages() {
    let network = Network::new();
    network.publish("a", "1", 1, true);
    let mut client = opts("c", V5).on(&network);
    client.subscribe_with("a", SubscriptionOptions::with_qos(Q1), 12);
    assert_eq!(client.expect_publish().identifiers(), [12]); // [MQTT-3.3.4-3]
}

#[test]
fn retained_properties_are_kept() {
    let network = Network::new();
    let mut publisher = opts("from", V5).on(&network);
    publisher.send_with("t", b"x", Q0, true, |p| _ = p.content_type("text").user_property("a", "b"));
    let mut hearer = opts("to", V5).on(&network);
    hearer.subscribe("t", Q0);
    let message = hearer.expect_publish();
    assert_eq!(message.properties().content_type(), Some("text"));
    assert_eq!(message.properties().user_properties().next(), Some(("a", "b")));
}

#[test]
fn retained_messages_are_bounded_and_delivered_all_the_same() {
    for (key, value) in [("retained.max_messages", "1"), ("retained.max_bytes", "500B")] {
        let network = Network::with(&[(key, value)]);
        let mut hearer = opts("to", V5).on(&network);
        hearer.subscribe("#", Q0);
        network.publish("a", "1", 0, true);
        network.publish("b", &"2".repeat(200), 0, true);
        network.publish("a", "3", 0, true);
        assert_eq!(hearer.drain().len(), 3);
        assert_eq!(seen(&network, "#"), ["a=3"], "{key}");
        assert_eq!(network.stats().messages_dropped_retained_full, 1);
        network.publish("a", "", 0, true);
        network.publish("c", "4", 0, true);
        assert_eq!(seen(&network, "#"), ["c=4"], "{key}");
    }
}

#[test]
fn more_retained_messages_than_the_window_and_the_outbox_hold_all_arrive() {
    let settings = [
        ("session.max_outbox_bytes", "64KiB"),
        ("session.max_queued_messages", "2"),
        ("mqtt.max_inflight", "3"),
    ];
    for version in ALL {
        for qos in 0..=2 {
            let network = Network::with(&settings);
            for n in 0..200 {
                network.publish(&format!("t/{n:03}"), &format!("{n}{}", "x".repeat(1000)), qos, true);
            }
            let mut hearer = opts("to", version).on(&network);
            hearer.line.block();
            hearer.send_subscribe(&[("t/+", SubscriptionOptions::with_qos(Q2))], 0);
            hearer.line.open();
            hearer.writable();
            assert!(matches!(hearer.next(), Some(crate::harness::Received::Suback { .. })));
            let got = hearer.drain();
            assert_eq!(got.len(), 200, "{version} {qos}");
            assert!((0..200).all(|n| got[n].starts_with(&format!("{n}x"))));
            assert_eq!(network.stats().messages_dropped_outbox_full, 0);
        }
    }
}

/// Topics of the broker itself are not a client's to write.
/// [MQTT3-3.3.5-2]
#[test]
fn a_client_cannot_publish_below_dollar_sys() {
    for version in ALL {
        let network = Network::new();
        let mut hearer = opts("to", version).on(&network);
        hearer.subscribe("$SYS/#", Q2);
        let mut publisher = opts("from", version).on(&network);
        let told = if version == V5 { ReasonCode::NotAuthorized } else { ReasonCode::Success };
        publisher.retain("$SYS/broker/version", "mine", Q0);
        assert_eq!(publisher.retain("$SYS/x", "mine", Q1), told);
        publisher.send_publish("$SYS/x", "mine", Q2, 9);
        assert_eq!(publisher.expect_ack(AckKind::Pubrec, 9), told);
        hearer.expect_nothing();
        assert!(seen(&network, "$SYS/#").is_empty());
        assert_eq!(network.stats().messages_dropped_not_authorized, 3);
        if version < V5 {
            // The client was not told, and goes on.
            publisher.send_ack(AckKind::Pubrel, 9);
            publisher.expect_ack(AckKind::Pubcomp, 9);
        }
    }
}

/// A message that cannot be kept for want of room leaves no older one behind: that would be out of date.
/// [MQTT-3.3.1-5], [MQTT3-3.3.1-7]
#[test]
fn a_retained_message_that_finds_no_room_leaves_none() {
    for version in ALL {
        for qos in QOS {
            let network = Network::with(&[("retained.max_bytes", "500B")]);
            let mut publisher = opts("from", version).on(&network);
            publisher.retain("t", "old", qos);
            assert_eq!(seen(&network, "t"), ["t=old"]);
            publisher.retain("t", &"x".repeat(400), qos);
            assert!(seen(&network, "t").is_empty(), "{version} {qos:?}");
            assert_eq!(network.stats().retained_messages, 0);
        }
    }
}

/// However often a client that does not read subscribes, few messages wait for it; when it reads, it gets each once.
#[test]
fn subscribing_again_and_again_without_reading_is_bounded() {
    let network =
        Network::with(&[("session.max_outbox_bytes", "64KiB"), ("session.max_queued_messages", "10")]);
    let mut publisher = opts("from", V5).on(&network);
    for n in 0..100 {
        publisher.retain(&format!("t/{n}"), &"x".repeat(1000), Q1);
    }
    let mut hearer = opts("to", V5).on(&network);
    hearer.line.block();
    for _ in 0..100 {
        hearer.send_subscribe(&[("t/#", SubscriptionOptions::with_qos(Q1))], 0);
    }
    let view = network.engine.clients().into_iter().find(|client| client.client_id == "to").unwrap();
    assert!(view.queued <= 16, "{} messages wait", view.queued);
    hearer.line.open();
    hearer.writable();
    let mut sent = 0;
    while let Some(received) = hearer.next() {
        if let crate::harness::Received::Publish(message) = received {
            hearer.acknowledge(&message);
            sent += 1;
        }
    }
    assert!((100..=200).contains(&sent), "{sent}: what was under way, and once from the start");
    assert_eq!(network.stats().messages_dropped_queue_full, 0);
}

/// A retained message has done its work when it is kept, or when it has removed the one of its topic.
#[test]
fn a_retained_message_that_nobody_hears_is_no_drop() {
    for version in ALL {
        for qos in QOS {
            let network = Network::new();
            let mut client = opts("a", version).on(&network);
            for payload in ["kept", "replaced", ""] {
                client.retain("t", payload, qos);
            }
            assert_eq!((network.stats().messages_dropped(), network.stats().messages_published), (0, 3));
            client.publish("t", "live", qos);
            assert_eq!(network.stats().messages_dropped_no_subscriber, 1);
        }
    }
}

/// One message is one drop, although nobody hears it and it is not kept either.
#[test]
fn a_retained_message_without_room_and_subscriber_is_dropped_once() {
    let network = Network::with(&[("retained.max_messages", "1")]);
    let mut client = opts("a", V5).on(&network);
    client.retain("kept", "x", Q0);
    client.retain("lost", "x", Q0);
    let stats = network.stats();
    assert_eq!((stats.messages_dropped_retained_full, stats.messages_dropped()), (1, 1));
}

#[test]
fn a_retained_will_that_nobody_hears_is_no_drop() {
    let network = Network::new();
    let will = crate::harness::LastWill::new("will", "gone").retained();
    opts("a", V5).will(will).on(&network).hang_up();
    assert_eq!(seen(&network, "will"), ["will=gone"]);
    assert_eq!(network.stats().messages_dropped(), 0);
}
