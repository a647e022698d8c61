//! Keep Alive.

use midge::codec::packet::Packet;
use midge::codec::reason::ReasonCode;
use midge::session::link::Cause;

use crate::harness::{ALL, Client, Network, Q0, Received, V5, V31, V311, opts};

/// [MQTT-3.1.2-22], [MQTT-3.2.2-22], [MQTT3-3.1.2-24]
#[test]
fn a_client_that_is_silent_for_one_and_a_half_times_its_keep_alive_is_closed() {
    for version in ALL {
        let network = Network::new();
        let mut client = opts("a", version).keep_alive(10).on(&network);
        network.advance_millis(14_900);
        assert_eq!(client.line.finished(), None);
        network.advance_millis(200);
        if version == V5 {
            assert_eq!(client.next(), Some(Received::Disconnect(ReasonCode::KeepAliveTimeout)));
        }
        client.expect_nothing();
        assert_eq!(client.line.finished(), Some(Cause::KeepAliveTimeout));
        assert_eq!(network.stats().keep_alive_timeouts, 1);
        assert_eq!(network.stats().clients_connected, 0);
        client.hang_up();
        assert_eq!(network.stats().keep_alive_timeouts, 1);
    }
}

/// [MQTT-3.1.2-22]
#[test]
fn any_packet_is_a_sign_of_life() {
    for version in ALL {
        let network = Network::new();
        let mut client = opts("a", version).keep_alive(10).on(&network);
        for n in 0..50 {
            network.advance(14);
            match n % 2 {
                0 => _ = client.send(&Packet::Pingreq),
                _ => _ = client.publish("t", "", Q0),
            }
            client.line.take();
        }
        assert_eq!(client.line.finished(), None);
        network.advance(16);
        assert_eq!(client.line.finished(), Some(Cause::KeepAliveTimeout));
    }
}

/// [MQTT-3.1.2-22]: receiving is not a sign of life: it is the client that must send.
#[test]
fn what_the_client_receives_is_no_sign_of_life() {
    let network = Network::new();
    let mut client = opts("a", V311).keep_alive(10).on(&network);
    client.subscribe("t", Q0);
    for _ in 0..16 {
        network.publish("t", "x", 0, false);
        network.advance(1);
    }
    assert_eq!(client.line.finished(), Some(Cause::KeepAliveTimeout));
}

/// [MQTT-3.1.2-22]
#[test]
fn a_keep_alive_of_zero_is_none() {
    for version in ALL {
        let network = Network::new();
        let client = opts("a", version).on(&network);
        network.advance(365 * 24 * 3600);
        assert_eq!(client.line.finished(), None);
        assert_eq!(network.engine.timers_running(), 0);
    }
}

/// [MQTT-3.2.2-21], [MQTT-3.1.2-21]: only MQTT 5 can be told another Keep Alive.
#[test]
fn the_servers_keep_alive_rules_for_mqtt_5() {
    let network = Network::with(&[("mqtt.keep_alive_max", "20s")]);
    let asked = |version, seconds| opts("a", version).keep_alive(seconds).on(&network);
    let told = |client: &Client<'_>| client.told().server_keep_alive();
    assert_eq!(told(&asked(V5, 10)), None);
    assert_eq!(told(&asked(V5, 0)), Some(20));
    let client = asked(V5, 100);
    assert_eq!(told(&client), Some(20));
    network.advance(31);
    assert_eq!(client.line.finished(), Some(Cause::KeepAliveTimeout));
    let client = asked(V311, 100);
    network.advance(31);
    assert_eq!(client.line.finished(), None);
}

/// A client of MQTT 3 that asks for more than `mqtt.keep_alive_max` is let in, and may be silent for as long as it has said.
#[test]
fn older_clients_keep_their_own_keep_alive() {
    for version in [V31, V311] {
        let network = Network::with(&[("mqtt.keep_alive_max", "20s")]);
        let mut client = opts("a", version).keep_alive(100).on(&network);
        for _ in 0..3 {
            network.advance(100);
            client.send(&Packet::Pingreq);
        }
        assert_eq!(client.line.finished(), None);
        network.advance(151);
        assert_eq!(client.line.finished(), Some(Cause::KeepAliveTimeout));
    }
}

#[test]
fn a_silent_client_keeps_its_session() {
    for version in ALL {
        let network = Network::new();
        let mut client = opts("a", version).persistent().keep_alive(10).on(&network);
        client.subscribe("t", crate::harness::Q1);
        network.advance(16);
        network.publish("t", "x", 1, false);
        let mut client = opts("a", version).persistent().keep_alive(10).on(&network);
        assert_eq!(client.drain(), ["x"]);
        // The old connection's timer is not the new one's.
        network.advance(14);
        assert_eq!(client.line.finished(), None);
    }
}

/// A broker that was stopped, or that reads no more until the client has taken what waits for it, looks at what the client
/// has sent meanwhile before it calls it silent.
/// [MQTT-3.1.2-22]
#[test]
fn a_client_whose_bytes_are_not_read_is_not_silent() {
    for version in ALL {
        let network = Network::new();
        let mut client = opts("a", version).keep_alive(10).on(&network);
        client.line.set_unread(true);
        network.advance(100);
        assert_eq!(client.line.finished(), None);
        client.line.set_unread(false);
        client.send(&Packet::Pingreq);
        network.advance_millis(14_900);
        assert_eq!(client.line.finished(), None);
        network.advance_millis(200);
        assert_eq!(client.line.finished(), Some(Cause::KeepAliveTimeout));
        assert_eq!(network.stats().keep_alive_timeouts, 1);
    }
}

/// Bytes of a packet count as the packet does, whatever its size: a slow upload is no silence.
/// [MQTT-3.1.2-22]
#[test]
fn a_packet_that_comes_slowly_is_a_sign_of_life() {
    for size in [100, 40_000] {
        let network = Network::new();
        let mut client = opts("a", V311).keep_alive(10).on(&network);
        let packet = crate::harness::Packets::default().publish(V311, "t", &"x".repeat(size), Q0, 0).0;
        for part in packet.chunks(packet.len().div_ceil(5)) {
            network.advance(14);
            client.send_bytes(part);
            assert_eq!(client.line.finished(), None, "{size}");
        }
        assert_eq!(network.stats().publish_received, 1);
        network.advance(16);
        assert_eq!(client.line.finished(), Some(Cause::KeepAliveTimeout));
    }
}

/// CONNECT that has come by its deadline and was not read is read first; the connection does not get a third look.
#[test]
fn a_connection_whose_bytes_are_not_read_has_one_more_look() {
    let network = Network::new();
    let client = Client::open(&network, V5);
    client.line.set_unread(true);
    network.advance_millis(10_900);
    assert_eq!(client.line.finished(), None);
    network.advance_millis(200);
    assert_eq!(client.line.finished(), Some(Cause::ConnectTimeout));
    assert_eq!(network.stats().connections_refused, 1);
}
