//! A broker that starts with what another one has recorded: each kind of change, and what cannot be restored.

use std::sync::Arc;
use std::sync::Mutex;

use midge::codec::ack::AckKind;
use midge::codec::packet::Packet;
use midge::codec::packet_id::PacketId;
use midge::codec::qos::QoS;
use midge::codec::reason::ReasonCode;
use midge::codec::subscribe::SubscriptionOptions;
use midge::codec::topic::TopicName;
use midge::engine::access::hooks::{Host, Wanted};
use midge::session::event::{Event, Level};
use midge::session::link::Cause;
use midge::storage::{Change, DeliveryRecord, LoadError, MessageRecord, SessionChange, Store, StoreError};
use midge::time::WallTime;

use crate::harness::{ALL, Commit, LastWill, LateStore, Network, Q0, Q1, Q2, Received, V5, opts};
use crate::hooks::Toy;

/// A broker with a store that commits everything at once.
fn recorded() -> (Network, Arc<LateStore>) {
    let store = Arc::new(LateStore::new(false));
    (Network::with_store(&[], Arc::clone(&store) as Arc<dyn Store>), store)
}

/// The next broker, some seconds later.
fn after(network: &Network, store: &LateStore, pause: u64) -> Network {
    network.after_crash(store, store.len(), pause).0
}

#[test]
fn the_window_is_sent_again_and_goes_on_where_it_was() {
    for version in ALL {
        let (network, store) = recorded();
        let connect = opts("to", version).persistent();
        let mut hearer = connect.on(&network);
        hearer.subscribe("t", Q2);
        for (payload, qos) in [("done", 1), ("open", 1), ("known", 2), ("confirmed", 2), ("complete", 2)] {
            network.publish("t", payload, qos, false);
        }
        let ids: Vec<u16> = (0..5).map(|_| hearer.expect_publish().id).collect();
        assert_eq!(ids, [1, 2, 3, 4, 5]);
        hearer.send_ack(AckKind::Puback, 1);
        hearer.send_ack(AckKind::Pubrec, 4);
        hearer.send_ack(AckKind::Pubrec, 5);
        hearer.send_ack(AckKind::Pubcomp, 5);
        let network = after(&network, &store, 0);
        let (mut hearer, present) = connect.join(&network);
        assert_eq!(present, version != crate::harness::V31);
        for (payload, id) in [("open", 2), ("known", 3)] {
            let again = hearer.expect_message("t", payload);
            assert_eq!((again.id, again.dup), (id, true));
        }
        hearer.expect_ack(AckKind::Pubrel, 4);
        hearer.expect_nothing();
        network.publish("t", "next", 1, false);
        let next = hearer.expect_message("t", "next");
        assert_eq!((next.id, next.dup), (6, false));
    }
}

/// A store that stops anywhere has the old session of the client or the new one.
#[test]
fn a_clean_start_replaces_the_session_in_one_group() {
    let (network, store) = recorded();
    let connect = opts("to", V5).expiry(60);
    let _old = connect.on(&network);
    let first = store.len();
    let _new = connect.on(&network);
    let lines = store.lines_from(first);
    let changes: Vec<_> = lines.iter().map(|line| line.split(' ').nth(1).unwrap()).collect();
    assert!(changes.ends_with(&["ended", "begun"]), "{lines:?}");
    for position in first..store.len() {
        assert_eq!(store.commit_to(position as u64), first as u64, "{lines:?}");
    }
    assert_eq!(store.commit_to(store.len() as u64), store.len() as u64);
}

/// A store that stops anywhere has a message of QoS 2 and its identifier, or neither: also where a hook decides.
#[test]
fn a_message_and_its_identifier_are_one_group_whoever_decides() {
    for hook in [false, true] {
        let (network, store) = recorded();
        let network = match hook {
            false => network,
            true => network.and(|engine| engine.with_host(Arc::new(Toy::looks(|_| true)))),
        };
        let mut reader = opts("to", V5).persistent().on(&network);
        reader.subscribe("t", Q2);
        reader.hang_up();
        let mut publisher = opts("from", V5).persistent().on(&network);
        let first = store.len();
        publisher.send_publish("t", "x", Q2, 1);
        let lines = store.lines_from(first);
        assert_eq!(lines.len(), 2, "queued and received: {lines:?}");
        for position in first..store.len() {
            assert_eq!(store.commit_to(position as u64), first as u64, "{lines:?}");
        }
        assert_eq!(store.commit_to(store.len() as u64), store.len() as u64);
    }
}

