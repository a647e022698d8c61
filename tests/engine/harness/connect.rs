//! How a client connects.

use midge::codec::connect::{Connect, Will};
use midge::codec::packet::Packet;
use midge::codec::properties::{Properties, PropertyWriter};
use midge::codec::qos::QoS;
use midge::codec::reason::ReasonCode;
use midge::codec::topic::TopicName;
use midge::codec::version::Version;
use midge::session::link::Cause;

use crate::harness::{Client, Network, Received};

/// A CONNECT packet in the making.
#[derive(Clone, Debug)]
pub struct Opts {
    pub version: Version,
    id: String,
    clean: bool,
    keep_alive: u16,
    is_bridge: bool,
    username: Option<String>,
    password: Option<Vec<u8>>,
    will: Option<LastWill>,
    properties: Vec<u8>,
}

/// A Will in the making.
#[derive(Clone, Debug)]
pub struct LastWill {
    pub topic: String,
    pub payload: String,
    pub qos: QoS,
    pub retain: bool,
    properties: Vec<u8>,
}

/// A client of `version` with a clean start, no Keep Alive and a session that ends with its connection.
pub fn opts(id: &str, version: Version) -> Opts {
    Opts {
        version,
        id: id.to_owned(),
        clean: true,
        keep_alive: 0,
        is_bridge: false,
        username: None,
        password: None,
        will: None,
        properties: Vec::new(),
    }
}

impl Opts {
    /// No clean start.
    pub fn resume(mut self) -> Opts {
        self.clean = false;
        self
    }

    /// A session that never expires, resumed if it is there.
    pub fn persistent(self) -> Opts {
        self.resume().expiry(u32::MAX)
    }

    /// The Session Expiry Interval of MQTT 5; of no meaning before.
    pub fn expiry(self, seconds: u32) -> Opts {
        self.with(|p| _ = p.session_expiry_interval(seconds))
    }

    pub fn receive_maximum(self, count: u16) -> Opts {
        self.with(|p| _ = p.receive_maximum(count))
    }

    pub fn keep_alive(mut self, seconds: u16) -> Opts {
        self.keep_alive = seconds;
        self
    }

    /// A bridge of MQTT 3 that says so.
    pub fn bridge(mut self) -> Opts {
        self.is_bridge = true;
        self
    }

    pub fn username(mut self, name: &str) -> Opts {
        self.username = Some(name.to_owned());
        self
    }

    pub fn password(mut self, password: &[u8]) -> Opts {
        self.password = Some(password.to_vec());
        self
    }

    pub fn will(mut self, will: LastWill) -> Opts {
        self.will = Some(will);
        self
    }

    /// More properties.
    pub fn with(mut self, write: impl FnOnce(&mut PropertyWriter<'_>)) -> Opts {
        write(&mut PropertyWriter::new(&mut self.properties));
        self
    }

    /// The packet.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let will = self.will.as_ref().map(|will| Will {
            topic: TopicName::parse(&will.topic).unwrap(),
            payload: will.payload.as_bytes(),
            qos: will.qos,
            retain: will.retain,
            properties: Properties::from_encoded(&will.properties).unwrap(),
        });
        let connect = Connect {
            version: self.version,
            clean_start: self.clean,
            keep_alive: self.keep_alive,
            is_bridge: self.is_bridge,
            client_id: &self.id,
            will,
            username: self.username.as_deref(),
            password: self.password.as_deref(),
            properties: Properties::from_encoded(&self.properties).unwrap(),
        };
        Packet::Connect(connect).encode(self.version, &mut out);
        out
    }

    /// Connects, and expects to be accepted.
    pub fn on<'n>(&self, network: &'n Network) -> Client<'n> {
        self.join(network).0
    }

    /// Connects, and expects to be accepted, when the store has committed that; the flag is Session Present.
    pub fn join<'n>(&self, network: &'n Network) -> (Client<'n>, bool) {
        let mut client = self.begin(network);
        let mut first = client.next();
        if first.is_none() {
            network.commit();
            first = client.next();
        }
        match first {
            Some(Received::Connack { present, reason: ReasonCode::Success, properties }) => {
                client.greeting = properties;
                (client, present)
            }
            other => panic!("{}: expected to be accepted: {other:?}", self.id),
        }
    }

    /// Sends CONNECT, and expects nothing.
    pub fn begin<'n>(&self, network: &'n Network) -> Client<'n> {
        let mut client = Client::open(network, self.version);
        client.send_bytes(&self.encode());
        client
    }

    /// Connects, and expects to be refused: the reason in CONNACK, if there is one, and the cause.
    pub fn refused_by(&self, network: &Network) -> (Option<ReasonCode>, ReasonCode) {
        let mut client = Client::open(network, self.version);
        client.send_bytes(&self.encode());
        client.refusal()
    }
}

impl LastWill {
    /// QoS 0, not retained, without delay.
    pub fn new(topic: &str, payload: &str) -> LastWill {
        LastWill {
            topic: topic.to_owned(),
            payload: payload.to_owned(),
            qos: QoS::AtMostOnce,
            retain: false,
            properties: Vec::new(),
        }
    }

    pub fn qos(mut self, qos: QoS) -> LastWill {
        self.qos = qos;
        self
    }

    pub fn retained(mut self) -> LastWill {
        self.retain = true;
        self
    }

    pub fn delay(self, seconds: u32) -> LastWill {
        self.with(|p| _ = p.will_delay_interval(seconds))
    }

    pub fn with(mut self, write: impl FnOnce(&mut PropertyWriter<'_>)) -> LastWill {
        write(&mut PropertyWriter::new(&mut self.properties));
        self
    }
}

impl Client<'_> {
    /// Expects that the connection was refused: the reason in CONNACK, if there is one, and the cause.
    pub fn refusal(&mut self) -> (Option<ReasonCode>, ReasonCode) {
        let told = match self.next() {
            None => None,
            Some(Received::Connack { present: false, reason, .. }) => Some(reason),
            other => panic!("expected a refusal: {other:?}"),
        };
        self.expect_nothing();
        match self.line.finished() {
            Some(Cause::Refused(reason)) => (told, reason),
            other => panic!("expected a refusal: {other:?}"),
        }
    }
}
