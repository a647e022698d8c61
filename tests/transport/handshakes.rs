//! Handshakes: silent, wrong, endless, interrupted; and what they tell the engine.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

use midge::codec::qos::QoS;
use midge::codec::version::Version;
use midge::config::Config;
use midge::embed::{Broker, Hooks, Level, PublishOptions};
use midge::testing::TestBroker;

use super::client::{Client, PATIENCE, address, broker, config};
use super::deadline::until;
use super::layers::{From, Knock, Scramble};
use super::over;

/// CONNECT of MQTT 3.1.1, and its answer.
const CONNECT: &[u8] = b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x00\x00\x01a";
const CONNACK: [u8; 4] = [0x20, 2, 0, 0];

/// Listeners that this thread binds want three digits.
fn knocking() {
    over(|| vec![Box::<Knock>::default()]);
}

fn logged(config: &Config, level: Level) -> (Broker, Receiver<String>) {
    let (sender, lines) = mpsc::channel();
    let hooks = Hooks::new().on_log(level, move |line| sender.send(line.to_string()).unwrap());
    (Broker::start_with(config, &hooks).unwrap(), lines)
}

/// Reads what must come next.
fn expect<const LEN: usize>(client: &mut Client, expected: &[u8; LEN]) {
    let mut received = [0; LEN];
    client.stream.read_exact(&mut received).unwrap();
    assert_eq!(received, *expected);
}

fn answer(client: &mut Client) {
    for digit in b'1'..=b'3' {
        expect(client, &[digit]);
        client.stream.write_all(&[digit]).unwrap();
    }
}

#[test]
fn a_handshake_of_several_round_trips_is_followed_by_mqtt() {
    knocking();
    let broker = broker();
    let mut client = Client::raw(address(&broker));
    answer(&mut client);
    client.stream.write_all(CONNECT).unwrap();
    expect(&mut client, &CONNACK);
    client.subscribe("t", QoS::AtMostOnce);
    broker.publish("t", "x", &PublishOptions::default()).unwrap();
    assert_eq!(client.message().payload, b"x");
    assert_eq!(broker.stats().connections_accepted, 1);
}

/// What comes in one segment with the end of the handshake is not lost, nor does it wait for more.
#[test]
fn connect_may_come_together_with_the_end_of_the_handshake() {
    knocking();
    let broker = broker();
    let mut client = Client::raw(address(&broker));
    client.stream.write_all(&[b"123", CONNECT].concat()).unwrap();
    expect(&mut client, b"123");
    expect(&mut client, &CONNACK);
}

/// Silent peers cost a place each until the deadline, and nobody else anything.
#[test]
fn a_silent_peer_is_closed_at_the_deadline_and_holds_nobody_up() {
    knocking();
    let mut config = config();
    config.set("mqtt.connect_timeout", "300ms").unwrap();
    let (broker, lines) = logged(&config, Level::Warn);
    let mut silent: Vec<_> = (0..20).map(|_| Client::raw(address(&broker))).collect();
    let peer = silent[0].stream.local_addr().unwrap();
    let mut other = Client::raw(address(&broker));
    answer(&mut other);
    other.stream.write_all(CONNECT).unwrap();
    expect(&mut other, &CONNACK);
    for client in &mut silent {
        assert_eq!(client.until_closed(), b"1");
    }
    until("all are counted", || broker.stats().connections_refused == 20);
    assert_eq!(broker.stats().connections_accepted, 1);
    let expected = format!(
        "warn: connection 1 from {peer} at listener tcp is closed: its handshake was not complete in time \
         (mqtt.connect_timeout)"
    );
    let said = || (0..20).map(|_| lines.recv_timeout(PATIENCE).unwrap());
    assert_eq!(said().filter(|line| *line == expected).count(), 1);
}

#[test]
fn a_connection_in_its_handshake_has_one_place_and_gives_it_back() {
    knocking();
    let mut config = config();
    config.set("mqtt.max_pending_connections", "1").unwrap();
    let broker = Broker::start(&config).unwrap();
    let mut silent = Client::raw(address(&broker));
    expect(&mut silent, b"1");
    let mut second = Client::raw(address(&broker));
    expect(&mut second, b"1");
    assert!(silent.until_closed().is_empty(), "there is no second place");
    drop(second);
    until("the place is free", || Client::raw(address(&broker)).until_first_byte());
}

