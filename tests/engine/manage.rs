//! What the host does with sessions: ends one, looks into its queue, clears it.

use std::sync::Arc;

use midge::codec::reason::ReasonCode;
use midge::storage::Store;

use crate::harness::{ALL, Commit, LastWill, LateStore, Network, Q1, Q2, Received, V5, opts};

fn recorded() -> (Network, Arc<LateStore>) {
    let store = Arc::new(LateStore::new(false));
    (Network::with_store(&[], Arc::clone(&store) as Arc<dyn Store>), store)
}

/// The next broker.
fn after(network: &Network, store: &LateStore) -> Network {
    network.after_crash(store, store.len(), 0).0
}

fn end(network: &Network, client_id: &str) -> bool {
    network.engine.discard_session(&mut network.turn(), client_id)
}

fn queued(network: &Network, client_id: &str, most: usize) -> Vec<String> {
    let queue = network.engine.queue(client_id, most).unwrap();
    queue
        .oldest
        .iter()
        .map(|pending| String::from_utf8(pending.message.payload().to_vec()).unwrap())
        .collect()
}

/// With its subscriptions, its will although its delay is not over, and what waits for it.
#[test]
fn a_session_that_is_ended_ends_as_by_its_expiry() {
    for connected in [false, true] {
        let (network, store) = recorded();
        let mut onlooker = opts("onlooker", V5).on(&network);
        onlooker.subscribe("will", Q1);
        let will = LastWill::new("will", "gone").qos(Q1).delay(1000);
        let mut away = opts("away", V5).persistent().receive_maximum(1).will(will).on(&network);
        away.subscribe("t", Q1);
        away.subscribe("$share/g/s", Q1);
        network.publish("t", "first", 1, false);
        let away = match connected {
            true => Some(away),
            false => {
                away.hang_up();
                None
            }
        };
        for (topic, payload) in [("t", "a"), ("s", "shared"), ("t", "b")] {
            network.publish(topic, payload, 1, false);
        }
        let mut member = opts("member", V5).on(&network);
        member.subscribe("$share/g/s", Q1);
        assert_eq!(network.stats().messages_queued, 3);

        assert!(end(&network, "away"));
        assert!(!end(&network, "away"));
        let told = onlooker.expect_message("will", "gone");
        onlooker.acknowledge(&told);
        let shared = member.expect_message("s", "shared");
        member.acknowledge(&shared);
        if let Some(mut away) = away {
            away.expect_message("t", "first");
            assert_eq!(away.next(), Some(Received::Disconnect(ReasonCode::AdministrativeAction)));
        }
        let stats = network.stats();
        assert_eq!((stats.sessions, stats.clients_connected), (2, 2), "{connected}");
        assert_eq!((stats.messages_queued, stats.messages_dropped_session_ended), (0, 2), "{connected}");
        assert_eq!((stats.sessions_expired, stats.wills_published), (0, 1), "{connected}");
        assert!(network.engine.client("away").is_none());
        assert!(network.engine.subscriptions().iter().all(|one| one.client_id.as_deref() != Some("away")));
        // Nor does the next broker know it.
        let network = after(&network, &store);
        assert!(network.engine.client("away").is_none());
        let (_, present) = opts("away", V5).resume().join(&network);
        assert!(!present);
    }
}

/// The timers of a session that was ended do nothing to the next one of its client.
#[test]
fn an_ended_session_has_no_timers_left() {
    let network = Network::new();
    let will = LastWill::new("will", "gone").delay(50);
    opts("c", V5).resume().expiry(100).will(will).on(&network).hang_up();
    assert!(end(&network, "c"));
    opts("c", V5).resume().expiry(1000).on(&network).hang_up();
    network.advance(500);
    let stats = network.stats();
    assert_eq!((stats.sessions, stats.sessions_expired, stats.wills_published), (1, 0, 1));
}

#[test]
fn nobody_s_session_is_not_ended_and_has_no_queue() {
    let network = Network::new();
    assert!(!end(&network, "nobody"));
    assert!(network.engine.queue("nobody", 1).is_none());
    assert!(network.engine.clear_queue(&mut network.turn(), "nobody").is_none());
}

#[test]
fn a_queue_is_shown_from_its_oldest_message_on() {
    let network = Network::new();
    let mut away = opts("away", V5).persistent().on(&network);
    away.subscribe("t", Q1);
    away.hang_up();
    for payload in ["a", "b", "c"] {
        network.publish("t", payload, 2, false);
    }
    assert_eq!(network.engine.queue("away", 2).unwrap().total, 3);
    assert_eq!(queued(&network, "away", 2), ["a", "b"]);
    assert_eq!(queued(&network, "away", 0), [""; 0]);
    assert_eq!(queued(&network, "away", usize::MAX), ["a", "b", "c"]);
    let mut away = opts("away", V5).resume().on(&network);
    assert_eq!(away.drain(), ["a", "b", "c"]);
}

/// What was sent stays: its client knows its identifier.
#[test]
fn a_queue_is_cleared_and_the_window_stays() {
    for version in ALL {
        let store = Arc::new(LateStore::new(false));
        let network =
            Network::with_store(&[("mqtt.max_inflight", "1")], Arc::clone(&store) as Arc<dyn Store>);
        let connect = opts("c", version).persistent();
        let mut client = connect.on(&network);
        client.subscribe("t", Q2);
        for (payload, qos) in [("sent", 1), ("a", 1), ("b", 2)] {
            network.publish("t", payload, qos, false);
        }
        assert_eq!(network.engine.clear_queue(&mut network.turn(), "c"), Some(2));
        assert_eq!(network.engine.clear_queue(&mut network.turn(), "c"), Some(0));
        let stats = network.stats();
        assert_eq!((stats.messages_queued, stats.messages_dropped_cleared), (0, 2));
        assert_eq!(stats.messages_dropped(), 2);
        let sent = client.expect_message("t", "sent");
        client.acknowledge(&sent);
        client.expect_nothing();
        network.publish("t", "next", 1, false);
        client.hang_up();
        let network = after(&network, &store);
        let (mut client, _) = connect.join(&network);
        client.expect_message("t", "next");
        client.expect_nothing();
    }
}

/// Publishers that wait for the subscriber to drain go on.
#[test]
fn clearing_a_queue_lets_its_publishers_go_on() {
    let settings = [("session.max_queued_messages", "40"), ("mqtt.receive_maximum", "50")];
    let network = Network::with(&settings);
    let mut slow = opts("slow", V5).receive_maximum(1).on(&network);
    slow.subscribe("t", Q1);
    let mut publisher = opts("p", V5).on(&network);
    (1..=20).for_each(|id| _ = publisher.send_publish("t", "x", Q1, id));
    let acknowledged = std::iter::from_fn(|| publisher.next()).count();
    assert_eq!(acknowledged, 11);
    assert_eq!(network.engine.clear_queue(&mut network.turn(), "slow"), Some(19));
    assert_eq!(std::iter::from_fn(|| publisher.next()).count(), 9);
}
