//! What an idle connection takes of a broker over WebSocket, and at a port for several protocols.

use std::io::{Read, Write};
use std::net::TcpStream;

use midge::codec::version::Version;
use midge::config::Config;
use midge::embed::Broker;

use crate::{alone, check, counting, packets};

const COUNT: usize = 300;
const REQUEST: &[u8] =
    b"GET /mqtt HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Protocol: mqtt\r\n\r\n";

/// Clients that have connected and been silent since.
fn connected(broker: &Broker, is_framed: bool, count: usize) -> Vec<TcpStream> {
    let mut streams = Vec::with_capacity(COUNT);
    for number in 0..count {
        let mut packet = Vec::new();
        packets::connect(Version::V311, &format!("device-{number:06}"), &mut packet);
        // The answer to it says that the broker waits for input again.
        packet.extend([0xc0, 0]);
        let mut stream = TcpStream::connect(broker.address("door").unwrap()).unwrap();
        if is_framed {
            stream.write_all(REQUEST).unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                stream.read_exact(&mut byte).unwrap();
                head.extend(byte);
            }
            packet.splice(0..0, [0x82, 0x80 | packet.len() as u8, 0, 0, 0, 0]);
        }
        stream.write_all(&packet).unwrap();
        // The answers have six bytes, and two for each frame around them.
        let mut answers = Vec::new();
        while !answers.ends_with(&[0xd0, 0]) {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            answers.extend(byte);
        }
        streams.push(stream);
    }
    streams
}

#[test]
fn an_idle_connection_of_websocket_holds_no_buffers() {
    let _alone = alone();
    for (transport, is_framed, name) in [
        ("ws", true, "connection_ws"),
        ("auto", false, "connection_auto"),
        ("auto", true, "connection_auto_ws"),
    ] {
        let mut config = Config::new();
        for (setting, value) in [
            ("listener.tcp.bind", "off"),
            ("listener.door.bind", "127.0.0.1:0"),
            ("listener.door.transport", transport),
            ("sys.interval", "0"),
        ] {
            config.set(setting, value).unwrap();
        }
        let broker = Broker::start(&config).unwrap();
        // Tables have grown.
        let first = connected(&broker, is_framed, 100);
        let before = counting::in_use();
        let streams = connected(&broker, is_framed, COUNT);
        check(name, (counting::in_use() - before) / COUNT as isize);
        drop((first, streams));
    }
}
