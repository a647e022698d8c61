//! Durable brokers of the test kit: crashes, restarts, and disks that are slow, full or broken.

use std::io::ErrorKind;
use std::net::TcpStream;
use std::path::PathBuf;
use std::sync::mpsc::channel;
use std::time::Duration;

use midge::codec::packet::Packet;
use midge::codec::qos::QoS;
use midge::codec::reason::ReasonCode;
use midge::codec::version::Version;
use midge::config::Config;
use midge::embed::{Broker, Error, PublishOptions, SubscribeOptions};
use midge::testing::{Crash, Disk, Fault, PacketKind, TestBroker};

use crate::client::Client;
use crate::kit::{Guest, PATIENCE, acknowledged, connect, id, millis, ping, publish, secs, start};

fn durable() -> TestBroker {
    TestBroker::start_durable(&Config::new()).unwrap()
}

/// A client whose session lasts an hour.
fn lasting(client_id: &str) -> Guest<'_> {
    Guest { session_expiry: 3600, clean_start: false, ..Guest::named(client_id) }
}

fn directory(broker: &TestBroker) -> PathBuf {
    broker.storage().unwrap().path.into()
}

/// A subscriber that is away, and its session.
fn subscriber_that_leaves(broker: &TestBroker, client_id: &str) {
    let mut client = lasting(client_id).connect(broker);
    client.subscribe("t", QoS::ExactlyOnce);
    drop(client);
    assert!(broker.wait_for_no_client(client_id, PATIENCE).unwrap());
    broker.settle().unwrap();
}

/// The reason of the next PUBACK or PUBREC.
fn reason(client: &mut Client) -> ReasonCode {
    client.expect("an answer", |packet| match packet {
        Packet::Puback(ack) | Packet::Pubrec(ack) => Some(ack.reason),
        _ => None,
    })
}

#[test]
fn what_was_acknowledged_is_there_after_a_crash_at_the_same_address() {
    for crash in [Crash::Kill, Crash::PowerCut] {
        let broker = durable();
        subscriber_that_leaves(&broker, "s");
        let mut client = lasting("c").connect(&broker);
        publish(&mut client, "t", b"x", QoS::AtLeastOnce, 1, false);
        assert_eq!(acknowledged(&mut client), ("PUBACK", id(1)));
        broker.crash(crash).unwrap();
        assert!(client.until_closed().is_empty(), "{crash:?}: no DISCONNECT");
        let again = broker.restart().unwrap();
        assert_eq!(again.address("tcp"), broker.address("tcp"));
        drop(broker);
        let (mut subscriber, present) = lasting("s").try_connect(&again);
        assert_eq!(present, Ok(true), "{crash:?}");
        assert_eq!(subscriber.message().payload, b"x", "{crash:?}");
        assert_eq!(lasting("c").try_connect(&again).1, Ok(true), "{crash:?}");
    }
}

#[test]
fn a_broker_that_is_down_refuses_connections_and_its_port_is_kept() {
    let broker = durable();
    let address = broker.address("tcp").unwrap();
    broker.crash(Crash::Kill).unwrap();
    assert_eq!(TcpStream::connect(address).unwrap_err().kind(), ErrorKind::ConnectionRefused);
    let again = broker.restart().unwrap();
    ping(&mut connect(&again, "a"));
}

/// The acknowledgement of a message that was written and not flushed never came; whether the message did, the crash says.
#[test]
fn what_was_not_flushed_survives_a_kill_and_no_power_cut() {
    for (crash, kept) in [(Crash::Kill, 1), (Crash::PowerCut, 0)] {
        let broker = durable();
        subscriber_that_leaves(&broker, "s");
        let mut client = lasting("c").connect(&broker);
        broker.set_disk(Disk::Held).unwrap();
        publish(&mut client, "t", b"x", QoS::AtLeastOnce, 1, false);
        broker.settle().unwrap();
        broker.crash(crash).unwrap();
        assert!(client.until_closed().is_empty(), "{crash:?}: not acknowledged");
        let again = broker.restart().unwrap();
        let waiting = again.clients().into_iter().find(|client| client.client_id == "s").unwrap().queued;
        assert_eq!(waiting, kept, "{crash:?}");
        // The client sends it again.
        let mut client = lasting("c").connect(&again);
        publish(&mut client, "t", b"x", QoS::AtLeastOnce, 1, true);
        assert_eq!(acknowledged(&mut client), ("PUBACK", id(1)));
    }
}

