//! Handshakes that succeed, fail, stop, or come in a flood.

use std::io::{Read, Write};
use std::net::TcpStream;

use midge::embed::{Broker, Hooks, Level, PublishOptions, Verdict};

use crate::certificates::Authority;
use crate::deadline::until;
use crate::world::{PATIENCE, World, address, expect, greet, line_with, logged, open, ping};

#[test]
fn mqtt_goes_over_tls_both_ways() {
    let world = World::new();
    for workers in ["1", "2"] {
        let mut config = world.config();
        config.set("runtime.worker_threads", workers).unwrap();
        let broker = Broker::start(&config).unwrap();
        let mut client = world.connect(address(&broker), "a", None);
        client.write_all(b"\x82\x06\x00\x01\x00\x01t\x00").unwrap();
        expect(&mut client, &[0x90, 3, 0, 1, 0]);
        let payload = vec![b'x'; 300_000];
        broker.publish("t", payload.as_slice(), &PublishOptions::default()).unwrap();
        let mut received = vec![0; 1 + 3 + 3 + payload.len()];
        client.read_exact(&mut received).unwrap();
        assert_eq!(received[7..], payload);
        // And back: a large message to itself.
        received[4..7].copy_from_slice(b"\x00\x01t");
        client.write_all(&received).unwrap();
        let mut again = vec![0; received.len()];
        client.read_exact(&mut again).unwrap();
        assert!(again == received);
        client.write_all(&[0xe0, 0]).unwrap();
        let mut rest = Vec::new();
        client.read_to_end(&mut rest).expect("close_notify before the end");
        assert!(rest.is_empty());
    }
}

#[test]
fn authorities_and_views_see_the_certificate() {
    let world = World::new();
    let own = world.authority.client("device-1");
    let (told, seen) = std::sync::mpsc::channel();
    let hooks = Hooks::new().authenticate(move |request| {
        let tls = request.tls.unwrap();
        told.send((tls.version, tls.certificate.clone().unwrap())).unwrap();
        Verdict::Allow
    });
    let broker = Broker::start_with(&world.strict(), &hooks).unwrap();
    let mut client = world.connect(address(&broker), "a", Some(&own));
    let (version, certificate) = seen.recv_timeout(PATIENCE).unwrap();
    assert_eq!((version, &*certificate.subject), ("TLS 1.3", "CN=device-1"));
    let views = broker.clients();
    let tls = views[0].tls.as_ref().unwrap();
    assert_eq!(tls.server_name.as_deref(), Some("localhost"));
    assert_eq!(tls.certificate.as_ref(), Some(&certificate));
    ping(&mut client);
}

#[test]
fn plain_mqtt_at_a_port_for_tls_is_named_in_the_log() {
    let world = World::new();
    let (broker, lines) = logged(&world.config(), Level::Warn);
    let mut client = TcpStream::connect(address(&broker)).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    client.write_all(b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x00\x00\x01a").unwrap();
    let mut answer = Vec::new();
    let _reset = client.read_to_end(&mut answer);
    assert!(answer.is_empty());
    line_with(&lines, "is closed during its handshake: tls: client speaks no TLS: first bytes are MQTT");
    assert_eq!(broker.stats().connections_refused, 1);
    ping(&mut world.connect(address(&broker), "a", None));
}

#[test]
fn a_client_that_stops_in_the_middle_is_closed_at_the_deadline() {
    let world = World::new();
    let mut config = world.config();
    config.set("mqtt.connect_timeout", "300ms").unwrap();
    let (broker, lines) = logged(&config, Level::Warn);
    let mut silent = TcpStream::connect(address(&broker)).unwrap();
    silent.set_read_timeout(Some(PATIENCE)).unwrap();
    silent.write_all(b"\x16\x03\x01\x02\x00\x01\x00").unwrap();
    assert_eq!(silent.read(&mut [0; 10]).unwrap(), 0);
    line_with(&lines, "its handshake was not complete in time (mqtt.connect_timeout)");
    assert_eq!(broker.stats().connections_refused, 1);
}

/// The client reads the alert, although it has sent more than the broker has read.
#[test]
fn a_refused_client_is_told_why() {
    let world = World::new();
    let (broker, lines) = logged(&world.strict(), Level::Warn);
    let stranger = Authority::new("Another CA").client("stranger");
    for (own, alert, cause) in [
        (None, "CertificateRequired", "tls: the client has sent no certificate (client_certificate)"),
        (
            Some(&stranger),
            "UnknownCA",
            "tls: client certificate of an unknown certificate authority (client_ca)",
        ),
    ] {
        let mut client = world.open(address(&broker), own);
        // With TLS 1.3 the client may send before it knows.
        client.write_all(&[b'x'; 5000]).unwrap();
        let error = client.read(&mut [0; 10]).unwrap_err().to_string();
        assert!(error.contains(alert), "{error}");
        line_with(&lines, cause);
    }
}

/// Two certificates of one listener: the name decides, and the first one is for all others.
#[test]
fn the_server_name_chooses_the_certificate() {
    let world = World::new();
    let other = world.authority.server(&["other.example", "*.wild.example"]);
    world.folder.issued("other", &other);
    let mut config = world.config();
    let list = |kind: &str| {
        format!("{}, {}", world.text(&format!("server.{kind}")), world.text(&format!("other.{kind}")))
    };
    config.set("listener.tls.certificate", &list("pem")).unwrap();
    config.set("listener.tls.key", &list("key")).unwrap();
    let broker = Broker::start(&config).unwrap();
    for name in ["localhost", "other.example", "a.wild.example"] {
        let mut client = open(address(&broker), name, world.client_config(None));
        greet(&mut client, name);
        let is_other = crate::world::shown(&client) == crate::world::der(&other);
        assert_eq!(is_other, name != "localhost", "{name}");
    }
    let mut stranger = open(address(&broker), "unknown.example", world.client_config(None));
    let error = stranger.write_all(b"x").and_then(|()| stranger.flush()).unwrap_err().to_string();
    assert!(error.contains("NotValidForName") || error.contains("not valid for name"), "{error}");
}

/// Clients come back without a full handshake; a client without a certificate cannot resume another's session.
#[test]
fn sessions_are_resumed() {
    let world = World::new();
    let broker = Broker::start(&world.config()).unwrap();
    let config = world.client_config(None);
    for (round, resumed) in [false, true, true].into_iter().enumerate() {
        let mut client = open(address(&broker), "localhost", config.clone());
        greet(&mut client, "a");
        // The ticket has come.
        ping(&mut client);
        let tls = broker.clients()[0].tls.clone().unwrap();
        assert_eq!(tls.resumed, resumed, "round {round}");
        drop(client);
        until("it is gone", || broker.clients().is_empty());
    }
}

/// Many handshakes at once are all answered.
#[test]
fn a_flood_of_handshakes_is_answered() {
    let world = World::new();
    let broker = Broker::start(&world.config()).unwrap();
    let mut quiet = world.connect(address(&broker), "quiet", None);
    let mut clients: Vec<_> = (0..100).map(|_| world.open(address(&broker), None)).collect();
    for client in &mut clients {
        // The hello of all, before anybody reads.
        client.conn.write_tls(&mut client.sock).unwrap();
    }
    ping(&mut quiet);
    for (number, client) in clients.iter_mut().enumerate() {
        greet(client, &format!("c{number}"));
    }
    assert_eq!(broker.stats().clients_connected, 101);
}
