//! A store that commits nothing, because its disk is full or has failed: what waits for it has a bound.

use midge::codec::ack::AckKind;
use midge::codec::subscribe::SubscriptionOptions;
use midge::codec::version::Version;

use crate::harness::{ALL, Client, Commit, Network, Packets, Q0, Q1, Q2, Received, V311, opts};

/// Acknowledgements of one connection that may wait.
const MOST: usize = 1024;

/// UNSUBSCRIBE for a filter that nobody has: nothing is recorded, and nothing is refused for a full disk.
fn unsubscribe(version: Version) -> Vec<u8> {
    let mut packet = vec![0xA2, 5, 0, 7];
    packet.extend(version.is_v5().then_some(0));
    packet.extend_from_slice(&[0, 1, b'x']);
    packet[1] = packet.len() as u8 - 2;
    packet
}

fn publish(version: Version) -> Vec<u8> {
    Packets::default().publish(version, "t", "x", Q1, 7).0
}

/// PUBREL for an identifier that nobody knows is answered, too.
fn release(_version: Version) -> Vec<u8> {
    vec![0x62, 2, 0, 7]
}

/// The answers that have come, PINGRESP apart.
fn answers(client: &mut Client<'_>) -> usize {
    let packets = std::iter::from_fn(|| client.next());
    packets.filter(|packet| !matches!(packet, Received::Pingresp)).count()
}

#[test]
fn a_client_is_not_read_while_as_many_acknowledgements_wait_as_may() {
    for (version, packet) in [
        (Version::V31, unsubscribe as fn(Version) -> Vec<u8>),
        (Version::V311, unsubscribe),
        (Version::V5, unsubscribe),
        (Version::V311, publish),
        (Version::V5, release),
    ] {
        let (network, store) = Network::with_late_store();
        let mut client = opts("c", version).persistent().on(&network);
        store.commit(&network);
        network.publish("uncommitted", "x", 1, true);
        client.send_bytes(&packet(version).repeat(MOST - 1));
        assert!(!client.is_paused(), "{version:?}");
        assert_eq!(network.engine.awaiting_commit(), MOST - 1);
        // In one portion with more that is not handled.
        client.send_bytes(&packet(version).repeat(3 * MOST + 1));
        assert!(client.is_paused(), "{version:?}");
        assert_eq!(network.engine.awaiting_commit(), MOST);
        client.expect_nothing();
        let mut heard = 0;
        for round in 1..=4 {
            store.commit(&network);
            network.publish("uncommitted", "x", 1, true);
            heard += answers(&mut client);
            assert!(heard >= round * MOST, "{version:?}: {heard} answers after {round} commits");
            assert!(network.engine.awaiting_commit() <= MOST);
        }
        assert_eq!(heard, 4 * MOST, "{version:?}");
        assert!(!client.is_paused());
        client.send_bytes(&[0xC0, 0]);
        assert!(matches!(client.next(), Some(Received::Pingresp)));
    }
}

/// The next connection of the client is read, and what waited for the last one does not concern it.
#[test]
fn another_connection_of_the_client_is_read() {
    let (network, store) = Network::with_late_store();
    let mut first = opts("c", V311).persistent().on(&network);
    store.commit(&network);
    network.publish("uncommitted", "x", 1, true);
    first.send_bytes(&unsubscribe(V311).repeat(2 * MOST));
    assert!(first.is_paused());
    let mut second = opts("c", V311).persistent().resume().begin(&network);
    assert!(!second.is_paused());
    second.send_bytes(&unsubscribe(V311));
    store.commit(&network);
    assert!(matches!(second.next(), Some(Received::Connack { .. })));
    assert_eq!(answers(&mut second), 1);
}

/// What waited for connections that have ended goes, however many come.
#[test]
fn connections_that_come_and_go_leave_a_bounded_number_of_acknowledgements() {
    let (network, store) = Network::with_late_store();
    let mut stays = opts("stays", V311).on(&network);
    network.publish("uncommitted", "x", 1, true);
    let mut most = 0;
    stays.send_bytes(&publish(V311).repeat(MOST - 1));
    for _ in 0..40 {
        let mut client = opts("c", V311).begin(&network);
        client.send_bytes(&publish(V311).repeat(MOST));
        assert!(client.is_paused());
        most = most.max(network.engine.awaiting_commit());
        client.hang_up();
    }
    assert!((2 * MOST..=4 * MOST).contains(&most), "{most} waited");
    store.commit(&network);
    assert_eq!(network.engine.awaiting_commit(), 0);
    assert_eq!(answers(&mut stays), MOST - 1);
}

/// An acknowledgement could only be a lie: a message that cannot be kept changes nothing, and its client has to send it
/// again. QoS 0 goes on over the same connection.
#[test]
fn a_failed_store_takes_no_message_of_an_mqtt_3_publisher_and_lets_it_wait() {
    for version in ALL.into_iter().filter(|version| !version.is_v5()) {
        let (network, store) = Network::with_late_store();
        let mut hearer = opts("to", version).on(&network);
        hearer.subscribe_with("#", SubscriptionOptions::with_qos(Q2), 0);
        let mut publisher = opts("from", version).persistent().on(&network);
        store.commit(&network);
        publisher.send_publish("t", "known", Q2, 9);
        hearer.expect_message("t", "known");
        store.commit(&network);
        publisher.expect_ack(AckKind::Pubrec, 9);
        network.publish("uncommitted", "x", 1, true);
        hearer.expect_message("uncommitted", "x");
        store.fail("the disk is gone");
        let (changes, published) = (store.len(), network.stats().messages_published);
        for (qos, id) in [(Q1, 1), (Q2, 2), (Q2, 2), (Q2, 9)] {
            publisher.send_publish("t", "x", qos, id);
        }
        let retained = Packets::default().publish(version, "r", "x", Q1, 3).0;
        publisher.send_bytes(&[&[retained[0] | 1], &retained[1..]].concat());
        publisher.send_bytes(&publish(version).repeat(4 * MOST));
        assert!(!publisher.is_paused());
        publisher.expect_nothing();
        hearer.expect_nothing();
        assert_eq!((store.len(), network.stats().messages_published), (changes, published));
        assert_eq!(network.engine.retained_page(None, 10).len(), 1, "the one before");
        assert_eq!(network.engine.awaiting_commit(), 1, "PUBREC of the message that is known");
        publisher.send_publish("t", "0", Q0, 0);
        hearer.expect_message("t", "0");
    }
}
