//! The bounds that settings name: what is exactly at one passes, what is one beyond does not.

use midge::codec::ack::AckKind;
use midge::codec::packet::Packet;
use midge::codec::properties::Properties;
use midge::codec::publish::Publish;
use midge::codec::qos::QoS;
use midge::codec::reason::ReasonCode;
use midge::codec::subscribe::SubscriptionOptions;
use midge::message::{Publication, SharedMessage};
use midge::session::link::Cause;
use midge::session::queue::PLACE;
use midge::time::Time;
use midge::topics::Retained;

use crate::harness::{ALL, LastWill, Network, Packets, Q0, Q1, Q2, Received, V5, V31, V311, id, opts};

/// Bytes that a message to `t` with such a payload occupies in a queue.
fn size(payload_len: usize) -> usize {
    PLACE + Publication::new(b"t", &vec![0; payload_len], Q1, false, Time::ZERO).message().size()
}

fn view(network: &Network, client_id: &str) -> midge::engine::view::clients::ClientView {
    network.engine.client(client_id).unwrap()
}

/// `mqtt.max_topic_levels` and `mqtt.max_topic_length`: what a client publishes, subscribes to and leaves as its Will.
#[test]
fn a_topic_at_the_bound_is_taken_and_one_beyond_is_not() {
    for version in ALL {
        for (key, value, at, beyond) in [
            ("mqtt.max_topic_levels", "3", "a/b/c", "a/b/c/d"),
            ("mqtt.max_topic_length", "5", "abcde", "abcdef"),
        ] {
            let network = Network::with(&[(key, value)]);
            let mut client = opts("a", version).on(&network);
            let none = SubscriptionOptions::with_qos(Q0);
            let refused = if version == V5 { 0x8F } else { 0x80 };
            assert_eq!(client.subscribe_all(&[(at, none), (beyond, none)], 0), [0, refused], "{key}");
            client.publish(at, "x", Q0);
            client.expect_message(at, "x");
            client.send_publish(beyond, "x", Q0, 0);
            client.expect_refused(ReasonCode::TopicNameInvalid);
            opts("w", version).will(LastWill::new(at, "gone")).on(&network).hang_up();
            let (_, cause) = opts("w", version).will(LastWill::new(beyond, "gone")).refused_by(&network);
            assert_eq!(cause, ReasonCode::TopicNameInvalid, "{key}");
            assert_eq!((network.stats().messages_published, network.stats().wills_published), (2, 1));
        }
    }
}

/// `mqtt.max_packet_size`: of CONNECT, and of what comes behind it.
#[test]
fn a_packet_at_the_bound_is_taken_and_one_byte_more_is_not() {
    for version in ALL {
        let network = Network::with(&[("mqtt.max_packet_size", "128B")]);
        let mut client = opts("a", version).on(&network);
        client.subscribe("t", Q0);
        let sized = |len: usize| {
            // Fixed header 2, topic 3, perhaps a property length.
            let payload = "x".repeat(len - 5 - usize::from(version.is_v5()));
            Packets::default().publish(version, "t", &payload, Q0, 0).0
        };
        assert_eq!((sized(128).len(), sized(129).len()), (128, 129));
        assert!(client.send_bytes(&sized(128)));
        client.expect_publish();
        assert!(!client.send_bytes(&sized(129)));
        client.expect_refused(ReasonCode::PacketTooLarge);
        let connect = |len: usize| {
            let rest = opts("", version).encode().len();
            opts(&"x".repeat(len - rest), version)
        };
        assert_eq!((connect(128).encode().len(), connect(129).encode().len()), (128, 129));
        connect(128).on(&network).disconnect();
        assert_eq!(connect(129).refused_by(&network), (None, ReasonCode::PacketTooLarge));
    }
}

/// `session.max_sessions`: a client that has a session takes no place, with a clean start or without.
#[test]
fn a_client_with_a_session_comes_back_although_there_are_as_many_as_may_be() {
    for version in ALL {
        let network = Network::with(&[("session.max_sessions", "2")]);
        opts("a", version).persistent().on(&network).hang_up();
        let _other = opts("b", version).on(&network);
        assert_eq!(opts("a", version).persistent().join(&network).1, version != V31);
        assert!(!opts("a", version).join(&network).1);
        assert_eq!(opts("c", version).refused_by(&network).1, ReasonCode::QuotaExceeded, "{version}");
        assert_eq!((network.stats().sessions, network.stats().connections_refused), (2, 1));
    }
}

