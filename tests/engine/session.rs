//! How long a session lives, and who has it.

use std::sync::Arc;

use midge::codec::qos::QoS;
use midge::codec::reason::ReasonCode;
use midge::message::Publication;
use midge::session::delivery::{Context, DeliveryOptions, Limits, Outcome, ReportedFates};
use midge::session::link::Cause;
use midge::session::pool::Pool;
use midge::session::queue::{Bounds, Overflow};
use midge::stats::{Counters, Counts, DropReason};
use midge::storage::{MemoryStore, Recorder};
use midge::time::WallClock;

use crate::harness::{ALL, Network, Q1, Received, V5, V311, opts};

/// [MQTT-4.1.0-2]
#[test]
fn a_session_ends_with_its_connection_or_after_its_interval_or_never() {
    let cases: [(u32, u64, bool); 5] = [
        (0, 0, false),
        (10, 9, true),
        (10, 11, false),
        (u32::MAX, 300 * 365 * 24 * 3600, true), // [MQTT-3.1.2-23]
        (u32::MAX - 1, 137 * 365 * 24 * 3600, false),
    ];
    for (expiry, after, expected) in cases {
        let network = Network::new();
        let mut client = opts("a", V5).expiry(expiry).on(&network);
        client.subscribe("t", Q1);
        client.hang_up();
        network.advance(after);
        let (_client, present) = opts("a", V5).persistent().join(&network);
        assert_eq!(present, expected, "{expiry} after {after}");
        assert_eq!(network.stats().subscriptions, u64::from(expected));
    }
}

/// [MQTT3-3.1.2-6], [MQTT3-3.1.2-4]
#[test]
fn clean_session_decides_for_old_versions() {
    for version in [ALL[0], V311] {
        let network = Network::new();
        opts("a", version).on(&network).hang_up();
        assert_eq!(network.stats().sessions, 0);
        opts("a", version).resume().on(&network).hang_up();
        network.advance(100 * 365 * 24 * 3600);
        assert_eq!(network.stats().sessions, 1);
        opts("a", version).on(&network).hang_up();
        assert_eq!(network.stats().sessions, 0);
    }
}

#[test]
fn the_setting_caps_the_expiry_of_all_versions() {
    for version in ALL {
        let network = Network::with(&[("session.max_expiry", "60s")]);
        opts("a", version).persistent().on(&network).hang_up();
        network.advance(59);
        assert_eq!(network.stats().sessions, 1);
        network.advance(2);
        assert_eq!(network.stats().sessions, 0);
        assert_eq!(network.stats().sessions_expired, 1);
    }
}

/// [MQTT-4.1.0-2]
#[test]
fn disconnect_can_change_the_expiry() {
    let network = Network::new();
    opts("a", V5).expiry(10).on(&network).disconnect_with(ReasonCode::Success, Some(100));
    network.advance(50);
    assert_eq!(network.stats().sessions, 1);
    network.advance(51);
    assert_eq!(network.stats().sessions, 0);
    opts("a", V5).expiry(10).on(&network).disconnect_with(ReasonCode::Success, Some(0));
    assert_eq!(network.stats().sessions, 0);
    // 0 may be repeated.
    opts("a", V5).on(&network).disconnect_with(ReasonCode::Success, Some(0));
}

/// MQTT 5, section 3.14.2.2.2.
#[test]
fn disconnect_cannot_raise_the_expiry_from_zero() {
    let network = Network::new();
    let mut client = opts("a", V5).on(&network);
    client.send_disconnect(ReasonCode::Success, Some(10));
    client.expect_refused(ReasonCode::ProtocolError);
    assert_eq!(network.stats().sessions, 0);
}

/// It is the client's own interval that counts, not what the server made of it.
#[test]
fn disconnect_may_repeat_an_interval_that_the_server_cut_to_zero() {
    let network = Network::with(&[("session.max_expiry", "0")]);
    let mut client = opts("a", V5).expiry(10).on(&network);
    assert_eq!(client.told().session_expiry_interval(), Some(0));
    client.send_disconnect(ReasonCode::Success, Some(20));
    assert_eq!(client.line.finished(), Some(Cause::Disconnected));
    assert_eq!(network.stats().sessions, 0);
}

#[test]
fn coming_back_starts_the_interval_anew() {
    let network = Network::new();
    let connect = opts("a", V5).resume().expiry(10);
    connect.on(&network).hang_up();
    for _ in 0..5 {
        network.advance(9);
        let (client, present) = connect.join(&network);
        assert!(present);
        network.advance(100);
        client.hang_up();
    }
    network.advance(11);
    assert_eq!(network.stats().sessions, 0);
    assert_eq!(network.engine.timers_running(), 0);
}

/// [MQTT-3.1.4-3], [MQTT3-3.1.4-2]
#[test]
fn a_second_connection_takes_the_session_over() {
    for (before, after) in crate::harness::version_pairs() {
        let network = Network::new();
        let mut old = opts("a", before).persistent().on(&network);
        old.subscribe("t", Q1);
        let (mut new, present) = opts("a", after).persistent().join(&network);
        assert_eq!(present, after != ALL[0]);
        if before == V5 {
            assert_eq!(old.next(), Some(Received::Disconnect(ReasonCode::SessionTakenOver)));
        }
        old.expect_nothing();
        assert_eq!(old.line.finished(), Some(Cause::SessionTakenOver));
        network.publish("t", "x", 1, false);
        old.expect_nothing();
        assert_eq!(new.drain(), ["x"]);
        let stats = network.stats();
        assert_eq!((stats.takeovers, stats.clients_connected, stats.sessions), (1, 1, 1));
        // The end of the old connection is nothing to the session.
        old.hang_up();
        assert_eq!(network.stats().clients_connected, 1);
        network.publish("t", "y", 1, false);
        assert_eq!(new.drain(), ["y"]);
    }
}

