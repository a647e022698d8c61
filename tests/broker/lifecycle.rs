//! Start and stop, as often and as crookedly as a host may.

use std::sync::{Arc, Barrier, mpsc};
use std::time::Duration;

use midge::codec::packet::Packet;
use midge::codec::qos::QoS;
use midge::codec::reason::ReasonCode;
use midge::codec::version::Version;
use midge::config::Config;
use midge::embed::{Broker, Error, PublishOptions, SubscribeOptions};

use crate::client::{Client, PATIENCE, WORKERS, address, broker, broker_with_workers, config};
use crate::process::{alone, broker_threads, descriptors, resident_kib};

/// A thousand times with a client each, in a process of its own, so that other tests' threads do not count.
#[test]
fn a_thousand_starts_and_stops_leave_nothing_behind() {
    const TEST: &str = "lifecycle::a_thousand_starts_and_stops_leave_nothing_behind";
    if !alone(TEST) {
        return;
    }
    let once = || {
        let broker = broker();
        let mut client = Client::connect(address(&broker), "c", Version::V5);
        client.subscribe("t", QoS::AtLeastOnce);
        broker.publish("t", "x", &PublishOptions::qos(QoS::AtLeastOnce)).unwrap();
        assert_eq!(client.message().payload, b"x");
        broker.stop(None).unwrap();
        drop(client);
    };
    for _ in 0..50 {
        once();
    }
    let before = (broker_threads(), descriptors(), resident_kib());
    for _ in 0..1000 {
        once();
    }
    let after = (broker_threads(), descriptors(), resident_kib());
    println!("threads, descriptors, resident KiB: {before:?} before, {after:?} after 1,000 starts and stops");
    assert_eq!(after.0, 0, "threads");
    assert_eq!(after.1, before.1, "descriptors");
    assert!(after.2 <= before.2 + 1024, "memory grew from {} to {} KiB", before.2, after.2);
}

#[test]
fn stopping_tells_clients_and_closes_their_connections() {
    let broker = broker();
    let mut old = Client::connect(address(&broker), "old", Version::V311);
    let mut new = Client::connect(address(&broker), "new", Version::V5);
    broker.stop(None).unwrap();
    assert!(old.until_closed().is_empty());
    assert_eq!(new.until_closed(), [0xe0, 1, ReasonCode::ServerShuttingDown.as_u8()]);
    broker.stop(None).unwrap();
}

#[test]
fn connections_without_a_session_and_lingering_peers_do_not_hold_the_stop() {
    let mut config = config();
    config.set("runtime.stop_grace", "1h").unwrap();
    let broker = Broker::start(&config).unwrap();
    let mut silent = Client::raw(address(&broker));
    let mut refused = Client::connect(address(&broker), "refused", Version::V5);
    refused.send(|_, out| out.extend_from_slice(&[0xf0, 0]));
    refused.expect("DISCONNECT", |packet| matches!(packet, Packet::Disconnect(_)).then_some(()));
    broker.stop(None).unwrap();
    assert!(silent.until_closed().is_empty());
}

#[test]
fn a_peer_that_does_not_read_does_not_hold_the_stop() {
    let broker = broker();
    let mut stuck = Client::connect(address(&broker), "stuck", Version::V5);
    stuck.subscribe("t", QoS::AtMostOnce);
    for _ in 0..200 {
        broker.publish("t", vec![0; 100_000], &PublishOptions::default()).unwrap();
    }
    assert!(broker.stats().messages_dropped_outbox_full > 0);
    broker.stop(Some(Duration::from_millis(10))).unwrap();
}

#[test]
fn eight_brokers_side_by_side_share_nothing() {
    let brokers: Vec<Broker> = (0..8).map(|_| broker()).collect();
    let mut clients: Vec<Client> =
        brokers.iter().map(|b| Client::connect(address(b), "same id", Version::V5)).collect();
    for client in &mut clients {
        client.subscribe("t", QoS::AtMostOnce);
    }
    for (number, broker) in brokers.iter().enumerate() {
        broker.publish("t", number.to_string(), &PublishOptions::default()).unwrap();
        assert_eq!(broker.clients().len(), 1);
    }
    for (number, client) in clients.iter_mut().enumerate() {
        assert_eq!(client.message().payload, number.to_string().into_bytes());
    }
    // One goes, the others stay.
    brokers[3].stop(None).unwrap();
    brokers[4].publish("t", "still", &PublishOptions::default()).unwrap();
    assert_eq!(clients[4].message().payload, b"still");
}