/// After a crash the client would find the session that it was told is gone: its messages would be taken for
/// repetitions, or be more than may be unacknowledged.
#[test]
fn a_session_that_was_replaced_does_not_come_back_to_a_client_that_was_told_so() {
    for version in ALL {
        for commits in [false, true] {
            let store = Arc::new(LateStore::new(true));
            let settings = [("mqtt.receive_maximum", "3")];
            let network = Network::with_late_store_and(&settings, &store);
            let connect = opts("from", version).persistent();
            let mut publisher = connect.on(&network);
            for id in 1..=3 {
                publisher.send_publish("t", "old", Q2, id);
            }
            store.commit(&network);
            (1..=3).for_each(|id| _ = publisher.expect_ack(AckKind::Pubrec, id));
            publisher.hang_up();
            store.commit(&network);
            // A clean start in MQTT 3 begins a session that ends with the connection; nothing of the old one stays.
            let clean = if version == V5 { opts("from", V5).expiry(60) } else { opts("from", version) };
            let mut again = clean.begin(&network);
            if commits {
                store.commit(&network);
            }
            let told = matches!(again.next(), Some(Received::Connack { present: false, .. }));
            assert_eq!(told, commits, "{version}: CONNACK before its record was committed");
            let position = store.committed() as usize;
            let (network, store) = network.after_crash(&store, position, 0);
            assert_eq!(network.stats().sessions, u64::from(!commits || version == V5));
            let mut publisher = connect.on(&network);
            // The client that was told begins with the same identifiers; the other one repeats what it has.
            (1..=3).for_each(|id| _ = publisher.send_publish("t", "new", Q2, id));
            store.commit(&network);
            (1..=3).for_each(|id| _ = publisher.expect_ack(AckKind::Pubrec, id));
            assert_eq!(network.stats().messages_published, if told { 3 } else { 0 });
        }
    }
}

/// [MQTT-3.2.0-1]: what comes behind CONNACK waits with it.
#[test]
fn what_is_sent_to_a_client_waits_behind_its_connack() {
    for version in ALL {
        let (network, store) = Network::with_late_store();
        let connect = opts("to", version).persistent();
        let mut hearer = connect.on(&network);
        hearer.send_subscribe(&[("t", SubscriptionOptions::with_qos(Q1))], 0);
        store.commit(&network);
        hearer.hang_up();
        network.publish("t", "first", 1, false);
        let mut hearer = connect.begin(&network);
        hearer.send(&Packet::Pingreq);
        network.publish("t", "second", 0, false);
        hearer.expect_nothing();
        store.commit(&network);
        assert!(matches!(hearer.next(), Some(Received::Connack { .. })));
        hearer.expect_message("t", "first");
        assert!(matches!(hearer.next(), Some(Received::Pingresp)));
        hearer.expect_message("t", "second");
        hearer.expect_nothing();
    }
}

#[test]
fn a_connection_that_ends_before_its_connack_is_sent_nothing() {
    for version in ALL {
        let (network, store) = Network::with_late_store();
        let connect = opts("to", version).persistent();
        let mut first = connect.begin(&network);
        let mut second = connect.begin(&network);
        first.expect_nothing();
        assert_eq!(first.line.finished(), Some(Cause::SessionTakenOver));
        store.commit(&network);
        first.expect_nothing();
        assert!(matches!(second.next(), Some(Received::Connack { .. })));
    }
}

/// Nobody writes to it, so that nothing else would slow it down.
#[test]
fn a_client_that_asks_too_much_before_its_connack_is_disconnected() {
    let store = Arc::new(LateStore::new(true));
    let network = Network::with_late_store_and(&[("session.max_outbox_bytes", "64KiB")], &store);
    let mut client = opts("to", V5).persistent().begin(&network);
    for _ in 0..65_000 {
        client.send(&Packet::Pingreq);
    }
    client.poll();
    assert_eq!(client.line.finished(), None);
    for _ in 0..1_000 {
        client.send(&Packet::Pingreq);
    }
    client.poll();
    assert_eq!(client.line.finished(), Some(Cause::Refused(ReasonCode::QuotaExceeded)));
    client.expect_nothing();
}

