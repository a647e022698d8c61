//! Connections as they are on a real network: slow, silent, rude, gone.

use std::io::{Read, Write};
use std::mem::ManuallyDrop;
use std::net::{Shutdown, SocketAddr};
use std::sync::Arc;

use midge::codec::frame::{Framing, split};
use midge::codec::packet::{Packet, decode};
use midge::codec::qos::QoS;
use midge::codec::reason::ReasonCode;
use midge::codec::subscribe::SubscriptionOptions;
use midge::codec::version::Version;
use midge::embed::{Answer, Broker, Hooks, PublishOptions, SubscribeOptions, Verdict, defer};
use midge::engine::core::state::{Engine, EngineParts};
use midge::net::{Listeners, Server, bind};
use midge::runtime::{Clock, Runtime};
use midge::storage::MemoryStore;

use super::client::{Client, PATIENCE, address, broker, broker_with_workers, config};
use super::deadline::{Deadline, until};

/// [MQTT-4.2-1], [MQTT3-7.1.1-1]
#[test]
fn packets_arrive_byte_by_byte_and_many_in_one_segment() {
    let broker = broker();
    let mut client = Client::raw(address(&broker));
    let mut bytes = Vec::new();
    bytes.extend_from_slice(b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x3c\x00\x01a");
    bytes.extend_from_slice(b"\x82\x06\x00\x01\x00\x01t\x00");
    bytes.extend_from_slice(b"\x30\x04\x00\x01tx");
    for byte in &bytes {
        client.stream.write_all(&[*byte]).unwrap();
    }
    assert_eq!(client.message().payload, b"x");
    let mut many = Vec::new();
    for _ in 0..5000 {
        many.extend_from_slice(b"\x30\x04\x00\x01ty");
    }
    client.stream.write_all(&many).unwrap();
    for _ in 0..5000 {
        assert_eq!(client.message().payload, b"y");
    }
}

/// The story's publisher: PUBLISH travels before CONNACK is read.
#[test]
fn a_publish_right_behind_connect_is_taken() {
    let broker = broker();
    let mut hears = Client::connect(address(&broker), "s", Version::V311);
    hears.subscribe("chat", QoS::AtMostOnce);
    let mut says = Client::raw(address(&broker));
    says.stream
        .write_all(b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x3c\x00\x01p\x30\x0f\x00\x04chathello tao")
        .unwrap();
    assert_eq!(hears.message().payload, b"hello tao");
}

#[test]
fn large_messages_pass_whole_both_ways() {
    let broker = broker();
    let mut client = Client::connect(address(&broker), "c", Version::V5);
    client.subscribe("t", QoS::AtLeastOnce);
    for len in [8_191, 8_192, 32_767, 32_768, 65_536, 100_000, 1_000_000] {
        let payload: Vec<u8> = (0..len).map(|i| (i * 7) as u8).collect();
        client.publish("t", &payload, QoS::AtLeastOnce);
        assert!(client.message().payload == payload, "{len} bytes");
        broker.publish("t", &payload, &PublishOptions::default()).unwrap();
        assert!(client.message().payload == payload, "{len} bytes from the host");
        client.send(|_, out| out.extend_from_slice(&[0xc0, 0]));
    }
}

#[test]
fn a_packet_that_is_announced_too_large_is_refused_before_it_comes() {
    let broker = broker();
    let mut client = Client::connect(address(&broker), "c", Version::V5);
    client.stream.write_all(&[0x30, 0xff, 0xff, 0xff, 0x7f]).unwrap();
    assert_eq!(disconnected(&client.until_closed()), 0x95);
}

#[test]
fn a_slow_reader_gets_every_qos_1_message_in_order() {
    let mut config = config();
    config.set("session.max_queued_bytes", "64MiB").unwrap();
    let broker = Broker::start(&config).unwrap();
    let mut slow = Client::connect(address(&broker), "slow", Version::V311);
    slow.subscribe("t", QoS::AtLeastOnce);
    let payload = vec![b'.'; 50_000];
    for number in 0..500u32 {
        let mut message = number.to_be_bytes().to_vec();
        message.extend_from_slice(&payload);
        broker.publish("t", &message, &PublishOptions::qos(QoS::AtLeastOnce)).unwrap();
    }
    assert_eq!(broker.stats().messages_dropped(), 0);
    for number in 0..500u32 {
        let message = slow.message();
        assert_eq!(message.payload[..4], number.to_be_bytes());
        let id = message.packet_id.unwrap().get().to_be_bytes();
        slow.stream.write_all(&[0x40, 2, id[0], id[1]]).unwrap();
    }
}

#[test]
fn a_slow_reader_loses_qos_0_messages_and_each_is_counted() {
    let broker = broker();
    let mut slow = Client::connect(address(&broker), "slow", Version::V311);
    slow.subscribe("t", QoS::AtMostOnce);
    for _ in 0..1000 {
        broker.publish("t", vec![b'.'; 50_000], &PublishOptions::default()).unwrap();
    }
    let stats = broker.stats();
    assert!(stats.messages_dropped_outbox_full > 0);
    broker.publish("end", "", &PublishOptions::default()).unwrap();
    for _ in 0..1000 - stats.messages_dropped_outbox_full {
        slow.message();
    }
}

/// A client that sends and never reads is read no more; the broker's memory stays bounded, and others are served.
#[test]
fn a_client_that_floods_and_never_reads_is_paused() {
    let mut config = config();
    config.set("session.max_outbox_bytes", "64KiB").unwrap();
    let broker = Broker::start(&config).unwrap();
    for version in [Version::V311, Version::V5] {
        let mut rude = Client::connect(address(&broker), "rude", version);
        rude.stream.set_write_timeout(Some(std::time::Duration::from_millis(300))).unwrap();
        let pings = [0xc0, 0].repeat(32 * 1024);
        // 256 MiB of PINGREQ would be as much PINGRESP; the kernel's buffers hold some MiB.
        let mut sent = 0;
        while sent < 256 << 20 {
            // After half a packet, its other half.
            match rude.stream.write(&pings[sent % 2..]) {
                Ok(count) => sent += count,
                Err(_) => break,
            }
        }
        assert!(sent < 256 << 20, "the client was never paused");
        let mut polite = Client::connect(address(&broker), "polite", version);
        polite.send(|_, out| out.extend_from_slice(&[0xc0, 0]));
        polite.expect("PINGRESP", |packet| matches!(packet, Packet::Pingresp).then_some(()));
        // When it reads at last, it is read again: every PINGREQ that it could send is answered.
        for _ in 0..sent / 2 {
            rude.expect("PINGRESP", |packet| matches!(packet, Packet::Pingresp).then_some(()));
        }
    }
}

/// It has no Keep Alive: only the end of its connection tells the broker that it is gone.
#[test]
fn a_client_that_is_paused_and_then_vanishes_leaves_nothing_behind() {
    let mut config = config();
    config.set("session.max_outbox_bytes", "64KiB").unwrap();
    let broker = Broker::start(&config).unwrap();
    let mut wills = broker.subscribe("will", &SubscribeOptions::default()).unwrap();
    for version in [Version::V311, Version::V5] {
        let mut rude = Client::raw(address(&broker));
        rude.version = version;
        rude.send_connect_with_will("rude", "will");
        rude.expect("CONNACK", |packet| matches!(packet, Packet::Connack(_)).then_some(()));
        rude.stream.set_write_timeout(Some(std::time::Duration::from_millis(300))).unwrap();
        let pings = [0xc0, 0].repeat(32 * 1024);
        while rude.stream.write(&pings).is_ok() {}
        // Bytes of the broker are unread: this resets the connection.
        drop(rude);
        assert_eq!(wills.recv_timeout(PATIENCE).unwrap().unwrap().topic(), "will");
        assert_eq!(broker.stats().clients_connected, 0);
    }
}

#[test]
fn a_peer_that_vanishes_costs_nobody_else() {
    let broker = broker();
    let mut stays = Client::connect(address(&broker), "stays", Version::V5);
    stays.subscribe("t", QoS::AtMostOnce);
    for round in 0..50 {
        let mut goes = Client::connect(address(&broker), &format!("goes{round}"), Version::V5);
        goes.subscribe("t", QoS::AtMostOnce);
        goes.stream.shutdown(Shutdown::Both).unwrap();
        drop(goes);
        broker.publish("t", vec![1; 20_000], &PublishOptions::default()).unwrap();
        assert_eq!(stays.message().payload.len(), 20_000);
    }
}

#[test]
fn garbage_costs_the_connection_that_sent_it() {
    let broker = broker();
    let mut good = Client::connect(address(&broker), "good", Version::V5);
    good.subscribe("t", QoS::AtMostOnce);
    for garbage in
        [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0xff; 100], &[0; 10], b"\x10\x00", b"\x30\x04\x00\x01tx"]
    {
        let mut bad = Client::raw(address(&broker));
        bad.stream.write_all(garbage).unwrap();
        bad.until_closed();
    }
    broker.publish("t", "alive", &PublishOptions::default()).unwrap();
    assert_eq!(good.message().payload, b"alive");
}

#[test]
fn a_connection_that_says_nothing_is_closed_at_the_deadline() {
    let mut config = config();
    config.set("mqtt.connect_timeout", "100ms").unwrap();
    let broker = Broker::start(&config).unwrap();
    let mut silent = Client::raw(address(&broker));
    assert!(silent.until_closed().is_empty());
    let mut half = Client::raw(address(&broker));
    half.stream.write_all(&[0x10]).unwrap();
    assert!(half.until_closed().is_empty());
    assert_eq!(broker.stats().connections_refused, 2);
}

/// The reason code of DISCONNECT, which is all that came.
fn disconnected(bytes: &[u8]) -> u8 {
    match split(bytes, u32::MAX) {
        Ok(Framing::Complete(frame)) if frame.whole == bytes => match decode(frame, Version::V5) {
            Ok(Packet::Disconnect(packet)) => packet.reason.as_u8(),
            other => panic!("expected DISCONNECT: {other:?}"),
        },
        other => panic!("expected one packet: {other:?}"),
    }
}

#[test]
fn a_silent_client_is_closed_after_one_and_a_half_times_its_keep_alive() {
    let broker = broker();
    let mut client = Client::raw(address(&broker));
    client.version = Version::V5;
    client.send_connect("c", 1);
    client.expect("CONNACK", |packet| matches!(packet, Packet::Connack(_)).then_some(()));
    assert_eq!(disconnected(&client.until_closed()), 0x8d);
    assert_eq!(broker.stats().keep_alive_timeouts, 1);
}

#[test]
fn connections_beyond_the_limits_are_turned_away() {
    let mut config = config();
    config.set("mqtt.max_connections", "3").unwrap();
    config.set("listener.tcp.max_connections", "2").unwrap();
    config.set("listener.b.bind", "127.0.0.1:0").unwrap();
    let broker = Broker::start(&config).unwrap();
    let other = broker.address("b").unwrap();
    let _one = Client::connect(address(&broker), "1", Version::V5);
    let two = Client::connect(address(&broker), "2", Version::V5);
    assert_eq!(refused(address(&broker), "4"), ReasonCode::QuotaExceeded, "the listener's limit");
    let _three = Client::connect(other, "3", Version::V5);
    assert_eq!(refused(other, "4"), ReasonCode::QuotaExceeded, "the broker's limit");
    drop(two);
    // The place is free when the broker has seen the end of the connection.
    until("the client is gone", || broker.stats().clients_connected == 2);
    let _four = Client::connect(other, "4", Version::V5);
}

/// The reason for which a client of MQTT 5 is refused.
fn refused(address: SocketAddr, client_id: &str) -> ReasonCode {
    let mut client = Client::raw(address);
    client.version = Version::V5;
    client.send_connect(client_id, 0);
    client.connack()
}

/// A client that comes back while its old socket is half open takes its own place, and more silent connections than there
/// are places lock nobody out.
#[test]
fn silent_and_half_open_connections_lock_nobody_out() {
    for key in ["mqtt.max_connections", "listener.tcp.max_connections"] {
        let mut config = config();
        config.set(key, "2").unwrap();
        let broker = Broker::start(&config).unwrap();
        let silent: Vec<_> = (0..10).map(|_| Client::raw(address(&broker))).collect();
        let mut half_open = Client::connect(address(&broker), "1", Version::V5);
        let _two = Client::connect(address(&broker), "2", Version::V5);
        for _ in 0..5 {
            let again = Client::connect(address(&broker), "1", Version::V5);
            assert_eq!(disconnected(&half_open.until_closed()), 0x8e);
            half_open = again;
            assert_eq!(refused(address(&broker), "3"), ReasonCode::QuotaExceeded);
        }
        assert_eq!(broker.stats().clients_connected, 2, "{key}");
        drop(half_open);
        until("the client is gone", || broker.stats().clients_connected == 1);
        let _three = Client::connect(address(&broker), "3", Version::V5);
        drop(silent);
    }
}

/// Of the connections without a CONNECT the oldest gives way; not one whose CONNECT waits for the host.
#[test]
fn the_oldest_connection_without_a_connect_gives_way() {
    let mut config = config();
    config.set("mqtt.max_pending_connections", "3").unwrap();
    let (decisions, undecided) = std::sync::mpsc::channel();
    let hooks = Hooks::new().authenticate(move |request| -> Answer {
        if request.client_id != "slow" {
            return Verdict::Allow.into();
        }
        let (decision, deferred) = defer();
        decisions.send(decision).unwrap();
        deferred.into()
    });
    let broker = Broker::start_with(&config, &hooks).unwrap();
    let mut slow = Client::raw(address(&broker));
    slow.version = Version::V5;
    slow.send_connect("slow", 0);
    let decision = undecided.recv_timeout(PATIENCE).unwrap();
    let mut silent: std::collections::VecDeque<_> = (0..2).map(|_| Client::raw(address(&broker))).collect();
    until("they have come", || broker.stats().connections_accepted == 3);
    for refused in 1..=5 {
        silent.push_back(Client::raw(address(&broker)));
        assert!(silent.pop_front().unwrap().until_closed().is_empty());
        assert_eq!(broker.stats().connections_refused, refused);
    }
    // A client among them is let in, and leaves a place.
    let _client = Client::connect(address(&broker), "c", Version::V5);
    assert!(silent.pop_front().unwrap().until_closed().is_empty());
    assert!(decision.resolve(Verdict::Allow));
    assert_eq!(slow.connack(), ReasonCode::Success);
    assert_eq!(broker.stats().connections_refused, 6);
}

#[test]
fn the_last_packet_arrives_although_the_client_is_still_sending() {
    let broker = broker();
    for _ in 0..50 {
        let mut client = Client::connect(address(&broker), "c", Version::V5);
        let mut bytes = vec![0xc0, 0, 0xf0, 0, 0x00, 0x00];
        bytes.resize(30_000, 0);
        client.stream.write_all(&bytes).unwrap();
        let answer = client.until_closed();
        assert_eq!(answer[..2], [0xd0, 0]);
        assert_eq!(disconnected(&answer[2..]), 0x82, "{answer:?}");
    }
}

/// More than is read at once: what had not been read when the connection was closed would reset it.
#[test]
fn a_client_may_go_on_sending_after_the_last_packet() {
    let broker = broker();
    let goes_on = || {
        let mut client = Client::connect(address(&broker), "c", Version::V5);
        let mut bytes = vec![0x00, 0x00];
        bytes.resize(500_000, 0);
        client.stream.write_all(&bytes).unwrap();
        let mut answer = Vec::new();
        client.stream.read_to_end(&mut answer).unwrap();
        assert_eq!(disconnected(&answer), 0x81, "{answer:?}");
        // The broker waits for the client to close, though not for ever.
        std::thread::sleep(std::time::Duration::from_millis(50));
        client.stream.write_all(&bytes).is_ok()
    };
    assert!((0..10).any(|_| goes_on()));
}

/// A peer that never closes its side is not waited for for ever.
#[test]
fn a_connection_that_the_client_leaves_open_is_closed_in_the_end() {
    let broker = broker();
    let mut client = Client::connect(address(&broker), "c", Version::V5);
    client.stream.write_all(&[0x00, 0x00]).unwrap();
    assert_eq!(disconnected(&client.until_closed()), 0x81);
    let deadline = Deadline::until("the broker has closed its side, too");
    while client.stream.write_all(&[0]).is_ok() {
        deadline.wait();
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}

/// A client that has shut its side only may still read.
#[test]
fn what_is_sent_with_the_end_of_one_side_is_answered() {
    for workers in ["1", "2"] {
        let broker = broker_with_workers(workers);
        for round in 0..50 {
            let mut client = Client::connect(address(&broker), "c", Version::V311);
            client.stream.write_all(&[0xc0, 0]).unwrap();
            client.stream.shutdown(Shutdown::Write).unwrap();
            assert_eq!(client.until_closed(), [0xd0, 0], "{workers} threads, round {round}");
        }
    }
}

/// The last packet is written to a socket that is full, and then broken.
#[test]
fn a_client_that_vanishes_while_its_last_packet_waits_holds_up_nobody() {
    // If a thread of the broker never comes back, neither does its stop.
    let broker = ManuallyDrop::new(broker_with_workers("1"));
    let mut slow = Client::connect(address(&broker), "slow", Version::V5);
    slow.subscribe("t", QoS::AtMostOnce);
    while broker.stats().messages_dropped_outbox_full == 0 {
        broker.publish("t", vec![b'.'; 50_000], &PublishOptions::default()).unwrap();
    }
    assert!(broker.kick("slow").unwrap());
    // Bytes of the broker are unread: this resets the connection.
    drop(slow);
    let mut other = Client::connect(address(&broker), "other", Version::V5);
    other.send(|_, out| out.extend_from_slice(&[0xc0, 0]));
    other.expect("PINGRESP", |packet| matches!(packet, Packet::Pingresp).then_some(()));
    ManuallyDrop::into_inner(broker).stop(None).unwrap();
}

/// What comes while the last packet is written is taken, and holds up no stop.
#[test]
fn clients_that_never_stop_sending_do_not_hold_up_a_stop() {
    for _ in 0..5 {
        let broker = broker();
        std::thread::scope(|scope| {
            for number in 0..4 {
                let mut client = Client::connect(address(&broker), &format!("{number}"), Version::V5);
                let mut reader = client.stream.try_clone().unwrap();
                scope.spawn(move || while client.stream.write_all(&[0xc0, 0].repeat(100)).is_ok() {});
                scope.spawn(move || while reader.read(&mut [0; 4096]).is_ok_and(|count| count > 0) {});
            }
            broker.stop(None).unwrap();
        });
    }
}

/// [MQTT-3.1.4-3]
#[test]
fn a_taken_over_client_is_told_0x8e() {
    let broker = broker();
    let mut old = Client::connect(address(&broker), "same", Version::V5);
    let _new = Client::connect(address(&broker), "same", Version::V5);
    assert_eq!(disconnected(&old.until_closed()), 0x8e);
    assert_eq!(broker.stats().takeovers, 1);
}

/// A panic costs the connection in whose turn it happens: its session learns of the end, the broker goes on.
#[test]
fn a_panic_costs_one_connection() {
    struct Alarmless;
    impl midge::engine::core::timers::Alarm for Alarmless {
        fn set(&self, _at: midge::time::Time) {}
    }
    struct Bug;
    impl midge::engine::parts::sink::Sink for Bug {
        fn push(&self, _message: &midge::engine::parts::sink::LocalMessage<'_>) -> bool {
            panic!("planted")
        }
        fn wake(&self) {}
    }
    let clock = Clock::start();
    let surroundings =
        EngineParts { store: Arc::new(MemoryStore), alarm: Arc::new(Alarmless), seed: 1, started_unix: 0 };
    let engine = Arc::new(Engine::new(config().settings(), surroundings));
    let wing = Arc::new(Server::new(engine.clone(), clock.clone(), None, None));
    let runtime = Runtime::start(1).unwrap();
    let bound =
        bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into(), &config().settings().listeners[0]).unwrap();
    let address = bound.address().as_socket().unwrap();
    Listeners::new(wing.clone(), runtime.handle().clone()).open(bound).unwrap();
    let options = SubscriptionOptions::default();
    engine.subscribe_local(&mut engine.turn(clock.now()), "bug", options, 0, Arc::new(Bug)).unwrap();
    let mut good = Client::connect(address, "good", Version::V5);
    good.subscribe("#", QoS::AtMostOnce);
    let mut unlucky = Client::connect(address, "unlucky", Version::V5);
    unlucky.publish("bug", b"", QoS::AtMostOnce);
    assert!(unlucky.until_closed().is_empty());
    let mut other = Client::connect(address, "other", Version::V5);
    other.publish("fine", b"x", QoS::AtMostOnce);
    loop {
        // The first may have been delivered before the panic.
        if good.message().topic == "fine" {
            break;
        }
    }
    until("the session of the panic has ended", || engine.snapshot().clients_connected == 2);
    drop((good, other));
    until("the others are gone", || engine.snapshot().clients_connected == 0);
    runtime.join();
    assert_eq!(engine.snapshot().connections_closed, 3);
}
