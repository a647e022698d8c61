//! Messages of queues that the store alone has: they behave as those in memory, and are read before they are sent.

use std::sync::Arc;

use midge::codec::reason::ReasonCode;
use midge::storage::Store;

use crate::harness::{ALL, Client, Commit, LateStore, Network, Q1, Q2, V5, opts};

/// A broker whose queues hold at most so many bytes in memory.
fn broker(memory: usize, settings: &[(&str, &str)]) -> (Network, Arc<LateStore>) {
    let store = Arc::new(LateStore::new(false).with_memory(Some(memory)));
    (Network::with_store(settings, Arc::clone(&store) as Arc<dyn Store>), store)
}

/// Reads what sessions have asked for; how often.
fn read(network: &Network, store: &LateStore) -> usize {
    let mut times = 0;
    while let Some(request) = store.take_request() {
        let read = network.engine.read_stored(request);
        network.engine.give_stored(&mut network.turn(), read);
        times += 1;
    }
    times
}

/// What a client gets, and acknowledges, until nothing more comes.
fn drain(network: &Network, store: &LateStore, client: &mut Client<'_>) -> Vec<String> {
    let mut all = Vec::new();
    loop {
        client.poll();
        let got = client.drain();
        if got.is_empty() && read(network, store) == 0 {
            return all;
        }
        all.extend(got);
    }
}

fn names(numbers: std::ops::Range<usize>) -> Vec<String> {
    numbers.map(|number| number.to_string()).collect()
}

/// A client that is away while these are published.
fn away(network: &Network, version: midge::codec::version::Version, messages: usize) {
    let mut client = opts("away", version).persistent().on(network);
    client.subscribe("t", Q2);
    client.hang_up();
    for number in 0..messages {
        network.publish("t", &number.to_string(), 1 + (number % 2) as u8, false);
    }
}

#[test]
fn stored_messages_come_in_order_and_none_before_it_is_read() {
    for version in ALL {
        for memory in [0, 1000, 1 << 20] {
            let (network, store) = broker(memory, &[("mqtt.max_inflight", "20")]);
            away(&network, version, 300);
            assert_eq!(network.engine.clients()[0].queued, 300);
            assert!(store.waiting_memory().unwrap().used() <= memory / 2);
            let mut client = opts("away", version).persistent().on(&network);
            if memory == 0 {
                client.expect_nothing();
            }
            assert_eq!(drain(&network, &store, &mut client), names(0..300));
            assert_eq!((network.engine.clients()[0].queued, store.waiting_memory().unwrap().used()), (0, 0));
        }
    }
}

#[test]
fn memory_is_for_all_queues_and_half_of_it_for_clients_that_are_away() {
    let (network, store) = broker(4000, &[]);
    for name in ["a", "b"] {
        let mut client = opts(name, V5).persistent().on(&network);
        client.subscribe("t", Q1);
        client.hang_up();
    }
    (0..100).for_each(|_| _ = network.publish("t", &"x".repeat(100), 1, false));
    let away = store.waiting_memory().unwrap().used();
    assert!((1700..=2000).contains(&away), "{away}");
    let mut busy = opts("busy", V5).persistent().receive_maximum(1).on(&network);
    busy.subscribe("t", Q1);
    (0..100).for_each(|_| _ = network.publish("t", &"x".repeat(100), 1, false));
    let all = store.waiting_memory().unwrap().used();
    assert!((3700..=4000).contains(&all), "{all}");
    assert_eq!(network.engine.clear_queue(&mut network.turn(), "busy"), Some(99));
    assert!(store.waiting_memory().unwrap().used() <= away);
}

#[test]
fn a_full_queue_drops_the_newest_or_the_oldest_of_the_stored() {
    for (overflow, kept) in [("drop_newest", 0..30), ("drop_oldest", 20..50)] {
        let settings = [("session.max_queued_messages", "30"), ("session.queue_overflow", overflow)];
        let (network, store) = broker(0, &settings);
        away(&network, V5, 50);
        assert_eq!(network.stats().messages_dropped_queue_full, 20);
        let (restarted, again) = network.after_crash(&store, store.len(), 0);
        let mut client = opts("away", V5).persistent().on(&restarted);
        assert_eq!(drain(&restarted, &again, &mut client), names(kept));
    }
}

#[test]
fn stored_messages_expire_without_being_read() {
    let (network, store) = broker(0, &[("session.max_queued_messages", "11")]);
    away(&network, V5, 1);
    let mut publisher = opts("from", V5).on(&network);
    for number in 1..=10 {
        publisher.send_with("t", number.to_string().as_bytes(), Q1, false, |writer| {
            writer.message_expiry_interval(if number % 2 == 0 { 5 } else { 50 });
        });
    }
    network.advance(6);
    // There is room again, as half of them have expired.
    network.publish("t", "11", 1, false);
    assert_eq!((network.stats().messages_dropped_expired, read(&network, &store)), (5, 0));
    network.advance(60);
    let mut client = opts("away", V5).persistent().on(&network);
    assert_eq!(drain(&network, &store, &mut client), ["0", "11"]);
    assert_eq!(network.stats().messages_dropped_expired, 10);
}