/// What is not recorded needs no store.
#[test]
fn a_session_that_is_not_kept_begins_though_the_store_has_failed() {
    let (network, store) = Network::with_late_store();
    opts("kept", V5).persistent().begin(&network).hang_up();
    store.fail("sessions.log: no space left on device");
    let refused = opts("to", V5).persistent().refused_by(&network);
    assert_eq!(refused.0, Some(ReasonCode::ServerUnavailable));
    let mut client = opts("from", V5).begin(&network);
    assert!(matches!(client.next(), Some(Received::Connack { .. })));
}

#[test]
fn the_queue_is_restored_in_order_and_as_it_was_to_be_sent() {
    let (network, store) = recorded();
    let connect = opts("to", V5).persistent();
    let mut hearer = connect.on(&network);
    let options = SubscriptionOptions { retain_as_published: true, ..SubscriptionOptions::with_qos(Q1) };
    hearer.subscribe_with("t/#", options, 7);
    hearer.subscribe_with("t/+", options, 8);
    hearer.hang_up();
    network.publish("t/1", "a", 2, true);
    network.publish("t/1", "lost", 0, false);
    network.publish("t/2", "b", 1, false);
    assert_eq!(network.stats().messages_queued, 2);
    let network = after(&network, &store, 0);
    assert_eq!(network.stats().messages_queued, 2);
    let mut hearer = connect.on(&network);
    let first = hearer.expect_message("t/1", "a");
    let mut identifiers = first.identifiers();
    identifiers.sort_unstable();
    assert_eq!((first.qos, first.retain, first.dup, identifiers), (Q1, true, false, vec![7, 8]));
    let second = hearer.expect_message("t/2", "b");
    assert_eq!((second.qos, second.retain, second.id), (Q1, false, 2));
    hearer.expect_nothing();
    assert_eq!(network.stats().messages_queued, 0);
}

#[test]
fn what_was_dropped_from_the_queue_does_not_come_back() {
    let store = Arc::new(LateStore::new(false));
    let settings = [("session.max_queued_messages", "2"), ("session.queue_overflow", "drop_oldest")];
    let network = Network::with_store(&settings, Arc::clone(&store) as Arc<dyn Store>);
    let connect = opts("to", V5).persistent();
    let mut hearer = connect.on(&network);
    hearer.subscribe("t", Q1);
    hearer.hang_up();
    ["a", "b", "c"].iter().for_each(|payload| _ = network.publish("t", payload, 1, false));
    let network = after(&network, &store, 0);
    assert_eq!(connect.on(&network).drain(), ["b", "c"]);
}

#[test]
fn message_expiry_goes_on_by_the_calendar() {
    let (network, store) = recorded();
    let connect = opts("to", V5).persistent();
    let mut hearer = connect.on(&network);
    hearer.subscribe("t", Q1);
    hearer.hang_up();
    let mut publisher = opts("from", V5).on(&network);
    for (payload, seconds, retain) in [("a", 10, false), ("b", 100, false), ("c", 10, true), ("d", 100, true)]
    {
        let id = publisher
            .send_with("t", payload.as_bytes(), Q1, retain, |p| _ = p.message_expiry_interval(seconds));
        publisher.complete(Q1, id);
    }
    network.advance(5);
    let (soon, late) = (after(&network, &LateStore::new(false), 0), after(&network, &store, 20));
    assert_eq!(soon.stats().sessions, 0);
    let mut hearer = connect.on(&late);
    for payload in ["b", "d"] {
        let message = hearer.expect_message("t", payload);
        assert_eq!(message.properties().message_expiry_interval(), Some(75));
        hearer.acknowledge(&message);
    }
    hearer.expect_nothing();
    let retained = late.engine.retained_message(TopicName::parse("t").unwrap()).unwrap();
    assert_eq!(retained.payload(), b"d");
}