/// CONNECT has its whole time, however long the handshake took.
#[test]
fn the_time_for_connect_begins_when_the_handshake_is_over() {
    knocking();
    let broker = TestBroker::start(&config()).unwrap();
    let nine = Duration::from_secs(9);
    let mut client = Client::raw(address(&broker));
    broker.advance(nine).unwrap();
    answer(&mut client);
    broker.advance(nine).unwrap();
    client.stream.write_all(CONNECT).unwrap();
    expect(&mut client, &CONNACK);
    let mut late = Client::raw(address(&broker));
    broker.advance(nine).unwrap();
    answer(&mut late);
    broker.advance(nine).unwrap();
    assert_eq!(broker.stats().connections_refused, 0);
    broker.advance(Duration::from_secs(1)).unwrap();
    assert_eq!(late.until_closed(), b"bye");
    assert_eq!(broker.stats().connections_refused, 1);
}

#[test]
fn a_failed_handshake_says_why_in_the_log_and_to_the_peer() {
    knocking();
    let (broker, lines) = logged(&config(), Level::Warn);
    let mut client = Client::raw(address(&broker));
    let peer = client.stream.local_addr().unwrap();
    client.stream.write_all(b"1x").unwrap();
    assert_eq!(client.until_closed(), b"12no");
    let line = lines.recv_timeout(PATIENCE).unwrap();
    let from = format!("connection 1 from {peer} at listener tcp");
    assert_eq!(
        line,
        format!("warn: {from} is closed during its handshake: knock: the answer to question 2 is 120")
    );
    assert_eq!((broker.stats().connections_refused, broker.stats().connections_accepted), (1, 0));
    let client = Client::raw(address(&broker));
    client.stream.shutdown(Shutdown::Write).unwrap();
    let line = lines.recv_timeout(PATIENCE).unwrap();
    assert!(line.ends_with("handshake: the peer has closed the connection during its handshake"), "{line}");
}

/// It has read why, and goes on sending.
#[test]
fn a_peer_that_stays_after_its_failure_is_closed_at_the_deadline() {
    knocking();
    let mut config = config();
    config.set("mqtt.connect_timeout", "300ms").unwrap();
    let broker = Broker::start(&config).unwrap();
    let mut client = Client::raw(address(&broker));
    client.stream.write_all(b"x").unwrap();
    assert_eq!(client.until_closed(), b"1no");
    until("the socket is closed", || client.stream.write_all(b"x").is_err());
}

#[test]
fn a_handshake_without_end_is_cut_off() {
    over(|| vec![Box::new(From)]);
    let (broker, lines) = logged(&config(), Level::Warn);
    let mut client = Client::raw(address(&broker));
    // The broker may close before it has taken all.
    let _cut = client.stream.write_all(&[b'x'; 80 * 1024]);
    assert!(client.until_closed().is_empty());
    let line = lines.recv_timeout(PATIENCE).unwrap();
    let why = "the peer has sent more than 65536 bytes before its handshake is over";
    assert!(line.ends_with(why), "{line}");
}

/// A stop in the middle of handshakes waits for none of them: else this test would take an hour.
#[test]
fn a_broker_stops_at_once_in_the_middle_of_a_handshake() {
    knocking();
    let mut config = config();
    config.set("mqtt.connect_timeout", "1h").unwrap();
    let broker = Broker::start(&config).unwrap();
    let mut half = Client::raw(address(&broker));
    expect(&mut half, b"1");
    half.stream.write_all(b"1").unwrap();
    expect(&mut half, b"2");
    broker.stop(Some(Duration::from_secs(3600))).unwrap();
    assert!(half.until_closed().is_empty());
}