#[test]
fn packets_of_a_connection_that_was_taken_over_are_not_taken() {
    for version in ALL {
        let network = Network::new();
        let mut old = opts("a", version).persistent().on(&network);
        let mut new = opts("a", version).persistent().on(&network);
        new.subscribe("t", Q1);
        assert!(!old.send_publish("t", "late", Q1, 1));
        assert!(!old.send_bytes(&[0xC0, 0]));
        new.expect_nothing();
        assert!(!old.send_disconnect(ReasonCode::Success, None));
        assert_eq!(new.line.finished(), None);
    }
}

/// [MQTT-3.1.2-4], [MQTT3-3.1.2-6], [MQTT3-3.2.2-1]
#[test]
fn a_clean_start_takes_over_and_discards() {
    for version in ALL {
        let network = Network::new();
        let mut old = opts("a", version).persistent().on(&network);
        old.subscribe("t", Q1);
        let (mut new, present) = opts("a", version).join(&network);
        assert!(!present);
        assert_eq!(old.line.finished(), Some(Cause::SessionTakenOver));
        assert_eq!(network.publish("t", "x", 1, false), 0);
        new.expect_nothing();
        assert_eq!(network.stats().sessions, 1);
        old.hang_up();
        assert_eq!(network.stats().clients_connected, 1);
        new.hang_up();
        assert_eq!(network.stats().sessions, 0);
    }
}

/// MQTT 5, section 3.1.2.11.2: a session without expiry ends with its connection, also when that is taken over.
#[test]
fn a_session_without_expiry_is_not_taken_over_but_ended() {
    for (before, after) in crate::harness::version_pairs() {
        let network = Network::new();
        let mut old = opts("a", before).on(&network);
        old.subscribe("t", Q1);
        let (mut new, present) = opts("a", after).persistent().join(&network);
        assert!(!present);
        assert_eq!(old.line.finished(), Some(Cause::SessionTakenOver));
        assert_eq!(network.publish("t", "x", 1, false), 0);
        // The new session is a whole one: known, resumed, and gone with a clean start.
        new.subscribe("t", Q1);
        new.hang_up();
        assert_eq!(network.stats().sessions, 1);
        network.publish("t", "y", 1, false);
        let (mut new, present) = opts("a", after).persistent().join(&network);
        assert_eq!((new.drain(), present), (vec!["y".to_owned()], after != ALL[0]));
        opts("a", after).on(&network).hang_up();
        assert_eq!((network.stats().sessions, network.stats().subscriptions), (0, 0));
    }
}

/// [MQTT-3.1.3-2], [MQTT3-3.1.3-2]
#[test]
fn sessions_are_told_apart_by_their_identifiers() {
    let network = Network::new();
    let clients: Vec<_> = ["a", "A", "a ", "ä"].map(|id| opts(id, V5).on(&network)).into();
    assert_eq!(network.stats().clients_connected, 4);
    assert!(clients.iter().all(|client| client.line.finished().is_none()));
    assert_eq!(network.stats().clients_maximum, 4);
}

#[test]
fn a_thousand_clients_over_a_year() {
    let network = Network::new();
    let ids: Vec<String> = (0..1000).map(|n| format!("c{n}")).collect();
    for (n, id) in ids.iter().enumerate() {
        let mut client = opts(id, V5).expiry(n as u32 * 30_000).keep_alive(60).on(&network);
        client.subscribe(&format!("t/{}", n % 10), Q1);
        if n % 2 == 0 {
            client.hang_up();
        }
    }
    assert_eq!(network.stats().clients_connected, 500);
    network.advance(100);
    assert_eq!(network.stats().clients_connected, 0);
    assert_eq!(network.stats().keep_alive_timeouts, 500);
    network.advance(15_000_000);
    assert!((495..=500).contains(&network.stats().sessions), "{}", network.stats().sessions);
    network.advance(20_000_000);
    let stats = network.stats();
    assert_eq!((stats.sessions, stats.subscriptions), (0, 0));
    assert_eq!(network.engine.timers_running(), 0);
}

/// A thread that looked up the subscribers before the session ended may deliver to it afterwards.
#[test]
fn a_session_that_has_ended_takes_no_message() {
    let network = Network::new();
    let mut client = opts("a", V5).on(&network);
    client.subscribe("t", Q1);
    let session = client.connection.session().unwrap().clone();
    client.disconnect();
    let (mut pool, mut counts, gauges) = (Pool::new(), Counts::default(), Counters::default());
    let queue = Bounds { messages: 10, bytes: 1000, overflow: Overflow::DropNewest };
    let limits = Limits { queue, window_bytes: 1000, outbox_bytes: 1000, queue_qos0: true, holds: false };
    for qos in [QoS::AtMostOnce, QoS::AtLeastOnce] {
        let mut late = Publication::new(b"t", b"x", qos, false, network.now());
        let mut events = Vec::new();
        let recorder = &Recorder::new(Arc::new(MemoryStore), WallClock::started_at(0));
        let mut context = Context {
            recorder,
            now: network.now(),
            pool: &mut pool,
            counts: &mut counts,
            gauges: &gauges,
            limits: &limits,
            client_id: "a",
            events: &mut events,
            reported: ReportedFates::default(),
        };
        let terms = DeliveryOptions { qos, retain: false, identifiers: &[], share: None };
        let outcome = session.outbound.lock().deliver(&mut context, &mut late, &terms);
        assert_eq!(outcome, Outcome::Dropped(DropReason::SessionEnded));
    }
    assert_eq!(session.outbound.lock().queue_len(), 0);
    assert_eq!(gauges.snapshot().messages_queued, 0);
}