#[test]
fn subscriptions_come_back_with_their_options() {
    let (network, store) = recorded();
    let connect = opts("to", V5).persistent();
    let mut hearer = connect.on(&network);
    let options = SubscriptionOptions { no_local: true, ..SubscriptionOptions::with_qos(Q1) };
    hearer.subscribe_with("t", options, 7);
    hearer.subscribe("gone", Q1);
    hearer.unsubscribe(&["gone"]);
    let network = after(&network, &store, 0);
    assert_eq!(network.stats().subscriptions, 1);
    let mut hearer = connect.on(&network);
    hearer.publish("t", "own", Q1);
    assert_eq!(network.publish("gone", "x", 1, false), 0);
    network.publish("t", "x", 2, false);
    let message = hearer.expect_message("t", "x");
    assert_eq!((message.qos, message.identifiers()), (Q1, vec![7]));
    assert_eq!(hearer.unsubscribe(&["t"]), [0]);
}

/// [MQTT-4.3.3-10]
#[test]
fn a_received_qos_2_message_is_known_until_it_is_released() {
    for version in ALL {
        let (network, store) = recorded();
        let connect = opts("from", version).persistent();
        let mut publisher = connect.on(&network);
        for id in [3, 4] {
            publisher.send_publish("t", "x", Q2, id);
            publisher.expect_ack(AckKind::Pubrec, id);
        }
        publisher.send_ack(AckKind::Pubrel, 4);
        publisher.expect_ack(AckKind::Pubcomp, 4);
        let network = after(&network, &store, 0);
        let mut publisher = connect.on(&network);
        publisher.send_publish("t", "x", Q2, 3);
        publisher.expect_ack(AckKind::Pubrec, 3);
        assert_eq!(network.stats().messages_published, 0);
        publisher.send_publish("t", "y", Q2, 4);
        publisher.expect_ack(AckKind::Pubrec, 4);
        assert_eq!(network.stats().messages_published, 1);
    }
}

#[test]
fn a_will_is_published_when_its_delay_has_passed_since_the_connection_ended() {
    let (network, store) = recorded();
    let will = |topic: &str, delay| LastWill::new(topic, "w").qos(Q1).delay(delay);
    opts("away", V5).expiry(100).will(will("will/away", 30)).on(&network).hang_up();
    let _there = opts("there", V5).expiry(100).will(will("will/there", 30)).on(&network);
    let _at_once = opts("at once", V5).expiry(100).will(will("will/at once", 0)).on(&network);
    opts("goodbye", V5).expiry(100).will(will("will/goodbye", 30)).on(&network).disconnect();
    let _gone = opts("gone", V5).will(will("will/gone", 0)).on(&network);
    network.advance(10);
    let network = after(&network, &store, 10);
    let mut hearer = opts("hearer", V5).on(&network);
    hearer.subscribe("will/#", Q1);
    network.advance(1);
    assert_eq!(hearer.expect_publish().topic, "will/at once");
    network.advance(8);
    hearer.expect_nothing();
    network.advance(2);
    assert_eq!(hearer.expect_publish().topic, "will/away");
    network.advance(18);
    hearer.expect_nothing();
    network.advance(2);
    assert_eq!(hearer.expect_publish().topic, "will/there");
    network.advance(100);
    hearer.expect_nothing();
}

#[test]
fn a_session_ends_by_the_calendar_and_does_not_come_back() {
    let (network, store) = recorded();
    opts("early", V5).expiry(15).on(&network).hang_up();
    opts("late", V5).expiry(40).on(&network).hang_up();
    opts("shorter", V5).expiry(400).on(&network).disconnect_with(ReasonCode::Success, Some(15));
    opts("goodbye", V5).expiry(400).on(&network).disconnect_with(ReasonCode::Success, Some(0));
    opts("clean", V5).persistent().on(&network).hang_up();
    opts("clean", V5).on(&network).hang_up();
    opts("ends", V5).persistent().on(&network).hang_up();
    let _ends = opts("ends", V5).resume().on(&network);
    let _there = opts("there", V5).expiry(40).on(&network);
    let _no_session = opts("no session", V5).on(&network);
    let sessions = |network: &Network| {
        let mut all: Vec<String> = network.engine.clients().into_iter().map(|c| c.client_id).collect();
        all.sort_unstable();
        all
    };
    let network = after(&network, &store, 20);
    assert_eq!(sessions(&network), ["early", "late", "shorter", "there"]);
    network.advance(1);
    assert_eq!(sessions(&network), ["late", "there"]);
    network.advance(20);
    assert_eq!(sessions(&network), ["there"]);
    network.advance(20);
    assert_eq!(sessions(&network), [""; 0]);
}

