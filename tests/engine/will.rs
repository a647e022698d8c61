//! The Will.

use std::sync::Arc;

use midge::codec::properties::Property;
use midge::codec::reason::ReasonCode;
use midge::codec::subscribe::SubscriptionOptions;
use midge::engine::parts::sink::{LocalMessage, Sink};
use midge::session::link::Cause;

use crate::harness::{ALL, Client, LastWill, Network, Q0, Q1, Q2, QOS, V5, opts};

fn hearer(network: &Network) -> Client<'_> {
    let mut hearer = opts("hearer", V5).on(network);
    hearer.subscribe("will/#", Q2);
    hearer
}

fn will() -> LastWill {
    LastWill::new("will/a", "gone")
}

/// [MQTT-3.1.2-8], [MQTT-3.1.2-7], [MQTT3-3.1.2-8], [MQTT3-3.1.2-9]
#[test]
fn a_broken_connection_publishes_the_will() {
    for version in ALL {
        for qos in QOS {
            let network = Network::new();
            let mut hearer = hearer(&network);
            opts("a", version).will(will().qos(qos)).on(&network).hang_up();
            let message = hearer.expect_message("will/a", "gone");
            assert_eq!((message.qos, message.retain), (qos, false));
            assert_eq!(network.stats().wills_published, 1);
        }
    }
}

/// [MQTT-3.14.4-3], [MQTT-3.1.2-10], [MQTT3-3.14.4-3], [MQTT3-3.1.2-10]
#[test]
fn a_goodbye_deletes_the_will() {
    for version in ALL {
        let network = Network::new();
        let mut hearer = hearer(&network);
        opts("a", version).persistent().will(will()).on(&network).disconnect();
        network.advance(10);
        hearer.expect_nothing();
        opts("a", version).persistent().on(&network).hang_up();
        hearer.expect_nothing();
        assert_eq!(network.stats().wills_published, 0);
    }
}

/// [MQTT-3.1.2-8], [MQTT-3.14.4-3]
#[test]
fn a_goodbye_with_any_other_reason_publishes_it() {
    for reason in [
        ReasonCode::DisconnectWithWill,
        ReasonCode::UnspecifiedError,
        ReasonCode::ProtocolError,
        ReasonCode::AdministrativeAction,
        ReasonCode::PayloadFormatInvalid,
    ] {
        let network = Network::new();
        let mut hearer = hearer(&network);
        opts("a", V5).will(will()).on(&network).disconnect_with(reason, None);
        hearer.expect_message("will/a", "gone");
    }
}

/// [MQTT-3.1.2-8], [MQTT-3.1.2-10], [MQTT3-3.1.2-8], [MQTT3-3.1.2-10], [MQTT3-3.1.2-24]
#[test]
fn a_client_that_breaks_the_rules_is_silent_or_is_kicked_has_its_will_published() {
    for version in ALL {
        let network = Network::new();
        let mut hearer = hearer(&network);
        let mut client = opts("a", version).will(will()).on(&network);
        client.send_bytes(&[0x00, 0]);
        hearer.expect_message("will/a", "gone");
        client.hang_up();
        hearer.expect_nothing();

        let client = opts("a", version).keep_alive(10).will(will()).on(&network);
        network.advance(16);
        hearer.expect_message("will/a", "gone");
        client.hang_up();
        hearer.expect_nothing();

        let client = opts("a", version).will(will()).on(&network);
        network.engine.kick(&mut network.turn(), "a");
        hearer.expect_message("will/a", "gone");
        client.hang_up();
        hearer.expect_nothing();
    }
}

/// [MQTT-3.1.2-14], [MQTT-3.1.2-15], [MQTT3-3.1.2-16], [MQTT3-3.1.2-17]
#[test]
fn a_will_can_be_retained() {
    for version in ALL {
        for retained in [false, true] {
            let network = Network::new();
            let will = if retained { will().retained() } else { will() };
            opts("a", version).will(will).on(&network).hang_up();
            let mut hearer = hearer(&network);
            if retained {
                assert!(hearer.expect_message("will/a", "gone").retain);
            }
            hearer.expect_nothing();
        }
    }
}

