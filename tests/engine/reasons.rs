//! What a client is told in words, and for which reasons it may go.

use midge::codec::frame::{Framing, split};
use midge::codec::packet::{Packet, decode};
use midge::codec::reason::ReasonCode;
use midge::session::link::Cause;

use crate::harness::{Client, LastWill, Network, Opts, Q0, Q1, Q2, V5, V31, V311, opts};

/// The reason and the Reason String of the last packet that the broker has sent, and how many bytes that has.
fn last_words(client: &Client<'_>) -> Option<(ReasonCode, Option<String>, usize)> {
    let bytes = client.line.take();
    let mut rest = bytes.as_slice();
    let mut last = None;
    while let Ok(Framing::Complete(frame)) = split(rest, u32::MAX) {
        rest = &rest[frame.whole.len()..];
        last = Some(frame);
    }
    let frame = last?;
    let (reason, properties) = match decode(frame, V5).unwrap() {
        Packet::Disconnect(packet) => (packet.reason, packet.properties),
        Packet::Connack(packet) => (packet.reason, packet.properties),
        other => panic!("no packet that ends a connection: {other:?}"),
    };
    Some((reason, properties.reason_string().map(str::to_owned), frame.whole.len()))
}

/// What a client that connects like this is told when it sends a PINGREQ with a body.
fn told(connect: &Opts) -> (ReasonCode, Option<String>, usize) {
    let network = Network::new();
    let mut client = connect.on(&network);
    client.line.take();
    assert!(!client.send_bytes(&[0xC0, 1, 0]));
    last_words(&client).unwrap()
}

#[test]
fn disconnect_says_why_in_words() {
    let (reason, sentence, _) = told(&opts("a", V5));
    assert_eq!(reason, ReasonCode::MalformedPacket);
    assert_eq!(sentence.as_deref(), Some("the remaining length of a packet without a body is not 0"));
}

/// [MQTT-3.1.2-29]
#[test]
fn who_wants_no_problem_information_gets_the_bare_reason() {
    let connect = opts("a", V5).with(|p| _ = p.request_problem_information(false));
    assert_eq!(told(&connect), (ReasonCode::MalformedPacket, None, 3));
    let refused = connect.will(LastWill::new("$SYS/x", ""));
    let network = Network::new();
    let mut client = Client::open(&network, V5);
    assert!(!client.send_bytes(&refused.encode()));
    assert_eq!(last_words(&client), Some((ReasonCode::NotAuthorized, None, 5)));
}

/// [MQTT-3.14.2-3]
#[test]
fn a_sentence_that_does_not_fit_is_left_out() {
    let (_, sentence, len) = told(&opts("a", V5));
    assert!(sentence.is_some());
    let with_room_for = |size: usize| opts("a", V5).with(|p| _ = p.maximum_packet_size(size as u32));
    assert_eq!(told(&with_room_for(len)).1, sentence);
    assert_eq!(told(&with_room_for(len - 1)), (ReasonCode::MalformedPacket, None, 3));
}

/// [MQTT-3.2.2-19]
#[test]
fn a_refusing_connack_says_why_if_that_fits() {
    let network = Network::new();
    let refused = |connect: &Opts| {
        let mut client = Client::open(&network, V5);
        assert!(!client.send_bytes(&connect.encode()));
        last_words(&client)
    };
    let connect = opts("a", V5).will(LastWill::new("$SYS/x", ""));
    let (reason, sentence, len) = refused(&connect).unwrap();
    assert_eq!(reason, ReasonCode::NotAuthorized);
    assert_eq!(sentence.as_deref(), Some("only the server publishes below $SYS"));
    let with_room_for = |size: usize| connect.clone().with(|p| _ = p.maximum_packet_size(size as u32));
    assert_eq!(refused(&with_room_for(len)).unwrap().1, sentence);
    assert_eq!(refused(&with_room_for(len - 1)), Some((ReasonCode::NotAuthorized, None, 5)));
    assert_eq!(refused(&with_room_for(4)), None); // [MQTT-3.1.2-24]
}

#[test]
fn the_end_that_another_brings_is_explained_too() {
    let network = Network::new();
    let old = opts("a", V5).on(&network);
    let silent = opts("b", V5).keep_alive(1).on(&network);
    old.line.take();
    silent.line.take();
    let _new = opts("a", V5).on(&network);
    network.advance(2);
    for (client, expected) in [(old, ReasonCode::SessionTakenOver), (silent, ReasonCode::KeepAliveTimeout)] {
        let (reason, sentence, _) = last_words(&client).unwrap();
        assert_eq!(reason, expected);
        assert!(sentence.is_some());
    }
}