/// `session.max_expiry`: a client is told what differs from what it has asked for.
#[test]
fn a_session_expiry_at_the_bound_is_the_clients_own() {
    let network = Network::with(&[("session.max_expiry", "60s")]);
    for (asked, told) in [(59, None), (60, None), (61, Some(60))] {
        let client = opts("a", V5).expiry(asked).on(&network);
        assert_eq!(client.told().session_expiry_interval(), told, "{asked}");
        assert_eq!(view(&network, "a").session_expiry, asked.min(60));
    }
}

/// `mqtt.keep_alive_max`: as long is not told, one second more is.
#[test]
fn a_keep_alive_at_the_bound_is_the_clients_own() {
    let network = Network::with(&[("mqtt.keep_alive_max", "20s")]);
    for (asked, told) in [(19, None), (20, None), (21, Some(20)), (0, Some(20))] {
        let client = opts("a", V5).keep_alive(asked).on(&network);
        assert_eq!(client.told().server_keep_alive(), told, "{asked}");
        assert_eq!(view(&network, "a").keep_alive, if asked == 19 { 19 } else { 20 });
    }
}

/// `mqtt.topic_alias_maximum`: the highest alias stands for its topic.
#[test]
fn the_highest_alias_may_be_used() {
    let network = Network::with(&[("mqtt.topic_alias_maximum", "3")]);
    let mut client = opts("a", V5).on(&network);
    client.subscribe("t", Q0);
    for topic in ["t", ""] {
        client.send_with(topic, b"x", Q0, false, |p| _ = p.topic_alias(3));
        client.expect_message("t", "x");
    }
    client.send_with("t", b"x", Q0, false, |p| _ = p.topic_alias(4));
    client.expect_refused(ReasonCode::TopicAliasInvalid);
}

/// `mqtt.topic_alias_maximum_outgoing`, when it is lower than what the client accepts.
#[test]
fn no_more_aliases_are_used_than_the_setting_says() {
    let network = Network::with(&[("mqtt.topic_alias_maximum_outgoing", "2")]);
    let mut hearer = opts("a", V5).with(|p| _ = p.topic_alias_maximum(9)).on(&network);
    hearer.subscribe("#", Q0);
    for (topic, alias) in [("a", Some(1)), ("b", Some(2)), ("c", None)] {
        network.publish(topic, "x", 0, false);
        assert_eq!(hearer.expect_publish().properties().topic_alias(), alias, "{topic}");
    }
}

/// `mqtt.max_qos`: a SUBSCRIBE is granted at most as much, a Will and a PUBLISH may have as much.
#[test]
fn the_highest_qos_may_be_used() {
    for (most, beyond) in [(Q0, Q1), (Q1, Q2)] {
        let network = Network::with(&[("mqtt.max_qos", &most.as_u8().to_string())]);
        let mut client = opts("a", V5).will(LastWill::new("w", "").qos(most)).on(&network);
        assert_eq!(client.subscribe_with("t", SubscriptionOptions::with_qos(Q2), 0), most.as_u8());
        assert_eq!(client.publish("t", "x", most), ReasonCode::Success);
        assert_eq!(client.expect_message("t", "x").qos, most);
        client.send_publish("t", "x", beyond, 7);
        client.expect_refused(ReasonCode::QosNotSupported);
        let (_, cause) = opts("b", V5).will(LastWill::new("w", "").qos(beyond)).refused_by(&network);
        assert_eq!(cause, ReasonCode::QosNotSupported);
    }
}

/// `session.max_queued_messages` is of each session, and of what waits, not of what is in flight.
#[test]
fn a_session_holds_as_many_messages_as_it_may() {
    let network = Network::with(&[("session.max_queued_messages", "2")]);
    let mut busy = opts("busy", V5).receive_maximum(1).on(&network);
    let mut away = opts("away", V5).persistent().on(&network);
    busy.subscribe("t", Q1);
    away.subscribe("t", Q1);
    away.hang_up();
    for _ in 0..4 {
        network.publish("t", "x", 1, false);
    }
    assert_eq!((view(&network, "busy").queued, view(&network, "busy").inflight), (2, 1));
    assert_eq!(view(&network, "away").queued, 2);
    assert_eq!(network.stats().messages_dropped_queue_full, 1 + 2);
}

