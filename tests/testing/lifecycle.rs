//! Starting and stopping in test mode: side by side, from callbacks, and while somebody waits.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::mpsc::channel;
use std::time::Duration;

use midge::codec::connect::Connect;
use midge::codec::properties::Properties;
use midge::codec::version::Version;
use midge::embed::{Error, PublishOptions, SubscribeOptions};
use midge::testing::{Fault, PacketKind, TestBroker};

use crate::kit::{Guest, PATIENCE, connect, secs, start, start_with};

#[test]
fn every_broker_has_a_port_a_time_and_faults_of_its_own() {
    let (first, second) = (start(), start());
    assert_ne!(first.address("tcp"), second.address("tcp"));
    first.advance(secs(10)).unwrap();
    assert_eq!(second.now(), Duration::ZERO);
    first.inject(Fault::drop(PacketKind::Connack).always()).unwrap();
    connect(&second, "a");
    first.publish("t", "x", &PublishOptions::default()).unwrap();
    second.assert_not_published("#");
}

#[test]
fn settings_are_kept_also_that_of_an_address() {
    let broker = start_with(&[("listener.tcp.bind", "off"), ("listener.other.bind", "127.0.0.1:0")]);
    assert!(broker.address("tcp").is_none() && broker.address("other").is_some());
}

#[test]
fn after_a_stop_calls_say_so_and_what_was_published_can_be_read() {
    let broker = start();
    broker.publish("t", "x", &PublishOptions::default()).unwrap();
    broker.stop(None).unwrap();
    broker.stop(None).unwrap();
    assert!(matches!(broker.advance(secs(1)), Err(Error::Stopped)));
    assert!(matches!(broker.settle(), Err(Error::Stopped)));
    assert!(matches!(broker.cut("a"), Err(Error::Stopped)));
    assert!(matches!(broker.pause_reading("a"), Err(Error::Stopped)));
    let fault = Fault::drop(PacketKind::Connack);
    assert!(matches!(broker.inject(fault), Err(Error::Stopped)));
    assert!(matches!(broker.wait_for_client("a", PATIENCE), Err(Error::Stopped)));
    broker.assert_published("t", "x");
}

#[test]
fn a_stop_ends_the_waiting_of_others() {
    let broker = start();
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| broker.wait_for_client("a", PATIENCE));
        let for_messages = scope.spawn(|| broker.wait_for("t", 1, PATIENCE));
        broker.stop(None).unwrap();
        assert!(matches!(waiting.join().unwrap(), Err(Error::Stopped)));
        assert_eq!(for_messages.join().unwrap().unwrap_err().to_string(), "the broker has stopped");
    });
}

#[test]
fn a_stop_while_time_moves_ends_both() {
    for _ in 0..20 {
        let broker = start();
        let _clients: Vec<_> = ["a", "b", "c"].map(|id| connect(&broker, id)).into();
        std::thread::scope(|scope| {
            let moving = scope.spawn(|| while broker.advance(secs(1)).is_ok() {});
            broker.stop(Some(Duration::ZERO)).unwrap();
            moving.join().unwrap();
        });
    }
}

#[test]
fn a_callback_cannot_move_the_time_it_would_wait_for_itself() {
    let broker = std::sync::Arc::new(start());
    let (told, answers) = channel();
    let inside = std::sync::Arc::downgrade(&broker);
    let _subscription = broker
        .subscribe_with("t", &SubscribeOptions::default(), move |_| {
            let broker = inside.upgrade().unwrap();
            told.send(matches!(broker.advance(secs(1)), Err(Error::InCallback))).unwrap();
            told.send(matches!(broker.cut("a"), Err(Error::InCallback))).unwrap();
            told.send(broker.wait_for("t", 1, secs(1)).is_err()).unwrap();
        })
        .unwrap();
    broker.publish("t", "x", &PublishOptions::default()).unwrap();
    for _ in 0..3 {
        assert!(answers.recv_timeout(PATIENCE).unwrap());
    }
}

/// Also on a thread of the host, where it would find its own publication half done.
#[test]
fn a_direct_callback_cannot_either() {
    let broker = std::sync::Arc::new(start());
    let (told, answers) = channel();
    let inside = std::sync::Arc::downgrade(&broker);
    let mut options = SubscribeOptions::default();
    options.direct = true;
    let _subscription = broker
        .subscribe_with("t", &options, move |_| {
            let broker = inside.upgrade().unwrap();
            told.send(matches!(broker.advance(secs(1)), Err(Error::InCallback))).unwrap();
        })
        .unwrap();
    broker.publish("t", "x", &PublishOptions::default()).unwrap();
    assert!(answers.try_recv().unwrap());
    broker.advance(secs(1)).unwrap();
}

/// A broker without a port, and a client at the other end of a socketpair: time and faults are the same.
#[test]
fn a_socket_that_was_handed_over_is_tested_like_any_other() {
    let broker = start_with(&[("listener.tcp.bind", "off")]);
    let mut connect_packet = Vec::new();
    let client = |id: &str, bytes: &mut Vec<u8>| {
        let (ours, theirs) = UnixStream::pair().unwrap();
        broker.adopt(theirs, None).unwrap();
        bytes.clear();
        Connect {
            version: Version::V311,
            clean_start: true,
            keep_alive: 60,
            is_bridge: false,
            client_id: id,
            will: None,
            username: None,
            password: None,
            properties: Properties::EMPTY,
        }
        .encode(bytes);
        (&ours).write_all(bytes).unwrap();
        assert!(broker.wait_for_client(id, PATIENCE).unwrap());
        ours
    };
    let mut silent = client("silent", &mut connect_packet);
    broker.advance(secs(89)).unwrap();
    let mut cut = client("cut", &mut connect_packet);
    broker.advance(secs(1)).unwrap();
    assert!(broker.wait_for_no_client("silent", Duration::ZERO).unwrap());
    assert!(broker.wait_for_client("cut", Duration::ZERO).unwrap());
    assert!(broker.cut("cut").unwrap());
    for peer in [&mut silent, &mut cut] {
        let mut rest = Vec::new();
        peer.read_to_end(&mut rest).unwrap();
        assert_eq!(rest, [0x20, 2, 0, 0], "CONNACK, and the end");
    }
}

#[test]
fn clients_are_told_of_the_stop_although_a_fault_strikes_others() {
    let broker = start();
    let mut client = connect(&broker, "a");
    let _late = connect(&broker, "b");
    broker.inject(Fault::delay(PacketKind::Disconnect, secs(1)).client("b")).unwrap();
    broker.stop(None).unwrap();
    let last = client.until_closed();
    assert_eq!(last.first(), Some(&0xE0), "DISCONNECT");
}

#[test]
fn a_hundred_clients_come_and_go_and_time_passes_over_all() {
    let broker = start();
    for round in 0..2u32 {
        let ids: Vec<_> = (0..100).map(|number| format!("{round}-{number}")).collect();
        let guests = ids.iter().map(|id| Guest { keep_alive: 10, ..Guest::named(id) });
        let clients: Vec<_> = guests.map(|guest| guest.connect(&broker)).collect();
        assert_eq!(broker.stats().clients_connected, 100);
        broker.advance(secs(15)).unwrap();
        assert_eq!(broker.stats().clients_connected, 0);
        drop(clients);
    }
}

#[test]
fn a_broker_can_be_made_in_a_test_and_forgotten() {
    fn helper() -> TestBroker {
        start()
    }
    let address = helper().address("tcp").unwrap();
    assert!(std::net::TcpStream::connect(address).is_err());
}
