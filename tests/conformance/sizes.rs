//! The client's Maximum Packet Size bounds every packet, not only PUBLISH [MQTT-3.1.2-24].

use midge::codec::packet::Packet;
use midge::codec::reason::ReasonCode;
use midge::codec::subscribe::SubscriptionOptions;
use midge::session::link::Cause;

use crate::harness::{Client, Network, Q1, Q2, Received, V5, opts};

const TOO_LARGE: ReasonCode = ReasonCode::PacketTooLarge;

fn filters(count: usize) -> Vec<(&'static str, SubscriptionOptions)> {
    vec![("t", SubscriptionOptions::with_qos(Q1)); count]
}

/// [MQTT-3.1.2-24]
#[test]
fn a_suback_is_not_larger_than_the_client_takes() {
    let network = Network::new();
    let connect = opts("a", V5).with(|p| _ = p.maximum_packet_size(40));
    // Fixed header 2, identifier 2, property length 1, and the reason codes.
    assert_eq!(connect.on(&network).subscribe_all(&filters(35), 0).len(), 35);
    let mut client = connect.on(&network);
    client.send_subscribe(&filters(36), 0);
    client.expect_refused(TOO_LARGE);
}

/// [MQTT-3.1.2-24]
#[test]
fn an_unsuback_is_not_larger_than_the_client_takes() {
    let network = Network::new();
    let mut client = opts("a", V5).with(|p| _ = p.maximum_packet_size(40)).on(&network);
    assert_eq!(client.unsubscribe(&["t"; 35]).len(), 35);
    let mut packet = vec![0xA2, 0, 0, 9, 0];
    for _ in 0..36 {
        packet.extend([0, 1, b't']);
    }
    packet[1] = packet.len() as u8 - 2;
    client.send_bytes(&packet);
    client.expect_refused(TOO_LARGE);
}

/// [MQTT-3.1.2-24]
#[test]
fn a_connack_is_not_larger_than_the_client_takes() {
    let network = Network::new();
    let length = {
        let mut client = Client::open(&network, V5);
        client.send_bytes(&opts("a", V5).encode());
        client.line.take().len() as u32
    };
    opts("a", V5).with(|p| _ = p.maximum_packet_size(length)).on(&network).disconnect();
    for most in [5, length - 1] {
        let refusal = opts("a", V5).with(|p| _ = p.maximum_packet_size(most)).refused_by(&network);
        assert_eq!(refusal, (Some(TOO_LARGE), TOO_LARGE), "{most}");
    }
    for most in 1..5 {
        let refusal = opts("a", V5).with(|p| _ = p.maximum_packet_size(most)).refused_by(&network);
        assert_eq!(refusal, (None, TOO_LARGE), "{most}");
    }
    // An identifier that is given needs room, too.
    let refusal = opts("", V5).with(|p| _ = p.maximum_packet_size(length)).refused_by(&network);
    assert_eq!(refusal, (Some(TOO_LARGE), TOO_LARGE));
    assert_eq!(network.stats().sessions, 0);
}

/// [MQTT-3.1.2-24], [MQTT-3.1.2-25]
#[test]
fn no_packet_of_a_long_conversation_is_larger_than_the_client_takes() {
    let network = Network::new();
    network.publish("t/retained", &"x".repeat(60), 1, true);
    let mut client = opts("a", V5).with(|p| _ = p.maximum_packet_size(30)).on(&network);
    client.subscribe("t/#", Q2);
    for length in 0..60 {
        network.publish("t/a", &"x".repeat(length), (length % 3) as u8, false);
        client.send_publish("t/b", &"y".repeat(length), Q2, 1 + length as u16);
        client.send_ack(midge::codec::ack::AckKind::Pubrel, 1 + length as u16);
        client.send(&Packet::Pingreq);
    }
    let mut left = client.line.take();
    let mut count = 0;
    while let Some((_, length)) = Received::split_off(&left, V5) {
        assert!(length <= 30);
        left.drain(..length);
        count += 1;
    }
    assert!(left.is_empty() && count > 180, "{count}");
    assert_eq!(client.line.finished(), None::<Cause>);
}