/// `session.max_queued_bytes`: two messages fit into twice the size of one, and not into a byte less.
#[test]
fn a_session_holds_as_many_bytes_as_it_may() {
    for (bound, held) in [(2 * size(100), 2), (2 * size(100) - 1, 1)] {
        for (overflow, kept) in [("drop_newest", ["0", "1"]), ("drop_oldest", ["1", "2"])] {
            let bytes = format!("{bound}B");
            let settings =
                [("session.max_queued_bytes", bytes.as_str()), ("session.queue_overflow", overflow)];
            let network = Network::with(&settings);
            let mut hearer = opts("a", V5).persistent().on(&network);
            hearer.subscribe("t", Q1);
            hearer.hang_up();
            for n in 0..3 {
                network.publish("t", &format!("{n}{}", "x".repeat(99)), 1, false);
            }
            assert_eq!(view(&network, "a").queued, held, "{overflow}");
            assert_eq!(network.stats().messages_dropped_queue_full, 3 - held as u64, "{overflow}");
            let mut hearer = opts("a", V5).persistent().on(&network);
            let payloads = hearer.drain();
            let firsts: Vec<_> = payloads.iter().map(|payload| &payload[..1]).collect();
            let expected = match (overflow, held) {
                ("drop_newest", held) => &kept[..held],
                (_, held) => &kept[2 - held..],
            };
            assert_eq!(firsts, expected, "{overflow} {bound}");
        }
    }
}

/// A message of which the queue could not even hold one: it is dropped, and displaces nothing.
#[test]
fn a_message_above_the_bytes_of_a_session_does_not_wait_in_an_empty_queue() {
    let bytes = format!("{}B", size(100));
    for overflow in ["drop_newest", "drop_oldest", "disconnect"] {
        let settings = [("session.max_queued_bytes", bytes.as_str()), ("session.queue_overflow", overflow)];
        let network = Network::with(&settings);
        let mut away = opts("away", V5).persistent().on(&network);
        away.subscribe("t", Q1);
        away.hang_up();
        network.publish("t", &"x".repeat(101), 1, false);
        assert_eq!((view(&network, "away").queued, network.stats().messages_queued), (0, 0), "{overflow}");
        assert_eq!(network.stats().messages_dropped_queue_full, 1, "{overflow}");
        network.publish("t", &"x".repeat(100), 1, false);
        assert_eq!((view(&network, "away").queued, network.stats().messages_queued), (1, 1), "{overflow}");
        network.publish("t", &"x".repeat(101), 1, false);
        assert_eq!((view(&network, "away").queued, network.stats().messages_queued), (1, 1), "{overflow}");
        assert_eq!(network.stats().messages_dropped_queue_full, 2, "{overflow}");
        // One that just fits takes the place of the other, if the oldest is to be dropped.
        network.publish("t", &"y".repeat(100), 1, false);
        assert_eq!(network.stats().messages_dropped_queue_full, 3, "{overflow}");
        let mut away = opts("away", V5).persistent().on(&network);
        let kept = if overflow == "drop_oldest" { "y" } else { "x" };
        assert_eq!(away.drain(), [kept.repeat(100)], "{overflow}");
    }
}

/// 64 packets of 1 KiB fill an outbox of 64 KiB; one byte that is written makes room for one more.
#[test]
fn an_outbox_takes_packets_until_it_is_full() {
    for version in ALL {
        let network = Network::with(&[("session.max_outbox_bytes", "64KiB")]);
        let kib = |qos: QoS| {
            // Fixed header 3, topic 4, perhaps an identifier and a property length.
            "x".repeat(1024 - 7 - 2 * usize::from(qos > Q0) - usize::from(version.is_v5()))
        };
        let blocked = |id| {
            let mut client = opts(id, version).on(&network);
            client.subscribe(id, Q1);
            client.line.block();
            client
        };
        let mut slow = blocked("q0");
        for _ in 0..64 {
            network.publish("q0", &kib(Q0), 0, false);
        }
        assert_eq!(network.stats().messages_dropped_outbox_full, 0);
        network.publish("q0", "", 0, false);
        assert_eq!(network.stats().messages_dropped_outbox_full, 1, "{version}");
        slow.line.allow(1);
        slow.writable();
        network.publish("q0", "", 0, false);
        assert_eq!(network.stats().messages_dropped_outbox_full, 1, "{version}");

        let mut slow = blocked("q1");
        (0..65).for_each(|_| _ = network.publish("q1", &kib(Q1), 1, false));
        assert_eq!((view(&network, "q1").inflight, view(&network, "q1").queued), (64, 1), "{version}");
        // The first packet is being written; when all of it is, there is room again.
        for (bytes, queued) in [(1023, 1), (1, 0)] {
            slow.line.allow(bytes);
            slow.writable();
            assert_eq!(view(&network, "q1").queued, queued, "{version}");
        }
    }
}

