//! A small blocking MQTT client on a real socket, and a broker on a free port.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use midge::codec::connect::{Connect, Will};
use midge::codec::frame::{Framing, split};
use midge::codec::packet::{Packet, decode};
use midge::codec::packet_id::PacketId;
use midge::codec::properties::Properties;
use midge::codec::publish::Publish;
use midge::codec::qos::QoS;
use midge::codec::reason::ReasonCode;
use midge::codec::subscribe::{Subscribe, SubscriptionOptions, SubscriptionRequest};
use midge::codec::topic::TopicName;
use midge::codec::version::Version;
use midge::config::Config;
use midge::embed::Broker;

/// How long a test waits for what must come.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Settings with one listener on a port of the system's choice.
pub fn config() -> Config {
    let mut config = Config::new();
    config.set("listener.tcp.bind", "127.0.0.1:0").unwrap();
    config
}

/// A broker on a free port.
pub fn broker() -> Broker {
    Broker::start(&config()).unwrap()
}

/// The numbers of worker threads between which a broker differs.
pub const WORKERS: [&str; 2] = ["1", "2"];

/// A broker on a free port with so many worker threads.
pub fn broker_with_workers(workers: &str) -> Broker {
    let mut config = config();
    config.set("runtime.worker_threads", workers).unwrap();
    Broker::start(&config).unwrap()
}

/// The address of the broker's listener.
pub fn address(broker: &Broker) -> SocketAddr {
    broker.address("tcp").unwrap()
}

/// A client's connection.
pub struct Client {
    pub stream: TcpStream,
    pub version: Version,
    received: Vec<u8>,
    /// Bytes of `received` that were taken.
    taken: usize,
}

/// A received message.
#[derive(Debug, PartialEq, Eq)]
pub struct Received {
    pub topic: String,
    pub payload: Vec<u8>,
    pub qos: QoS,
    pub retain: bool,
    pub packet_id: Option<PacketId>,
}

impl Client {
    /// A connection on which nothing was sent.
    pub fn raw(address: SocketAddr) -> Client {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        Client::of(stream)
    }

    /// A client that has not sent CONNECT, over a stream.
    pub fn over_raw(stream: TcpStream) -> Client {
        Client::of(stream)
    }

    fn of(stream: TcpStream) -> Client {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        Client { stream, version: Version::V311, received: Vec::new(), taken: 0 }
    }

    /// A client with a clean session, accepted.
    pub fn connect(address: SocketAddr, client_id: &str, version: Version) -> Client {
        Client::raw(address).opened(client_id, version)
    }

    /// A client with a clean session on a connected socket, accepted.
    pub fn over(stream: TcpStream, client_id: &str, version: Version) -> Client {
        Client::of(stream).opened(client_id, version)
    }

    fn opened(mut self, client_id: &str, version: Version) -> Client {
        self.version = version;
        self.send_connect(client_id, 0);
        self.expect("CONNACK", |packet| match packet {
            Packet::Connack(connack) => {
                assert!(!connack.reason.is_error(), "{connack:?}");
                Some(())
            }
            _ => None,
        });
        self
    }

    /// A client of MQTT 3.1.1 whose session is kept; whether it was there.
    pub fn resume(address: SocketAddr, client_id: &str) -> (Client, bool) {
        let mut client = Client::raw(address);
        client.version = Version::V311;
        let connect = Connect { clean_start: false, ..client.connect_packet(client_id, 0, None) };
        client.send(|_, out| connect.encode(out));
        let present = client.expect("CONNACK", |packet| match packet {
            Packet::Connack(connack) => {
                assert!(!connack.reason.is_error(), "{connack:?}");
                Some(connack.session_present)
            }
            _ => None,
        });
        (client, present)
    }

    /// A connection on which CONNECT was sent, with a user name.
    pub fn asking(address: SocketAddr, client_id: &str, username: &str, version: Version) -> Client {
        Client::with_credentials(address, client_id, Some(username), None, version)
    }

    /// A connection on which CONNECT was sent, with what the client calls itself.
    pub fn with_credentials(
        address: SocketAddr,
        client_id: &str,
        username: Option<&str>,
        password: Option<&[u8]>,
        version: Version,
    ) -> Client {
        let mut client = Client::raw(address);
        client.version = version;
        let connect = Connect { username, password, ..client.connect_packet(client_id, 0, None) };
        let mut bytes = Vec::new();
        connect.encode(&mut bytes);
        client.stream.write_all(&bytes).unwrap();
        client
    }

    /// The reason code of CONNACK.
    pub fn connack(&mut self) -> ReasonCode {
        self.expect("CONNACK", |packet| match packet {
            Packet::Connack(connack) => Some(connack.reason),
            _ => None,
        })
    }

    pub fn send_connect(&mut self, client_id: &str, keep_alive: u16) {
        self.send_connect_packet(client_id, keep_alive, None);
    }