/// MQTT 5, table 3-10: a client that uses a server's reason breaks a rule, and its will is published.
#[test]
fn a_client_disconnects_for_a_clients_reasons_alone() {
    let clients = [0x00, 0x04, 0x80, 0x81, 0x82, 0x83, 0x8C, 0x90, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99];
    let servers = [0x87, 0x89, 0x8B, 0x8D, 0x8E, 0x8F, 0x9A, 0x9B, 0x9C, 0x9D, 0x9E, 0x9F, 0xA0, 0xA1, 0xA2];
    for code in clients {
        let network = Network::new();
        let mut client = opts("a", V5).on(&network);
        assert!(!client.send_bytes(&[0xE0, 1, code]));
        client.expect_nothing();
        let cause = if code == 0 { Cause::Disconnected } else { Cause::ConnectionLost };
        assert_eq!(client.line.finished(), Some(cause), "{code:#x}");
    }
    for code in servers {
        let network = Network::new();
        let mut hearer = opts("hearer", V5).on(&network);
        hearer.subscribe("will", Q0);
        let mut client = opts("a", V5).will(LastWill::new("will", "x")).on(&network);
        assert!(!client.send_bytes(&[0xE0, 1, code]));
        client.expect_refused(ReasonCode::ProtocolError);
        assert_eq!(hearer.drain(), ["x"], "{code:#x}");
    }
}

/// A packet that the client does not take is not sent, and what cannot be answered is not done [MQTT-3.1.2-24].
#[test]
fn a_client_that_cannot_take_its_answer_is_told_so() {
    let network = Network::new();
    let connect = opts("a", V5).expiry(100).resume().with(|p| _ = p.maximum_packet_size(30));
    let qos1 = midge::codec::subscribe::SubscriptionOptions::with_qos(Q1);
    let names: Vec<String> = (0..26).map(|n| format!("t{n}")).collect();
    let filters: Vec<_> = names.iter().map(|name| (name.as_str(), qos1)).collect();
    let mut client = connect.on(&network);
    assert_eq!(client.subscribe_all(&filters[..25], 0).len(), 25); // 30 bytes
    client.send_subscribe(&filters, 0);
    client.expect_refused(ReasonCode::PacketTooLarge);
    assert_eq!(network.stats().subscriptions, 25);
    let mut client = connect.on(&network);
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    assert_eq!(client.unsubscribe(&names[..25]).len(), 25);
    assert_eq!(network.stats().subscriptions, 0);
    let mut encoded = Vec::new();
    for name in &names {
        midge::codec::unsubscribe::encode_filter(name, &mut encoded);
    }
    let properties = midge::codec::properties::Properties::EMPTY;
    let number = crate::harness::id(9);
    let packet = midge::codec::unsubscribe::Unsubscribe::from_encoded(number, properties, &encoded).unwrap();
    assert!(!client.send(&Packet::Unsubscribe(packet)));
    client.expect_refused(ReasonCode::PacketTooLarge);
}

/// CONNACK tells what the client has to keep to: without it there is no connection.
#[test]
fn a_client_that_cannot_take_connack_is_refused() {
    let network = Network::new();
    let sized = |size| opts("a", V5).with(|p| _ = p.maximum_packet_size(size));
    let least = (5..100).find(|size| {
        let mut client = Client::open(&network, V5);
        client.send_bytes(&sized(*size).encode())
    });
    let least = least.unwrap();
    assert_eq!(sized(least - 1).refused_by(&network).0, Some(ReasonCode::PacketTooLarge));
    assert_eq!(sized(4).refused_by(&network), (None, ReasonCode::PacketTooLarge));
    let mut client = Client::open(&network, V5);
    client.send_bytes(&sized(least).encode());
    assert_eq!(client.line.take().len(), least as usize);
    assert_eq!(network.stats().sessions, 1);
}

/// [MQTT-3.1.2-25]: a message too large for one client is dropped for it alone, and the next is sent.
#[test]
fn a_message_that_is_too_large_is_dropped_and_counted() {
    for (level, qos) in [Q0, Q1, Q2].into_iter().enumerate() {
        let network = Network::new();
        let mut small = opts("small", V5).with(|p| _ = p.maximum_packet_size(50)).on(&network);
        let mut other = opts("other", V311).on(&network);
        small.subscribe("t", qos);
        other.subscribe("t", qos);
        let text = "x".repeat(60);
        for text in [text.as_str(), "y"] {
            network.publish("t", text, level as u8, false);
        }
        assert_eq!(small.drain(), ["y"]);
        assert_eq!(other.drain(), [text.as_str(), "y"]);
        assert_eq!(network.stats().messages_dropped_packet_too_large, 1);
        assert_eq!(network.engine.clients().iter().map(|client| client.inflight).sum::<usize>(), 0);
    }
}

/// MQTT 3 clients are told nothing, as ever.
#[test]
fn old_versions_are_told_no_reason() {
    for version in [V31, V311] {
        let network = Network::new();
        let mut client = opts("a", version).on(&network);
        client.line.take();
        assert!(!client.send_bytes(&[0xC0, 1, 0]));
        assert!(client.line.take().is_empty());
    }
}