/// PINGRESP is never dropped, so that a client which does not read is not read either: from twice the outbox on.
#[test]
fn a_blocked_client_is_read_until_twice_its_outbox_waits() {
    let network = Network::with(&[("session.max_outbox_bytes", "64KiB")]);
    let mut client = opts("a", V311).on(&network);
    let session = client.connection.session().unwrap().clone();
    let paused = || network.engine.must_pause(&session, true);
    client.line.block();
    let pings = [0xC0, 0].repeat(64 * 1024 - 1);
    assert!(client.send_bytes(&pings));
    assert!(!paused(), "two bytes less than twice the outbox wait");
    client.send(&Packet::Pingreq);
    assert!(paused());
    client.line.allow(1);
    client.writable();
    assert!(!paused());
    client.send(&Packet::Pingreq);
    assert!(paused());
    // A connection that takes bytes is not paused, however much waits.
    client.line.open();
    client.writable();
    assert!(!paused());
}

/// What waits in the queue is no reason to stop reading: the acknowledgements that make room would not be read.
#[test]
fn a_blocked_client_is_read_however_much_waits_in_its_queue() {
    let settings = [("session.max_outbox_bytes", "64KiB"), ("session.max_queued_messages", "3")];
    let network = Network::with(&settings);
    for n in 0..2500 {
        network.publish(&format!("r/{n}"), "kept", 1, true);
    }
    let mut client = opts("a", V5).receive_maximum(1).on(&network);
    let session = client.connection.session().unwrap().clone();
    let paused = || network.engine.must_pause(&session, true);
    client.subscribe("t", Q1);
    client.line.block();
    for _ in 0..5 {
        network.publish("t", "x", 1, false);
    }
    assert_eq!((view(&network, "a").inflight, view(&network, "a").queued), (1, 3));
    assert!(!paused(), "a queue that is full is within its bounds");
    client.send_subscribe(&[("r/#", SubscriptionOptions::with_qos(Q1))], 0);
    assert_eq!(view(&network, "a").queued, 3 + 16);
    assert!(!paused(), "the client's PUBACK makes room");
}

/// `retained.max_messages` and `retained.max_bytes`, of clients and of the host.
#[test]
fn as_much_is_retained_as_may_be() {
    let each = size(10) - PLACE + Retained::<SharedMessage>::entry_size("t");
    let of_two = format!("{}B", 2 * each);
    let of_less = format!("{}B", 2 * each - 1);
    for (key, value, kept) in [
        ("retained.max_messages", "2", 2),
        ("retained.max_messages", "1", 1),
        ("retained.max_messages", "0", 0),
        ("retained.max_bytes", of_two.as_str(), 2),
        ("retained.max_bytes", of_less.as_str(), 1),
    ] {
        for by_host in [false, true] {
            let network = Network::with(&[(key, value)]);
            let mut client = opts("a", V5).on(&network);
            for topic in ["t", "u", "v"] {
                match by_host {
                    true => _ = network.publish(topic, "0123456789", 0, true),
                    false => _ = client.retain(topic, "0123456789", Q1),
                }
            }
            let stats = network.stats();
            assert_eq!((stats.retained_messages, stats.retained_bytes), (kept, kept * each as u64), "{key}");
            assert_eq!(stats.messages_dropped_retained_full, 3 - kept, "{key} {value}");
        }
    }
}

/// `mqtt.receive_maximum`: what is acknowledged makes room for as much.
#[test]
fn a_client_may_send_as_many_messages_as_it_was_told() {
    for version in ALL {
        let network = Network::with(&[("mqtt.receive_maximum", "2")]);
        let mut client = opts("a", version).on(&network);
        for number in [1, 2] {
            assert!(client.send_publish("t", "", Q2, number));
            client.expect_ack(AckKind::Pubrec, number);
        }
        // QoS 0 does not count.
        assert!(client.send_publish("t", "", Q0, 0));
        client.send_ack(AckKind::Pubrel, 1);
        client.expect_ack(AckKind::Pubcomp, 1);
        assert!(client.send_publish("t", "", Q2, 3));
        client.expect_ack(AckKind::Pubrec, 3);
        let one_more = Publish {
            dup: false,
            qos: Q2,
            retain: false,
            topic: "t",
            packet_id: Some(id(4)),
            properties: Properties::EMPTY,
            payload: b"",
        };
        assert!(!client.send(&Packet::Publish(one_more)));
        if version == V5 {
            assert_eq!(client.next(), Some(Received::Disconnect(ReasonCode::ReceiveMaximumExceeded)));
        }
        assert_eq!(client.line.finished(), Some(Cause::Refused(ReasonCode::ReceiveMaximumExceeded)));
    }
}
