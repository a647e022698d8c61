//! Each fault, and a client that copes with it.

use std::io::ErrorKind;
use std::time::Duration;

use midge::codec::ack::{Ack, AckKind};
use midge::codec::packet::Packet;
use midge::codec::qos::QoS;
use midge::codec::reason::ReasonCode;
use midge::codec::version::Version;
use midge::embed::PublishOptions;
use midge::testing::{Fault, PacketKind};

use crate::kit::{Guest, PATIENCE, acknowledged, connect, id, ping, publish, secs, start};

#[test]
fn a_connect_is_refused_as_often_as_the_fault_says_and_the_client_tries_again() {
    let broker = start();
    let fault = Fault::refuse(ReasonCode::ServerBusy).unwrap().client("a").times(2);
    let fault = broker.inject(fault).unwrap();
    assert_eq!(Guest::named("b").try_connect(&broker).1, Ok(false));
    let answers: Vec<_> = (0..3).map(|_| Guest::named("a").try_connect(&broker).1).collect();
    assert_eq!(answers, [Err(ReasonCode::ServerBusy), Err(ReasonCode::ServerBusy), Ok(false)]);
    assert_eq!(broker.hits(fault), 2);
}

#[test]
fn a_refusal_does_not_touch_the_session_or_the_connection_that_there_is() {
    let broker = start();
    let mut first = connect(&broker, "a");
    broker.inject(Fault::refuse(ReasonCode::NotAuthorized).unwrap()).unwrap();
    assert_eq!(Guest::named("a").try_connect(&broker).1, Err(ReasonCode::NotAuthorized));
    ping(&mut first);
}

#[test]
fn a_client_of_mqtt_3_gets_the_return_code_that_stands_for_the_reason() {
    let broker = start();
    broker.inject(Fault::refuse(ReasonCode::ServerBusy).unwrap()).unwrap();
    let guest = Guest { version: Version::V311, ..Guest::named("a") };
    assert_eq!(guest.try_connect(&broker).1, Err(ReasonCode::ServerUnavailable));
}

#[test]
fn a_lost_puback_makes_the_client_send_again_after_it_has_reconnected() {
    let broker = start();
    let fault = broker.inject(Fault::drop(PacketKind::Puback).client("a")).unwrap();
    let guest = Guest { session_expiry: 60, clean_start: false, ..Guest::named("a") };
    let mut client = guest.connect(&broker);
    publish(&mut client, "t", b"x", QoS::AtLeastOnce, 7, false);
    assert!(broker.wait_for_hits(fault, 1, PATIENCE).unwrap());
    // The answer to what came later comes, that to the message does not.
    ping(&mut client);
    drop(client);
    let mut client = guest.connect(&broker);
    publish(&mut client, "t", b"x", QoS::AtLeastOnce, 7, true);
    assert_eq!(acknowledged(&mut client), ("PUBACK", id(7)));
    assert_eq!(broker.published("t").unwrap().len(), 2, "at least once");
}

#[test]
fn a_lost_pubrec_does_not_make_a_message_come_twice() {
    let broker = start();
    broker.inject(Fault::drop(PacketKind::Pubrec)).unwrap();
    let guest = Guest { session_expiry: 60, clean_start: false, ..Guest::named("a") };
    let mut client = guest.connect(&broker);
    publish(&mut client, "t", b"x", QoS::ExactlyOnce, 7, false);
    ping(&mut client);
    drop(client);
    let mut client = guest.connect(&broker);
    publish(&mut client, "t", b"x", QoS::ExactlyOnce, 7, true);
    assert_eq!(acknowledged(&mut client), ("PUBREC", id(7)));
    assert_eq!(broker.published("t").unwrap().len(), 1, "exactly once");
}

#[test]
fn every_acknowledgement_to_a_client_can_be_lost_late_or_doubled() {
    let broker = start();
    let mut client = connect(&broker, "a");
    let exchange = |client: &mut crate::client::Client, number: u16| {
        publish(client, "t", b"x", QoS::AtLeastOnce, number, false);
        publish(client, "t", b"x", QoS::ExactlyOnce, number + 1, false);
        client.send(|version, out| Ack::success(id(number + 1)).encode(AckKind::Pubrel, version, out));
    };
    for (kind, name) in
        [(PacketKind::Puback, "PUBACK"), (PacketKind::Pubrec, "PUBREC"), (PacketKind::Pubcomp, "PUBCOMP")]
    {
        let others: Vec<_> = ["PUBACK", "PUBREC", "PUBCOMP"].into_iter().filter(|n| *n != name).collect();
        broker.inject(Fault::drop(kind)).unwrap();
        exchange(&mut client, 1);
        let heard: Vec<_> = (0..2).map(|_| acknowledged(&mut client).0).collect();
        assert_eq!(heard, others, "lost {name}");

        broker.inject(Fault::duplicate(kind)).unwrap();
        exchange(&mut client, 1);
        let heard: Vec<_> = (0..4).map(|_| acknowledged(&mut client).0).collect();
        assert_eq!(heard.iter().filter(|n| **n == name).count(), 2, "doubled {name}: {heard:?}");

        broker.inject(Fault::delay(kind, secs(5))).unwrap();
        exchange(&mut client, 1);
        let heard: Vec<_> = (0..2).map(|_| acknowledged(&mut client).0).collect();
        assert_eq!(heard, others, "late {name}");
        broker.advance(secs(5)).unwrap();
        assert_eq!(acknowledged(&mut client).0, name);
    }
}

