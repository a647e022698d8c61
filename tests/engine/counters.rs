//! The counters: what happened, and why a message did not arrive.

use std::io::IoSlice;
use std::sync::{Arc, Mutex, Weak};

use midge::codec::ack::AckKind;
use midge::codec::packet::Packet;
use midge::engine::connection::state::Connection;
use midge::engine::core::state::Engine;
use midge::session::last_bytes::LastBytes;
use midge::session::link::{Cause, Link, Written};

use crate::harness::{ALL, Inbox, Network, Packets, Q0, Q1, Q2, V5, opts};

/// The lesson that the story ends on: start the subscriber first, or the message is gone.
#[test]
fn published_one_no_subscriber_dropped() {
    for version in ALL {
        let network = Network::new();
        let mut client = opts("a", version).on(&network);
        client.publish("chat", "hello tao", Q0);
        let stats = network.stats();
        assert_eq!((stats.publish_received, stats.messages_published, stats.messages_delivered), (1, 1, 0));
        assert_eq!((stats.messages_dropped_no_subscriber, stats.messages_dropped()), (1, 1));
    }
}

#[test]
fn packets_and_bytes_are_counted_both_ways() {
    let network = Network::new();
    let mut client = opts("a", V5).on(&network); // CONNECT, CONNACK
    client.subscribe("t", Q0); // SUBSCRIBE, SUBACK
    client.send(&Packet::Pingreq); // and PINGRESP
    client.send_publish("t", "x", Q0, 0); // and back
    let stats = network.stats();
    assert_eq!((stats.packets_received, stats.packets_sent), (4, 4));
    assert_eq!((stats.publish_received, stats.publish_sent), (1, 1));
    assert_eq!((stats.messages_published, stats.messages_delivered), (1, 1));
    let connect = opts("a", V5).encode().len() as u64;
    assert_eq!(stats.bytes_received, connect + 9 + 2 + 7);
    let written: usize = client.line.take().len();
    assert_eq!(written, 7 + 2); // CONNACK and SUBACK were taken before.
    assert_eq!(stats.bytes_sent, written as u64 + 5 + client.greeting.len() as u64 + 6);
}

/// A line that looks at the counters whenever something is written to it.
struct Witness {
    engine: Weak<Engine>,
    packets_sent: Mutex<Vec<u64>>,
}

