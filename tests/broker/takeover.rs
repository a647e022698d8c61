//! Many threads connect as the same clients at once.

use std::sync::atomic::{AtomicBool, Ordering};

use midge::codec::disconnect::Disconnect;
use midge::codec::packet::Packet;
use midge::codec::properties::Properties;
use midge::codec::qos::QoS;
use midge::codec::reason::ReasonCode;
use midge::codec::version::Version;
use midge::embed::{Broker, PublishOptions};

use crate::client::{Client, address, config};
use crate::deadline::until;

const THREADS: usize = 6;
const ROUNDS: usize = 120;

/// A connection as a client that others are, too: it may be ended at any moment.
fn connect_and_talk(broker: &Broker, round: usize) {
    let mut client = Client::raw(address(broker));
    client.version = if round.is_multiple_of(2) { Version::V5 } else { Version::V311 };
    let mut bytes = Vec::new();
    client.encode_connect(["a", "b"][round % 2], &mut bytes);
    client.encode_subscribe("t/#", QoS::AtLeastOnce, &mut bytes);
    // Who is taken over meanwhile cannot send any more.
    let _sent = client.try_send(&bytes);
    if round.is_multiple_of(3) {
        return; // The connection breaks.
    }
    // Some packets of the broker, or the end.
    for _ in 0..round % 5 {
        if !client.until_first_byte() {
            return;
        }
    }
    let mut goodbye = Vec::new();
    Disconnect { reason: ReasonCode::Success, properties: Properties::EMPTY }
        .encode(client.version, &mut goodbye);
    let _sent = client.try_send(&goodbye);
}

#[test]
fn many_threads_take_over_the_same_sessions_and_nothing_is_left_of_them() {
    let mut config = config();
    config.set("session.max_outbox_bytes", "64KiB").unwrap();
    let broker = Broker::start(&config).unwrap();
    // The first of them stays connected until it is taken over: what is not left at the end is there now.
    let mut first = Client::connect(address(&broker), "a", Version::V5);
    first.subscribe("t/#", QoS::AtLeastOnce);
    let held: Vec<_> = broker.subscriptions().into_iter().map(|held| (held.client_id, held.filter)).collect();
    assert_eq!(held, [(Some("a".to_owned()), "t/#".to_owned())]);
    assert_eq!((broker.clients().len(), broker.stats().subscriptions), (1, 1));
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let publishers: Vec<_> = (0..2)
            .map(|number| {
                let (broker, over) = (&broker, &over);
                scope.spawn(move || {
                    let topic = format!("t/{number}");
                    let payload = vec![b'x'; 3000];
                    while !over.load(Ordering::Relaxed) {
                        for qos in [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce] {
                            broker.publish(&topic, &payload, &PublishOptions::qos(qos)).unwrap();
                        }
                    }
                })
            })
            .collect();
        let clients: Vec<_> = (0..THREADS)
            .map(|thread| {
                let broker = &broker;
                scope.spawn(move || {
                    for round in 0..ROUNDS {
                        connect_and_talk(broker, round + thread);
                    }
                })
            })
            .collect();
        for client in clients {
            client.join().unwrap();
        }
        over.store(true, Ordering::Relaxed);
        for publisher in publishers {
            publisher.join().unwrap();
        }
    });
    assert!(broker.stats().takeovers > 0);
    // The last connections may be about to begin, or to end.
    let ended = (1 + THREADS * ROUNDS) as u64;
    until("every connection has ended", || broker.stats().connections_closed >= ended);
    let stats = broker.stats();
    assert_eq!(stats.clients_connected, 0);
    assert_eq!((stats.sessions, stats.subscriptions, stats.messages_queued), (0, 0, 0));
    assert!(broker.clients().is_empty() && broker.subscriptions().is_empty());
    // The names can be used as if nothing had happened.
    for id in ["a", "b"] {
        let mut client = Client::connect(address(&broker), id, Version::V5);
        client.subscribe("t/#", QoS::AtLeastOnce);
        assert_eq!(
            (broker.clients().len(), broker.subscriptions().len()),
            (1, 1),
            "those lists are not blind"
        );
        broker.publish("t/x", "y", &PublishOptions::qos(QoS::AtLeastOnce)).unwrap();
        assert_eq!(client.message().payload, b"y");
        client.send(|_, out| out.extend_from_slice(&[0xc0, 0]));
        client.expect("PINGRESP", |packet| matches!(packet, Packet::Pingresp).then_some(()));
    }
    broker.stop(None).unwrap();
}