/// [MQTT-3.1.3-9]
#[test]
fn a_will_waits_for_its_delay() {
    let network = Network::new();
    let mut hearer = hearer(&network);
    opts("a", V5).expiry(100).will(will().delay(10)).on(&network).hang_up();
    network.advance(9);
    hearer.expect_nothing();
    network.advance(2);
    hearer.expect_message("will/a", "gone");
    network.advance(1000);
    hearer.expect_nothing();
    assert_eq!(network.stats().sessions_expired, 1);
}

/// [MQTT-3.1.3-9]
#[test]
fn a_delayed_will_is_not_sent_to_those_who_come_back_in_time() {
    let network = Network::new();
    let mut hearer = hearer(&network);
    opts("a", V5).expiry(100).will(will().delay(10)).on(&network).hang_up();
    network.advance(9);
    let client = opts("a", V5).resume().expiry(100).on(&network);
    network.advance(1000);
    hearer.expect_nothing();
    client.hang_up();
    network.advance(1000);
    hearer.expect_nothing(); // The new connection has no will.
}

/// [MQTT-3.1.2-8]
#[test]
fn the_end_of_the_session_cuts_the_delay() {
    let network = Network::new();
    let mut hearer = hearer(&network);
    opts("a", V5).expiry(5).will(will().delay(1000)).on(&network).hang_up();
    network.advance(4);
    hearer.expect_nothing();
    network.advance(2);
    hearer.expect_message("will/a", "gone");
    // Without expiry the session ends at once.
    opts("a", V5).will(will().delay(1000)).on(&network).hang_up();
    hearer.expect_message("will/a", "gone");
    // A clean start ends it, too.
    opts("a", V5).expiry(500).will(will().delay(100)).on(&network).hang_up();
    hearer.expect_nothing();
    let _client = opts("a", V5).on(&network);
    hearer.expect_message("will/a", "gone");
    network.advance(1000);
    hearer.expect_nothing();
}

/// [MQTT-3.1.2-8], and section 3.1.4 of MQTT 5: a connection that is taken over is closed, so its will is due.
#[test]
fn a_take_over_publishes_the_will_of_the_old_connection() {
    for version in ALL {
        let network = Network::new();
        let mut hearer = hearer(&network);
        let old = opts("a", version).persistent().will(will()).on(&network);
        let new = opts("a", version).persistent().will(LastWill::new("will/b", "later")).on(&network);
        hearer.expect_message("will/a", "gone");
        old.hang_up();
        hearer.expect_nothing();
        new.hang_up();
        hearer.expect_message("will/b", "later");
        hearer.expect_nothing();
    }
}

/// [MQTT-3.1.3-9]
#[test]
fn a_take_over_in_time_does_not_publish_a_delayed_will() {
    let network = Network::new();
    let mut hearer = hearer(&network);
    let _old = opts("a", V5).expiry(100).will(will().delay(5)).on(&network);
    let _new = opts("a", V5).resume().expiry(100).on(&network);
    network.advance(50);
    hearer.expect_nothing();
    let _old = opts("b", V5).expiry(100).will(will().delay(5)).on(&network);
    let _new = opts("b", V5).expiry(100).on(&network); // Clean Start: the session ends.
    hearer.expect_message("will/a", "gone");
    network.advance(50);
    hearer.expect_nothing();
}

