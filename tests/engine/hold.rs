//! Acknowledgements wait for a connected subscriber whose queue is more than a quarter full, at most `session.publisher_hold`.

use midge::codec::ack::AckKind;
use midge::codec::qos::QoS;
use midge::codec::version::Version;

use crate::harness::{ALL, Client, Network, Q0, Q1, Q2, Received, V5, V311, opts};

/// The queue has 40 places: publishers wait from the eleventh message on, until five or fewer wait.
const SETTINGS: [(&str, &str); 3] =
    [("session.max_queued_messages", "40"), ("session.publisher_hold", "1s"), ("mqtt.receive_maximum", "50")];

fn network(hold: &str) -> Network {
    let mut settings = SETTINGS;
    settings[1].1 = hold;
    Network::with(&settings)
}

/// A subscriber that acknowledges when it is told to, one message at a time.
fn subscriber<'n>(network: &'n Network, id: &str) -> Client<'n> {
    let mut client = opts(id, V5).receive_maximum(1).on(network);
    client.subscribe("t", Q2);
    client
}

/// The acknowledgements that have arrived, by Packet Identifier.
fn acks(client: &mut Client<'_>) -> Vec<u16> {
    let mut ids = Vec::new();
    while let Some(received) = client.next() {
        match received {
            Received::Ack { kind: AckKind::Puback | AckKind::Pubrec, id, .. } => ids.push(id),
            other => panic!("expected an acknowledgement: {other:?}"),
        }
    }
    ids
}

/// Reads and acknowledges messages.
fn take(client: &mut Client<'_>, count: usize) {
    for _ in 0..count {
        let message = client.expect_publish();
        client.acknowledge(&message);
    }
}

fn publish(client: &mut Client<'_>, ids: std::ops::RangeInclusive<u16>, qos: QoS) {
    ids.for_each(|id| _ = client.send_publish("t", &id.to_string(), qos, id));
}

fn lost(network: &Network) -> u64 {
    network.stats().messages_dropped_queue_full
}

/// One message is under way and ten wait: the acknowledgement of the twelfth waits, and those behind it.
#[test]
fn acknowledgements_wait_until_the_subscriber_has_drained() {
    for (version, qos) in ALL.into_iter().flat_map(|version| [(version, Q1), (version, Q2)]) {
        let network = network("1s");
        let mut slow = subscriber(&network, "slow");
        let mut publisher = opts("p", version).on(&network);
        publish(&mut publisher, 1..=15, qos);
        assert_eq!(acks(&mut publisher), (1..=11).collect::<Vec<u16>>(), "{version} {qos:?}");
        // Ping and its answer are not kept back.
        publisher.send(&midge::codec::packet::Packet::Pingreq);
        assert!(matches!(publisher.next(), Some(Received::Pingresp)));
        take(&mut slow, 8);
        assert_eq!(acks(&mut publisher), [0_u16; 0], "six still wait: {version} {qos:?}");
        take(&mut slow, 1);
        assert_eq!(acks(&mut publisher), [12, 13, 14, 15], "{version} {qos:?}");
        publish(&mut publisher, 16..=16, qos);
        assert_eq!(acks(&mut publisher), [16]);
        assert_eq!(lost(&network), 0);
    }
}

/// A publisher that keeps to its window loses nothing, however slow the subscriber is.
#[test]
fn a_publisher_with_a_window_is_as_fast_as_its_subscriber() {
    for (hold, expected) in [("1s", 0), ("0", 1)] {
        let network = network(hold);
        let mut slow = subscriber(&network, "slow");
        let mut publisher = opts("p", V311).on(&network);
        let (mut sent, mut open) = (0, 0);
        while sent < 500 {
            while open < 8 && sent < 500 {
                sent += 1;
                open += 1;
                publisher.send_publish("t", "x", Q1, sent);
            }
            open -= acks(&mut publisher).len();
            take(&mut slow, 1);
        }
        assert_eq!(lost(&network).min(1), expected, "{hold}: {} lost", lost(&network));
    }
}

/// What waits for one subscriber is not sent because another one has caught up, and each has its whole time.
#[test]
fn acknowledgements_wait_for_each_subscriber_that_is_behind() {
    let network = network("1s");
    let publish_to = |publisher: &mut Client<'_>, topic: &str, ids: std::ops::RangeInclusive<u16>| {
        ids.for_each(|id| _ = publisher.send_publish(topic, "x", Q1, id));
    };
    let (mut slow, mut fast) =
        (subscriber(&network, "slow"), opts("fast", V5).receive_maximum(1).on(&network));
    fast.subscribe("u", Q2);
    let mut publisher = opts("p", V5).on(&network);
    publish_to(&mut publisher, "t", 1..=12);
    publish_to(&mut publisher, "u", 13..=24);
    assert_eq!(acks(&mut publisher).len(), 11);
    take(&mut fast, 12);
    assert_eq!(acks(&mut publisher), [0_u16; 0], "the slow one has not caught up");
    take(&mut slow, 12);
    assert_eq!(acks(&mut publisher), (12..=24).collect::<Vec<u16>>());
    // One is behind from now on, the other one 900 ms later.
    publish_to(&mut publisher, "t", 25..=36);
    network.advance_millis(900);
    publish_to(&mut publisher, "u", 37..=48);
    assert_eq!(acks(&mut publisher), (25..=35).collect::<Vec<u16>>());
    network.advance_millis(200);
    assert_eq!(acks(&mut publisher), (36..=47).collect::<Vec<u16>>(), "the last one waits for another one");
    network.advance_millis(700);
    assert_eq!(acks(&mut publisher), [0_u16; 0]);
    network.advance_millis(200);
    assert_eq!(acks(&mut publisher), [48]);
    assert_eq!(lost(&network), 0);
}

