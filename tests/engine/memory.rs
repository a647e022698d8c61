//! What is over leaves nothing behind.

use std::sync::Arc;

use crate::harness::{ALL, Inbox, LastWill, Network, Q0, Q1, Q2, V5, opts};

#[test]
fn when_all_sessions_have_ended_nothing_is_left() {
    let network = Network::new();
    let mut weak = Vec::new();
    for round in 0..50 {
        let mut clients = Vec::new();
        for (n, version) in ALL.into_iter().enumerate() {
            let will = LastWill::new("will", "x").qos(Q1);
            let connect = opts(&format!("c{n}"), version).keep_alive(20).will(will);
            let mut client = connect.resume().expiry(round).on(&network);
            client.subscribe("t/#", Q2);
            client.subscribe(&format!("$share/g{n}/will"), Q1);
            client.publish("t/x", "x", Q2);
            weak.push(Arc::downgrade(client.connection.session().unwrap()));
            clients.push(client);
        }
        for (n, mut client) in clients.into_iter().enumerate() {
            match (round + n as u32) % 3 {
                0 => client.hang_up(),
                1 => client.disconnect_with_leftovers(),
                _ => {
                    client.line.block();
                    client.poll();
                    network.advance(40);
                    client.hang_up();
                }
            }
        }
    }
    for (n, version) in ALL.into_iter().enumerate() {
        opts(&format!("c{n}"), version).on(&network).hang_up();
    }
    network.advance(100);
    let stats = network.stats();
    assert_eq!((stats.sessions, stats.subscriptions, stats.clients_connected), (0, 0, 0));
    assert_eq!(network.engine.timers_running(), 0);
    assert!(network.engine.clients().is_empty() && network.engine.subscriptions().is_empty());
    // A turn may remember who heard a topic, until it is published again.
    for topic in ["t/x", "will"] {
        network.publish(topic, "", 0, false);
    }
    let alive = weak.iter().filter(|session| session.strong_count() > 0).count();
    assert_eq!(alive, 0);
}

/// Nobody publishes to its topic again: what is remembered of who heard it is forgotten in time.
#[test]
fn an_ended_session_is_freed_after_some_thousand_turns() {
    let network = Network::new();
    let mut hearer = opts("a", V5).on(&network);
    hearer.subscribe("t", Q0);
    (0..3).for_each(|_| assert_eq!(network.publish("t", "x", 0, false), 1));
    let session = Arc::downgrade(hearer.connection.session().unwrap());
    hearer.hang_up();
    assert!(session.strong_count() > 0, "the turn remembers who heard the topic");
    for _ in 0..4096 {
        network.publish("other", "x", 0, false);
    }
    assert_eq!(session.strong_count(), 0);
}

#[test]
fn the_timer_of_sys_runs_while_somebody_is_subscribed() {
    let network = Network::with(&[("sys.interval", "10s")]);
    assert_eq!(network.engine.timers_running(), 0);
    let mut client = opts("a", V5).expiry(5).keep_alive(5).on(&network);
    let before = network.engine.timers_running();
    client.subscribe("$SYS/broker/uptime", Q0);
    client.subscribe("$share/g/$SYS/broker/uptime", Q0);
    assert_eq!(network.engine.timers_running(), before + 1);
    client.hang_up();
    network.advance(60);
    assert_eq!(network.engine.timers_running(), 0);
}

#[test]
fn a_subscription_of_the_host_is_freed_when_it_ends() {
    let network = Network::new();
    let inbox = Inbox::new(1);
    let local =
        network.engine.subscribe_local(&mut network.turn(), "t", Default::default(), 0, inbox.clone());
    network.engine.unsubscribe_local(&local.unwrap());
    assert_eq!(Arc::strong_count(&inbox), 1);
}
