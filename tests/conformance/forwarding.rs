//! What a message carries to its subscribers, whichever way it goes.

use midge::codec::packet::Packet;
use midge::codec::properties::{Properties, PropertyWriter};
use midge::codec::publish::Publish;
use midge::codec::qos::QoS;
use midge::codec::subscribe::SubscriptionOptions;

use crate::harness::{ALL, Client, Message, Network, Opts, Q0, Q2, QOS, V5, id, opts};

/// A byte order mark, empty strings, equal names, and no order that a sorter would give.
const PAIRS: [(&str, &str); 7] =
    [("z", "1"), ("a", ""), ("", ""), ("a", "2"), ("\u{FEFF}", "\u{FEFF}e\u{301}"), ("z", "1"), ("a", "2")];

/// The properties of a message. `extra`: among them are such as the broker takes out or changes.
fn write(p: &mut PropertyWriter<'_>, format: Option<u8>, extra: bool) {
    let (first, rest) = PAIRS.split_at(3);
    first.iter().for_each(|(name, value)| _ = p.user_property(name, value));
    if extra {
        p.topic_alias(3);
    }
    p.correlation_data(b"\0\xFF\0").content_type("\u{FEFF}text/\u{FFFD}");
    if let Some(format) = format {
        p.payload_format_indicator(format);
    }
    rest.iter().for_each(|(name, value)| _ = p.user_property(name, value));
    if extra {
        p.message_expiry_interval(1000);
    }
    p.response_topic("\u{FEFF}r/ a/");
}

#[track_caller]
fn assert_unaltered(message: &Message, format: Option<u8>) {
    assert_eq!((message.topic.as_str(), message.text()), ("t", "x"));
    let properties = message.properties();
    assert_eq!(properties.payload_format_indicator(), format); // [MQTT-3.3.2-4]
    assert_eq!(properties.content_type(), Some("\u{FEFF}text/\u{FFFD}")); // [MQTT-3.3.2-20]
    assert_eq!(properties.response_topic(), Some("\u{FEFF}r/ a/")); // [MQTT-3.3.2-15]
    assert_eq!(properties.correlation_data(), Some(&b"\0\xFF\0"[..])); // [MQTT-3.3.2-16]
    assert_eq!(properties.user_properties().collect::<Vec<_>>(), PAIRS); // [MQTT-3.3.2-17], [MQTT-3.3.2-18]
}

/// To those who are there, by each way of writing a packet; to those who wait for it; again; and retained.
/// [MQTT-3.3.2-4], [MQTT-3.3.2-15], [MQTT-3.3.2-16], [MQTT-3.3.2-17], [MQTT-3.3.2-18], [MQTT-3.3.2-20], [MQTT-1.5.4-3]
#[test]
fn the_properties_of_a_message_reach_every_subscriber_unaltered() {
    for (qos, extra) in QOS.into_iter().flat_map(|qos| [(qos, false), (qos, true)]) {
        for format in [None, Some(0), Some(1)] {
            let network = Network::with(&[("session.queue_qos0", "true")]);
            let subscribed = |connect: Opts, filter: &str, qos: QoS, identifier: u32| {
                let mut hearer = connect.on(&network);
                hearer.subscribe_with(filter, SubscriptionOptions::with_qos(qos), identifier);
                hearer
            };
            let aliased = opts("aliased", V5).with(|p| _ = p.topic_alias_maximum(1));
            let mut there = [
                subscribed(opts("plain", V5), "t", Q2, 0),
                subscribed(opts("low", V5), "t", Q0, 0),
                subscribed(opts("numbered", V5), "+", Q2, 7),
                subscribed(opts("shared", V5), "$share/g/t", Q2, 0),
                subscribed(aliased, "#", Q2, 0),
            ];
            let absent = || opts("absent", V5).persistent();
            subscribed(absent(), "t", Q2, 0).hang_up();
            let again = || opts("again", V5).persistent();
            let mut first = subscribed(again(), "t", Q2, 0);
            let mut publisher = opts("from", V5).on(&network);
            let sent = publisher.send_with("t", b"x", qos, true, |p| write(p, format, extra));
            publisher.complete(qos, sent);
            for hearer in &mut there {
                assert_unaltered(&hearer.expect_publish(), format);
            }
            assert_unaltered(&absent().on(&network).expect_publish(), format);
            assert_unaltered(&first.expect_publish(), format);
            first.hang_up();
            if qos > Q0 {
                let message = again().on(&network).expect_publish();
                assert!(message.dup);
                assert_unaltered(&message, format);
            }
            let message = subscribed(opts("late", V5), "t", Q2, 0).expect_publish();
            assert!(message.retain);
            assert_unaltered(&message, format);
        }
    }
}

/// A PUBLISH with these flags. Its identifier is 5 where it has one.
fn send(client: &mut Client<'_>, dup: bool, qos: QoS, retain: bool) {
    client.send(&Packet::Publish(Publish {
        dup,
        qos,
        retain,
        topic: "t",
        packet_id: (qos > Q0).then(|| id(5)),
        properties: Properties::EMPTY,
        payload: b"x",
    }));
    // The answers are not looked at.
    client.line.take();
}

/// [MQTT-3.3.1-2], [MQTT-3.3.1-3], [MQTT-4.3.1-1], [MQTT-4.3.2-2], [MQTT-4.3.3-2]: each QoS to each, in each version.
#[test]
fn a_message_is_sent_for_the_first_time_without_dup_whatever_its_publisher_said() {
    for (from, to) in crate::harness::version_pairs() {
        for published in QOS.into_iter().filter(|qos| *qos > Q0) {
            for granted in QOS {
                for dup in [false, true] {
                    let network = Network::new();
                    let mut hearer = opts("to", to).on(&network);
                    hearer.subscribe("t", granted);
                    send(&mut opts("from", from).on(&network), dup, published, false);
                    let message = hearer.expect_message("t", "x");
                    assert_eq!((message.dup, message.qos), (false, published.min(granted)), "{from} to {to}");
                }
            }
        }
    }
}

/// [MQTT-3.3.1-12], [MQTT-3.3.1-13]: from clients of every version, whose packets are forwarded as they are where that
/// is possible.
#[test]
fn retain_is_passed_on_only_as_the_subscription_wants_it() {
    for from in ALL {
        for (qos, granted) in QOS.into_iter().flat_map(|qos| QOS.map(|granted| (qos, granted))) {
            for (retain, wanted) in [(false, false), (false, true), (true, false), (true, true)] {
                let network = Network::new();
                let mut hearer = opts("to", V5).on(&network);
                let options = SubscriptionOptions {
                    retain_as_published: wanted,
                    ..SubscriptionOptions::with_qos(granted)
                };
                hearer.subscribe_with("t", options, 0);
                send(&mut opts("from", from).on(&network), false, qos, retain);
                let message = hearer.expect_message("t", "x");
                assert_eq!(message.retain, retain && wanted, "{from} {qos:?} {granted:?} {retain} {wanted}");
            }
        }
    }
}
