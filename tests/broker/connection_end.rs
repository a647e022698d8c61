//! What a client still gets when its connection ends.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};

use midge::config::Config;
use midge::embed::Broker;

const CONNECT: &[u8] = b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x3c\x00\x01a";
const PUBLISH: &[u8] = b"\x32\x06\x00\x01t\x00\x07x";
const SUBSCRIBE: &[u8] = b"\x82\x06\x00\x09\x00\x01u\x01";
const DISCONNECT: &[u8] = b"\xe0\x00";
/// CONNACK, PUBACK and SUBACK.
const ANSWERS: &[u8] = b"\x20\x02\x00\x00\x40\x02\x00\x07\x90\x03\x00\x09\x01";

fn connect() -> (Broker, TcpStream) {
    let mut config = Config::new();
    config.set("listener.tcp.bind", "127.0.0.1:0").unwrap();
    let broker = Broker::start(&config).unwrap();
    let stream = TcpStream::connect(broker.address("tcp").unwrap()).unwrap();
    (broker, stream)
}

#[test]
fn mqtt_3_1_4_5_packets_before_disconnect_are_answered_when_all_come_together() {
    let (_broker, mut client) = connect();
    client.write_all(&[CONNECT, PUBLISH, SUBSCRIBE, DISCONNECT].concat()).unwrap();
    let mut answers = Vec::new();
    client.read_to_end(&mut answers).unwrap();
    assert_eq!(answers, ANSWERS);
}

#[test]
fn a_client_that_shuts_its_side_is_answered() {
    let (_broker, mut client) = connect();
    client.write_all(&[CONNECT, PUBLISH, SUBSCRIBE].concat()).unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    let mut answers = Vec::new();
    client.read_to_end(&mut answers).unwrap();
    assert_eq!(answers, ANSWERS);
}