#[test]
fn without_flushing_a_power_cut_loses_what_was_acknowledged() {
    let mut config = Config::new();
    config.set("storage.sync", "never").unwrap();
    for (crash, kept) in [(Crash::Kill, true), (Crash::PowerCut, false)] {
        let broker = TestBroker::start_durable(&config).unwrap().restart().unwrap();
        broker
            .publish_acknowledged("t", "x", &PublishOptions::qos(QoS::AtLeastOnce).retained(), None)
            .unwrap();
        broker.crash(crash).unwrap();
        let again = broker.restart().unwrap();
        assert_eq!(again.stats().retained_messages == 1, kept, "{crash:?}");
    }
}

#[test]
fn a_qos_2_message_that_is_repeated_after_a_crash_comes_once() {
    let broker = durable();
    subscriber_that_leaves(&broker, "s");
    broker.inject(Fault::drop(PacketKind::Pubrec)).unwrap();
    let mut client = lasting("c").connect(&broker);
    publish(&mut client, "t", b"x", QoS::ExactlyOnce, 7, false);
    broker.settle().unwrap();
    broker.crash(Crash::PowerCut).unwrap();
    let broker = broker.restart().unwrap();
    let mut client = lasting("c").connect(&broker);
    publish(&mut client, "t", b"x", QoS::ExactlyOnce, 7, true);
    assert_eq!(acknowledged(&mut client), ("PUBREC", id(7)));
    let waiting = broker.clients().into_iter().find(|client| client.client_id == "s").unwrap().queued;
    assert_eq!(waiting, 1);
    assert_eq!(broker.published("t").unwrap().len(), 1, "the record goes on, and has it once");
}

#[test]
fn time_passes_while_the_broker_is_down() {
    let broker = durable();
    for (client_id, seconds) in [("short", 100), ("long", 101)] {
        let guest = Guest { session_expiry: seconds, ..lasting(client_id) };
        drop(guest.connect(&broker));
        assert!(broker.wait_for_no_client(client_id, PATIENCE).unwrap());
    }
    subscriber_that_leaves(&broker, "s");
    for (payload, expiry) in [("early", 100), ("late", 101)] {
        let mut options = PublishOptions::qos(QoS::AtLeastOnce);
        options.message_expiry_interval = Some(expiry);
        broker.publish_acknowledged("t", payload, &options, None).unwrap();
    }
    broker.advance(secs(40)).unwrap();
    broker.crash(Crash::Kill).unwrap();
    broker.advance(secs(60)).unwrap();
    assert_eq!(broker.now(), secs(100));
    let broker = broker.restart().unwrap();
    assert_eq!(broker.now(), secs(100), "the time goes on");
    let mut names: Vec<_> = broker.clients().into_iter().map(|client| client.client_id).collect();
    names.sort();
    assert_eq!(names, ["long", "s"]);
    assert_eq!(lasting("s").connect(&broker).message().payload, b"late");
    broker.advance(secs(1)).unwrap();
    assert!(!broker.clients().iter().any(|client| client.client_id == "long"));
}

#[test]
fn a_will_waits_for_its_delay_from_the_restart_on() {
    let broker = durable();
    let client = Guest { will: Some(("will", 30)), ..lasting("a") }.connect(&broker);
    broker.settle().unwrap();
    broker.crash(Crash::Kill).unwrap();
    drop(client);
    broker.advance(secs(10)).unwrap();
    broker.assert_not_published("will");
    let broker = broker.restart().unwrap();
    broker.advance(millis(29_999)).unwrap();
    broker.assert_not_published("will");
    broker.advance(millis(1)).unwrap();
    broker.assert_published("will", "gone");
    assert_eq!(broker.published("will").unwrap()[0].tag(), 40_000);
}

#[test]
fn an_acknowledgement_waits_for_a_disk_that_is_held() {
    let broker = durable();
    subscriber_that_leaves(&broker, "s");
    let mut client = lasting("a").connect(&broker);
    broker.set_disk(Disk::Held).unwrap();
    publish(&mut client, "t", b"x", QoS::AtLeastOnce, 1, false);
    client.publish("u", b"qos 0", QoS::AtMostOnce);
    broker.settle().unwrap();
    // The message was taken, and neither it nor a day gets the acknowledgement out.
    broker.assert_published("t", "x");
    broker.assert_published("u", "qos 0");
    broker.advance(secs(24 * 3600)).unwrap();
    ping_without_acknowledgement(&mut client);
    assert_eq!(broker.storage().unwrap().waiting_acknowledgements, 1);
    broker.set_disk(Disk::Well).unwrap();
    broker.settle().unwrap();
    assert_eq!(broker.storage().unwrap().waiting_acknowledgements, 0);
    assert_eq!(acknowledged(&mut client), ("PUBACK", id(1)));
}

