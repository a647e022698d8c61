//! Messages to one topic that come together: who is given them at once, and what ends a burst.

use midge::codec::packet::Packet;
use midge::codec::properties::{Properties, PropertyWriter};
use midge::codec::publish::Publish;
use midge::codec::reason::ReasonCode;
use midge::codec::subscribe::SubscriptionOptions;
use midge::codec::version::Version;

use crate::harness::{Network, Onlooker, Packets, Q0, Q1, V5, V311, id, opts};

/// A message of QoS 0 to `t`.
fn message(payload: &str) -> Publish<'_> {
    let (dup, retain, properties) = (false, false, Properties::EMPTY);
    Publish { dup, qos: Q0, retain, topic: "t", packet_id: None, properties, payload: payload.as_bytes() }
}

fn encode(version: Version, messages: &[Publish<'_>]) -> Vec<u8> {
    messages.iter().fold(Packets::default(), |all, one| all.packet(version, &Packet::Publish(*one))).0
}

/// A burst to `topic` with these payloads.
fn burst(version: Version, topic: &str, payloads: &[&str]) -> Vec<u8> {
    let messages: Vec<_> = payloads.iter().map(|payload| Publish { topic, ..message(payload) }).collect();
    encode(version, &messages)
}

const FOUR: [&str; 4] = ["1", "22", "333", ""];

/// Who can take the packets as they are is sent all of them before an onlooker sees the second.
#[test]
fn a_burst_is_given_at_once_to_whom_it_can_be() {
    let settings =
        [("session.max_outbox_bytes", "64KiB"), ("session.queue_qos0", "true"), ("mqtt.max_inflight", "1")];
    for version in [V311, V5] {
        let network = Network::with(&settings);
        let mut behind = opts("behind", version).persistent().on(&network);
        behind.subscribe("t", Q1);
        behind.hang_up();
        // The window has a place for one: QoS 0 waits behind the second.
        [1, 1, 0].iter().for_each(|qos| _ = network.publish("t", "older", *qos, false));
        let mut clients = [
            opts("behind", version).persistent(),
            opts("v311", V311),
            opts("v5", V5),
            opts("large enough", V5).with(|p| _ = p.maximum_packet_size(40)),
            opts("too small", V5).with(|p| _ = p.maximum_packet_size(39)),
            opts("aliased", V5).with(|p| _ = p.topic_alias_maximum(1)),
            opts("identified", V5),
            opts("twice", version),
            opts("full", version),
            opts("no local", V5),
        ]
        .map(|opts| opts.on(&network));
        for client in &mut clients[1..] {
            client.subscribe("t", Q1);
        }
        clients[6].subscribe_with("t", SubscriptionOptions::default(), 7);
        clients[7].subscribe("#", Q0);
        let no_local = SubscriptionOptions { no_local: true, ..SubscriptionOptions::default() };
        clients[9].subscribe_with("t", no_local, 0);
        clients[8].subscribe("fill", Q0);
        clients[8].line.block();
        // One packet more than this has room, all together have not.
        network.publish("fill", &"x".repeat(65_536 - 50), 0, false);
        let onlooker = Onlooker::at(&network, "t");
        let largest = "4".repeat(34);
        let packets = burst(version, "t", &["1", &largest, "333", "", "5"]);
        assert!(opts("publisher", version).on(&network).send_bytes(&packets));
        let (old, new) = if version == V5 { (0, 4) } else { (4, 0) };
        for (id, ahead) in [
            ("behind", 0),
            ("v311", old),
            ("v5", new),
            ("large enough", new),
            ("too small", 0),
            ("aliased", 0),
            ("identified", 0),
            ("twice", 0),
            ("full", 0),
            ("no local", new),
        ] {
            assert_eq!(onlooker.ahead(id), ahead, "{id}, from a publisher of {version}");
        }
    }
}

/// [MQTT-3.1.2-24]: wherever among the others it stands, a packet that is too large for one hearer is left out for it alone.
#[test]
fn a_packet_of_a_burst_that_is_too_large_for_a_hearer_is_not_sent_to_it() {
    let largest = "4".repeat(35);
    let without = ["1", "333", "", "5", "5"];
    for at in 0..=without.len() {
        let network = Network::new();
        let mut all = without.to_vec();
        all.insert(at, &largest);
        let mut hearers = [
            opts("any size", V5).on(&network),
            opts("short", V5).with(|p| _ = p.maximum_packet_size(40)).on(&network),
        ];
        hearers.iter_mut().for_each(|hearer| hearer.subscribe("t", Q0));
        assert!(opts("a", V5).on(&network).send_bytes(&burst(V5, "t", &all)));
        assert_eq!(
            (hearers[0].drain(), hearers[1].drain().as_slice()),
            (all.iter().map(|text| (*text).to_owned()).collect(), &without.map(str::to_owned)[..]),
            "{at}"
        );
        assert_eq!(network.stats().messages_dropped_packet_too_large, 1, "{at}");
        assert_eq!(network.engine.client("short").unwrap().sent_messages, 5, "{at}");
    }
}

/// A burst has packets of at most 8 KiB: the payload of a larger one is shared.
#[test]
fn a_packet_of_more_than_8_kib_is_no_part_of_a_burst() {
    for (size, ahead) in [(8192, 2), (8193, 0)] {
        let network = Network::new();
        let mut hearer = opts("hearer", V311).on(&network);
        hearer.subscribe("t", Q0);
        let onlooker = Onlooker::at(&network, "t");
        let payload = "x".repeat(size - 6);
        let packets = burst(V311, "t", &[&payload, &payload, &payload]);
        assert_eq!(packets.len(), 3 * size);
        assert!(opts("a", V311).on(&network).send_bytes(&packets));
        assert_eq!(onlooker.ahead("hearer"), ahead, "{size}");
        assert!(hearer.drain() == [&*payload, &payload, &payload], "{size}");
    }
}

#[test]
fn a_burst_is_counted_as_its_messages_are() {
    let network = Network::new();
    let mut hearers =
        [("a", V311), ("b", V311), ("c", V5)].map(|(id, version)| opts(id, version).on(&network));
    hearers.iter_mut().for_each(|hearer| hearer.subscribe("t", Q0));
    let onlooker = Onlooker::at(&network, "t");
    let mut publisher = opts("publisher", V311).on(&network);
    let before = network.stats();
    // Some are as long as the first.
    let packets = burst(V311, "t", &["1", "22", "3", "4"]);
    assert!(publisher.send_bytes(&packets));
    let now = network.stats();
    assert_eq!((onlooker.ahead("a"), onlooker.ahead("b"), onlooker.ahead("c")), (3, 3, 0));
    assert_eq!(now.packets_received - before.packets_received, 4);
    assert_eq!(now.bytes_received - before.bytes_received, packets.len() as u64);
    assert_eq!((now.publish_received, now.publish_bytes_received), (4, 5));
    // The onlooker has them, too.
    assert_eq!((now.messages_published, now.messages_delivered), (4, 16));
    assert_eq!(now.packets_sent - before.packets_sent, 12);
    assert_eq!((now.publish_sent, now.publish_bytes_sent), (12, 15));
    // MQTT 5 has a property length in each.
    assert_eq!(now.bytes_sent - before.bytes_sent, 3 * packets.len() as u64 + 4);
    assert_eq!(now.messages_dropped(), 0);
    for (id, received, sent) in [("publisher", 4, 0), ("a", 0, 4), ("b", 0, 4), ("c", 0, 4)] {
        let client = network.engine.client(id).unwrap();
        assert_eq!((client.received_messages, client.sent_messages), (received, sent), "{id}");
    }
}

/// What the counters of a client count when messages come one by one: each message once, whatever its QoS.
#[test]
fn the_messages_of_a_client_are_counted() {
    let network = Network::new();
    let mut hearer = opts("hearer", V5).persistent().on(&network);
    hearer.subscribe("t", Q1);
    let mut publisher = opts("publisher", V311).on(&network);
    for qos in crate::harness::QOS {
        publisher.publish("t", "", qos);
    }
    let counts = |id| {
        let client = network.engine.client(id).unwrap();
        (client.received_messages, client.sent_messages)
    };
    assert_eq!((counts("publisher"), counts("hearer")), ((3, 0), (0, 3)));
    hearer.hang_up();
    // What is sent again is no further message.
    let mut hearer = opts("hearer", V5).persistent().on(&network);
    assert_eq!((hearer.drain().len(), counts("hearer")), (2, (0, 3)));
}

/// Nor can several messages at once be published in the broker's name.
#[test]
fn a_burst_to_the_brokers_topics_is_dropped() {
    for version in [V311, V5] {
        let network = Network::new();
        let mut hearer = opts("hearer", version).on(&network);
        hearer.subscribe("$SYS/#", Q0);
        hearer.subscribe("$SYSTEM", Q0);
        let mut client = opts("a", version).on(&network);
        assert!(client.send_bytes(&burst(version, "$SYS/broker/uptime", &FOUR)));
        let stats = network.stats();
        assert_eq!((stats.messages_dropped_not_authorized, stats.publish_received), (4, 4), "{version}");
        assert_eq!((stats.messages_published, stats.messages_delivered), (0, 0), "{version}");
        assert!(client.send_bytes(&burst(version, "$SYSTEM", &FOUR)));
        assert_eq!(hearer.drain(), FOUR, "{version}");
    }
}

#[test]
fn a_burst_to_a_topic_that_is_too_long_or_too_deep_ends_the_connection() {
    let settings = [("mqtt.max_topic_levels", "2"), ("mqtt.max_topic_length", "8")];
    for version in [V311, V5] {
        let network = Network::with(&settings);
        let mut hearer = opts("hearer", version).on(&network);
        hearer.subscribe("#", Q0);
        for (topic, taken) in [("a/b", true), ("a/b/c", false), ("abcdefgh", true), ("abcdefghi", false)] {
            let mut client = opts("a", version).on(&network);
            assert_eq!(client.send_bytes(&burst(version, topic, &FOUR)), taken, "{topic}");
            match taken {
                true => assert_eq!(hearer.drain(), FOUR, "{topic}"),
                false => client.expect_refused(ReasonCode::TopicNameInvalid),
            }
            hearer.expect_nothing();
        }
    }
}

/// [MQTT-3.8.3-3]: a publisher is spared each of its own messages; if nobody else hears them, nobody does.
#[test]
fn a_burst_does_not_come_back_to_a_publisher_that_wants_it_not() {
    let network = Network::new();
    let mut publisher = opts("publisher", V5).on(&network);
    let no_local = SubscriptionOptions { no_local: true, ..SubscriptionOptions::default() };
    publisher.subscribe_with("t", no_local, 0);
    assert!(publisher.send_bytes(&burst(V5, "t", &FOUR)));
    publisher.expect_nothing();
    assert_eq!(network.stats().messages_dropped_no_subscriber, 4);
    let mut other = opts("other", V5).on(&network);
    other.subscribe_with("t", no_local, 0);
    assert!(publisher.send_bytes(&burst(V5, "t", &FOUR)));
    publisher.expect_nothing();
    assert_eq!(other.drain(), FOUR);
    assert_eq!(network.stats().messages_dropped_no_subscriber, 4);
    // A second subscription that allows them.
    publisher.subscribe("#", Q0);
    assert!(publisher.send_bytes(&burst(V5, "t", &FOUR)));
    assert_eq!(publisher.drain(), FOUR);
}

/// A message with properties is no part of a burst: each may expire, and has an alias or not.
#[test]
fn properties_are_heeded_in_what_comes_together() {
    let network = Network::with(&[("session.queue_qos0", "true")]);
    let mut absent = opts("absent", V5).persistent().on(&network);
    let mut hearers = [("new", V5), ("old", V311)].map(|(id, version)| opts(id, version).on(&network));
    absent.subscribe("t", Q0);
    hearers.iter_mut().for_each(|hearer| hearer.subscribe("t", Q0));
    absent.hang_up();
    let mut expiring = Vec::new();
    PropertyWriter::new(&mut expiring).message_expiry_interval(5).user_property("a", "b");
    let expiring = Properties::from_encoded(&expiring).unwrap();
    let messages: Vec<_> =
        FOUR.iter().map(|payload| Publish { properties: expiring, ..message(payload) }).collect();
    let mut client = opts("a", V5).on(&network);
    assert!(client.send_bytes(&encode(V5, &messages)));
    for payload in FOUR {
        assert_eq!(hearers[0].expect_message("t", payload).properties().raw(), expiring.raw());
        hearers[1].expect_message("t", payload);
    }
    network.advance(6);
    opts("absent", V5).persistent().on(&network).expect_nothing();
    assert_eq!(network.stats().messages_dropped_expired, 4);
}

#[test]
fn a_payload_that_is_not_the_text_that_it_is_said_to_be_is_refused_among_others() {
    let network = Network::new();
    let mut hearer = opts("hearer", V5).on(&network);
    hearer.subscribe("t", Q0);
    let mut text = Vec::new();
    PropertyWriter::new(&mut text).payload_format_indicator(1);
    let properties = Properties::from_encoded(&text).unwrap();
    let messages =
        [&b"1"[..], b"2", b"\xff", b"4"].map(|payload| Publish { properties, payload, ..message("") });
    let mut client = opts("a", V5).on(&network);
    assert!(!client.send_bytes(&encode(V5, &messages)));
    assert_eq!(hearer.drain(), ["1", "2"]);
    client.expect_refused(ReasonCode::PayloadFormatInvalid);
}

/// An alias is resolved for each message, and given to who accepts it.
#[test]
fn messages_that_come_together_by_an_alias_have_the_name_of_their_topic() {
    let network = Network::new();
    let mut hearers = [
        opts("old", V311).on(&network),
        opts("new", V5).on(&network),
        opts("aliased", V5).with(|p| _ = p.topic_alias_maximum(2)).on(&network),
    ];
    hearers.iter_mut().for_each(|hearer| hearer.subscribe("t", Q0));
    let mut alias = Vec::new();
    PropertyWriter::new(&mut alias).topic_alias(2);
    let properties = Properties::from_encoded(&alias).unwrap();
    let first = Publish { properties, ..message("1") };
    let next = Publish { topic: "", ..first };
    let messages = [first, next, next, next, message("1"), message("1")];
    let mut client = opts("a", V5).on(&network);
    assert!(client.send_bytes(&encode(V5, &messages)));
    for _ in 0..6 {
        hearers[0].expect_message("t", "1");
        assert!(hearers[1].expect_message("t", "1").properties().is_empty());
    }
    for n in 0..6 {
        let message = hearers[2].expect_message(if n == 0 { "t" } else { "" }, "1");
        assert_eq!(message.properties().topic_alias(), Some(1));
    }
}

/// RETAIN is heeded in the first of many and in the midst of them.
#[test]
fn a_message_to_be_retained_is_no_part_of_a_burst() {
    for version in [V311, V5] {
        for at in 0..4 {
            let network = Network::new();
            let mut hearer = opts("hearer", V5).on(&network);
            let keeping = SubscriptionOptions { retain_as_published: true, ..SubscriptionOptions::default() };
            hearer.subscribe_with("t", keeping, 0);
            let mut messages = FOUR.map(message);
            messages[at] = Publish { retain: true, ..message("kept") };
            assert!(opts("a", version).on(&network).send_bytes(&encode(version, &messages)));
            for (n, payload) in FOUR.iter().enumerate() {
                let received = hearer.expect_message("t", if n == at { "kept" } else { payload });
                assert_eq!(received.retain, n == at, "{version}, {at}");
            }
            let mut late = opts("late", version).on(&network);
            late.subscribe("t", Q0);
            late.expect_message("t", "kept");
        }
    }
}

/// A message of QoS 1 whose Packet Identifier is how the next payloads begin: it is acknowledged and keeps its QoS.
#[test]
fn a_message_of_another_qos_is_no_part_of_a_burst() {
    let network = Network::new();
    let mut hearer = opts("hearer", V311).on(&network);
    hearer.subscribe("t", Q1);
    let number = u16::from_be_bytes(*b"ab");
    let sure = Publish { qos: Q1, packet_id: Some(id(number)), ..message("1") };
    let messages = [sure, message("ab2"), message("ab3"), Publish { dup: true, ..sure }, message("ab4")];
    let mut client = opts("a", V311).on(&network);
    assert!(client.send_bytes(&encode(V311, &messages)));
    for _ in 0..2 {
        client.expect_ack(midge::codec::ack::AckKind::Puback, number);
    }
    let received: Vec<_> = (0..5).map(|_| hearer.expect_publish()).collect();
    let received: Vec<_> = received.iter().map(|m| (m.text(), m.qos.as_u8(), m.dup)).collect();
    let expected =
        [("1", 1, false), ("ab2", 0, false), ("ab3", 0, false), ("1", 1, false), ("ab4", 0, false)];
    assert_eq!(received, expected);
}

/// QoS 0 for who is away is dropped and counted for each message, and is no delivery.
#[test]
fn a_burst_for_a_client_that_is_away_is_not_delivered() {
    for (queue_qos0, offline, queued) in [("false", 4, 0), ("true", 0, 4)] {
        let network = Network::with(&[("session.queue_qos0", queue_qos0)]);
        let mut absent = opts("absent", V5).persistent().on(&network);
        absent.subscribe("t", Q1);
        absent.hang_up();
        let mut client = opts("a", V5).on(&network);
        assert!(client.send_bytes(&burst(V5, "t", &FOUR)));
        let stats = network.stats();
        assert_eq!((stats.messages_dropped_offline, stats.messages_dropped()), (offline, offline));
        assert_eq!((stats.messages_queued, stats.messages_delivered), (queued, 0));
        let sent = network.engine.client("absent").unwrap().sent_messages;
        assert_eq!((stats.publish_sent, stats.publish_bytes_sent, sent), (0, 0, 0));
        let mut back = opts("absent", V5).persistent().on(&network);
        assert_eq!(back.drain().len() as u64, queued);
    }
}

/// As many as find room one by one: the first three, for a packet is taken while there is any room.
#[test]
fn of_a_burst_that_does_not_fit_as_many_are_sent_as_find_room() {
    for version in [V311, V5] {
        let network = Network::with(&[("session.max_outbox_bytes", "64KiB")]);
        let mut hearer = opts("hearer", version).on(&network);
        hearer.subscribe("fill", Q0);
        hearer.subscribe("t", Q0);
        hearer.line.block();
        network.publish("fill", &"x".repeat(65_000), 0, false);
        let payloads: Vec<String> = (0..6).map(|n| format!("{n}{}", "x".repeat(199))).collect();
        let payloads: Vec<&str> = payloads.iter().map(String::as_str).collect();
        assert!(opts("a", version).on(&network).send_bytes(&burst(version, "t", &payloads)));
        assert_eq!(network.stats().messages_dropped_outbox_full, 3);
        hearer.line.open();
        hearer.writable();
        assert_eq!(hearer.drain()[1..], payloads[..3]);
    }
}

/// [MQTT-4.6.0-5], [MQTT3-4.6.0-6]: the messages of a burst do not overtake what waits, although there is room for them.
#[test]
fn a_burst_waits_behind_older_messages_of_qos_0() {
    for version in [V311, V5] {
        let network = Network::with(&[("session.queue_qos0", "true"), ("mqtt.max_inflight", "1")]);
        let mut hearer = opts("hearer", version).persistent().on(&network);
        hearer.subscribe("t", Q1);
        hearer.hang_up();
        let mut client = opts("a", version).on(&network);
        for (payload, qos) in [("a", Q1), ("b", Q1), ("c", Q0)] {
            client.publish("t", payload, qos);
        }
        let mut hearer = opts("hearer", version).persistent().on(&network);
        assert!(client.send_bytes(&burst(version, "t", &FOUR)));
        assert_eq!(hearer.drain(), ["a", "b", "c", "1", "22", "333", ""]);
    }
}

/// The beginning of a packet waits for its end, and what came before it does not.
#[test]
fn a_burst_ends_before_a_packet_that_is_not_whole() {
    for version in [V311, V5] {
        let packets = burst(version, "t", &FOUR);
        for cut in 1..packets.len() {
            let network = Network::new();
            let mut hearer = opts("hearer", version).on(&network);
            hearer.subscribe("t", Q0);
            let mut client = opts("a", version).on(&network);
            let before = network.stats().bytes_received;
            assert!(client.send_bytes(&packets[..cut]));
            let whole = FOUR.iter().scan(0, |end, payload| {
                *end += burst(version, "t", &[payload]).len();
                Some(*end)
            });
            let whole = whole.filter(|end| *end <= cut).count();
            assert_eq!(network.stats().publish_received, whole as u64, "{version}, {cut}");
            assert!(client.send_bytes(&packets[cut..]));
            assert_eq!(hearer.drain(), FOUR, "{version}, {cut}");
            assert_eq!(network.stats().bytes_received - before, packets.len() as u64);
        }
    }
}

#[test]
fn a_burst_that_nobody_hears_is_counted_message_by_message() {
    for version in [V311, V5] {
        let network = Network::new();
        let mut client = opts("a", version).on(&network);
        assert!(client.send_bytes(&burst(version, "t", &FOUR)));
        let stats = network.stats();
        assert_eq!((stats.messages_dropped_no_subscriber, stats.publish_received), (4, 4));
        assert_eq!((stats.messages_dropped(), stats.messages_delivered), (4, 0));
    }
}

/// What begins like a burst and goes wrong: what came before is delivered, and the connection ends.
#[test]
fn a_burst_ends_where_a_packet_is_wrong() {
    for version in [V311, V5] {
        let network = Network::new();
        let mut hearer = opts("hearer", version).on(&network);
        hearer.subscribe("t", Q0);
        let mut client = opts("a", version).on(&network);
        let mut bytes = burst(version, "t", &FOUR[..3]);
        bytes.extend([0x30, 1, 0]);
        assert!(!client.send_bytes(&bytes));
        assert_eq!(hearer.drain().len(), 3);
    }
}

/// A burst is no way around the largest packet that the broker takes.
#[test]
fn a_packet_that_is_too_large_is_refused_in_a_burst_too() {
    let network = Network::with(&[("mqtt.max_packet_size", "1KiB")]);
    let mut hearer = opts("hearer", V5).on(&network);
    hearer.subscribe("t", Q0);
    let mut client = opts("a", V5).on(&network);
    let packets = Packets::default().publish(V5, "t", "1", Q0, 0).publish(V5, "t", "2", Q0, 0);
    let packets = packets.publish(V5, "t", &"3".repeat(1100), Q0, 0).publish(V5, "t", "4", Q0, 0);
    assert!(!client.send_bytes(&packets.0));
    assert_eq!(hearer.drain(), ["1", "2"]);
    client.expect_refused(ReasonCode::PacketTooLarge);
}

/// [MQTT-1.5.5-1]: what MQTT 5 does not allow, and MQTT 3 does, is not taken for one of the burst.
#[test]
fn a_burst_ends_where_a_remaining_length_is_longer_than_it_needs_to_be() {
    for (version, taken, open) in [(V311, 4, true), (V5, 3, false)] {
        let network = Network::new();
        let mut hearer = opts("hearer", version).on(&network);
        hearer.subscribe("t", Q0);
        let mut client = opts("a", version).on(&network);
        let mut bytes = burst(version, "t", &FOUR[..3]);
        bytes.extend([0x30, 0x84, 0, 0, 1, b't', 0]);
        assert_eq!(client.send_bytes(&bytes), open, "{version}");
        assert_eq!(hearer.drain().len(), taken, "{version}");
    }
}

/// A first packet whose Remaining Length is longer than it needs to be, which MQTT 3 allows, takes no message with it.
#[test]
fn no_message_is_lost_behind_a_remaining_length_that_is_longer_than_it_needs_to_be() {
    let network = Network::new();
    let mut hearers: Vec<_> = [("old", V311), ("new", V5), ("shared", V311)]
        .map(|(id, version)| opts(id, version).on(&network))
        .into();
    for (hearer, filter) in hearers.iter_mut().zip(["t", "t", "$share/g/t"]) {
        hearer.subscribe(filter, Q0);
    }
    let mut client = opts("a", V311).on(&network);
    let long = [0x30, 0x84, 0, 0, 1, b't', b'l'];
    let short = [0x30, 5, 0, 1, b't', b's', b's'];
    assert!(client.send_bytes(&[long, short, long, short].concat()));
    for hearer in &mut hearers {
        assert_eq!(hearer.drain(), ["l", "ss", "l", "ss"]);
    }
}