    /// CONNECT without Keep Alive and with an empty will on `topic`.
    pub fn send_connect_with_will(&mut self, client_id: &str, topic: &str) {
        let topic = TopicName::parse(topic).unwrap();
        let properties = Properties::EMPTY;
        let will = Will { topic, payload: b"", qos: QoS::AtMostOnce, retain: false, properties };
        self.send_connect_packet(client_id, 0, Some(will));
    }

    /// Appends CONNECT without Keep Alive.
    pub fn encode_connect(&self, client_id: &str, out: &mut Vec<u8>) {
        self.connect_packet(client_id, 0, None).encode(out);
    }

    /// Appends SUBSCRIBE.
    pub fn encode_subscribe(&self, filter: &str, qos: QoS, out: &mut Vec<u8>) {
        let mut filters = Vec::new();
        SubscriptionRequest { filter, options: SubscriptionOptions::with_qos(qos) }.encode(&mut filters);
        let packet = Subscribe::from_encoded(PacketId::MIN, Properties::EMPTY, &filters).unwrap();
        packet.encode(self.version, out);
    }

    /// Sends bytes, if the connection still takes them.
    pub fn try_send(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.stream.write_all(bytes)
    }

    fn send_connect_packet(&mut self, client_id: &str, keep_alive: u16, will: Option<Will<'_>>) {
        let connect = self.connect_packet(client_id, keep_alive, will);
        self.send(|_, out| connect.encode(out));
    }

    fn connect_packet<'c>(&self, client_id: &'c str, keep_alive: u16, will: Option<Will<'c>>) -> Connect<'c> {
        Connect {
            version: self.version,
            clean_start: true,
            keep_alive,
            is_bridge: false,
            client_id,
            will,
            username: None,
            password: None,
            properties: Properties::EMPTY,
        }
    }

    pub fn send(&mut self, encode: impl FnOnce(Version, &mut Vec<u8>)) {
        let mut bytes = Vec::new();
        encode(self.version, &mut bytes);
        self.stream.write_all(&bytes).unwrap();
    }

    pub fn subscribe(&mut self, filter: &str, qos: QoS) {
        let mut packet = Vec::new();
        self.encode_subscribe(filter, qos, &mut packet);
        self.send(|_, out| out.extend_from_slice(&packet));
        self.expect("SUBACK", |packet| match packet {
            Packet::Suback(suback) => {
                assert!(suback.reasons.iter().all(|r| *r < 0x80));
                Some(())
            }
            _ => None,
        });
    }

    pub fn publish(&mut self, topic: &str, payload: &[u8], qos: QoS) {
        let packet_id = (qos != QoS::AtMostOnce).then_some(PacketId::MIN);
        let publish = Publish {
            dup: false,
            qos,
            retain: false,
            topic,
            packet_id,
            properties: Properties::EMPTY,
            payload,
        };
        self.send(|version, out| publish.encode(version, out));
    }

    /// The next message; other packets before it are passed over.
    pub fn message(&mut self) -> Received {
        self.expect("PUBLISH", |packet| match packet {
            Packet::Publish(publish) => Some(Received {
                topic: publish.topic.to_owned(),
                payload: publish.payload.to_vec(),
                qos: publish.qos,
                retain: publish.retain,
                packet_id: publish.packet_id,
            }),
            _ => None,
        })
    }

    /// The first packet that `pick` takes.
    pub fn expect<T>(&mut self, what: &str, mut pick: impl FnMut(&Packet<'_>) -> Option<T>) -> T {
        loop {
            if let Framing::Complete(frame) = split(&self.received[self.taken..], u32::MAX).unwrap() {
                let len = frame.whole.len();
                let picked = pick(&decode(frame, self.version).unwrap());
                self.taken += len;
                if let Some(picked) = picked {
                    return picked;
                }
                continue;
            }
            let count = self.fill().unwrap_or_else(|error| panic!("waiting for {what}: {error}"));
            assert!(count > 0, "the broker closed the connection; waiting for {what}");
        }
    }

    /// Everything until the broker closes or resets the connection; fails if it stays open.
    pub fn until_closed(&mut self) -> Vec<u8> {
        loop {
            match self.fill() {
                Ok(0) => break,
                Ok(_) => {}
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    panic!("the connection is still open after {PATIENCE:?}")
                }
                Err(_) => break,
            }
        }
        self.received.split_off(std::mem::take(&mut self.taken))
    }

    /// Whether the broker answers at all before it closes the connection.
    pub fn until_first_byte(&mut self) -> bool {
        self.fill().is_ok_and(|count| count > 0)
    }

    fn fill(&mut self) -> std::io::Result<usize> {
        self.received.drain(..std::mem::take(&mut self.taken));
        let mut buffer = [0; 64 * 1024];
        let count = self.stream.read(&mut buffer)?;
        self.received.extend_from_slice(&buffer[..count]);
        Ok(count)
    }
}