/// A subscriber that takes nothing slows its publishers once, and no longer than the setting says.
#[test]
fn a_stuck_subscriber_is_given_up() {
    let network = network("1s");
    let mut slow = subscriber(&network, "slow");
    let (mut first, mut second) = (opts("p", V5).on(&network), opts("q", V311).on(&network));
    publish(&mut first, 1..=14, Q1);
    publish(&mut second, 1..=2, Q2);
    assert_eq!((acks(&mut first).len(), acks(&mut second).len()), (11, 0));
    network.advance_millis(900);
    assert_eq!((acks(&mut first).len(), acks(&mut second).len()), (0, 0));
    network.advance_millis(200);
    // Both wait for the same subscriber.
    assert_eq!((acks(&mut first), acks(&mut second)), (vec![12, 13, 14], vec![1, 2]));
    // From now on nobody waits, and what finds no room is lost and counted.
    publish(&mut first, 15..=60, Q1);
    assert_eq!(acks(&mut first).len(), 46);
    assert!(lost(&network) > 0);
    // It takes a message now and then: still nobody waits.
    take(&mut slow, 3);
    publish(&mut first, 61..=70, Q1);
    assert_eq!(acks(&mut first).len(), 10);
    // When its queue is short, publishers wait for it again.
    take(&mut slow, 37);
    publish(&mut first, 71..=90, Q1);
    assert!(acks(&mut first).len() < 20);
}

#[test]
fn the_end_of_either_connection_ends_the_wait() {
    // The subscriber's.
    let network = network("1s");
    let slow = subscriber(&network, "slow");
    let mut publisher = opts("p", V5).on(&network);
    publish(&mut publisher, 1..=15, Q1);
    assert_eq!(acks(&mut publisher).len(), 11);
    slow.hang_up();
    assert_eq!(acks(&mut publisher), [12, 13, 14, 15]);
    // The publisher's: its next connection begins afresh.
    let mut slow = subscriber(&network, "slow2");
    publish(&mut publisher, 16..=30, Q1);
    assert_eq!(acks(&mut publisher).len(), 11);
    publisher.hang_up();
    let mut publisher = opts("p", V5).on(&network);
    publisher.send_publish("u", "x", Q1, 1);
    assert_eq!(acks(&mut publisher), [1]);
    take(&mut slow, 15);
    publisher.expect_nothing();
    network.advance(2);
    publisher.expect_nothing();
    assert_eq!(network.engine.timers_running(), 0);
}

/// Who publishes to itself takes its own messages while it waits.
#[test]
fn a_client_may_wait_for_itself() {
    let network = network("1s");
    let mut client = subscriber(&network, "both");
    for id in 1..=15 {
        client.send_publish("t", "x", Q1, id);
    }
    let (mut got, mut acknowledged) = (0, 0);
    while let Some(received) = client.next() {
        match received {
            Received::Publish(message) => {
                got += 1;
                client.acknowledge(&message);
            }
            Received::Ack { .. } => acknowledged += 1,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!((got, acknowledged, lost(&network)), (15, 15, 0));
}

/// No more acknowledgements wait than the publisher's window holds: an old client may have a larger one.
#[test]
fn as_many_acknowledgements_wait_as_the_window_holds() {
    let network = network("1s");
    let _slow = subscriber(&network, "slow");
    let mut publisher = opts("p", Version::V311).on(&network);
    publish(&mut publisher, 1..=11 + 1024, Q1);
    assert_eq!(acks(&mut publisher).len(), 11);
    publish(&mut publisher, 1036..=1036, Q1);
    assert_eq!(acks(&mut publisher).len(), 1025);
}

/// Messages of QoS 0, and those that a subscriber gets with QoS 0, wait for nobody.
#[test]
fn qos_0_is_not_slowed() {
    let network = network("1s");
    let _slow = subscriber(&network, "slow");
    let mut publisher = opts("p", V5).on(&network);
    publish(&mut publisher, 1..=12, Q1);
    assert_eq!(acks(&mut publisher).len(), 11);
    let mut other = opts("q", V5).on(&network);
    (0..5).for_each(|_| _ = other.send_publish("t", "x", Q0, 0));
    other.send_publish("else", "x", Q1, 1);
    assert_eq!(acks(&mut other), [1]);
}

/// A client that is disconnected has its acknowledgements first: it would publish the same again, for ever.
#[test]
fn what_waits_is_sent_before_a_disconnect() {
    let settings = [("session.max_queued_messages", "4"), ("session.queue_overflow", "disconnect")];
    let network = Network::with(&settings);
    let mut client = subscriber(&network, "both");
    publish(&mut client, 1..=7, Q1);
    let mut acknowledged = Vec::new();
    let mut ended = false;
    while let Some(received) = client.next() {
        match received {
            Received::Ack { id, .. } => acknowledged.push(id),
            Received::Disconnect(_) => ended = true,
            _ => {}
        }
    }
    assert!(ended && acknowledged.starts_with(&[1, 2, 3, 4, 5]), "{ended} {acknowledged:?}");
}
