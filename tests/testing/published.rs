//! What was published: looked at, waited for, asserted, with words that help.

use std::time::Duration;

use midge::codec::qos::QoS;
use midge::embed::{Error, PublishOptions, SubscribeOptions};
use midge::testing::TestBroker;

use crate::kit::{Guest, PATIENCE, connect, ping, secs, start, start_with};

fn publish(broker: &TestBroker, topic: &str, payload: &str) {
    broker.publish(topic, payload, &PublishOptions::default()).unwrap();
}

/// The text of the assertion that fails.
fn failure(assertion: impl FnOnce()) -> String {
    let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(assertion)).unwrap_err();
    caught.downcast_ref::<String>().unwrap().clone()
}

#[test]
fn messages_of_clients_hosts_and_wills_are_remembered_from_the_start() {
    let broker = start();
    let mut client = Guest { will: Some(("a/will", 0)), ..Guest::named("a") }.connect(&broker);
    client.publish("a/client", b"1", QoS::AtMostOnce);
    ping(&mut client);
    publish(&broker, "a/host", "2");
    broker.cut("a").unwrap();
    let all = broker.published("a/+").unwrap();
    let topics: Vec<_> = all.iter().map(|message| message.topic()).collect();
    assert_eq!(topics, ["a/client", "a/host", "a/will"]);
    assert_eq!(broker.published("a/host").unwrap()[0].payload(), "2");
    broker.assert_published("a/+", "1");
    broker.assert_not_published("b/#");
}

/// Nothing is different for clients because somebody looks.
#[test]
fn remembering_is_no_subscription() {
    let broker = start();
    let own = broker.subscribe("other", &SubscribeOptions::default()).unwrap();
    assert_eq!(broker.publish("t", "x", &PublishOptions::default()).unwrap(), 0);
    let held: Vec<_> = broker.subscriptions().into_iter().map(|held| held.filter).collect();
    assert_eq!(held, ["other"]);
    drop(own);
    assert!(broker.subscriptions().is_empty());
    let stats = broker.stats();
    assert_eq!((stats.messages_dropped_no_subscriber, stats.messages_delivered), (1, 0));
    let _subscription = broker.subscribe("t", &SubscribeOptions::default()).unwrap();
    assert_eq!(broker.subscriptions().len(), 1, "the list shows what is one");
}

#[test]
fn a_message_keeps_its_properties_and_its_time() {
    let broker = start();
    broker.advance(secs(5)).unwrap();
    let mut options = PublishOptions::qos(QoS::ExactlyOnce).retained();
    options.content_type = Some("text/plain".into());
    options.message_expiry_interval = Some(60);
    broker.publish("t", "x", &options).unwrap();
    let message = broker.published("t").unwrap().remove(0);
    assert_eq!((message.qos(), message.retain(), message.tag()), (QoS::ExactlyOnce, true, 5000));
    assert_eq!(message.properties().content_type(), Some("text/plain"));
    assert_eq!(message.expiry_interval(), Some(60));
}

#[test]
fn waiting_ends_with_the_last_message_that_was_missing() {
    let broker = start();
    let found = std::thread::scope(|scope| {
        let waiting = scope.spawn(|| broker.wait_for("t/#", 3, PATIENCE).unwrap());
        for number in ["1", "2", "3"] {
            publish(&broker, &format!("t/{number}"), number);
        }
        waiting.join().unwrap()
    });
    assert!(found.len() >= 3);
}

#[test]
fn what_came_before_counts_until_it_is_forgotten() {
    let broker = start();
    publish(&broker, "t", "x");
    assert_eq!(broker.wait_for("t", 1, Duration::ZERO).unwrap().len(), 1);
    broker.forget_published();
    assert!(broker.wait_for("t", 1, Duration::ZERO).is_err());
    broker.assert_not_published("#");
}

