//! One port for plain MQTT, TLS, WebSocket, and WebSocket over TLS.

use std::io::{Read, Write};
use std::net::TcpStream;

use midge::embed::Level;

use crate::world::{PATIENCE, World, address, expect, line_with, logged};

const CONNECT: &[u8] = b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x00\x00\x01a";
const CONNACK: &[u8] = &[0x20, 2, 0, 0];

/// Upgrades to WebSocket and connects; each frame has a mask of zeros.
fn over_websocket(stream: &mut (impl Read + Write)) {
    let request = "GET /mqtt HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\
        Sec-WebSocket-Protocol: mqtt\r\n\r\n";
    stream.write_all(request.as_bytes()).unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        head.extend(byte);
    }
    assert!(head.starts_with(b"HTTP/1.1 101 "), "{}", String::from_utf8_lossy(&head));
    stream.write_all(&[&[0x82, 0x80 | CONNECT.len() as u8, 0, 0, 0, 0], CONNECT].concat()).unwrap();
    let mut answer = [0; 6];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(answer[2..], *CONNACK);
}

#[test]
fn one_port_takes_mqtt_tls_websocket_and_both() {
    let world = World::new();
    let mut config = world.config();
    config.set("listener.tls.transport", "auto").unwrap();
    let (broker, lines) = logged(&config, Level::Warn);
    let plain = || {
        let stream = TcpStream::connect(address(&broker)).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    };
    let mut client = plain();
    client.write_all(CONNECT).unwrap();
    let mut answer = [0; 4];
    client.read_exact(&mut answer).unwrap();
    assert_eq!(answer, CONNACK);
    let mut client = world.open(address(&broker), None);
    client.write_all(CONNECT).unwrap();
    expect(&mut client, CONNACK);
    assert!(broker.clients()[0].tls.is_some(), "what TLS has shown is known");
    over_websocket(&mut plain());
    over_websocket(&mut world.open(address(&broker), None));
    let mut stranger = plain();
    stranger.write_all(b"\xff\xff").unwrap();
    assert_eq!(stranger.read(&mut answer).unwrap_or(0), 0, "it is closed");
    line_with(&lines, "client speaks no protocol of this port");
}
