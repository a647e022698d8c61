//! A client that reads slowly: its outbox fills, and empties again.

use midge::codec::packet::Packet;

use crate::harness::{ALL, Network, Q0, Q1, Received, V5, V311, opts};

const SMALL: [(&str, &str); 1] = [("session.max_outbox_bytes", "64KiB")];

/// 1000 bytes of payload.
fn payload(n: usize) -> String {
    format!("{n:04}{}", "x".repeat(996))
}

#[test]
fn qos_0_is_dropped_for_a_slow_client_and_counted() {
    for version in ALL {
        let network = Network::with(&SMALL);
        let mut slow = opts("slow", version).on(&network);
        let mut quick = opts("quick", version).on(&network);
        slow.subscribe("t", Q0);
        quick.subscribe("t", Q0);
        slow.line.block();
        for n in 0..200 {
            network.publish("t", &payload(n), 0, false);
        }
        assert_eq!(quick.drain().len(), 200);
        let dropped = network.stats().messages_dropped_outbox_full;
        assert!((130..=140).contains(&dropped), "{dropped}");
        slow.line.open();
        slow.writable();
        let expected: Vec<_> = (0..200 - dropped as usize).map(payload).collect();
        assert!(slow.drain() == expected);
        // And it goes on as if nothing had happened.
        network.publish("t", "new", 0, false);
        slow.expect_message("t", "new");
    }
}

#[test]
fn qos_1_waits_for_a_slow_client() {
    for version in ALL {
        let network = Network::with(&SMALL);
        let mut slow = opts("slow", version).on(&network);
        slow.subscribe("t", Q1);
        slow.line.block();
        for n in 0..200 {
            network.publish("t", &payload(n), 1, false);
        }
        let view = &network.engine.clients()[0];
        assert_eq!(view.inflight + view.queued, 200);
        assert!(view.queued > 100);
        slow.line.open();
        slow.writable();
        let expected: Vec<_> = (0..200).map(payload).collect();
        assert!(slow.drain() == expected);
        assert_eq!(network.stats().messages_dropped(), 0);
    }
}

#[test]
fn a_line_with_room_for_a_few_bytes_at_a_time_loses_and_doubles_nothing() {
    for step in [1, 2, 7, 100, 1500, 70_000] {
        let network = Network::with(&SMALL);
        let mut slow = opts("slow", V5).on(&network);
        slow.subscribe("t", Q1);
        slow.line.block();
        // Small messages are copied into the outbox, large ones shared.
        let payloads: Vec<String> =
            (0..12).map(|n| format!("{n}{}", "x".repeat(if n % 3 == 0 { 20_000 } else { 30 }))).collect();
        for payload in &payloads {
            network.publish("t", payload, 1, false);
        }
        let (mut bytes, mut at, mut texts) = (Vec::new(), 0, Vec::new());
        while texts.len() < payloads.len() {
            slow.line.allow(step);
            slow.writable();
            let new = slow.line.take();
            assert!((1..=step).contains(&new.len()), "the line took {} bytes of {step}", new.len());
            bytes.extend(new);
            while let Some((Received::Publish(message), length)) = Received::split_off(&bytes[at..], V5) {
                texts.push(message.text().to_owned());
                at += length;
            }
        }
        assert!(texts == payloads, "step {step}");
        assert_eq!(at, bytes.len());
        slow.line.open();
        slow.writable();
        slow.expect_nothing();
    }
}

#[test]
fn acknowledgements_and_pings_are_never_dropped() {
    let network = Network::with(&SMALL);
    let mut slow = opts("slow", V311).on(&network);
    slow.subscribe("t", Q0);
    slow.line.block();
    for n in 0..100 {
        network.publish("t", &payload(n), 0, false);
    }
    slow.send_publish("other", "", Q1, 9);
    slow.send(&Packet::Pingreq);
    slow.line.open();
    slow.writable();
    while let Some(packet) = slow.next() {
        if !matches!(packet, Received::Publish(_)) {
            assert!(matches!(packet, Received::Ack { id: 9, .. }));
            assert_eq!(slow.next(), Some(Received::Pingresp));
            slow.expect_nothing();
            return;
        }
    }
    panic!("PUBACK was dropped");
}

#[test]
fn a_message_larger_than_the_outbox_passes_when_nothing_else_waits() {
    let network = Network::with(&SMALL);
    let mut client = opts("a", V5).on(&network);
    client.subscribe("t", Q1);
    let large = "x".repeat(200_000);
    for qos in [0, 1] {
        network.publish("t", &large, qos, false);
        assert!(client.expect_publish().text() == large);
    }
}

/// The broker asks for the connection's task when the line is full, and needs no other help.
#[test]
fn a_blocked_line_wakes_its_task() {
    let network = Network::new();
    let mut client = opts("a", V5).on(&network);
    client.subscribe("t", Q0);
    client.line.block();
    network.publish("t", "1", 0, false);
    client.line.open();
    assert!(client.line.take_wake());
    client.writable();
    client.expect_message("t", "1");
    assert!(!client.line.take_wake());
}

#[test]
fn what_waits_in_the_outbox_is_written_with_the_goodbye() {
    let network = Network::new();
    let mut client = opts("a", V5).persistent().on(&network);
    client.subscribe("t", Q1);
    client.line.block();
    network.publish("t", "1", 0, false);
    network.publish("t", "2", 1, false);
    let mut again = opts("a", V5).persistent().on(&network);
    client.expect_message("t", "1");
    client.expect_message("t", "2");
    assert!(matches!(client.next(), Some(Received::Disconnect(_))));
    // QoS 1 was not acknowledged: it is sent again.
    assert!(again.expect_message("t", "2").dup);
}

#[test]
fn a_broken_line_keeps_qos_1_for_the_next_connection() {
    for version in ALL {
        let network = Network::new();
        let mut client = opts("a", version).persistent().on(&network);
        client.subscribe("t", Q1);
        client.line.cut();
        network.publish("t", "0", 0, false);
        network.publish("t", "1", 1, false);
        client.hang_up();
        network.publish("t", "2", 1, false);
        let mut client = opts("a", version).persistent().on(&network);
        assert_eq!(client.drain(), ["1", "2"]);
    }
}