#[test]
fn a_pubrel_can_be_lost_too() {
    let broker = start();
    let mut client = connect(&broker, "a");
    client.subscribe("t", QoS::ExactlyOnce);
    let fault = broker.inject(Fault::drop(PacketKind::Pubrel)).unwrap();
    broker.publish("t", "x", &PublishOptions::qos(QoS::ExactlyOnce)).unwrap();
    let number = client.message().packet_id.unwrap();
    client.send(|version, out| Ack::success(number).encode(AckKind::Pubrec, version, out));
    assert!(broker.wait_for_hits(fault, 1, PATIENCE).unwrap());
    ping(&mut client);
    // The client asks again.
    client.send(|version, out| Ack::success(number).encode(AckKind::Pubrec, version, out));
    assert_eq!(acknowledged(&mut client), ("PUBREL", number));
}

#[test]
fn a_suback_comes_late_and_messages_overtake_it() {
    let broker = start();
    let mut client = connect(&broker, "a");
    broker.inject(Fault::delay(PacketKind::Suback, Duration::from_millis(500))).unwrap();
    let mut packet = Vec::new();
    client.encode_subscribe("t", QoS::AtMostOnce, &mut packet);
    client.try_send(&packet).unwrap();
    assert!(broker.wait_for_subscription("t", PATIENCE).unwrap());
    broker.publish("t", "x", &PublishOptions::default()).unwrap();
    assert_eq!(client.message().payload, b"x");
    broker.advance(Duration::from_millis(499)).unwrap();
    ping(&mut client);
    broker.advance(Duration::from_millis(1)).unwrap();
    client.expect("SUBACK", |packet| matches!(packet, Packet::Suback(_)).then_some(()));
}

#[test]
fn a_client_whose_connack_is_lost_gives_up_and_tries_again() {
    let broker = start();
    let fault = broker.inject(Fault::drop(PacketKind::Connack).client("a")).unwrap();
    let mut waiting = crate::client::Client::raw(broker.address("tcp").unwrap());
    waiting.version = Version::V5;
    waiting.send_connect("a", 0);
    assert!(broker.wait_for_hits(fault, 1, PATIENCE).unwrap());
    assert!(broker.wait_for_client("a", PATIENCE).unwrap());
    let mut client = connect(&broker, "a");
    ping(&mut client);
}

#[test]
fn a_ping_that_is_not_answered_is_the_sign_of_a_dead_connection() {
    let broker = start();
    let mut client = connect(&broker, "a");
    let fault = broker.inject(Fault::drop(PacketKind::Pingresp).after(1)).unwrap();
    ping(&mut client);
    client.send(|_, out| midge::codec::ping::encode_pingreq(out));
    assert!(broker.wait_for_hits(fault, 1, PATIENCE).unwrap());
    ping(&mut client);
}

#[test]
fn a_message_can_be_doubled_or_lost_on_its_way_to_a_client() {
    let broker = start();
    let mut client = connect(&broker, "a");
    client.subscribe("#", QoS::AtMostOnce);
    broker.inject(Fault::duplicate(PacketKind::Publish)).unwrap();
    broker.inject(Fault::drop(PacketKind::Publish)).unwrap();
    for payload in ["twice", "never", "once"] {
        broker.publish("t", payload, &PublishOptions::default()).unwrap();
    }
    let heard: Vec<_> = (0..3).map(|_| client.message().payload).collect();
    assert_eq!(heard, [&b"twice"[..], b"twice", b"once"]);
}

