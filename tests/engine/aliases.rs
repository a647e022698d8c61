//! Topic Aliases both ways.

use midge::codec::reason::ReasonCode;

use crate::harness::{Network, Q0, Q1, V5, V311, opts};

/// [MQTT-3.3.2-7], [MQTT-3.3.2-12]
#[test]
fn an_alias_of_a_client_stands_for_its_topic() {
    let network = Network::new();
    let mut hearers = [opts("new", V5).on(&network), opts("old", V311).on(&network)];
    for hearer in &mut hearers {
        hearer.subscribe("#", Q1);
    }
    let mut publisher = opts("from", V5).on(&network);
    publisher.send_with("a/b", b"1", Q0, false, |p| _ = p.topic_alias(3));
    publisher.send_with("", b"2", Q0, false, |p| _ = p.topic_alias(3));
    let id = publisher.send_with("", b"3", Q1, false, |p| _ = p.topic_alias(3).content_type("x"));
    publisher.complete(Q1, id);
    publisher.send_with("c", b"4", Q0, false, |p| _ = p.topic_alias(3));
    publisher.send_with("", b"5", Q0, false, |p| _ = p.topic_alias(3));
    for hearer in &mut hearers {
        for (topic, payload) in [("a/b", "1"), ("a/b", "2"), ("a/b", "3"), ("c", "4"), ("c", "5")] {
            let message = hearer.expect_message(topic, payload);
            // The alias is the publisher's, not the hearer's.
            assert_eq!(message.properties().topic_alias(), None);
        }
        hearer.expect_nothing();
    }
}

/// [MQTT-3.3.2-12]: all of them, at the same time.
#[test]
fn every_alias_up_to_the_servers_maximum_is_taken() {
    for most in ["1", "16", "300"] {
        let network = Network::with(&[("mqtt.topic_alias_maximum", most)]);
        let mut hearer = opts("to", V5).on(&network);
        hearer.subscribe("#", Q0);
        let mut publisher = opts("from", V5).on(&network);
        let most = most.parse().unwrap();
        assert_eq!(publisher.told().topic_alias_maximum(), Some(most));
        for alias in 1..=most {
            publisher.send_with(&format!("t/{alias}"), b"", Q0, false, |p| _ = p.topic_alias(alias));
        }
        for alias in 1..=most {
            publisher.send_with("", b"x", Q0, false, |p| _ = p.topic_alias(alias));
        }
        for payload in ["", "x"] {
            for alias in 1..=most {
                hearer.expect_message(&format!("t/{alias}"), payload);
            }
        }
    }
}

/// [MQTT-3.2.2-17]
#[test]
fn an_alias_out_of_range_ends_the_connection() {
    for alias in [17, 65_535] {
        let network = Network::new();
        let mut client = opts("a", V5).on(&network);
        assert_eq!(client.told().topic_alias_maximum(), Some(16));
        client.send_with("t", b"", Q0, false, |p| _ = p.topic_alias(16));
        client.send_with("t", b"", Q0, false, |p| _ = p.topic_alias(alias));
        client.expect_refused(ReasonCode::TopicAliasInvalid); // [MQTT-3.3.2-9]
    }
    let network = Network::new();
    let mut client = opts("a", V5).on(&network);
    // A PUBLISH of `t` with alias 0 [MQTT-3.3.2-8].
    client.send_bytes(&[0x30, 7, 0, 1, b't', 3, 0x23, 0, 0]);
    assert!(!client.send_bytes(&[]));
    assert!(client.line.finished().is_some());
}

#[test]
fn an_alias_that_was_not_set_is_a_protocol_error() {
    let network = Network::new();
    let mut client = opts("a", V5).persistent().on(&network);
    client.send_with("t", b"", Q0, false, |p| _ = p.topic_alias(1));
    client.hang_up();
    // [MQTT-3.3.2-7]: aliases end with their connection.
    let mut client = opts("a", V5).persistent().on(&network);
    client.send_with("", b"", Q0, false, |p| _ = p.topic_alias(1));
    client.expect_refused(ReasonCode::ProtocolError);
}

/// [MQTT-3.2.2-18]
#[test]
fn no_aliases_are_taken_if_the_setting_says_none() {
    let network = Network::with(&[("mqtt.topic_alias_maximum", "0")]);
    let mut client = opts("a", V5).on(&network);
    assert_eq!(client.told().topic_alias_maximum(), None);
    client.send_with("t", b"", Q0, false, |p| _ = p.topic_alias(1));
    client.expect_refused(ReasonCode::TopicAliasInvalid);
}

/// [MQTT-3.1.2-26], [MQTT-3.3.2-11]
#[test]
fn the_broker_uses_no_more_aliases_than_the_client_takes() {
    let network = Network::new();
    let connect = opts("to", V5).persistent().with(|p| _ = p.topic_alias_maximum(2));
    let mut hearer = connect.on(&network);
    hearer.subscribe("#", Q1);
    let mut names = Vec::new();
    for topic in ["long/topic", "b", "long/topic", "c", "b", "long/topic", "c"] {
        network.publish(topic, topic, 1, false);
        let message = hearer.expect_publish();
        assert_eq!(message.text(), topic);
        names.push((message.topic.clone(), message.properties().topic_alias()));
        hearer.acknowledge(&message);
    }
    let name = |topic: &str, alias| (topic.to_owned(), alias);
    let expected = [
        name("long/topic", Some(1)),
        name("b", Some(2)),
        name("", Some(1)),
        name("c", None),
        name("", Some(2)),
        name("", Some(1)),
        name("c", None),
    ];
    assert_eq!(names, expected);
    network.publish("b", "again", 1, false);
    hearer.expect_publish();
    hearer.hang_up();
    // A new connection begins without aliases, also for what is sent again.
    let mut hearer = connect.on(&network);
    let message = hearer.expect_message("b", "again");
    assert_eq!((message.dup, message.properties().topic_alias()), (true, Some(1)));
}

/// [MQTT-3.1.2-27]: without a Topic Alias Maximum, and with one of 0.
#[test]
fn a_client_that_does_not_ask_gets_no_aliases() {
    for (settings, most) in
        [(&[][..], None), (&[], Some(0)), (&[("mqtt.topic_alias_maximum_outgoing", "0")], Some(9))]
    {
        let network = Network::with(settings);
        let connect = opts("to", V5);
        let connect = match most {
            None => connect,
            Some(most) => connect.with(|p| _ = p.topic_alias_maximum(most)),
        };
        let mut hearer = connect.on(&network);
        hearer.subscribe("#", Q0);
        for _ in 0..2 {
            network.publish("t", "x", 0, false);
            assert_eq!(hearer.expect_message("t", "x").properties().topic_alias(), None);
        }
    }
}

/// An alias is not taken for introduced by a packet that was too large to be sent.
#[test]
fn a_message_that_is_left_out_introduces_no_alias() {
    let network = Network::new();
    let connect = opts("to", V5).with(|p| _ = p.topic_alias_maximum(2).maximum_packet_size(40));
    let mut hearer = connect.on(&network);
    hearer.subscribe("#", Q0);
    network.publish("t", &"x".repeat(100), 0, false);
    network.publish("t", "fits", 0, false);
    let message = hearer.expect_message("t", "fits");
    assert_eq!(message.properties().topic_alias(), Some(1));
}
