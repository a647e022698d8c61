//! Hosts that panic, and brokers that are dropped where it is least convenient.

use std::panic::{AssertUnwindSafe, catch_unwind, panic_any};
use std::sync::{Arc, mpsc};

use midge::codec::version::Version;
use midge::embed::{Broker, PublishOptions, SubscribeOptions};

use crate::client::{Client, PATIENCE, WORKERS, address, broker, broker_with_workers};

/// The last packet of a broker that stops, for an MQTT 5 client.
const STOPPED: [u8; 3] = [0xe0, 1, 0x8b];

/// Panics when it is dropped, unless a panic is already under way.
struct Grenade;

impl Drop for Grenade {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            panic!("dropped");
        }
    }
}

fn publish(broker: &Broker) {
    broker.publish("t", "", &PublishOptions::default()).unwrap();
}

#[test]
fn a_panic_whose_payload_panics_does_not_end_the_callback_thread() {
    let broker = broker();
    let _bad = broker.subscribe_with("t", &SubscribeOptions::default(), |_| panic_any(Grenade)).unwrap();
    let (told, hears) = mpsc::channel();
    let _good =
        broker.subscribe_with("t", &SubscribeOptions::default(), move |_| told.send(()).unwrap()).unwrap();
    publish(&broker);
    publish(&broker);
    hears.recv_timeout(PATIENCE).unwrap();
    hears.recv_timeout(PATIENCE).unwrap();
}

#[test]
fn a_callback_that_panics_when_it_is_dropped_ends_its_own_subscription_alone() {
    let broker = broker();
    let grenade = Grenade;
    let (told, hears) = mpsc::channel();
    let bad = broker
        .subscribe_with("t", &SubscribeOptions::default(), move |_| {
            let _moved_in = &grenade;
            told.send(()).unwrap();
        })
        .unwrap();
    let (behind, passed) = mpsc::channel();
    let next = broker
        .subscribe_with("behind", &SubscribeOptions::default(), move |_| behind.send(()).unwrap())
        .unwrap();
    publish(&broker);
    hears.recv_timeout(PATIENCE).unwrap();
    // The callback tells before it returns, and a call that runs drops what was cancelled meanwhile. The callback
    // thread takes one after the other.
    broker.publish("behind", "", &PublishOptions::default()).unwrap();
    passed.recv_timeout(PATIENCE).unwrap();
    drop(next);
    // The host's panic, on the host's thread.
    assert!(catch_unwind(AssertUnwindSafe(|| drop(bad))).is_err());
    publish(&broker);
    assert!(hears.try_recv().is_err());
    assert_eq!(broker.stats().subscriptions, 0);
}

#[test]
fn a_broker_is_stopped_by_a_panic_of_the_thread_that_has_it() {
    let (told, hears) = mpsc::channel();
    let panicked = std::thread::spawn(move || {
        let broker = broker();
        let client = Client::connect(address(&broker), "c", Version::V5);
        let _own = broker.subscribe("t", &SubscribeOptions::default()).unwrap();
        let _called = broker.subscribe_with("t", &SubscribeOptions::default(), |_| {}).unwrap();
        told.send(client).unwrap();
        panic!("the host's bug");
    });
    let mut client = hears.recv_timeout(PATIENCE).unwrap();
    assert!(panicked.join().is_err());
    assert_eq!(client.until_closed(), STOPPED);
}

#[test]
fn a_broker_that_is_dropped_in_its_own_callback_stops_behind_it() {
    let broker = Arc::new(broker());
    let mut client = Client::connect(address(&broker), "c", Version::V5);
    let (give, take) = mpsc::channel::<Arc<Broker>>();
    let subscription = broker
        .subscribe_with("t", &SubscribeOptions::default(), move |_| {
            drop(take.recv_timeout(PATIENCE).unwrap());
        })
        .unwrap();
    publish(&broker);
    // Sent away and not kept: the callback has the last one.
    give.send(broker).unwrap();
    assert_eq!(client.until_closed(), STOPPED);
    drop(subscription);
}

#[test]
fn a_broker_is_dropped_inside_any_runtime_of_the_host() {
    let dropped = || {
        for workers in WORKERS {
            let broker = broker_with_workers(workers);
            let mut client = Client::connect(address(&broker), "c", Version::V5);
            drop(broker);
            assert_eq!(client.until_closed(), STOPPED);
        }
    };
    let one = tokio::runtime::Builder::new_current_thread().build().unwrap();
    one.block_on(async { dropped() });
    one.block_on(async { tokio::task::spawn_blocking(dropped).await.unwrap() });
    let many = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
    many.block_on(async { tokio::spawn(async move { dropped() }).await.unwrap() });
    let _inside = many.enter();
    dropped();
}

#[test]
fn a_runtime_of_the_host_that_is_shut_down_drops_the_broker_in_its_task() {
    for workers in WORKERS {
        let hosts = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
        let broker = broker_with_workers(workers);
        let mut client = Client::connect(address(&broker), "c", Version::V5);
        let (told, hears) = mpsc::channel();
        hosts.spawn(async move {
            told.send(()).unwrap();
            std::future::pending::<()>().await;
            drop(broker);
        });
        hears.recv_timeout(PATIENCE).unwrap();
        drop(hosts);
        assert_eq!(client.until_closed(), STOPPED);
    }
}