#[test]
fn a_connection_that_is_cut_is_reset_and_its_will_is_published() {
    let broker = start();
    let mut client = Guest { will: Some(("will", 0)), ..Guest::named("a") }.connect(&broker);
    assert!(broker.cut("a").unwrap());
    broker.assert_published("will", "gone");
    assert!(broker.clients().is_empty());
    let error = std::io::Read::read(&mut client.stream, &mut [0; 10]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    assert!(!broker.cut("a").unwrap(), "it is not connected any more");
}

#[test]
fn a_connection_is_cut_in_place_of_an_acknowledgement() {
    let broker = start();
    let guest = Guest { session_expiry: 60, clean_start: false, ..Guest::named("a") };
    let mut client = guest.connect(&broker);
    broker.inject(Fault::cut_at(PacketKind::Puback).client("a")).unwrap();
    publish(&mut client, "t", b"x", QoS::AtLeastOnce, 1, false);
    assert!(broker.wait_for_no_client("a", PATIENCE).unwrap());
    assert!(client.until_closed().is_empty());
    let (mut client, present) = guest.try_connect(&broker);
    assert_eq!(present, Ok(true));
    publish(&mut client, "t", b"x", QoS::AtLeastOnce, 1, true);
    assert_eq!(acknowledged(&mut client), ("PUBACK", id(1)));
}

#[test]
fn a_connection_is_cut_in_the_middle_of_a_packet() {
    let broker = start();
    let mut client = connect(&broker, "a");
    client.subscribe("t", QoS::AtMostOnce);
    broker.inject(Fault::cut_after_bytes(20).client("a")).unwrap();
    broker.publish("t", "0123456789", &PublishOptions::default()).unwrap();
    broker.publish("t", "0123456789", &PublishOptions::default()).unwrap();
    assert!(broker.wait_for_no_client("a", PATIENCE).unwrap());
    assert_eq!(client.until_closed().len(), 20);
}

/// The broker waits for the client to close its side, unless a fault cuts the connection.
#[test]
fn a_connection_without_a_fault_ends_as_without_a_test() {
    let broker = start();
    let goes_on = || {
        let mut client = connect(&broker, "a");
        // A packet of type 0.
        client.try_send(&[0, 0]).unwrap();
        let mut answer = Vec::new();
        std::io::Read::read_to_end(&mut client.stream, &mut answer).unwrap();
        assert_eq!(answer[..1], [0xE0]);
        std::thread::sleep(Duration::from_millis(50));
        (0..2).all(|_| client.try_send(&[0, 0]).is_ok())
    };
    assert!((0..10).any(|_| goes_on()));
}

#[test]
fn nothing_follows_a_cut() {
    let broker = start();
    let mut client = connect(&broker, "a");
    client.subscribe("t", QoS::AtMostOnce);
    broker.inject(Fault::cut_at(PacketKind::Publish).client("a")).unwrap();
    // Those behind the cut come before the connection's task has seen it, most likely.
    for _ in 0..100 {
        broker.publish("t", "0123456789", &PublishOptions::default()).unwrap();
    }
    assert!(broker.wait_for_no_client("a", PATIENCE).unwrap());
    assert!(client.until_closed().is_empty());
}

#[test]
fn a_client_that_is_not_read_waits_until_it_is() {
    let broker = start();
    let mut client = Guest { keep_alive: 10, ..Guest::named("a") }.connect(&broker);
    assert!(broker.pause_reading("a").unwrap());
    publish(&mut client, "t", b"x", QoS::AtLeastOnce, 1, false);
    broker.settle().unwrap();
    broker.assert_not_published("t");
    assert!(broker.resume_reading("a").unwrap());
    assert_eq!(acknowledged(&mut client), ("PUBACK", id(1)));
    assert!(broker.pause_reading("a").unwrap());
    publish(&mut client, "t", b"x", QoS::AtLeastOnce, 2, false);
    broker.advance(secs(100)).unwrap();
    assert!(broker.clients()[0].connected, "what it has sent is not read, but it is no silence");
    assert!(broker.resume_reading("a").unwrap());
    assert_eq!(acknowledged(&mut client), ("PUBACK", id(2)));
    assert!(broker.pause_reading("a").unwrap());
    broker.advance(secs(15)).unwrap();
    assert!(broker.clients().is_empty(), "it has sent nothing");
    assert!(!broker.pause_reading("a").unwrap());
}

#[test]
fn faults_are_cleared_one_by_one_or_all_at_once() {
    let broker = start();
    let mut client = connect(&broker, "a");
    let lost = broker.inject(Fault::drop(PacketKind::Pingresp).always()).unwrap();
    assert!(broker.clear_fault(lost) && !broker.clear_fault(lost));
    ping(&mut client);
    broker.inject(Fault::drop(None).always()).unwrap();
    broker.pause_reading("a").unwrap();
    broker.clear_faults();
    ping(&mut client);
    assert_eq!(broker.hits(lost), 0);
}

/// What the socket does not take at once goes through the line later, in order, and late packets do not mix with it.
#[test]
fn a_slow_reader_gets_everything_in_order_and_late_packets_whole() {
    let broker = start();
    let mut client = connect(&broker, "a");
    client.subscribe("#", QoS::AtLeastOnce);
    broker.inject(Fault::delay(PacketKind::Publish, secs(1)).after(10).times(10)).unwrap();
    let payload = vec![b'x'; 100_000];
    for number in 0..200 {
        broker.publish(&number.to_string(), &payload, &PublishOptions::qos(QoS::AtLeastOnce)).unwrap();
    }
    broker.advance(secs(1)).unwrap();
    let mut heard = Vec::new();
    for _ in 0..200 {
        let message = client.message();
        assert_eq!(message.payload.len(), payload.len());
        heard.push(message.topic.parse::<u32>().unwrap());
        let number = message.packet_id.unwrap();
        client.send(|version, out| Ack::success(number).encode(AckKind::Puback, version, out));
    }
    let late = |number: &u32| (10..20).contains(number);
    let (late, on_time): (Vec<_>, Vec<_>) = heard.into_iter().partition(late);
    assert_eq!(late, (10..20).collect::<Vec<_>>());
    assert_eq!(on_time, (0..10).chain(20..200).collect::<Vec<_>>());
}