/// The next packet is a PINGRESP.
fn ping_without_acknowledgement(client: &mut Client) {
    client.send(|_, out| midge::codec::ping::encode_pingreq(out));
    let came = client.expect("a packet", |packet| Some(matches!(packet, Packet::Pingresp)));
    assert!(came, "an acknowledgement came");
}

#[test]
fn a_slow_disk_takes_the_broker_s_time() {
    let broker = durable();
    subscriber_that_leaves(&broker, "s");
    let mut client = lasting("a").connect(&broker);
    broker.set_disk(Disk::Slow(secs(5))).unwrap();
    publish(&mut client, "t", b"x", QoS::AtLeastOnce, 1, false);
    broker.settle().unwrap();
    publish(&mut client, "t", b"y", QoS::AtLeastOnce, 2, false);
    broker.advance(millis(4999)).unwrap();
    ping_without_acknowledgement(&mut client);
    broker.advance(millis(1)).unwrap();
    // The second message is in the next group, whose flush began when the first had ended.
    assert_eq!(acknowledged(&mut client), ("PUBACK", id(1)));
    broker.advance(millis(4999)).unwrap();
    ping_without_acknowledgement(&mut client);
    broker.advance(millis(1)).unwrap();
    assert_eq!(acknowledged(&mut client), ("PUBACK", id(2)));
    assert_eq!(broker.now(), secs(10));
}

#[test]
fn a_full_disk_refuses_messages_until_there_is_room() {
    let broker = durable();
    let mut client = lasting("a").connect(&broker);
    let guest = Guest { version: Version::V311, ..Guest::named("old") };
    let mut old = guest.connect(&broker);
    broker.settle().unwrap();
    broker.set_disk(Disk::Full).unwrap();
    publish(&mut client, "t", b"x", QoS::AtLeastOnce, 1, false);
    assert_eq!(reason(&mut client), ReasonCode::QuotaExceeded);
    publish(&mut client, "t", b"x", QoS::ExactlyOnce, 2, false);
    assert_eq!(reason(&mut client), ReasonCode::QuotaExceeded);
    publish(&mut old, "t", b"x", QoS::AtLeastOnce, 1, false);
    assert!(old.until_closed().is_empty(), "an older client is not told, and has to send again");
    client.publish("t", b"qos 0", QoS::AtMostOnce);
    broker.settle().unwrap();
    assert_eq!(broker.published("t").unwrap().len(), 1, "QoS 0 goes on");
    broker.set_disk(Disk::Well).unwrap();
    publish(&mut client, "t", b"x", QoS::AtLeastOnce, 3, false);
    assert_eq!(reason(&mut client), ReasonCode::NoMatchingSubscribers);
    let mut old = guest.connect(&broker);
    publish(&mut old, "t", b"x", QoS::AtLeastOnce, 1, true);
    assert_eq!(acknowledged(&mut old), ("PUBACK", id(1)));
}

/// Retained messages of QoS 0, which the full disk has not refused.
#[test]
fn retained_messages_that_had_to_wait_for_room_outlive_a_stop() {
    let broker = durable();
    broker.publish("t/0", "old", &PublishOptions::qos(QoS::AtLeastOnce).retained()).unwrap();
    broker.settle().unwrap();
    broker.set_disk(Disk::Full).unwrap();
    for number in 0..3000 {
        broker
            .publish(&format!("t/{number}"), "new", &PublishOptions::qos(QoS::AtMostOnce).retained())
            .unwrap();
    }
    broker.set_disk(Disk::Well).unwrap();
    let again = broker.restart().unwrap();
    assert_eq!(again.stats().retained_messages, 3000);
    // As long as the disk is full, the older message is what a restart finds.
    again.set_disk(Disk::Full).unwrap();
    again.publish("t/0", "newest", &PublishOptions::qos(QoS::AtMostOnce).retained()).unwrap();
    let third = again.restart().unwrap();
    assert_eq!(third.stats().retained_messages, 3000);
    assert_eq!(third.retained("t/0").unwrap()[0].payload()[..], *b"new");
}