impl Link for Witness {
    fn write(&self, buffers: &[IoSlice<'_>]) -> Written {
        let engine = self.engine.upgrade().unwrap();
        self.packets_sent.lock().unwrap().push(engine.snapshot().packets_sent);
        Written::Bytes(buffers.iter().map(|buffer| buffer.len()).sum())
    }

    fn wake(&self) {}

    fn finish(&self, _last: LastBytes, _cause: Cause) {}
}

/// A client that has received something finds it counted.
#[test]
fn a_packet_is_counted_before_it_is_written() {
    let network = Network::new();
    let witness =
        Arc::new(Witness { engine: Arc::downgrade(&network.engine), packets_sent: Mutex::default() });
    let link = Arc::clone(&witness) as Arc<dyn Link>;
    let mut connection = Connection::new(&network.engine, &mut network.turn(), link, None);
    for bytes in [&opts("a", V5).encode()[..], &[0xC0, 0]] {
        connection.receive(&network.engine, &mut network.turn(), bytes, None);
    }
    assert_eq!(*witness.packets_sent.lock().unwrap(), [1, 2]); // CONNACK, PINGRESP
}

#[test]
fn a_byte_of_a_packet_that_comes_in_pieces_is_counted_once() {
    let network = Network::new();
    let mut client = opts("a", V5).on(&network);
    let before = network.stats().bytes_received;
    let packets = Packets::default().publish(V5, "t", "piece by piece", Q1, 1);
    for byte in &packets.0 {
        client.send_bytes(&[*byte]);
    }
    assert_eq!(network.stats().publish_received, 1);
    assert_eq!(network.stats().bytes_received - before, packets.0.len() as u64);
}

#[test]
fn connections_are_counted() {
    let network = Network::new();
    let client = opts("a", V5).on(&network);
    opts("", ALL[0]).refused_by(&network);
    opts("b", V5).on(&network).disconnect();
    let stats = network.stats();
    assert_eq!((stats.connections_accepted, stats.connections_refused), (3, 1));
    assert_eq!((stats.connections_closed, stats.clients_connected), (1, 1));
    assert_eq!((stats.clients_maximum, stats.sessions), (2, 1));
    client.disconnect();
    assert_eq!(network.stats().connections_closed, 2);
}

/// One message for three hearers, of whom one gets it.
#[test]
fn a_drop_is_counted_for_each_receiver_with_its_reason() {
    let network = Network::with(&[("session.max_queued_messages", "0")]);
    for id in ["qos0", "qos1"] {
        let mut client = opts(id, V5).persistent().on(&network);
        client.subscribe("t", if id == "qos0" { Q0 } else { Q1 });
        client.hang_up();
    }
    let mut here = opts("here", V5).on(&network);
    here.subscribe("t", Q2);
    assert_eq!(network.publish("t", "x", 1, false), 3);
    here.expect_message("t", "x");
    let stats = network.stats();
    assert_eq!((stats.messages_dropped_offline, stats.messages_dropped_queue_full), (1, 1));
    assert_eq!((stats.messages_delivered, stats.messages_dropped()), (1, 2));
}

#[test]
fn a_host_that_does_not_empty_its_queue_is_counted() {
    let network = Network::new();
    let inbox = Inbox::new(2);
    let options = Default::default();
    network.engine.subscribe_local(&mut network.turn(), "t", options, 0, inbox.clone()).unwrap();
    for _ in 0..5 {
        network.publish("t", "x", 0, false);
    }
    assert_eq!(inbox.take().len(), 2);
    assert_eq!(network.stats().messages_dropped_local_queue_full, 3);
}

#[test]
fn messages_of_a_session_that_ends_are_counted() {
    let network = Network::new();
    let mut client = opts("a", V5).expiry(10).on(&network);
    client.subscribe("t", Q1);
    client.hang_up();
    for _ in 0..3 {
        network.publish("t", "x", 1, false);
    }
    network.advance(11);
    let stats = network.stats();
    assert_eq!((stats.messages_dropped_session_ended, stats.sessions_expired), (3, 1));
}

#[test]
fn acknowledgements_count_once_for_each_message() {
    for version in ALL {
        let network = Network::new();
        let mut hearer = opts("to", version).persistent().on(&network);
        hearer.subscribe("t", Q2);
        let mut publisher = opts("from", version).on(&network);
        for qos in [Q0, Q1, Q2, Q2] {
            publisher.publish("t", "four", qos);
        }
        publisher.send_ack(AckKind::Pubrel, 99);
        let stats = network.stats();
        assert_eq!((stats.acknowledgements_sent, stats.acknowledgements_received), (3, 0));
        assert_eq!((stats.publish_bytes_received, stats.publish_bytes_sent), (16, 16));
        hearer.send_ack(AckKind::Puback, 99);
        assert_eq!(hearer.drain().len(), 4);
        let stats = network.stats();
        assert_eq!((stats.acknowledgements_sent, stats.acknowledgements_received), (3, 3));
    }
}

/// A message is delivered when it is handed over: not while it waits, and once however often it is sent.
#[test]
fn what_waits_is_not_yet_delivered_and_what_is_sent_again_not_twice() {
    for version in ALL {
        let network = Network::with(&[("mqtt.max_inflight", "2"), ("session.max_queued_messages", "3")]);
        let connect = opts("to", version).persistent();
        let mut hearer = connect.on(&network);
        hearer.subscribe("t", Q1);
        let gauges = || (network.stats().messages_delivered, network.stats().messages_queued);
        for n in 1..=6u64 {
            network.publish("t", "x", 1, false);
            assert_eq!(gauges(), (n.min(2), n.saturating_sub(2).min(3)));
        }
        assert_eq!(network.stats().messages_dropped_queue_full, 1);
        hearer.hang_up();
        let mut hearer = connect.on(&network);
        assert_eq!((gauges(), network.stats().publish_resent), ((2, 3), 2));
        assert_eq!(hearer.drain().len(), 5);
        assert_eq!(gauges(), (5, 0));
        assert_eq!((network.stats().publish_sent, network.engine.clients()[0].sent_messages), (7, 5));
        hearer.hang_up();
        network.publish("t", "x", 1, false);
        assert_eq!(gauges(), (5, 1));
        opts("to", version).on(&network).disconnect();
        assert_eq!(gauges(), (5, 0));
    }
}

#[test]
fn what_sys_says_is_no_application_message() {
    let network = Network::with(&[("sys.interval", "10s")]);
    let mut client = opts("a", V5).on(&network);
    client.subscribe("$SYS/broker/uptime", Q0);
    network.advance(31);
    assert_eq!(client.drain().len(), 4);
    assert_eq!(network.stats().messages_published, 0);
}