#[test]
fn the_engine_knows_the_address_that_a_layer_has_learnt() {
    over(|| vec![Box::new(From)]);
    let (seen, arrivals) = mpsc::channel();
    let asked = seen.clone();
    let hooks = Hooks::new()
        .authenticate(move |request| {
            asked.send(("asked", request.address, request.listener.map(str::to_owned))).unwrap();
            midge::hooks::Verdict::Allow
        })
        .on_connected(move |arrival| {
            seen.send(("told", arrival.address, arrival.listener.as_deref().map(str::to_owned))).unwrap();
        });
    let broker = Broker::start_with(&config(), &hooks).unwrap();
    let mut client = Client::raw(address(&broker));
    client.stream.write_all(&[b"FROM 203.0.113.9:4711\n", CONNECT].concat()).unwrap();
    expect(&mut client, &CONNACK);
    let learnt = "203.0.113.9:4711".parse::<std::net::SocketAddr>().ok().map(Into::into);
    for what in ["asked", "told"] {
        let expected = (what, learnt, Some("tcp".to_owned()));
        assert_eq!(arrivals.recv_timeout(PATIENCE).unwrap(), expected);
    }
}

/// Three layers, the first of which is the nearest to the socket; their handshakes follow one another.
#[test]
fn layers_lie_over_one_another() {
    over(|| vec![Box::new(From), Scramble::boxed(), Box::<Knock>::default()]);
    let broker = broker();
    let mut client = Client::raw(address(&broker));
    client.stream.write_all(b"FROM 203.0.113.9:4711\n").unwrap();
    let mut sent = 0;
    let mut record = |bytes: &[u8]| {
        let mut bytes = bytes.to_vec();
        super::layers::scramble(&mut bytes, sent);
        sent += bytes.len();
        [&(bytes.len() as u16).to_be_bytes()[..], &bytes].concat()
    };
    client.stream.write_all(&record(b"12")).unwrap();
    client.stream.write_all(&record(&[b"3", CONNECT, &[0xe0, 0]].concat())).unwrap();
    let (mut opened, mut at) = (Vec::new(), 0);
    let mut received = &client.until_closed()[..];
    while let [high, low, rest @ ..] = received {
        let (block, rest) = rest.split_at(usize::from(u16::from_be_bytes([*high, *low])));
        let mut block = block.to_vec();
        super::layers::scramble(&mut block, at);
        at += block.len();
        opened.extend_from_slice(&block);
        received = rest;
    }
    // The questions, CONNACK, and the last word of the uppermost layer.
    assert_eq!(opened, [b"123", &CONNACK[..], b"bye"].concat());
}

/// A layer that fails later ends its connection as any other loss does: the will is published, the log says why.
#[test]
fn a_layer_that_fails_ends_its_connection_alone() {
    over(|| vec![Scramble::boxed()]);
    let (broker, lines) = logged(&config(), Level::Warn);
    let mut wills = broker.subscribe("will", &Default::default()).unwrap();
    let at = super::peer::unscrambled(address(&broker));
    let mut good = Client::connect(at, "good", Version::V5);
    let mut bad = Client::raw(address(&broker));
    let peer = bad.stream.local_addr().unwrap();
    let mut connect = b"\x10\x14\x00\x04MQTT\x04\x06\x00\x00\x00\x01b\x00\x04will\x00\x00".to_vec();
    connect[1] = connect.len() as u8 - 2;
    super::layers::scramble(&mut connect, 0);
    bad.stream.write_all(&[&(connect.len() as u16).to_be_bytes()[..], &connect].concat()).unwrap();
    let mut connack = CONNACK;
    super::layers::scramble(&mut connack, 0);
    expect(&mut bad, &[0, 4]);
    expect(&mut bad, &connack);
    bad.stream.write_all(&[0xff, 0xff]).unwrap();
    assert!(bad.until_closed().is_empty());
    assert_eq!(wills.recv_timeout(PATIENCE).unwrap().unwrap().topic(), "will");
    let line = lines.recv_timeout(PATIENCE).unwrap();
    let from = format!("connection 2 from {peer} at listener tcp");
    assert_eq!(line, format!("warn: {from} is closed: scramble: a record of 65535 bytes"));
    good.subscribe("t", QoS::AtMostOnce);
    broker.publish("t", "x", &PublishOptions::default()).unwrap();
    assert_eq!(good.message().payload, b"x");
}
