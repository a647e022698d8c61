//! Time stands still until it is moved, and then everything happens at its time.

use std::io::Write;
use std::time::{Duration, Instant};

use midge::codec::packet::Packet;
use midge::codec::properties::Properties;
use midge::codec::publish::Publish;
use midge::codec::qos::QoS;
use midge::codec::reason::ReasonCode;
use midge::codec::version::Version;
use midge::embed::{Error, PublishOptions, SubscribeOptions};

use crate::client::Client;
use crate::kit::{Guest, PATIENCE, connect, millis, ping, secs, start, start_with};

/// The reason of the DISCONNECT that comes next.
fn goodbye(client: &mut Client) -> ReasonCode {
    client.expect("DISCONNECT", |packet| match packet {
        Packet::Disconnect(disconnect) => Some(disconnect.reason),
        _ => None,
    })
}

#[test]
fn time_stands_still_until_it_is_moved() {
    let broker = start();
    assert_eq!(broker.now(), Duration::ZERO);
    broker.advance(millis(1500)).unwrap();
    broker.advance(Duration::ZERO).unwrap();
    assert_eq!((broker.now(), broker.uptime()), (millis(1500), millis(1500)));
}

/// The demand of the issue: a will delay, a session expiry, a keep alive and a message expiry within an hour.
#[test]
fn an_hour_passes_at_once_and_everything_in_it_happens_at_its_time() {
    let broker = start();
    let mut silent = Guest { keep_alive: 60, ..Guest::named("silent") }.connect(&broker);
    let leaving = Guest { session_expiry: 1800, will: Some(("will", 600)), ..Guest::named("leaving") };
    drop(leaving.connect(&broker));
    assert!(broker.wait_for_no_client("leaving", PATIENCE).unwrap());
    let mut options = PublishOptions::default().retained();
    options.message_expiry_interval = Some(3000);
    broker.publish("news", "old", &options).unwrap();

    let before = Instant::now();
    broker.advance(secs(3600)).unwrap();
    println!("an hour took {:?}", before.elapsed());

    assert_eq!(goodbye(&mut silent), ReasonCode::KeepAliveTimeout);
    let will = broker.published("will").unwrap();
    assert_eq!(will.len(), 1);
    assert_eq!(will[0].tag(), 600_000, "the time at which the will was published");
    assert!(broker.clients().is_empty());
    let stats = broker.stats();
    assert_eq!((stats.sessions_expired, stats.keep_alive_timeouts), (1, 1));
    assert_eq!(stats.retained_messages, 0);
    assert_eq!(broker.now(), secs(3600));
}

#[test]
fn a_keep_alive_ends_after_one_and_a_half_times_and_not_a_millisecond_before() {
    let broker = start();
    let mut client = Guest { keep_alive: 60, ..Guest::named("a") }.connect(&broker);
    broker.advance(millis(89_999)).unwrap();
    ping(&mut client);
    broker.advance(millis(89_999)).unwrap();
    assert!(broker.clients()[0].connected);
    broker.advance(millis(1)).unwrap();
    assert!(broker.clients().is_empty());
    assert_eq!(goodbye(&mut client), ReasonCode::KeepAliveTimeout);
    assert!(client.until_closed().is_empty());
}

#[test]
fn what_a_client_has_sent_is_heard_before_time_moves() {
    let broker = start();
    let mut client = Guest { keep_alive: 60, ..Guest::named("a") }.connect(&broker);
    for _ in 0..50 {
        broker.advance(secs(89)).unwrap();
        // Not waited for: it may not have come when time moves.
        client.send(|_, out| midge::codec::ping::encode_pingreq(out));
    }
    assert!(broker.clients()[0].connected);
}

/// A large packet is read into a buffer of its own, and handled when it is whole; its bytes are signs of life before.
#[test]
fn a_large_packet_may_take_longer_than_the_keep_alive() {
    let broker = start();
    let mut client = Guest { keep_alive: 60, ..Guest::named("a") }.connect(&broker);
    let mut packet = Vec::new();
    let payload = vec![b'x'; 100_000];
    Packet::Publish(Publish {
        dup: false,
        qos: QoS::AtMostOnce,
        retain: false,
        topic: "t",
        packet_id: None,
        properties: Properties::EMPTY,
        payload: &payload,
    })
    .encode(Version::V5, &mut packet);
    for part in packet.chunks(10_000) {
        broker.advance(secs(89)).unwrap();
        client.try_send(part).unwrap();
    }
    broker.advance(secs(89)).unwrap();
    assert!(broker.clients()[0].connected);
    assert_eq!(broker.published("t").unwrap().len(), 1);
    broker.advance(secs(1)).unwrap();
    assert!(broker.clients().is_empty());
}

/// A client that is not read until it has taken what waits for it is not silent while it sends; it is when it does not.
#[test]
fn a_client_that_is_read_no_more_is_not_cut_for_silence() {
    let broker = start_with(&[("session.max_outbox_bytes", "64KiB")]);
    let mut client = Guest { keep_alive: 60, ..Guest::named("a") }.connect(&broker);
    client.stream.set_nonblocking(true).unwrap();
    // PINGREQ, until neither their answers nor they themselves are taken any more.
    let pings = [0xC0, 0].repeat(32 * 1024);
    let mut sent = 0;
    let mut half = false;
    loop {
        match client.stream.write(&pings[usize::from(half)..]) {
            Ok(count) => {
                sent += count;
                half = sent % 2 == 1;
            }
            Err(_) => {
                let before = broker.stats().packets_received;
                broker.advance(Duration::ZERO).unwrap();
                if broker.stats().packets_received == before {
                    break;
                }
            }
        }
    }
    for _ in 0..10 {
        broker.advance(secs(89)).unwrap();
    }
    assert!(broker.clients()[0].connected);
    assert_eq!(broker.stats().keep_alive_timeouts, 0);
}

