//! Hooks of a host in test mode: their deadlines are in the broker's time.

use std::sync::mpsc::channel;

use midge::codec::qos::QoS;
use midge::codec::reason::ReasonCode;
use midge::config::Config;
use midge::embed::{Hooks, Passage, Verdict, defer};
use midge::testing::TestBroker;

use crate::client::Client;
use crate::kit::{PATIENCE, acknowledged, connect, id, millis, ping, publish, secs};

/// A broker whose hook decides 30 seconds later at most, and the decisions that are asked of it.
fn start(hooks: &Hooks) -> TestBroker {
    let mut config = Config::new();
    config.set("hooks.deadline", "30s").unwrap();
    config.set("mqtt.connect_timeout", "1h").unwrap();
    TestBroker::start_with(&config, hooks).unwrap()
}

#[test]
fn silence_is_a_denial_at_the_deadline_and_not_before() {
    let (ask, asked) = channel();
    let hooks = Hooks::new().authenticate(move |_| {
        let (decision, deferred) = defer();
        ask.send(decision).unwrap();
        deferred
    });
    let broker = start(&hooks);
    let mut client = Client::raw(broker.address("tcp").unwrap());
    client.send_connect("a", 0);
    let decision = asked.recv_timeout(PATIENCE).unwrap();
    broker.advance(millis(29_999)).unwrap();
    assert!(broker.wait_for_no_client("a", secs(0)).unwrap());
    assert_eq!(broker.stats().connections_refused, 0);
    broker.advance(millis(1)).unwrap();
    assert_eq!(broker.stats().connections_refused, 1);
    assert_eq!(client.until_closed(), [0x20, 2, 0, ReasonCode::BadUserNameOrPassword.connack_return_code()]);
    drop(decision);
}

/// Everything that a client sends behind a packet that waits is handled before time moves, once the packet is.
#[test]
fn what_waited_for_a_decision_is_handled_when_it_is_made() {
    let (ask, asked) = channel();
    let hooks = Hooks::new().authorize(move |_| {
        let (decision, deferred) = defer();
        ask.send(decision).unwrap();
        deferred
    });
    let broker = start(&hooks);
    let mut client = connect(&broker, "a");
    for number in 1..=3 {
        publish(&mut client, "t", b"x", QoS::AtLeastOnce, number, false);
    }
    broker.advance(secs(10)).unwrap();
    broker.assert_not_published("t");
    for number in 1..=3 {
        let decision = asked.recv_timeout(PATIENCE).unwrap();
        assert!(decision.resolve(Verdict::Allow));
        assert_eq!(acknowledged(&mut client), ("PUBACK", id(number)));
    }
    assert_eq!(broker.published("t").unwrap().len(), 3);
}

#[test]
fn what_a_hook_drops_was_not_published_and_what_it_edits_was_published_so() {
    let hooks = Hooks::new().on_publish(|message| match message.topic() {
        "secret" => Passage::Drop,
        _ => {
            message.set_payload("edited").unwrap();
            Passage::Pass
        }
    });
    let broker = start(&hooks);
    let mut client = connect(&broker, "a");
    client.publish("secret", b"x", QoS::AtMostOnce);
    client.publish("open", b"x", QoS::AtMostOnce);
    ping(&mut client);
    broker.assert_not_published("secret");
    broker.assert_published("open", "edited");
}