#[test]
fn the_will_carries_its_properties_and_its_expiry_runs_from_publication() {
    let network = Network::new();
    let mut absent = opts("absent", V5).persistent().on(&network);
    absent.subscribe("will/#", Q1);
    absent.hang_up();
    let mut hearer = hearer(&network);
    let will = will().qos(Q1).delay(10).with(|p| {
        p.message_expiry_interval(30).content_type("text").user_property("a", "b");
    });
    opts("a", V5).expiry(100).will(will).on(&network).hang_up();
    network.advance_millis(10_100);
    let message = hearer.expect_message("will/a", "gone");
    let properties: Vec<_> = message.properties().iter().collect();
    let expected = [
        Property::MessageExpiryInterval(30),
        Property::ContentType("text"),
        Property::UserProperty("a", "b"),
    ];
    assert_eq!(properties, expected);
    network.advance(31);
    let mut absent = opts("absent", V5).persistent().on(&network);
    absent.expect_nothing();
    assert_eq!(network.stats().messages_dropped_expired, 1);
}

#[test]
fn a_will_that_nobody_hears_is_counted() {
    let network = Network::new();
    opts("a", V5).will(will()).on(&network).hang_up();
    assert_eq!(network.stats().messages_dropped_no_subscriber, 1);
}

#[test]
fn a_client_in_its_own_wills_audience_hears_it_next_time() {
    for version in ALL {
        let network = Network::new();
        let mut client = opts("a", version).persistent().will(will().qos(Q1)).on(&network);
        client.subscribe("will/a", Q1);
        client.hang_up();
        let mut client = opts("a", version).persistent().on(&network);
        assert_eq!(client.drain(), ["gone"]);
        assert_eq!(client.line.finished(), None::<Cause>);
        assert_eq!(client.publish("x", "", Q0), ReasonCode::Success);
    }
}

/// [MQTT-3.8.3-3]
#[test]
fn no_local_spares_a_client_its_own_will() {
    let network = Network::new();
    let mut hearer = hearer(&network);
    let mut client = opts("a", V5).persistent().will(will().qos(Q1)).on(&network);
    let options = SubscriptionOptions { no_local: true, ..SubscriptionOptions::with_qos(Q1) };
    client.subscribe_with("will/#", options, 0);
    client.hang_up();
    hearer.expect_message("will/a", "gone");
    opts("a", V5).persistent().on(&network).expect_nothing();
}

/// What a client may not publish it may not leave behind, either.
#[test]
fn a_will_is_bound_by_the_rules_of_a_publish() {
    for version in ALL {
        let network = Network::with(&[("mqtt.max_topic_levels", "3")]);
        let mine = LastWill::new("$SYS/broker/version", "mine");
        let reason = ReasonCode::NotAuthorized;
        assert_eq!(opts("a", version).will(mine).refused_by(&network), (Some(reason), reason));
        let deep = LastWill::new("a/b/c/d", "");
        let reason = ReasonCode::TopicNameInvalid;
        let told = (version == V5).then_some(reason);
        assert_eq!(opts("a", version).will(deep).refused_by(&network), (told, reason));
    }
}

/// A panic in what a timer does costs neither the timers that are due with it nor later ones.
#[test]
fn a_panic_costs_one_timer() {
    struct Bug;
    impl Sink for Bug {
        fn push(&self, _message: &LocalMessage<'_>) -> bool {
            panic!("planted")
        }
        fn wake(&self) {}
    }
    let network = Network::new();
    let options = SubscriptionOptions::default();
    let _bug = network.engine.subscribe_local(&mut network.turn(), "bug", options, 0, Arc::new(Bug)).unwrap();
    let mut hearer = hearer(&network);
    for (id, topic) in [("a", "will/1"), ("b", "bug"), ("c", "will/2"), ("d", "bug"), ("e", "will/3")] {
        opts(id, V5).expiry(60).will(LastWill::new(topic, "gone").delay(10)).on(&network).hang_up();
    }
    network.advance(11);
    let mut heard = hearer.drain();
    heard.sort();
    assert_eq!(heard.len(), 3, "{heard:?}");
    network.advance(60);
    assert_eq!(network.stats().sessions, 1);
}