#[test]
fn a_connection_without_connect_is_closed_at_its_time() {
    let broker = start_with(&[("mqtt.connect_timeout", "10s")]);
    let mut late = Client::raw(broker.address("tcp").unwrap());
    broker.advance(millis(9999)).unwrap();
    assert_eq!(broker.stats().connections_refused, 0);
    broker.advance(millis(1)).unwrap();
    assert_eq!(broker.stats().connections_refused, 1);
    assert!(late.until_closed().is_empty());
}

#[test]
fn sessions_expire_and_come_back_before_they_do() {
    let broker = start();
    let guest = Guest { session_expiry: 30, clean_start: false, ..Guest::named("a") };
    drop(guest.connect(&broker));
    assert!(broker.wait_for_no_client("a", PATIENCE).unwrap());
    broker.advance(millis(29_999)).unwrap();
    let (client, present) = guest.try_connect(&broker);
    assert_eq!(present, Ok(true));
    drop(client);
    assert!(broker.wait_for_no_client("a", PATIENCE).unwrap());
    broker.advance(secs(30)).unwrap();
    assert_eq!(guest.try_connect(&broker).1, Ok(false));
}

#[test]
fn a_will_waits_for_its_delay_and_a_client_that_returns_takes_it_back() {
    let broker = start();
    let guest =
        Guest { session_expiry: 60, clean_start: false, will: Some(("will", 30)), ..Guest::named("a") };
    let client = guest.connect(&broker);
    assert!(broker.cut("a").unwrap());
    drop(client);
    broker.advance(millis(29_999)).unwrap();
    broker.assert_not_published("will");
    let client = guest.connect(&broker);
    broker.advance(secs(3600)).unwrap();
    broker.assert_not_published("will");
    assert!(broker.cut("a").unwrap());
    drop(client);
    broker.advance(secs(30)).unwrap();
    broker.assert_published("will", "gone");
}

#[test]
fn queued_messages_expire_with_the_broker_s_time() {
    let broker = start();
    let guest = Guest { session_expiry: 3600, clean_start: false, ..Guest::named("a") };
    let mut client = guest.connect(&broker);
    client.subscribe("t", QoS::AtLeastOnce);
    drop(client);
    assert!(broker.wait_for_no_client("a", PATIENCE).unwrap());
    for (payload, expiry) in [("short", Some(60)), ("long", Some(90)), ("lasting", None)] {
        let mut options = PublishOptions::qos(QoS::AtLeastOnce);
        options.message_expiry_interval = expiry;
        broker.publish("t", payload, &options).unwrap();
    }
    broker.advance(secs(60)).unwrap();
    let mut client = guest.connect(&broker);
    assert_eq!(client.message().payload, b"long");
    assert_eq!(client.message().payload, b"lasting");
}

#[test]
fn sys_topics_are_published_at_their_interval() {
    let broker = start_with(&[("sys.interval", "10s")]);
    let mut uptime = broker.subscribe("$SYS/broker/uptime", &SubscribeOptions::default()).unwrap();
    broker.advance(secs(35)).unwrap();
    let mut heard = Vec::new();
    while let Ok(Some(message)) = uptime.recv_timeout(Duration::ZERO) {
        heard.push(String::from_utf8_lossy(message.payload()).into_owned());
    }
    assert_eq!(heard, ["0 seconds", "10 seconds", "20 seconds", "30 seconds"]);
}

#[test]
fn clients_of_every_version_see_the_same_time() {
    let broker = start();
    for version in [Version::V31, Version::V311, Version::V5] {
        let mut client = Guest { version, keep_alive: 10, ..Guest::named("a") }.connect(&broker);
        broker.advance(secs(15)).unwrap();
        assert!(!broker.clients().iter().any(|client| client.connected), "{version:?}");
        client.until_closed();
    }
}

#[test]
fn many_threads_move_the_time_and_each_step_counts() {
    let broker = start();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| (0..25).for_each(|_| broker.advance(secs(1)).unwrap()));
        }
    });
    assert_eq!(broker.now(), secs(100));
}

/// Steps take the real time of what happens in them, not of how long they are.
#[test]
fn a_century_in_which_little_happens_passes_at_once() {
    let broker = start();
    let years = secs(100 * 365 * 24 * 3600);
    drop(Guest { session_expiry: u32::MAX - 1, ..Guest::named("a") }.connect(&broker));
    assert!(broker.wait_for_no_client("a", PATIENCE).unwrap());
    broker.advance(years).unwrap();
    assert_eq!(broker.stats().sessions, 1, "it expires after 136 years");
    broker.advance(years).unwrap();
    assert_eq!((broker.stats().sessions, broker.now()), (0, 2 * years));
}

#[test]
fn a_step_of_more_than_a_century_is_an_error() {
    let broker = start();
    let error = broker.advance(Duration::MAX).unwrap_err();
    assert!(matches!(error, Error::Argument { argument: "advance", .. }), "{error}");
    assert_eq!(broker.now(), Duration::ZERO);
}

/// Clients that send all the while neither hold the clock up for ever nor are lost.
#[test]
fn time_moves_while_clients_send() {
    let broker = start();
    let mut client = connect(&broker, "a");
    std::thread::scope(|scope| {
        let sender = scope.spawn(|| {
            for number in 0..2000u32 {
                client.publish("t", &number.to_be_bytes(), QoS::AtMostOnce);
            }
            client
        });
        for _ in 0..100 {
            broker.advance(secs(1)).unwrap();
        }
        ping(&mut sender.join().unwrap());
    });
    assert_eq!(broker.published("t").unwrap().len(), 2000);
}
