//! The log of a broker with real sockets and threads.

use std::sync::mpsc::{self, Receiver};

use midge::codec::reason::ReasonCode;
use midge::codec::version::Version;
use midge::config::Config;
use midge::embed::{Broker, Hooks, Level};

use crate::client::{Client, PATIENCE, address, config};

fn logged(config: &Config, level: Level) -> (Broker, Receiver<String>) {
    let (sender, lines) = mpsc::channel();
    let hooks = Hooks::new().on_log(level, move |line| sender.send(line.to_string()).unwrap());
    (Broker::start_with(config, &hooks).unwrap(), lines)
}

/// What a broker says from start to stop, in its order.
#[test]
fn a_life_is_logged() {
    let (broker, lines) = logged(&config(), Level::Info);
    let client = Client::connect(address(&broker), "c", Version::V5);
    let peer = client.stream.local_addr().unwrap();
    let expected = [
        format!("info: midge {} has started", env!("CARGO_PKG_VERSION")),
        format!("info: listener tcp is at {}", address(&broker)),
        "info: nobody decides who may connect: each client may do everything. A listener that other machines can reach \
         needs access.password_file, a hook, or access.anonymous = true"
            .to_owned(),
        format!("info: client \"c\": has connected from {peer} at listener tcp by 5.0"),
        "info: the broker stops".to_owned(),
        "info: client \"c\": disconnected: the broker stops".to_owned(),
        "info: the broker has stopped".to_owned(),
    ];
    broker.stop(None).unwrap();
    drop(broker);
    assert_eq!(lines.into_iter().collect::<Vec<_>>(), expected);
}

#[test]
fn who_is_turned_away_is_logged() {
    let mut config = config();
    config.set("mqtt.max_connections", "1").unwrap();
    config.set("mqtt.max_pending_connections", "1").unwrap();
    let (broker, lines) = logged(&config, Level::Warn);
    let _first = Client::connect(address(&broker), "c", Version::V5);
    let mut second = Client::raw(address(&broker));
    let peer = second.stream.local_addr().unwrap();
    second.send_connect("d", 0);
    second.until_closed();
    assert_eq!(
        lines.recv_timeout(PATIENCE).unwrap(),
        format!(
            "warn: connection 2 of client \"d\" from {peer} at listener tcp is refused with 0x97: connection limit reached \
             (mqtt.max_connections or listener.*.max_connections)"
        )
    );
    let mut silent = Client::raw(address(&broker));
    let _newer = Client::raw(address(&broker));
    assert!(silent.until_closed().is_empty());
    assert_eq!(
        lines.recv_timeout(PATIENCE).unwrap(),
        "warn: the oldest connection without a CONNECT is closed: too many connections have sent no CONNECT \
         (mqtt.max_pending_connections)"
    );
}

/// The log may panic, and panics are not logged to it.
#[test]
fn a_log_that_panics_costs_its_lines() {
    let hooks = Hooks::new().on_log(Level::Debug, |_| panic!("for the test"));
    let broker = Broker::start_with(&config(), &hooks).unwrap();
    let mut client = Client::asking(address(&broker), "c", "", Version::V5);
    assert_eq!(client.connack(), ReasonCode::Success);
    // Started, listening, nobody decides, accepted, connected.
    assert_eq!(broker.stats().hooks_failed, 5);
}
