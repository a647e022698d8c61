//! Packets do not care how the network cuts them.

use midge::codec::packet::Packet;

use crate::harness::{ALL, Client, Network, Packets, Q0, Q1, Received, V5, opts};

/// A whole conversation in bytes.
fn conversation(version: midge::codec::version::Version) -> Vec<u8> {
    let mut packets = Packets(opts("a", version).encode());
    // SUBSCRIBE 1 to `t` with QoS 1.
    let properties: &[u8] = if version == V5 { &[0] } else { &[] };
    packets.0.extend([0x82, 6 + properties.len() as u8, 0, 1]);
    packets.0.extend(properties);
    packets.0.extend([0, 1, b't', 1]);
    packets
        .publish(version, "t", "one", Q0, 0)
        .publish(version, "t", &"two".repeat(100), Q1, 2)
        .packet(version, &Packet::Pingreq)
        .publish(version, "u", "three", Q1, 3)
        .0
}

fn answers(client: &mut Client<'_>) -> Vec<Received> {
    std::iter::from_fn(|| client.next()).collect()
}

#[test]
fn many_packets_in_one_segment_or_byte_by_byte_mean_the_same() {
    for version in ALL {
        let bytes = conversation(version);
        let expected = {
            let network = Network::new();
            let mut client = Client::open(&network, version);
            assert!(client.send_bytes(&bytes));
            answers(&mut client)
        };
        assert_eq!(expected.len(), 7, "{expected:?}");
        for step in [1, 2, 3, 5, 50] {
            let network = Network::new();
            let mut client = Client::open(&network, version);
            for piece in bytes.chunks(step) {
                assert!(client.send_bytes(piece));
            }
            assert_eq!(answers(&mut client), expected, "{version} in pieces of {step}");
            assert_eq!(network.stats().packets_received, 6);
        }
    }
}

#[test]
fn an_unfinished_packet_tells_how_much_it_needs() {
    let network = Network::new();
    let Client { mut connection, .. } = opts("a", V5).on(&network);
    let mut input = vec![0xC0, 0, 0x30, 0x90, 1, 0, 1];
    let progress = connection.receive(&network.engine, &mut network.turn(), &input, None);
    assert_eq!((progress.consumed, progress.need, progress.open), (2, 147, true));
    input.truncate(4);
    let progress = connection.receive(&network.engine, &mut network.turn(), &input[2..], None);
    assert_eq!((progress.consumed, progress.need, progress.open), (0, 3, true));
}

#[test]
fn a_bad_packet_ends_the_connection_after_what_came_before_it() {
    for version in ALL {
        let network = Network::new();
        let mut hearer = opts("to", V5).on(&network);
        hearer.subscribe("t", Q0);
        let mut client = opts("a", version).on(&network);
        let mut packets = Packets::default().publish(version, "t", "before", Q0, 0);
        packets.0.extend([0x36, 3, 0, 1, b't']); // QoS 3 [MQTT-3.3.1-4]
        let packets = packets.publish(version, "t", "after", Q0, 0);
        assert!(!client.send_bytes(&packets.0));
        client.expect_refused(midge::codec::reason::ReasonCode::MalformedPacket);
        assert_eq!(hearer.drain(), ["before"]);
        assert_eq!(network.stats().protocol_errors, 1);
    }
}

/// A payload that arrives in a buffer of its own is shared, not copied, and means the same.
#[test]
fn a_received_buffer_may_be_shared() {
    for version in ALL {
        let network = Network::new();
        let mut hearer = opts("to", version).persistent().on(&network);
        hearer.subscribe("t", Q1);
        let mut client = opts("from", version).on(&network);
        for size in [10, 10_000] {
            let payload = "x".repeat(size);
            let packets = Packets::default().publish(version, "t", &payload, Q1, 1);
            let owner = bytes::Bytes::from(packets.0);
            let progress =
                client.connection.receive(&network.engine, &mut network.turn(), &owner, Some(&owner));
            assert_eq!(progress.consumed, owner.len());
            let message = hearer.expect_message("t", &payload);
            hearer.hang_up();
            hearer = opts("to", version).persistent().on(&network);
            let again = hearer.expect_message("t", &payload);
            assert_eq!((again.dup, again.id), (true, message.id));
            hearer.acknowledge(&again);
        }
    }
}
