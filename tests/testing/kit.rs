//! A broker in test mode, and clients with more to say than those of the other tests.

use std::time::Duration;

use midge::codec::connect::{Connect, Will};
use midge::codec::packet::Packet;
use midge::codec::packet_id::PacketId;
use midge::codec::ping;
use midge::codec::properties::{Properties, PropertyWriter};
use midge::codec::publish::Publish;
use midge::codec::qos::QoS;
use midge::codec::reason::ReasonCode;
use midge::codec::topic::TopicName;
use midge::codec::version::Version;
use midge::config::Config;
use midge::testing::TestBroker;

use crate::client::Client;

/// How long a test waits for what must come.
pub const PATIENCE: Duration = Duration::from_secs(20);

pub const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

pub const fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

pub fn start() -> TestBroker {
    TestBroker::start(&Config::new()).unwrap()
}

pub fn start_with(settings: &[(&str, &str)]) -> TestBroker {
    let mut config = Config::new();
    for (key, value) in settings {
        config.set(key, value).unwrap();
    }
    TestBroker::start(&config).unwrap()
}

/// What a client says of itself in CONNECT.
#[derive(Clone, Copy)]
pub struct Guest<'g> {
    pub client_id: &'g str,
    pub username: Option<&'g str>,
    pub version: Version,
    pub clean_start: bool,
    pub keep_alive: u16,
    /// In seconds; MQTT 5.
    pub session_expiry: u32,
    /// MQTT 5.
    pub receive_maximum: Option<u16>,
    /// Topic and delay in seconds.
    pub will: Option<(&'g str, u32)>,
}

impl<'g> Guest<'g> {
    pub fn named(client_id: &'g str) -> Guest<'g> {
        Guest {
            client_id,
            username: None,
            version: Version::V5,
            clean_start: true,
            keep_alive: 0,
            session_expiry: 0,
            receive_maximum: None,
            will: None,
        }
    }

    /// Sends CONNECT and waits for CONNACK; whether the session was there.
    pub fn try_connect(self, broker: &TestBroker) -> (Client, Result<bool, ReasonCode>) {
        let mut client = Client::raw(broker.address("tcp").unwrap());
        client.version = self.version;
        let (mut properties, mut of_will) = (Vec::new(), Vec::new());
        if self.session_expiry > 0 {
            PropertyWriter::new(&mut properties).session_expiry_interval(self.session_expiry);
        }
        if let Some(most) = self.receive_maximum {
            PropertyWriter::new(&mut properties).receive_maximum(most);
        }
        let will = self.will.map(|(topic, delay)| {
            PropertyWriter::new(&mut of_will).will_delay_interval(delay);
            Will {
                topic: TopicName::parse(topic).unwrap(),
                payload: b"gone",
                qos: QoS::AtLeastOnce,
                retain: false,
                properties: Properties::from_encoded(&of_will).unwrap(),
            }
        });
        let connect = Connect {
            version: self.version,
            clean_start: self.clean_start,
            keep_alive: self.keep_alive,
            is_bridge: false,
            client_id: self.client_id,
            will,
            username: self.username,
            password: None,
            properties: Properties::from_encoded(&properties).unwrap(),
        };
        client.send(|_, out| connect.encode(out));
        let answer = client.expect("CONNACK", |packet| match packet {
            Packet::Connack(connack) if connack.reason.is_error() => Some(Err(connack.reason)),
            Packet::Connack(connack) => Some(Ok(connack.session_present)),
            _ => None,
        });
        (client, answer)
    }

    pub fn connect(self, broker: &TestBroker) -> Client {
        let (client, answer) = self.try_connect(broker);
        answer.unwrap();
        client
    }
}

/// A client without Keep Alive, whose session ends with its connection.
pub fn connect(broker: &TestBroker, client_id: &str) -> Client {
    Guest::named(client_id).connect(broker)
}

pub fn id(number: u16) -> PacketId {
    PacketId::new(number).unwrap()
}

/// Sends a QoS 1 or 2 message.
pub fn publish(client: &mut Client, topic: &str, payload: &[u8], qos: QoS, number: u16, dup: bool) {
    let packet_id = Some(id(number));
    let properties = Properties::EMPTY;
    let publish = Publish { dup, qos, retain: false, topic, packet_id, properties, payload };
    client.send(|version, out| publish.encode(version, out));
}

/// A PINGREQ and its answer: everything before it is handled, on both sides.
pub fn ping(client: &mut Client) {
    client.send(|_, out| ping::encode_pingreq(out));
    client.expect("PINGRESP", |packet| matches!(packet, Packet::Pingresp).then_some(()));
}

/// The next acknowledgement of a message, by its name.
pub fn acknowledged(client: &mut Client) -> (&'static str, PacketId) {
    client.expect("an acknowledgement", |packet| match packet {
        Packet::Puback(ack) => Some(("PUBACK", ack.packet_id)),
        Packet::Pubrec(ack) => Some(("PUBREC", ack.packet_id)),
        Packet::Pubrel(ack) => Some(("PUBREL", ack.packet_id)),
        Packet::Pubcomp(ack) => Some(("PUBCOMP", ack.packet_id)),
        _ => None,
    })
}