#[test]
fn the_host_looks_into_a_stored_queue_and_clears_it() {
    let (network, store) = broker(0, &[]);
    away(&network, V5, 20);
    let queue = network.engine.queue("away", 3).unwrap();
    let payloads: Vec<_> = queue.oldest.iter().map(|pending| pending.message.payload().to_vec()).collect();
    assert_eq!((queue.total, payloads), (20, vec![b"0".to_vec(), b"1".to_vec(), b"2".to_vec()]));
    assert_eq!(network.engine.clear_queue(&mut network.turn(), "away"), Some(20));
    let (restarted, again) = network.after_crash(&store, store.len(), 0);
    let mut client = opts("away", V5).persistent().on(&restarted);
    assert!(drain(&restarted, &again, &mut client).is_empty());
}

/// What is asked for by one connection comes to the next one.
#[test]
fn a_connection_is_taken_over_while_messages_are_read() {
    let (network, store) = broker(0, &[]);
    away(&network, V5, 30);
    let first = opts("away", V5).persistent().on(&network);
    let request = store.take_request().unwrap();
    let mut second = opts("away", V5).persistent().on(&network);
    assert!(store.take_request().is_none(), "they were asked for");
    let read = network.engine.read_stored(request);
    network.engine.give_stored(&mut network.turn(), read);
    assert_eq!(drain(&network, &store, &mut second), names(0..30));
    drop(first);
}

/// Messages come that have left the queue: cleared, and of a session that has ended.
#[test]
fn what_comes_too_late_is_dropped() {
    for ends in [false, true] {
        let (network, store) = broker(0, &[]);
        away(&network, V5, 10);
        let mut client = opts("away", V5).persistent().on(&network);
        let read = network.engine.read_stored(store.take_request().unwrap());
        match ends {
            true => _ = network.engine.discard_session(&mut network.turn(), "away"),
            false => _ = network.engine.clear_queue(&mut network.turn(), "away"),
        }
        network.engine.give_stored(&mut network.turn(), read);
        if !ends {
            network.publish("t", "next", 1, false);
            assert_eq!(drain(&network, &store, &mut client), ["next"]);
        }
        assert_eq!(store.waiting_memory().unwrap().used(), 0);
    }
}

#[test]
fn a_session_that_is_no_longer_kept_gets_its_stored_messages_and_ends_with_a_crash() {
    let (network, store) = broker(0, &[]);
    away(&network, V5, 10);
    let mut client = opts("away", V5).resume().on(&network);
    let (restarted, again) = {
        let copy = LateStore::new(false).with_memory(Some(0));
        store.for_each(|at, change| _ = copy.append(at, change));
        let len = copy.len();
        network.after_crash(&copy, len, 0)
    };
    let (mut stranger, present) = opts("away", V5).resume().join(&restarted);
    assert!(!present && drain(&restarted, &again, &mut stranger).is_empty());
    assert_eq!(drain(&network, &store, &mut client), names(0..10));
    client.disconnect();
    assert!(network.engine.clients().is_empty());
    assert!(store.lines_from(0).last().unwrap().ends_with("ended"));
}

/// Those of shared subscriptions stay in memory, so that another member can get them.
#[test]
fn another_member_gets_what_waited_for_one_that_ends() {
    let (network, store) = broker(0, &[]);
    let mut client = opts("away", V5).persistent().on(&network);
    client.subscribe("$share/g/t", Q1);
    client.hang_up();
    (0..5).for_each(|number| _ = network.publish("t", &number.to_string(), 1, false));
    let mut other = opts("other", V5).persistent().on(&network);
    other.subscribe("$share/g/t", Q1);
    assert!(network.engine.discard_session(&mut network.turn(), "away"));
    assert_eq!(drain(&network, &store, &mut other), names(0..5));
}

#[test]
fn when_a_message_cannot_be_read_the_connection_ends_and_nothing_is_lost() {
    let (network, store) = broker(0, &[]);
    away(&network, V5, 10);
    store.set_unreadable(true);
    let mut client = opts("away", V5).persistent().on(&network);
    assert_eq!(read(&network, &store), 1);
    client.poll();
    client.expect_refused(ReasonCode::UnspecifiedError);
    assert_eq!(network.engine.clients()[0].queued, 10);
    store.set_unreadable(false);
    let mut client = opts("away", V5).persistent().on(&network);
    assert_eq!(drain(&network, &store, &mut client), names(0..10));
}
