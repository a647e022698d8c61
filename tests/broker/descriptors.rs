//! A host that has no descriptors left. Each test has a process of its own, with a low limit.
#![allow(unsafe_code, reason = "std has no resource limits")]

use std::fs::File;
use std::io::ErrorKind;

use midge::codec::packet::Packet;
use midge::codec::qos::QoS;
use midge::codec::version::Version;
use midge::embed::{Broker, Error, PublishOptions};

use crate::client::{Client, address, broker, config};
use crate::process::{alone, broker_threads};

/// Descriptors that the process may have.
const LIMIT: u64 = 128;

fn lower_the_limit() {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: both calls are given a pointer to a live rlimit.
    unsafe {
        assert_eq!(libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit), 0);
        limit.rlim_cur = LIMIT;
        assert_eq!(libc::setrlimit(libc::RLIMIT_NOFILE, &limit), 0);
    }
}

/// Takes every descriptor that is left.
fn take_all() -> Vec<File> {
    let mut taken = Vec::new();
    loop {
        match File::open("/dev/null") {
            Ok(file) => taken.push(file),
            Err(error) => {
                assert_eq!(error.raw_os_error(), Some(libc::EMFILE));
                return taken;
            }
        }
    }
}

fn ping(client: &mut Client) {
    client.send(|_, out| out.extend_from_slice(&[0xc0, 0]));
    client.expect("PINGRESP", |packet| matches!(packet, Packet::Pingresp).then_some(()));
}

#[test]
fn a_broker_without_descriptors_serves_its_clients_and_accepts_again_when_there_are_some() {
    if !alone(
        "descriptors::a_broker_without_descriptors_serves_its_clients_and_accepts_again_when_there_are_some",
    ) {
        return;
    }
    lower_the_limit();
    let broker = broker();
    let mut old = Client::connect(address(&broker), "old", Version::V5);
    old.subscribe("t", QoS::AtLeastOnce);
    let mut clients = Vec::new();
    for id in ["a", "b", "c"] {
        let mut taken = take_all();
        // The client's side of one connection; for the broker's there is none.
        taken.pop();
        let mut new = Client::raw(address(&broker));
        new.version = Version::V5;
        new.send_connect(id, 0);
        for _ in 0..100 {
            broker.publish("t", "x", &PublishOptions::default()).unwrap();
            assert_eq!(old.message().payload, b"x");
            ping(&mut old);
        }
        new.stream.set_nonblocking(true).unwrap();
        let error = new.stream.peek(&mut [0]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::WouldBlock);
        new.stream.set_nonblocking(false).unwrap();
        drop(taken);
        new.expect("CONNACK", |packet| matches!(packet, Packet::Connack(_)).then_some(()));
        ping(&mut new);
        clients.push(new);
    }
    broker.stop(None).unwrap();
}

#[test]
fn a_start_without_descriptors_is_an_error_and_leaves_nothing_behind() {
    if !alone("descriptors::a_start_without_descriptors_is_an_error_and_leaves_nothing_behind") {
        return;
    }
    lower_the_limit();
    let before = take_all().len();
    fail_until_started();
    let other = tokio::runtime::Builder::new_current_thread().build().unwrap();
    other.block_on(async { fail_until_started() });
    drop(other);
    assert_eq!(take_all().len(), before);
}

/// Starts a broker with no descriptor, with one, with two, until there are enough.
fn fail_until_started() {
    let mut left = 0;
    loop {
        let mut taken = take_all();
        taken.truncate(taken.len().saturating_sub(left));
        let started = Broker::start(&config());
        drop(taken);
        match started {
            Ok(broker) => break broker.stop(None).unwrap(),
            Err(Error::Start(_) | Error::Bind { .. }) => {}
            Err(error) => panic!("{error}"),
        }
        assert_eq!(broker_threads(), 0, "with {left} descriptors");
        left += 1;
    }
    // Listener, poller and latch, at least.
    assert!((4..20).contains(&left), "it took {left} descriptors to start");
}
