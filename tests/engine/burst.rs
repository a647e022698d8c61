//! Messages to one topic that come together mean what they mean when they come one by one.

use std::io::IoSlice;
use std::sync::{Arc, Mutex};

use midge::codec::subscribe::SubscriptionOptions;
use midge::codec::version::Version;
use midge::engine::connection::Connection;
use midge::session::link::{Cause, Link, Written};
use midge::stats::Snapshot;

use crate::harness::{Inbox, Network, Packets, Pushed, Q0, Q1, V5, V311, opts};

/// What all clients and the host have received, and what was counted.
#[derive(Debug, PartialEq)]
struct Outcome {
    received: Vec<Vec<String>>,
    pushed: Vec<Pushed>,
    stats: Snapshot,
}

/// Messages to `t`, small, growing and empty, then one to `u` and another to `t`.
fn packets(version: Version, sizes: usize) -> Vec<Vec<u8>> {
    let messages = (0..12).map(|n| ("t", format!("{n}{}", "x".repeat(n * sizes))));
    let empty = [("t", String::new()), ("u", "other".to_owned()), ("t", "last".to_owned())];
    messages
        .chain(empty)
        .map(|(topic, payload)| Packets::default().publish(version, topic, &payload, Q0, 0).0)
        .collect()
}

/// Sends the packets to clients of all kinds, `together` or one by one; the largest first if `falling`.
fn run(version: Version, sizes: usize, falling: bool, together: bool) -> Outcome {
    let network = Network::with(&[("session.max_outbox_bytes", "64KiB")]);
    let mut publisher = opts("publisher", version).on(&network);
    let plain = SubscriptionOptions::with_qos(Q1);
    let mut others = vec![
        opts("old", V311).on(&network),
        opts("new", V5).on(&network),
        opts("identified", V5).on(&network),
        opts("twice", V5).on(&network),
        opts("short", V5).with(|p| _ = p.maximum_packet_size(30)).on(&network),
        opts("aliased", V5).with(|p| _ = p.topic_alias_maximum(2)).on(&network),
        opts("full", version).on(&network),
        opts("first member", version).on(&network),
        opts("second member", V311).on(&network),
    ];
    for (client, filters) in others.iter_mut().zip([
        &["t"][..],
        &["t"],
        &[],
        &["t", "#"],
        &["+"],
        &["t"],
        &["t", "u", "fill"],
        &["$share/g/t"],
        &["$share/g/t"],
    ]) {
        for filter in filters {
            client.subscribe_with(filter, plain, 0);
        }
    }
    others[2].subscribe_with("t", plain, 7);
    if version == V5 {
        publisher.subscribe_with("t", SubscriptionOptions { no_local: true, ..plain }, 0);
    } else {
        publisher.subscribe("t", Q0);
    }
    let inbox = Inbox::new(100);
    network.engine.subscribe_local(&mut network.turn(), "t", plain, 0, inbox.clone()).unwrap();
    others[6].line.block();
    network.publish("fill", &"x".repeat(40_000), 0, false);
    let mut packets = packets(version, sizes);
    if falling {
        packets.reverse();
    }
    match together {
        true => assert!(publisher.send_bytes(&packets.concat())),
        false => packets.iter().for_each(|packet| assert!(publisher.send_bytes(packet))),
    }
    others[6].line.open();
    others[6].writable();
    others.push(publisher);
    let received = others.iter_mut().map(|client| client.drain()).collect();
    Outcome { received, pushed: inbox.take(), stats: network.stats() }
}

#[test]
fn a_burst_is_delivered_as_its_messages_are() {
    for version in [V311, V5] {
        for (sizes, falling) in [(1, false), (300, false), (900, false), (300, true), (900, true)] {
            let one_by_one = run(version, sizes, falling, false);
            let together = run(version, sizes, falling, true);
            assert_eq!(together, one_by_one, "{version}, {sizes}, {falling}");
            assert_eq!(together.received[0].len(), 14, "{version}, {sizes}, {falling}");
            let dropped = together.stats.messages_dropped_outbox_full;
            assert_eq!(dropped > 0, sizes == 900, "{dropped}: what fits in part is taken in part");
            assert_eq!(together.pushed.len(), 14);
        }
    }
}

/// A group's members have their turns.
#[test]
fn a_burst_to_a_shared_subscription_goes_to_all_members() {
    let outcome = run(V311, 1, false, true);
    assert_eq!([outcome.received[7].len(), outcome.received[8].len()], [7, 7]);
}

#[test]
fn a_burst_that_nobody_hears_is_counted_message_by_message() {
    let network = Network::new();
    let mut client = opts("a", V5).on(&network);
    assert!(client.send_bytes(&packets(V5, 1).concat()));
    let stats = network.stats();
    assert_eq!((stats.messages_dropped_no_subscriber, stats.publish_received), (15, 15));
}

