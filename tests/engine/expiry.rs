//! The Message Expiry Interval.

use midge::codec::subscribe::SubscriptionOptions;

use crate::harness::{Client, Network, Q0, Q1, Q2, Received, V5, V311, opts};

fn publish(client: &mut Client<'_>, payload: &str, seconds: u32, retain: bool) {
    let id =
        client.send_with("t", payload.as_bytes(), Q1, retain, |p| _ = p.message_expiry_interval(seconds));
    client.complete(Q1, id);
}

/// [MQTT-3.3.2-6]
#[test]
fn a_message_that_waited_says_how_long_it_has_left() {
    let network = Network::new();
    let mut hearer = opts("to", V5).persistent().on(&network);
    hearer.subscribe("t", Q1);
    let mut publisher = opts("from", V5).on(&network);
    publish(&mut publisher, "at once", 100, false);
    let message = hearer.expect_message("t", "at once");
    assert_eq!(message.properties().message_expiry_interval(), Some(100));
    hearer.acknowledge(&message);
    hearer.hang_up();
    publish(&mut publisher, "later", 100, false);
    network.advance(40);
    let mut hearer = opts("to", V5).persistent().on(&network);
    assert_eq!(hearer.expect_publish().properties().message_expiry_interval(), Some(60));
    hearer.hang_up();
    network.advance(10);
    let mut hearer = opts("to", V5).persistent().on(&network);
    let again = hearer.expect_publish();
    assert!(again.dup);
    assert_eq!(again.properties().message_expiry_interval(), Some(50));
}

/// [MQTT-3.3.2-5]
#[test]
fn a_message_that_expired_in_the_queue_is_not_sent() {
    for version in [V5, V311] {
        let network = Network::new();
        let mut hearer = opts("to", version).persistent().on(&network);
        hearer.subscribe("t", Q1);
        hearer.hang_up();
        let mut publisher = opts("from", V5).on(&network);
        publish(&mut publisher, "short", 10, false);
        publish(&mut publisher, "long", 1000, false);
        publish(&mut publisher, "short", 10, false);
        network.advance(10);
        let mut hearer = opts("to", version).persistent().on(&network);
        assert_eq!(hearer.drain(), ["long"]);
        assert_eq!(network.stats().messages_dropped_expired, 2);
    }
}

/// Nor does it keep a younger message out of a full queue.
#[test]
fn expired_messages_make_room_in_a_full_queue() {
    for overflow in ["drop_newest", "drop_oldest"] {
        let settings = [("session.max_queued_messages", "4"), ("session.queue_overflow", overflow)];
        let network = Network::with(&settings);
        let mut hearer = opts("to", V5).persistent().on(&network);
        hearer.subscribe("t", Q1);
        hearer.hang_up();
        let mut publisher = opts("from", V5).on(&network);
        publish(&mut publisher, "long", 1000, false);
        for _ in 0..3 {
            publish(&mut publisher, "short", 10, false);
        }
        network.advance(60);
        for n in 0..3 {
            publish(&mut publisher, &n.to_string(), 1000, false);
        }
        assert_eq!(network.stats().messages_queued, 4);
        let stats = network.stats();
        assert_eq!((stats.messages_dropped_expired, stats.messages_dropped_queue_full), (3, 0));
        let mut hearer = opts("to", V5).persistent().on(&network);
        assert_eq!(hearer.drain(), ["long", "0", "1", "2"]);
    }
}

/// The rule is about messages whose delivery has not begun.
/// [MQTT-4.3.3-7]
#[test]
fn a_message_whose_delivery_has_begun_is_sent_again_after_its_expiry() {
    let network = Network::new();
    let mut hearer = opts("to", V5).persistent().on(&network);
    hearer.subscribe("t", Q2);
    let mut publisher = opts("from", V5).on(&network);
    publish(&mut publisher, "begun", 10, false);
    hearer.expect_publish();
    hearer.hang_up();
    network.advance(100);
    let mut hearer = opts("to", V5).persistent().on(&network);
    let again = hearer.expect_message("t", "begun");
    assert!(again.dup);
    hearer.acknowledge(&again);
    hearer.expect_nothing();
}

#[test]
fn a_retained_message_expires() {
    let network = Network::new();
    let mut publisher = opts("from", V5).on(&network);
    publish(&mut publisher, "kept", 100, true);
    network.advance(30);
    let mut hearer = opts("to", V5).on(&network);
    hearer.subscribe("t", Q0);
    let message = hearer.expect_message("t", "kept");
    assert_eq!(message.properties().message_expiry_interval(), Some(70));
    network.advance(70);
    hearer.subscribe_with("t", SubscriptionOptions::with_qos(Q0), 0);
    hearer.expect_nothing();
    // And its memory is given back without anyone asking for it.
    network.advance(61);
    assert_eq!((network.stats().retained_messages, network.stats().retained_bytes), (0, 0));
    assert_eq!(network.stats().messages_dropped_expired, 1);
    assert_eq!(network.engine.timers_running(), 0);
    publish(&mut publisher, "again", 5, true);
    network.advance(70);
    assert_eq!(network.stats().retained_messages, 0);
}

#[test]
fn a_retained_message_without_expiry_stays() {
    let network = Network::new();
    let mut publisher = opts("from", V5).on(&network);
    publish(&mut publisher, "short", 10, true);
    network.publish("u", "for ever", 0, true);
    network.advance(10 * 365 * 24 * 3600);
    assert_eq!(network.stats().retained_messages, 1);
    let mut hearer = opts("to", V5).on(&network);
    hearer.subscribe("#", Q0);
    hearer.expect_message("u", "for ever");
    hearer.expect_nothing();
}

#[test]
fn an_interval_of_zero_reaches_those_who_are_there() {
    let network = Network::new();
    let mut absent = opts("absent", V5).persistent().on(&network);
    absent.subscribe("t", Q1);
    absent.hang_up();
    let mut hearer = opts("to", V5).on(&network);
    hearer.subscribe("t", Q1);
    let mut publisher = opts("from", V5).on(&network);
    publish(&mut publisher, "now", 0, false);
    hearer.expect_message("t", "now");
    let mut absent = opts("absent", V5).persistent().on(&network);
    assert_eq!(absent.next(), None::<Received>);
}
