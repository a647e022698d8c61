//! `$SYS`.

use midge::stats;

use crate::harness::{Network, Q0, V5, V311, opts};

const ON: [(&str, &str); 1] = [("sys.interval", "10s")];

#[test]
fn a_new_subscription_sees_every_counter_at_once() {
    let network = Network::with(&ON);
    let mut client = opts("a", V311).on(&network);
    client.subscribe("$SYS/#", Q0);
    let mut topics = Vec::new();
    while let Some(crate::harness::Received::Publish(message)) = client.next() {
        assert!(message.retain);
        topics.push(message.topic);
    }
    for stat in stats::table().iter().filter_map(|stat| stat.sys_topic) {
        assert!(topics.iter().any(|topic| topic == stat), "{stat}");
    }
    assert!(topics.iter().any(|topic| topic == "$SYS/broker/version"));
}

#[test]
fn counters_are_published_at_every_interval_to_those_who_asked() {
    let network = Network::with(&ON);
    let mut client = opts("a", V5).on(&network);
    client.subscribe("$SYS/broker/clients/connected", Q0);
    client.subscribe("#", Q0);
    client.expect_message("$SYS/broker/clients/connected", "1");
    network.advance(9);
    client.expect_nothing();
    let other = opts("b", V5).on(&network);
    network.advance(2);
    assert!(!client.expect_message("$SYS/broker/clients/connected", "2").retain);
    other.disconnect();
    network.advance(10);
    client.expect_message("$SYS/broker/clients/connected", "1");
    client.expect_nothing(); // [MQTT-4.7.2-1]: not for `#`.
}

#[test]
fn nobody_asked_and_nothing_is_counted_as_dropped() {
    let network = Network::with(&ON);
    let mut client = opts("a", V5).on(&network);
    client.subscribe("#", Q0);
    network.advance(1000);
    client.expect_nothing();
    assert_eq!(network.stats().messages_dropped(), 0);
    assert_eq!(network.stats().messages_published, 0);
}

#[test]
fn they_are_not_counted_as_application_messages() {
    let network = Network::with(&ON);
    let mut client = opts("a", V5).on(&network);
    client.subscribe("$SYS/broker/uptime", Q0);
    client.expect_message("$SYS/broker/uptime", "0 seconds");
    network.advance(11);
    client.expect_message("$SYS/broker/uptime", "10 seconds");
    let stats = network.stats();
    assert_eq!((stats.messages_published, stats.messages_delivered, stats.publish_sent), (0, 0, 2));
}

#[test]
fn an_interval_of_zero_turns_it_off() {
    let network = Network::new();
    let mut client = opts("a", V5).on(&network);
    client.subscribe("$SYS/#", Q0);
    network.advance(1000);
    client.expect_nothing();
}

#[test]
fn the_uptime_is_the_brokers_time() {
    let network = Network::with(&ON);
    network.advance(75);
    let mut client = opts("a", V5).on(&network);
    client.subscribe("$SYS/broker/uptime", Q0);
    client.expect_message("$SYS/broker/uptime", "75 seconds");
    client.subscribe("$SYS/broker/started", Q0);
    client.expect_message("$SYS/broker/started", "1000");
    assert_eq!(network.engine.started_unix(), 1000);
}