/// What begins like a burst and goes wrong: what came before is delivered, and the connection ends.
#[test]
fn a_burst_ends_where_a_packet_is_wrong() {
    for version in [V311, V5] {
        let network = Network::new();
        let mut hearer = opts("hearer", version).on(&network);
        hearer.subscribe("t", Q0);
        let mut client = opts("a", version).on(&network);
        let mut bytes = packets(version, 1)[..3].concat();
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
    client.expect_refused(midge::codec::reason::ReasonCode::PacketTooLarge);
}

/// [MQTT-1.5.5-1]: what MQTT 5 does not allow, and MQTT 3 does, is not taken for one of the burst.
#[test]
fn a_burst_ends_where_a_remaining_length_is_longer_than_it_needs_to_be() {
    for (version, taken, open) in [(V311, 4, true), (V5, 3, false)] {
        let network = Network::new();
        let mut hearer = opts("hearer", version).on(&network);
        hearer.subscribe("t", Q0);
        let mut client = opts("a", version).on(&network);
        let mut bytes = packets(version, 1)[..3].concat();
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

/// Counts the calls that write.
#[derive(Default)]
struct Tally(Mutex<Vec<usize>>);

impl Link for Tally {
    fn write(&self, buffers: &[IoSlice<'_>]) -> Written {
        let bytes = buffers.iter().map(|buffer| buffer.len()).sum();
        self.0.lock().unwrap().push(bytes);
        Written::Bytes(bytes)
    }
    fn wake(&self) {}
    fn finish(&self, _last: Vec<u8>, _cause: Cause) {}
}

/// What several turns put off goes in one write; what is large does not wait.
#[test]
fn what_is_put_off_is_written_together() {
    let network = Network::new();
    let tally = Arc::new(Tally::default());
    let link = Arc::clone(&tally) as Arc<dyn Link>;
    let mut connection = Connection::new(&network.engine, &mut network.turn(), link, None);
    let hello = Packets(opts("hearer", V311).encode()).0;
    connection.receive(&network.engine, &mut network.turn(), &hello, None);
    connection.receive(&network.engine, &mut network.turn(), &[0x82, 6, 0, 1, 0, 1, b't', 0], None);
    tally.0.lock().unwrap().clear();
    let mut later = Vec::new();
    let mut publish = |payload: &str| {
        let mut turn = network.turn();
        let topic = midge::codec::topic::TopicName::parse("t").unwrap();
        let publisher = midge::engine::subscriber::Publisher::Host;
        let mut publication =
            midge::message::Publication::new(b"t", payload.as_bytes(), Q0, false, network.now());
        network.engine.publish(&mut turn, publisher, topic, &mut publication);
        turn.put_off(64, &mut later);
    };
    publish("one");
    publish("two");
    assert_eq!(*tally.0.lock().unwrap(), [0; 0]);
    publish(&"x".repeat(9000));
    assert_eq!(*tally.0.lock().unwrap(), [8 + 8 + 3 + 3 + 9000]);
    publish("three");
    let mut turn = network.turn();
    for session in later {
        network.engine.flush(&mut turn, &session, false);
    }
    assert_eq!(tally.0.lock().unwrap().len(), 2);
}

/// Who waits behind very many loses nothing that comes meanwhile: who adds to what waits writes it, or waits, too.
#[test]
fn what_is_put_off_for_very_many_is_written_when_more_comes() {
    let network = Network::with(&[("session.max_outbox_bytes", "64KiB")]);
    let mut clients: Vec<_> = (0..3).map(|n| opts(&format!("hearer{n}"), V311).on(&network)).collect();
    clients.iter_mut().for_each(|client| client.subscribe("all", Q0));
    clients[0].subscribe("own", Q0);
    let mut later = Vec::new();
    let mut publish = |topic: &'static str| {
        let payload = "x".repeat(40_000);
        let name = midge::codec::topic::TopicName::parse(topic).unwrap();
        let (topic, payload) = (topic.as_bytes(), payload.as_bytes());
        let mut publication = midge::message::Publication::new(topic, payload, Q0, false, network.now());
        let publisher = midge::engine::subscriber::Publisher::Host;
        let mut turn = network.turn();
        network.engine.publish(&mut turn, publisher, name, &mut publication);
        turn.put_off(2, &mut later);
        drop(turn);
        later.len()
    };
    assert_eq!(publish("all"), 3);
    for _ in 0..3 {
        assert_eq!(publish("own"), 3);
    }
    assert_eq!(clients[0].drain().len(), 4);
    // Another that publishes to as many is to wait, too.
    assert_eq!(publish("all"), 6);
    assert_eq!(clients[1].drain().len(), 0);
    for session in later {
        network.engine.flush(&mut network.turn(), &session, false);
    }
    assert_eq!([clients[0].drain().len(), clients[1].drain().len()], [1, 2]);
    assert_eq!(network.stats().messages_dropped_outbox_full, 0);
}