#[test]
fn two_hundred_brokers_start_and_stop_in_parallel_from_eight_threads() {
    let threads: Vec<_> = (0..8)
        .map(|_| {
            std::thread::spawn(|| {
                for _ in 0..25 {
                    let broker = broker();
                    let mut client = Client::connect(address(&broker), "c", Version::V311);
                    client.subscribe("t", QoS::AtMostOnce);
                    client.publish("t", b"x", QoS::AtMostOnce);
                    assert_eq!(client.message().payload, b"x");
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
}

#[test]
fn stop_from_a_callback_is_refused_and_request_stop_is_not() {
    let broker = Arc::new(broker());
    let (told, hears) = mpsc::channel();
    let inner = Arc::downgrade(&broker);
    let subscription = broker
        .subscribe_with("stop", &SubscribeOptions::default(), move |_| {
            let broker = inner.upgrade().unwrap();
            told.send(matches!(broker.stop(None), Err(Error::InCallback))).unwrap();
            broker.request_stop();
        })
        .unwrap();
    assert!(!broker.wait(Some(Duration::ZERO)));
    broker.publish("stop", "", &PublishOptions::default()).unwrap();
    assert!(broker.wait(Some(PATIENCE)));
    assert!(hears.recv_timeout(PATIENCE).unwrap());
    drop(subscription);
    broker.stop(None).unwrap();
    assert!(broker.wait(None));
}

#[test]
fn the_longest_grace_is_taken() {
    let broker = broker();
    let client = Client::connect(address(&broker), "c", Version::V5);
    broker.stop(Some(Duration::MAX)).unwrap();
    drop(client);
}

#[test]
fn many_threads_stop_one_broker_at_once() {
    for _ in 0..20 {
        let broker = Arc::new(broker());
        let _client = Client::connect(address(&broker), "c", Version::V5);
        let start = Arc::new(Barrier::new(4));
        let threads: Vec<_> = (0..4)
            .map(|_| {
                let (broker, start) = (broker.clone(), start.clone());
                std::thread::spawn(move || {
                    start.wait();
                    broker.stop(None).unwrap();
                    assert!(broker.publish("t", "", &PublishOptions::default()).is_err());
                })
            })
            .collect();
        for thread in threads {
            thread.join().unwrap();
        }
    }
}

#[test]
fn stopping_while_threads_publish_and_subscribe_ends_cleanly() {
    for _ in 0..20 {
        let broker = Arc::new(broker());
        let threads: Vec<_> = (0..3)
            .map(|_| {
                let broker = broker.clone();
                std::thread::spawn(move || {
                    loop {
                        let subscribed = broker.subscribe("t", &SubscribeOptions::default());
                        let called = broker.subscribe_with("t", &SubscribeOptions::default(), |_| {});
                        let published = broker.publish("t", "x", &PublishOptions::default());
                        if subscribed.is_err() || called.is_err() || published.is_err() {
                            return;
                        }
                    }
                })
            })
            .collect();
        let mut client = Client::connect(address(&broker), "c", Version::V311);
        client.subscribe("t", QoS::AtMostOnce);
        client.message();
        broker.stop(None).unwrap();
        for thread in threads {
            thread.join().unwrap();
        }
    }
}

#[test]
fn a_port_in_use_is_an_error_that_names_the_listener_and_leaves_nothing_behind() {
    // A process of its own: another test's child holds every socket until it has become another program.
    if !alone("lifecycle::a_port_in_use_is_an_error_that_names_the_listener_and_leaves_nothing_behind") {
        return;
    }
    let mut config = Config::new();
    // An address of its own, so that no other test is given the port while it is free.
    config.set("listener.tcp.bind", "127.77.0.1:0").unwrap();
    let first = Broker::start(&config).unwrap();
    let taken = address(&first);
    config.set("listener.other.bind", &taken.to_string()).unwrap();
    let error = Broker::start(&config).err().unwrap();
    assert_eq!(error.to_string(), format!("listener.other.bind: {taken}: address in use"));
    drop(first);
    let again = Broker::start(&config).unwrap();
    assert_eq!(again.address("other"), Some(taken));
}

#[test]
fn several_listeners_ipv4_and_ipv6_and_none() {
    let mut config = config();
    config.set("listener.six.bind", "[::1]:0").unwrap();
    config.set("listener.more.bind", "127.0.0.1:0").unwrap();
    let broker = Broker::start(&config).unwrap();
    assert_eq!(broker.addresses().len(), 3);
    for (name, address) in broker.addresses() {
        Client::connect(address.as_socket().unwrap(), &name, Version::V5);
    }
    let mut none = Config::new();
    none.set("listener.tcp.bind", "off").unwrap();
    let broker = Broker::start(&none).unwrap();
    assert!(broker.addresses().is_empty());
    let mut own = broker.subscribe("t", &SubscribeOptions::default()).unwrap();
    broker.publish("t", "no port", &PublishOptions::default()).unwrap();
    assert_eq!(&own.recv_timeout(PATIENCE).unwrap().unwrap().payload()[..], b"no port");
}

#[test]
fn dropping_the_broker_stops_it() {
    let broker = broker();
    let mut client = Client::connect(address(&broker), "c", Version::V5);
    drop(broker);
    let last = client.until_closed();
    assert_eq!(last, [0xe0, 1, 0x8b]);
}

#[test]
fn subscriptions_may_outlive_the_broker() {
    let broker = broker();
    let mut own = broker.subscribe("t", &SubscribeOptions::default()).unwrap();
    let called = broker.subscribe_with("t", &SubscribeOptions::default(), |_| {}).unwrap();
    broker.publish("t", "last", &PublishOptions::default()).unwrap();
    drop(broker);
    assert_eq!(&own.next().unwrap().payload()[..], b"last");
    assert!(own.next().is_none());
    drop(called);
}

#[test]
fn a_thread_that_is_inside_another_runtime_may_start_and_stop_a_broker() {
    let other = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
    other.block_on(async {
        tokio::spawn(async {
            for workers in WORKERS {
                let broker = broker_with_workers(workers);
                let mut client = Client::connect(address(&broker), "c", Version::V5);
                broker.stop(None).unwrap();
                client.until_closed();
            }
        })
        .await
        .unwrap();
    });
}

#[test]
fn the_first_packet_of_a_connection_finds_the_broker_ready() {
    let broker = broker();
    let mut client = Client::raw(address(&broker));
    client.send_connect("c", 60);
    client.expect("CONNACK", |packet| matches!(packet, Packet::Connack(_)).then_some(()));
}