#[test]
fn a_subscription_is_refused_without_room_and_the_store_recovers_by_itself() {
    let broker = durable();
    let mut client = lasting("a").connect(&broker);
    broker.settle().unwrap();
    broker.set_disk(Disk::Full).unwrap();
    assert_eq!(subscribed(&mut client), [ReasonCode::QuotaExceeded.as_u8()]);
    ping(&mut client);
    broker.set_disk(Disk::Well).unwrap();
    broker.settle().unwrap();
    assert_eq!(broker.storage().unwrap().state.name(), "ok");
    assert_eq!(subscribed(&mut client), [1]);
}

/// What makes room is not refused, and waits: the end of a subscription, here.
#[test]
fn the_end_of_a_subscription_waits_for_room_and_comes_by_itself() {
    let broker = durable();
    let mut client = lasting("a").connect(&broker);
    assert_eq!(subscribed(&mut client), [1]);
    broker.settle().unwrap();
    broker.set_disk(Disk::Full).unwrap();
    // UNSUBSCRIBE from `t` with identifier 9.
    client.try_send(&[0xA2, 6, 0, 9, 0, 0, 1, b't']).unwrap();
    broker.settle().unwrap();
    ping_without_acknowledgement(&mut client);
    let storage = broker.storage().unwrap();
    assert_eq!(storage.state.name(), "retrying");
    assert!(storage.cause.unwrap().contains("No space left on device"));
    broker.set_disk(Disk::Well).unwrap();
    broker.settle().unwrap();
    assert_eq!(broker.storage().unwrap().state.name(), "ok");
    client.expect("UNSUBACK", |packet| matches!(packet, Packet::Unsuback(_)).then_some(()));
}

/// The reason codes of a subscription.
fn subscribed(client: &mut Client) -> Vec<u8> {
    let mut packet = Vec::new();
    client.encode_subscribe("t", QoS::AtLeastOnce, &mut packet);
    client.try_send(&packet).unwrap();
    client.expect("SUBACK", |packet| match packet {
        Packet::Suback(suback) => Some(suback.reasons.to_vec()),
        _ => None,
    })
}

#[test]
fn a_broken_disk_acknowledges_nothing_until_the_broker_is_restarted() {
    for disk in [Disk::WriteError, Disk::FlushError] {
        let broker = durable();
        subscriber_that_leaves(&broker, "s");
        let mut client = lasting("a").connect(&broker);
        broker.settle().unwrap();
        broker.set_disk(disk).unwrap();
        publish(&mut client, "t", b"x", QoS::AtLeastOnce, 1, false);
        broker.settle().unwrap();
        ping_without_acknowledgement(&mut client);
        let storage = broker.storage().unwrap();
        assert_eq!(storage.state.name(), "failed", "{disk:?}");
        assert!(storage.cause.unwrap().contains("Input/output error"), "{disk:?}");
        // A disk that works again is not trusted.
        broker.set_disk(Disk::Well).unwrap();
        let mut other = connect(&broker, "b");
        publish(&mut other, "t", b"y", QoS::AtLeastOnce, 1, false);
        assert_eq!(reason(&mut other), ReasonCode::QuotaExceeded, "refused, and so never acknowledged");
        // What the host does to a session of the store is done, and it is told that a restart undoes it.
        assert!(broker.end_session("b").unwrap(), "the store has none of this client");
        for done in [broker.clear_queue("s").map(|_| ()), broker.end_session("s").map(|_| ())] {
            let error = done.unwrap_err().to_string();
            assert!(error.starts_with("the store: it has failed"), "{error}");
        }
        assert!(!broker.end_session("s").unwrap(), "it has ended");
        let broker = broker.restart().unwrap();
        assert!(broker.end_session("s").unwrap(), "it is there again");
        let mut client = lasting("a").connect(&broker);
        publish(&mut client, "t", b"x", QoS::AtLeastOnce, 1, true);
        assert_eq!(acknowledged(&mut client), ("PUBACK", id(1)), "{disk:?}");
    }
}

#[test]
fn a_temporary_directory_is_removed_with_the_last_life() {
    let broker = durable();
    let path = directory(&broker);
    assert!(path.is_dir());
    broker.crash(Crash::Kill).unwrap();
    let again = broker.restart().unwrap();
    assert_eq!(directory(&again), path);
    drop(broker);
    assert!(path.is_dir());
    drop(again);
    assert!(!path.exists());
}