/// What happens to them at one time happens in the same order after each start.
#[test]
fn sessions_come_back_in_the_order_in_which_they_began() {
    let (network, store) = recorded();
    let clients: Vec<_> = (0..20).map(|n| opts(&format!("c{n}"), V5).expiry(40).on(&network)).collect();
    let (_network, store) = network.after_crash(&store, store.len(), 0);
    let expected: Vec<String> = (0..20).map(|n| format!("c{n} detached 40")).collect();
    assert_eq!(store.lines_from(20), expected);
    drop(clients);
}

/// The connection that the crash has ended is not found again to have ended with the next crash.
#[test]
fn an_interval_is_not_begun_again_by_a_second_crash() {
    let (network, store) = recorded();
    let _there = opts("there", V5).expiry(40).on(&network);
    let (second, store) = network.after_crash(&store, store.len(), 0);
    let (third, _store) = second.after_crash(&store, store.len(), 39);
    third.advance(2);
    assert_eq!(third.stats().sessions, 0);
}

#[test]
fn retained_messages_come_back_as_they_were_last() {
    let (network, store) = recorded();
    network.publish("a", "old", 1, true);
    network.publish("a", "new", 0, true);
    network.publish("b", "x", 1, true);
    network.publish("b", "", 1, true);
    network.publish("c", "x", 1, true);
    assert!(network.engine.clear_retained(network.now(), TopicName::parse("c").unwrap()));
    let network = after(&network, &store, 0);
    let mut hearer = opts("to", V5).on(&network);
    hearer.subscribe("#", Q2);
    let message = hearer.expect_message("a", "new");
    assert_eq!((message.qos, message.retain), (Q0, true));
    hearer.expect_nothing();
}

#[test]
fn what_waits_for_a_shared_subscription_goes_to_another_member_after_a_restart_too() {
    let (network, store) = recorded();
    let mut first = opts("first", V5).expiry(10).on(&network);
    first.subscribe("$share/g/t", Q1);
    first.hang_up();
    network.publish("t", "x", 1, false);
    let network = after(&network, &store, 0);
    let mut second = opts("second", V5).on(&network);
    second.subscribe("$share/g/t", Q1);
    network.advance(11);
    second.expect_message("t", "x");
}

/// After a crash it would be sent with another identifier, and the client would have it twice.
#[test]
fn a_qos_2_message_is_not_sent_before_its_identifier_is_committed_and_none_overtakes_it() {
    let (network, store) = Network::with_late_store();
    let mut hearer = opts("to", V5).persistent().on(&network);
    hearer.send_subscribe(&[("t", SubscriptionOptions::with_qos(Q2))], 0);
    store.commit(&network);
    hearer.next();
    network.publish("t", "first", 1, false);
    hearer.expect_message("t", "first");
    let before = store.len();
    network.publish("t", "second", 2, false);
    network.publish("t", "third", 1, false);
    network.publish("t", "fourth", 2, false);
    hearer.expect_nothing();
    store.commit_up_to(&network, before + 4);
    hearer.expect_message("t", "second");
    let third = hearer.expect_message("t", "third");
    assert!(!third.dup);
    hearer.expect_nothing();
    // The connection is replaced: what is not committed waits on the new one, too.
    let mut hearer = opts("to", V5).persistent().begin(&network);
    hearer.expect_nothing();
    store.commit(&network);
    assert!(matches!(hearer.next(), Some(Received::Connack { present: true, .. })));
    let sent: Vec<(String, bool)> =
        (0..4).map(|_| hearer.expect_publish()).map(|m| (m.text().to_owned(), m.dup)).collect();
    let expected = [("first", true), ("second", true), ("third", true), ("fourth", false)];
    assert_eq!(sent, expected.map(|(text, dup)| (text.to_owned(), dup)));
    hearer.expect_nothing();
}