#[test]
fn a_failure_names_what_was_published_instead() {
    let broker = start();
    let text = failure(|| broker.assert_published("a/b", "x"));
    assert_eq!(text, r#"expected "x" to "a/b", but nothing was published at all"#);
    publish(&broker, "a/c", "x");
    broker.publish("a/b", vec![b'y'; 100], &PublishOptions::qos(QoS::AtLeastOnce).retained()).unwrap();
    let text = failure(|| broker.assert_published("a/b", "x"));
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines[0], r#"expected "x" to "a/b", but these were published:"#);
    assert_eq!(lines[1], r#"  "a/c": "x" (QoS 0, at 0ns)"#);
    assert!(lines[2].starts_with(r#"  "a/b": "yyyy"#), "{text}");
    assert!(lines[2].ends_with(r#" and more, 100 bytes (QoS 1, retained, at 0ns)"#), "{text}");

    let text = failure(|| broker.assert_not_published("a/c"));
    assert_eq!(text, "expected nothing to \"a/c\", but 1 were published:\n  \"a/c\": \"x\" (QoS 0, at 0ns)");
    let text = format!("{:?}", broker.wait_for("a/d", 2, Duration::ZERO).unwrap_err());
    assert!(text.starts_with(r#"expected 2 messages to "a/d" within 0ns, but there were 0; "#), "{text}");
}

#[test]
fn only_the_newest_are_remembered_and_a_failure_says_so() {
    let broker = start_with(&[("queue.capacity", "3")]);
    for number in 0..10 {
        publish(&broker, "t", &number.to_string());
    }
    let kept: Vec<_> = broker.published("t").unwrap().iter().map(|m| m.payload().clone()).collect();
    assert_eq!(kept, ["7", "8", "9"]);
    let text = failure(|| broker.assert_published("t", "0"));
    assert!(text.ends_with("(7 older ones are forgotten: queue.capacity)"), "{text}");
}

#[test]
fn as_many_bytes_are_remembered_as_may_be() {
    for (max_bytes, kept) in [("1024", &["1", "2"][..]), ("1535", &["1", "2"]), ("1536", &["0", "1", "2"])] {
        let broker = start_with(&[("queue.max_bytes", max_bytes)]);
        for number in ["0", "1", "2"] {
            // With its topic of one letter, 512 bytes.
            publish(&broker, "t", &format!("{number}{}", "x".repeat(510)));
        }
        let all = broker.published("t").unwrap();
        let firsts: Vec<_> =
            all.iter().map(|m| std::str::from_utf8(&m.payload()[..1]).unwrap().to_owned()).collect();
        assert_eq!(firsts, kept, "{max_bytes}");
    }
}

#[test]
fn a_wrong_filter_is_an_error_that_names_it() {
    let broker = start();
    let error = broker.published("a/#/b").unwrap_err();
    assert!(matches!(&error, Error::Filter { filter, .. } if filter == "a/#/b"), "{error}");
    assert!(failure(|| broker.assert_not_published("")).contains("topic filter"));
    assert!(broker.wait_for_subscription("a/#/b", Duration::ZERO).is_err());
}

#[test]
fn clients_and_subscriptions_are_waited_for() {
    let broker = start();
    assert!(!broker.wait_for_client("a", Duration::ZERO).unwrap());
    assert!(broker.wait_for_no_client("a", Duration::ZERO).unwrap());
    std::thread::scope(|scope| {
        let client = scope.spawn(|| broker.wait_for_client("a", PATIENCE).unwrap());
        let subscription = scope.spawn(|| broker.wait_for_subscription("t/+", PATIENCE).unwrap());
        let mut there = connect(&broker, "a");
        there.subscribe("t/+", QoS::AtMostOnce);
        assert!(client.join().unwrap() && subscription.join().unwrap());
        let gone = scope.spawn(|| broker.wait_for_no_client("a", PATIENCE).unwrap());
        drop(there);
        assert!(gone.join().unwrap());
        // Also one of the host; it comes when somebody waits for it, most likely.
        let of_the_host = scope.spawn(|| broker.wait_for_subscription("host", PATIENCE).unwrap());
        std::thread::sleep(Duration::from_millis(100));
        let _subscription = broker.subscribe("host", &SubscribeOptions::default()).unwrap();
        assert!(of_the_host.join().unwrap());
    });
    assert!(!broker.wait_for_subscription("t/+", Duration::ZERO).unwrap());
}
