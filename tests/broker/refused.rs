//! A host to which the system gives no more threads. Each test has a process of its own, with a low limit.
#![allow(unsafe_code, reason = "std has no resource limits")]

use std::panic;
use std::sync::{Arc, mpsc};

use midge::codec::version::Version;
use midge::embed::{Broker, Error, PublishOptions, SubscribeOptions};

use crate::client::{Client, PATIENCE, WORKERS, address, broker, broker_with_workers, config};
use crate::deadline::until;
use crate::process::{alone, broker_threads, descriptors};

/// A user that has no other process: the limit counts all threads of a user, but none of root's.
const NOBODY_ELSE: libc::uid_t = 64_321;

fn limit() -> libc::rlimit {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the pointer is to a live value.
    assert_eq!(unsafe { libc::getrlimit(libc::RLIMIT_NPROC, &mut limit) }, 0);
    limit
}

/// Runs `body` while this process may have `more` threads than it has. Not run by root it may have none.
fn with_threads<T>(more: u64, body: impl FnOnce() -> T) -> T {
    // SAFETY: these calls take numbers alone.
    let root = unsafe { libc::setuid(NOBODY_ELSE) == 0 || libc::getuid() == NOBODY_ELSE };
    let has = std::fs::read_dir("/proc/self/task").unwrap().count() as u64;
    let before = limit();
    let most = libc::rlimit { rlim_cur: if root { has + more } else { 1 }, ..before };
    // SAFETY: the pointer is to a live value, as below.
    assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_NPROC, &most) }, 0);
    let done = body();
    // SAFETY: as above.
    assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_NPROC, &before) }, 0);
    done
}

/// No panic is heard of, although it might be caught.
fn abort_at_a_panic() {
    panic::set_hook(Box::new(|panic| {
        println!("{panic}");
        std::process::abort();
    }));
}

/// tokio would panic without its first thread, and go on without another; and it refuses to be dropped where the host is
/// inside a runtime of its own.
#[test]
fn a_start_without_enough_threads_is_an_error_that_leaves_nothing_behind() {
    if !alone("refused::a_start_without_enough_threads_is_an_error_that_leaves_nothing_behind") {
        return;
    }
    abort_at_a_panic();
    let mut config = config();
    for (workers, more) in [("1", 0), ("8", 0), ("8", 3)] {
        config.set("runtime.worker_threads", workers).unwrap();
        let open = descriptors();
        let refused = || {
            let error = with_threads(more, || Broker::start(&config)).err().unwrap();
            assert!(matches!(error, Error::Start(_)), "{error}");
        };
        refused();
        let hosts = tokio::runtime::Builder::new_current_thread().build().unwrap();
        hosts.block_on(async { refused() });
        drop(hosts);
        assert_eq!(descriptors(), open);
        until("the broker's threads have ended", || broker_threads() == 0);
    }
    let broker = Broker::start(&config).unwrap();
    Client::connect(address(&broker), "c", Version::V5);
}

#[test]
fn the_callback_thread_that_cannot_be_started_is_an_error() {
    if !alone("refused::the_callback_thread_that_cannot_be_started_is_an_error") {
        return;
    }
    abort_at_a_panic();
    let broker = broker();
    let (told, hears) = mpsc::channel();
    let subscribe = || {
        let told = told.clone();
        broker.subscribe_with("t", &SubscribeOptions::default(), move |_| told.send(()).unwrap())
    };
    assert!(matches!(with_threads(0, subscribe), Err(Error::Start(_))));
    assert_eq!(broker.publish("t", "", &PublishOptions::default()).unwrap(), 0);
    let _subscription = subscribe().unwrap();
    assert_eq!(broker.publish("t", "", &PublishOptions::default()).unwrap(), 1);
    hears.recv_timeout(PATIENCE).unwrap();
}

/// tokio refuses to wait inside a runtime, and there is no thread that could wait instead.
#[test]
fn a_broker_stops_inside_a_runtime_of_the_host_although_there_is_no_thread_to_spare() {
    if !alone("refused::a_broker_stops_inside_a_runtime_of_the_host_although_there_is_no_thread_to_spare") {
        return;
    }
    abort_at_a_panic();
    let hosts = tokio::runtime::Builder::new_current_thread().build().unwrap();
    hosts.block_on(async {
        for workers in WORKERS {
            let open = descriptors();
            let broker = broker_with_workers(workers);
            let mut client = Client::connect(address(&broker), "c", Version::V5);
            with_threads(0, || broker.stop(None).unwrap());
            assert_eq!(client.until_closed(), [0xe0, 1, 0x8b]);
            drop((broker, client));
            until("the broker's threads have ended", || broker_threads() == 0);
            assert_eq!(descriptors(), open);
        }
    });
}

/// The broker stops itself on a thread of its own; where there is none it is left alone.
#[test]
fn a_broker_that_is_dropped_in_its_callback_without_a_thread_to_spare_lives_on() {
    if !alone("refused::a_broker_that_is_dropped_in_its_callback_without_a_thread_to_spare_lives_on") {
        return;
    }
    abort_at_a_panic();
    let broker = Arc::new(broker());
    let mut client = Client::connect(address(&broker), "c", Version::V5);
    client.subscribe("later", midge::codec::qos::QoS::AtMostOnce);
    let (told, hears) = mpsc::channel();
    let mut own = Some(Arc::clone(&broker));
    let (give, take) = mpsc::channel::<()>();
    let subscription = broker
        .subscribe_with("t", &SubscribeOptions::default(), move |_| {
            take.recv().unwrap();
            drop(own.take());
            told.send(()).unwrap();
        })
        .unwrap();
    broker.publish("t", "", &PublishOptions::default()).unwrap();
    drop(broker);
    with_threads(0, || {
        give.send(()).unwrap();
        hears.recv_timeout(PATIENCE).unwrap();
    });
    let mut other = Client::connect(client.stream.peer_addr().unwrap(), "d", Version::V5);
    other.publish("later", b"x", midge::codec::qos::QoS::AtMostOnce);
    assert_eq!(client.message().payload, b"x");
    drop(subscription);
}