/// After a crash the message would be sent again, to a client that has released it.
#[test]
fn pubrel_waits_for_the_commit() {
    for version in ALL {
        let (network, store) = Network::with_late_store();
        let connect = opts("to", version).persistent();
        let mut hearer = connect.on(&network);
        hearer.send_subscribe(&[("t", SubscriptionOptions::with_qos(Q2))], 0);
        store.commit(&network);
        hearer.next();
        network.publish("t", "x", 2, false);
        store.commit(&network);
        let message = hearer.expect_message("t", "x");
        hearer.send_ack(AckKind::Pubrec, message.id);
        hearer.expect_nothing();
        let mut hearer = connect.begin(&network);
        hearer.expect_nothing();
        store.commit(&network);
        assert!(matches!(hearer.next(), Some(Received::Connack { .. })));
        hearer.expect_ack(AckKind::Pubrel, message.id);
        hearer.expect_nothing();
    }
}

/// A broker whose store holds these changes; why it does not start.
fn refused(changes: &[SessionChange<'_>]) -> String {
    let store = Arc::new(LateStore::new(false));
    for change in changes {
        store.append(WallTime::from_millis(0), Change::Session { client_id: "c", change: *change });
    }
    let network = Network::with_store(&[("session.max_sessions", "1")], store as Arc<dyn Store>);
    let restored = network.engine.restore(&mut network.turn());
    restored.expect_err(&format!("{changes:?}")).to_string()
}

#[test]
fn what_cannot_be_restored_is_named() {
    let id = PacketId::new(9).unwrap();
    let begun = SessionChange::Begun { expiry_interval: 10, user: None };
    let message = MessageRecord {
        topic: "t",
        properties: &[],
        payload: b"x",
        qos: QoS::AtLeastOnce,
        retain: false,
        received_at: WallTime::from_millis(0),
        expires_at: WallTime::NEVER,
    };
    let delivery = |topic, qos| {
        let message = MessageRecord { topic, ..message };
        SessionChange::Queued(DeliveryRecord { message, qos, retain: false, identifiers: &[], share: None })
    };
    let queued = delivery("t", Q1);
    let (options, identifier) = (SubscriptionOptions::with_qos(Q1), 0);
    let sent = SessionChange::Sent { packet_id: id };
    let cases: [(&[SessionChange<'_>], &str); 13] = [
        (&[queued], r#"change "queued" names session "c", which has not begun or has ended"#),
        (
            &[begun, SessionChange::Ended, SessionChange::WillCleared],
            r#"change "will cleared" names session "c", which has not begun or has ended"#,
        ),
        (&[begun, begun], r#"session "c" begins, but it already exists"#),
        (&[begun, sent], r#"session "c": change "sent" takes message 0, but 0 are queued"#),
        (
            &[begun, queued, SessionChange::Dropped { index: 1 }],
            r#"session "c": change "dropped" takes message 1, but 1 are queued"#,
        ),
        (&[begun, queued, sent, queued, sent], r#"session "c": packet identifier 9 is sent twice"#),
        (
            &[begun, SessionChange::Done { packet_id: id }],
            r#"session "c": change "done" names packet identifier 9, which is not in use"#,
        ),
        (
            &[begun, queued, sent, SessionChange::Confirmed { packet_id: id }],
            r#"session "c": change "confirmed" names packet identifier 9, which is not in use"#,
        ),
        (
            &[begun, SessionChange::Released { packet_id: id }],
            r#"session "c": change "released" names packet identifier 9, which is not in use"#,
        ),
        (
            &[begun, SessionChange::Unsubscribed { filter: "a" }],
            r#"session "c": change "unsubscribed" names subscription "a", which is not there"#,
        ),
        (
            &[begun, SessionChange::RetainedDue { filter: "a", qos: Q1, identifier: 0 }],
            r#"session "c": change "retained due" names subscription "a", which is not there"#,
        ),
        (
            &[begun, SessionChange::Subscribed { filter: "a/#/b", options, identifier }],
            r#"session "c": topic filter "a/#/b" is not valid"#,
        ),
        (&[begun, delivery("a/#", Q1)], r#"topic "a/#" is not valid"#),
    ];
    for (changes, cause) in cases {
        assert_eq!(refused(changes), format!("the store cannot be restored: {cause}"));
    }
    let qos0 = r#"session "c": a message of QoS 0 is queued, but QoS 0 is never stored"#;
    assert_eq!(refused(&[begun, delivery("t", Q0)]), format!("the store cannot be restored: {qos0}"));
}

/// What was sent is known by its acknowledgements; the rest comes, each topic once more at most.
#[test]
fn the_retained_messages_of_a_subscription_go_on_after_a_crash() {
    for qos in [Q1, Q2] {
        let store = Arc::new(LateStore::new(false));
        let settings = [("mqtt.max_inflight", "3")];
        let network = Network::with_store(&settings, Arc::clone(&store) as Arc<dyn Store>);
        for n in 0..100 {
            network.publish(&format!("r/{n:02}"), "kept", qos.as_u8(), true);
        }
        let connect = opts("to", V5).persistent();
        let mut hearer = connect.on(&network);
        hearer.send_subscribe(&[("r/#", SubscriptionOptions::with_qos(qos))], 0);
        assert!(matches!(hearer.next(), Some(Received::Suback { .. })));
        let first = hearer.expect_publish();
        hearer.acknowledge(&first);
        let (network, store) = network.after_crash(&store, store.len(), 0);
        let mut hearer = connect.on(&network);
        let mut topics = Vec::new();
        while let Some(Received::Publish(message)) = hearer.next() {
            hearer.acknowledge(&message);
            topics.push(message.topic.clone());
        }
        topics.sort();
        topics.dedup();
        assert_eq!(topics.len(), 100, "{qos:?}");
        // All are sent: another crash brings none of them again.
        let (network, _store) = network.after_crash(&store, store.len(), 0);
        let (mut hearer, present) = connect.join(&network);
        assert!(present, "the session is there");
        hearer.expect_nothing();
    }
}

#[test]
fn more_sessions_than_the_settings_allow_are_named_with_the_setting() {
    let (network, store) = recorded();
    opts("a", V5).persistent().on(&network).hang_up();
    opts("b", V5).persistent().on(&network).hang_up();
    let store: Arc<dyn Store> = Arc::new(store.after_crash(store.len() as u64));
    let network = Network::with_store(&[("session.max_sessions", "1")], store);
    let error = network.engine.restore(&mut network.turn()).unwrap_err();
    assert!(matches!(&error, StoreError::Load(LoadError::TooManySessions { max: 1, .. })), "{error:?}");
    assert!(error.to_string().ends_with("session limit reached (session.max_sessions = 1)"), "{error}");
}

/// Keeps the lines of the log.
#[derive(Default)]
struct Reader(Mutex<Vec<String>>);

impl Host for Reader {
    fn wanted(&self) -> Wanted {
        Wanted { log: Some(Level::Error), ..Wanted::default() }
    }

    fn tell(&self, event: &Event) {
        if let Event::Logged(line) = event {
            self.0.lock().unwrap().push(line.to_string());
        }
    }
}

#[test]
fn a_store_that_has_failed_is_logged_once_and_nothing_is_acknowledged_any_more() {
    let (network, store) = Network::with_late_store();
    let reader = Arc::new(Reader::default());
    let network = network.and(|engine| engine.with_host(Arc::clone(&reader) as Arc<dyn Host>));
    let mut publisher = opts("from", V5).persistent().on(&network);
    store.commit(&network);
    publisher.send_publish("t", "x", Q2, 1);
    store.fail("sessions.log: no space left on device");
    publisher.send_publish("t", "x", Q2, 2);
    publisher.send_publish("t", "x", Q2, 3);
    network.engine.store_failed(&mut network.turn(), &store.failed().unwrap());
    assert!(!matches!(publisher.next(), Some(Received::Ack { .. })));
    let line =
        "error: the store has failed, nothing more is acknowledged: sessions.log: no space left on device";
    assert_eq!(*reader.0.lock().unwrap(), [line]);
}
