//! The times that the console tells, against a clock that the test moves; and once against the system's.

use std::time::{SystemTime, UNIX_EPOCH};

use midge::codec::qos::QoS;
use midge::codec::version::Version;
use midge::embed::PublishOptions;
use serde_json::Value;

use crate::client::{Client, address};
use crate::http::{Http, broker, console, test_broker};
use crate::kit::{connect, millis, secs};

/// Milliseconds that the system's coarse clock and rounding may be behind.
const COARSE: u64 = 50;

fn unix() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis().try_into().unwrap()
}

/// The item of a list whose field `name` has this value.
fn item<'l>(list: &'l Value, name: &str, value: &str) -> &'l Value {
    list.as_array()
        .unwrap()
        .iter()
        .find(|item| item[name] == value)
        .unwrap_or_else(|| panic!("no {value} in {list}"))
}

/// Each step of a second has something of its own, so that no time stands for another.
#[test]
fn every_time_is_that_at_which_it_happened() {
    let before = unix();
    let broker = test_broker(&[]);
    let after = unix();
    let mut http = Http::admin(console(&broker));
    let started = http.json("/api/v1/overview")["started"].as_u64().unwrap();
    assert!((before..=after).contains(&started), "{started} is not from {before} to {after}");
    // The first point of the history, before time moves.
    let begun = std::time::Instant::now();
    let first = loop {
        let history = http.json("/api/v1/history");
        if let Some(point) = history["points"].as_array().unwrap().first() {
            break point[0].as_u64().unwrap();
        }
        assert!(begun.elapsed() < crate::client::PATIENCE, "the history has no point");
    };
    assert_eq!(first, started);

    broker.advance(secs(1)).unwrap();
    let mut client = connect(&broker, "c");
    broker.advance(secs(1)).unwrap();
    client.subscribe("heard", QoS::AtMostOnce);
    broker.advance(secs(1)).unwrap();
    let mut kept = PublishOptions::default().retained();
    kept.message_expiry_interval = Some(60);
    broker.publish("kept", "x", &kept).unwrap();
    broker.advance(secs(1)).unwrap();
    http.json("/api/v1/topics");
    let mut live = Http::admin(console(&broker));
    live.send("GET", "/api/v1/live", &[], b"");
    live.until(": watching");
    broker.advance(secs(1)).unwrap();
    broker.publish("lost", "x", &PublishOptions::default()).unwrap();
    broker.advance(millis(700)).unwrap();

    let at = |seconds: u64| Value::from(started + 1000 * seconds);
    let overview = http.json("/api/v1/overview");
    assert_eq!((&overview["started"], &overview["uptime_ms"]), (&at(0), &5700.into()));
    for list in ["clients", "sessions"] {
        let list = http.json(&format!("/api/v1/{list}"));
        assert_eq!(list["items"][0]["connected_at"], at(1));
    }
    let details = http.json("/api/v1/clients/c");
    assert_eq!(details["client"]["connected_at"], at(1));
    let times: Vec<_> =
        details["events"].as_array().unwrap().iter().map(|event| event["time"].clone()).collect();
    assert_eq!(times, [at(1), at(2)]);
    let retained = http.json("/api/v1/retained");
    // 57.3 seconds are left: what has not yet expired is not said to have.
    assert_eq!(
        (&retained["items"][0]["stored_at"], &retained["items"][0]["expires_in"]),
        (&at(3), &58.into())
    );
    assert_eq!(http.json("/api/v1/retained/message?topic=kept"), retained["items"][0]);
    let topics = http.json("/api/v1/topics");
    assert_eq!(topics["watching_since"], at(4));
    assert_eq!(item(&topics["items"], "topic", "kept")["last_at"], at(3));
    assert_eq!(item(&topics["items"], "topic", "lost")["last_at"], at(5));
    assert_eq!(live.event("message")["time"], at(5));
    assert_eq!(item(&http.json("/api/v1/drops")["recent"], "topic", "lost")["time"], at(5));
    let mut events = Http::admin(console(&broker));
    events.send("GET", "/api/v1/events", &[], b"");
    assert_eq!(events.event("stats")["time"], Value::from(started + 5700));
    assert_eq!(events.event("activity")["time"], at(1));
    assert_eq!(events.event("activity")["time"], at(2));

    let metrics = http.get("/metrics");
    let metric = |name: &str| -> u64 {
        let line = metrics.text().lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.trim().parse().unwrap()
    };
    assert_eq!(metric("midge_uptime_seconds "), 5);
    assert!((before / 1000..=after / 1000).contains(&metric("midge_start_time_seconds ")));
}

#[test]
fn times_are_those_of_the_systems_clock() {
    let broker = broker(&[]);
    let mut http = Http::admin(console(&broker));
    let before = unix();
    let mut client = Client::connect(address(&broker), "c", Version::V5);
    client.subscribe("t", QoS::AtMostOnce);
    broker.publish("t", "x", &PublishOptions::default().retained()).unwrap();
    let after = unix();
    let (client, retained) = (http.json("/api/v1/clients/c"), http.json("/api/v1/retained"));
    for (what, time) in [
        ("connected_at", &client["client"]["connected_at"]),
        ("the event", &client["events"][0]["time"]),
        ("stored_at", &retained["items"][0]["stored_at"]),
    ] {
        let time = time.as_u64().unwrap();
        let bounds = before - COARSE..=after + COARSE;
        assert!(bounds.contains(&time), "{what}: {time} is not in {bounds:?}");
    }
}

#[test]
fn the_tree_is_forgotten_two_minutes_after_the_last_look() {
    let broker = test_broker(&[]);
    let mut http = Http::admin(console(&broker));
    let started = http.json("/api/v1/overview")["started"].as_u64().unwrap();
    let since = |http: &mut Http| http.json("/api/v1/topics")["watching_since"].as_u64().unwrap() - started;
    let mut events = Http::admin(console(&broker));
    events.send("GET", "/api/v1/events", &[], b"");
    // Two readings of the statistics are a second apart: the tree has been looked after meanwhile.
    let mut later = || (0..2).for_each(|_| drop(events.event("stats")));
    assert_eq!(since(&mut http), 0);
    broker.advance(secs(120)).unwrap();
    later();
    assert_eq!(since(&mut http), 0, "it is kept, and looked at again");
    broker.advance(secs(120)).unwrap();
    later();
    assert_eq!(since(&mut http), 0, "the last look counts, not the first");
    broker.advance(millis(120_001)).unwrap();
    later();
    assert_eq!(since(&mut http), 360_001);
}

#[test]
fn the_rate_of_a_topic_is_that_of_the_time_at_which_its_messages_came() {
    let broker = test_broker(&[]);
    let mut http = Http::admin(console(&broker));
    http.json("/api/v1/topics");
    let publish = |count: usize| {
        (0..count).for_each(|_| _ = broker.publish("t", "x", &PublishOptions::default()).unwrap());
    };
    publish(10);
    let mut events = Http::admin(console(&broker));
    events.send("GET", "/api/v1/events", &[], b"");
    // Two readings of the statistics are a second apart: what was published has come into the tree meanwhile.
    (0..2).for_each(|_| drop(events.event("stats")));
    broker.advance(secs(6)).unwrap();
    publish(1);
    broker.advance(secs(4)).unwrap();
    let topics = http.json("/api/v1/topics");
    // One message in the five seconds before the last full five.
    assert_eq!((&topics["items"][0]["messages"], &topics["items"][0]["rate"]), (&11.into(), &0.2.into()));
}
