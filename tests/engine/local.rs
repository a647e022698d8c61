//! Subscriptions of the host program.

use midge::codec::subscribe::{RetainHandling, SubscriptionOptions};

use crate::harness::{ALL, Inbox, Network, Q0, Q1, Q2, V5, opts};

#[test]
fn the_host_hears_clients_and_clients_hear_the_host() {
    for version in ALL {
        let network = Network::new();
        let inbox = Inbox::new(100);
        let options = SubscriptionOptions::with_qos(Q1);
        network.engine.subscribe_local(&mut network.turn(), "a/+", options, 5, inbox.clone()).unwrap();
        let mut client = opts("c", version).on(&network);
        client.subscribe("a/#", Q2);
        assert!(!client.publish("a/b", "from client", Q2).is_error());
        network.publish("a/c", "from host", 0, true);
        let got = inbox.take();
        assert_eq!((got[0].topic.as_str(), &got[0].payload[..]), ("a/b", &b"from client"[..]));
        assert_eq!((got[0].qos, got[0].retain, &got[0].identifiers[..]), (Q1, false, &[5][..]));
        assert_eq!((got[1].topic.as_str(), got[1].qos, got.len()), ("a/c", Q0, 2));
        assert_eq!(inbox.take_wakes(), 2);
    }
}

#[test]
fn a_turn_wakes_the_host_once() {
    let network = Network::new();
    let inbox = Inbox::new(100);
    let options = SubscriptionOptions::default();
    network.engine.subscribe_local(&mut network.turn(), "t", options, 0, inbox.clone()).unwrap();
    let mut client = opts("c", V5).on(&network);
    let packets = (0..50).fold(crate::harness::Packets::default(), |p, _| p.publish(V5, "t", "x", Q0, 0));
    client.send_bytes(&packets.0);
    assert_eq!((inbox.take().len(), inbox.take_wakes()), (50, 1));
}

#[test]
fn the_host_gets_retained_messages_as_it_asks() {
    let network = Network::new();
    network.publish("t/1", "kept", 1, true);
    network.publish("t/2", &"x".repeat(20_000), 1, true);
    for (retain_handling, count) in
        [(RetainHandling::SendAlways, 2), (RetainHandling::SendIfNew, 2), (RetainHandling::DoNotSend, 0)]
    {
        let inbox = Inbox::new(100);
        let options = SubscriptionOptions { retain_handling, ..SubscriptionOptions::with_qos(Q2) };
        let local = network.engine.subscribe_local(&mut network.turn(), "t/#", options, 7, inbox.clone());
        let got = inbox.take();
        assert_eq!(got.len(), count);
        assert!(got.iter().all(|m| m.retain && m.qos == Q1 && m.identifiers == [7]));
        assert!(got.iter().all(|m| m.shared == (m.payload.len() >= 8192)));
        network.engine.unsubscribe_local(&local.unwrap());
    }
}

#[test]
fn the_identifier_zero_is_none() {
    let network = Network::new();
    network.publish("t", "kept", 0, true);
    let inbox = Inbox::new(9);
    network.engine.subscribe_local(&mut network.turn(), "t", Default::default(), 0, inbox.clone()).unwrap();
    network.publish("t", "live", 0, false);
    let got = inbox.take();
    assert_eq!(got.len(), 2);
    assert!(got.iter().all(|message| message.identifiers.is_empty()));
}

#[test]
fn an_ended_subscription_hears_nothing() {
    let network = Network::new();
    let (first, second) = (Inbox::new(9), Inbox::new(9));
    let options = SubscriptionOptions::default();
    let subscribe = |inbox: &std::sync::Arc<Inbox>| {
        network.engine.subscribe_local(&mut network.turn(), "t", options, 0, inbox.clone()).unwrap()
    };
    let (a, b) = (subscribe(&first), subscribe(&second));
    assert_eq!(network.publish("t", "1", 0, false), 2);
    network.engine.unsubscribe_local(&a);
    network.engine.unsubscribe_local(&a);
    assert_eq!(network.publish("t", "2", 0, false), 1);
    assert_eq!((first.take().len(), second.take().len()), (1, 2));
    network.engine.unsubscribe_local(&b);
    assert_eq!(network.stats().subscriptions, 0);
    assert_eq!(b.filter(), "t");
}

/// All of the host counts as one client.
#[test]
fn no_local_spares_the_host_its_own_messages() {
    let network = Network::new();
    let inbox = Inbox::new(9);
    let options = SubscriptionOptions { no_local: true, ..Default::default() };
    network.engine.subscribe_local(&mut network.turn(), "t", options, 0, inbox.clone()).unwrap();
    assert_eq!(network.publish("t", "own", 0, false), 0);
    opts("c", V5).on(&network).publish("t", "other", Q0);
    assert_eq!(inbox.take().len(), 1);
}

#[test]
fn the_host_can_be_a_member_of_a_group() {
    let network = Network::new();
    let inbox = Inbox::new(9);
    let options = SubscriptionOptions::default();
    network.engine.subscribe_local(&mut network.turn(), "$share/g/t", options, 0, inbox.clone()).unwrap();
    let mut client = opts("c", V5).on(&network);
    client.subscribe("$share/g/t", Q0);
    for _ in 0..4 {
        assert_eq!(network.publish("t", "x", 0, false), 1);
    }
    assert_eq!((inbox.take().len(), client.drain().len()), (2, 2));
}

#[test]
fn a_bad_filter_is_an_error() {
    let network = Network::new();
    for filter in ["", "a/#/b", "$share//x"] {
        let inbox = Inbox::new(1);
        let result =
            network.engine.subscribe_local(&mut network.turn(), filter, Default::default(), 0, inbox);
        assert!(result.is_err(), "{filter}");
    }
}

#[test]
fn the_rest_of_the_expiry_is_told() {
    let network = Network::new();
    let mut client = opts("c", V5).on(&network);
    client.send_with("t", b"x", Q0, true, |p| _ = p.message_expiry_interval(100));
    network.advance(10);
    let inbox = Inbox::new(9);
    network.engine.subscribe_local(&mut network.turn(), "t", Default::default(), 0, inbox.clone()).unwrap();
    assert_eq!(inbox.take()[0].expiry, Some(90));
}