#[test]
fn a_directory_of_the_test_stays_and_any_broker_can_read_it() {
    let path = std::env::temp_dir().join(format!("midge-kit-{}", std::process::id()));
    let mut config = Config::new();
    config.set("storage.path", &path.to_string_lossy()).unwrap();
    let broker = TestBroker::start_durable(&config).unwrap();
    broker.publish_acknowledged("t", "x", &PublishOptions::qos(QoS::AtLeastOnce).retained(), None).unwrap();
    // One that is not in test mode cannot have it meanwhile.
    config.set("listener.tcp.bind", "127.0.0.1:0").unwrap();
    let error = Broker::start(&config).unwrap_err().to_string();
    assert!(error.contains("another broker of this process uses it"), "{error}");
    broker.crash(Crash::PowerCut).unwrap();
    let live = Broker::start(&config).unwrap();
    assert_eq!(live.stats().retained_messages, 1);
    // And while that one has it, the test's cannot be restarted, but later it can.
    let error = broker.restart().unwrap_err().to_string();
    assert!(error.contains("another broker of this process uses it"), "{error}");
    live.stop(None).unwrap();
    assert_eq!(broker.restart().unwrap().stats().retained_messages, 1);
    drop(broker);
    assert!(path.is_dir());
    std::fs::remove_dir_all(&path).unwrap();
}

#[test]
fn a_crash_ends_a_broker_once_and_a_restart_follows_once() {
    let broker = durable();
    broker.crash(Crash::Kill).unwrap();
    assert!(matches!(broker.crash(Crash::Kill), Err(Error::Stopped)));
    broker.stop(None).unwrap();
    assert!(matches!(broker.set_disk(Disk::Well), Err(Error::Stopped)));
    assert!(matches!(broker.settle(), Err(Error::Stopped)));
    let again = broker.restart().unwrap();
    assert!(matches!(broker.restart(), Err(Error::Argument { argument: "restart", .. })));
    assert!(matches!(broker.advance(secs(1)), Err(Error::Stopped)), "the next life has the time now");
    again.stop(None).unwrap();
    assert!(matches!(again.crash(Crash::Kill), Err(Error::Stopped)));
    again.advance(secs(1)).unwrap();
    let third = again.restart().unwrap().restart().unwrap();
    assert_eq!(third.now(), secs(1));
    ping(&mut connect(&third, "a"));
}

#[test]
fn a_broker_without_a_directory_forgets_everything() {
    let broker = start();
    drop(lasting("a").connect(&broker));
    assert!(matches!(broker.set_disk(Disk::Full), Err(Error::Argument { argument: "disk", .. })));
    broker.crash(Crash::Kill).unwrap();
    broker.advance(secs(5)).unwrap();
    let broker = broker.restart().unwrap();
    assert_eq!((lasting("a").try_connect(&broker).1, broker.now()), (Ok(false), secs(5)));
}

#[test]
fn a_stop_and_a_restart_end_the_waiting_for_a_disk() {
    for disk in [Disk::Held, Disk::Slow(secs(1))] {
        let broker = durable();
        broker.set_disk(disk).unwrap();
        let options = PublishOptions::qos(QoS::AtLeastOnce).retained();
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| broker.publish_acknowledged("t", "x", &options, None));
            broker.wait_for("t", 1, PATIENCE).unwrap();
            broker.settle().unwrap();
            let again = broker.restart().unwrap();
            // A stop is orderly: the message is safe.
            assert_eq!(again.stats().retained_messages, 1, "{disk:?}");
            waiting.join().unwrap().unwrap();
        });
    }
}

#[test]
fn a_crash_ends_the_waiting_of_a_host_and_of_who_moves_the_time() {
    let broker = durable();
    broker.set_disk(Disk::Held).unwrap();
    std::thread::scope(|scope| {
        let options = PublishOptions::qos(QoS::AtLeastOnce).retained();
        let broker = &broker;
        let waiting = scope.spawn(move || broker.publish_acknowledged("t", "x", &options, None));
        let moving = scope.spawn(move || while broker.settle().is_ok() && broker.advance(secs(1)).is_ok() {});
        broker.wait_for("t", 1, PATIENCE).unwrap();
        broker.crash(Crash::PowerCut).unwrap();
        assert!(waiting.join().unwrap().is_err(), "not acknowledged");
        moving.join().unwrap();
    });
    assert_eq!(broker.restart().unwrap().stats().retained_messages, 0);
}

#[test]
fn a_crash_waits_for_a_callback_that_runs_and_cannot_come_from_one() {
    let broker = std::sync::Arc::new(durable());
    let ((told, answers), (entered, inside), (leave, may_leave)) = (channel(), channel(), channel::<()>());
    let weak = std::sync::Arc::downgrade(&broker);
    let _subscription = broker
        .subscribe_with("t", &SubscribeOptions::default(), move |_| {
            let broker = weak.upgrade().unwrap();
            told.send(matches!(broker.crash(Crash::Kill), Err(Error::InCallback))).unwrap();
            told.send(matches!(broker.restart(), Err(Error::InCallback))).unwrap();
            drop(broker);
            entered.send(()).unwrap();
            may_leave.recv().unwrap();
        })
        .unwrap();
    broker.publish("t", "x", &PublishOptions::default()).unwrap();
    inside.recv_timeout(PATIENCE).unwrap();
    std::thread::scope(|scope| {
        let crash = scope.spawn(|| broker.crash(Crash::Kill));
        assert!(!broker.wait(Some(Duration::ZERO)), "the callback runs");
        leave.send(()).unwrap();
        crash.join().unwrap().unwrap();
    });
    assert!(answers.iter().take(2).all(|was_refused| was_refused));
    ping(&mut connect(&broker.restart().unwrap(), "a"));
}

/// Nothing is sent after the crash, whatever clients send meanwhile.
#[test]
fn clients_that_send_all_the_while_lose_nothing_that_was_acknowledged() {
    let mut broker = durable();
    subscriber_that_leaves(&broker, "s");
    let mut sent = 0u16;
    let mut acknowledged_last = 0;
    for round in 0..6 {
        let mut client = lasting("c").connect(&broker);
        for _ in 0..10 {
            sent += 1;
            publish(&mut client, "t", &sent.to_be_bytes(), QoS::AtLeastOnce, sent, false);
        }
        let crash = if round % 2 == 0 { Crash::PowerCut } else { Crash::Kill };
        // Some are acknowledged by then.
        acknowledged_last = acknowledged(&mut client).1.get().max(acknowledged_last);
        broker.crash(crash).unwrap();
        broker = broker.restart().unwrap();
    }
    let mut subscriber = lasting("s").connect(&broker);
    let mut seen = Vec::new();
    while seen.last() != Some(&acknowledged_last) {
        let payload = subscriber.message().payload;
        seen.push(u16::from_be_bytes([payload[0], payload[1]]));
    }
    for first_of_round in (0..6).map(|round| round * 10 + 1) {
        assert!(seen.contains(&first_of_round), "{first_of_round} was acknowledged");
    }
    assert!(seen.is_sorted(), "in order");
}

#[test]
fn a_durable_broker_of_the_kit_and_a_live_one_share_nothing() {
    let mut config = Config::new();
    config.set("listener.tcp.bind", "127.0.0.1:0").unwrap();
    let live = Broker::start(&config).unwrap();
    let (broker, other) = (durable(), durable());
    assert_ne!(directory(&broker), directory(&other));
    broker.set_disk(Disk::Held).unwrap();
    broker.crash(Crash::PowerCut).unwrap();
    other.publish_acknowledged("t", "x", &PublishOptions::qos(QoS::AtLeastOnce), None).unwrap();
    live.publish("t", "x", &PublishOptions::default()).unwrap();
    live.stop(None).unwrap();
}

#[test]
fn faults_go_on_after_a_restart_and_hooks_are_asked_again() {
    let (told, heard) = channel();
    let hooks = midge::embed::Hooks::new().on_connected(move |client| {
        told.send(client.client_id.to_string()).unwrap();
    });
    let broker = Broker::builder(&Config::new()).hooks(hooks).start_test_durable().unwrap();
    connect(&broker, "a");
    let lost = broker.inject(Fault::drop(PacketKind::Puback)).unwrap();
    broker.crash(Crash::Kill).unwrap();
    let broker = broker.restart().unwrap();
    let mut client = connect(&broker, "b");
    publish(&mut client, "t", b"x", QoS::AtLeastOnce, 1, false);
    ping_without_acknowledgement(&mut client);
    assert_eq!(broker.hits(lost), 1);
    broker.stop(None).unwrap();
    assert_eq!(heard.try_iter().collect::<Vec<_>>(), ["a", "b"]);
}
