//! A broker's `$SYS` topics, read as an MQTT client.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

use midge::codec::connect::Connect;
use midge::codec::frame::{Framing, split};
use midge::codec::packet::{Packet, decode};
use midge::codec::packet_id::PacketId;
use midge::codec::properties::Properties;
use midge::codec::reason::ReasonCode;
use midge::codec::subscribe::{Subscribe, SubscriptionOptions, SubscriptionRequest};
use midge::codec::version::Version;

use crate::failure::{Failure, NO_ANSWER, NOT_RUNNING};

/// The version that every broker supports.
const VERSION: Version = Version::V311;
/// The prefix of the topics.
const ROOT: &str = "$SYS/broker/";
/// The longest packet that is read, in bytes; those of `$SYS` are short.
const LONGEST: u32 = 64 * 1024;
/// The first byte of a CONNACK.
const CONNACK: u8 = 0x20;

/// The topics of a broker without `$SYS/broker/`, and their payloads.
pub(crate) type Topics = BTreeMap<String, String>;

/// Reads the topics of the broker at `address` within `timeout`. The result has at least one topic.
pub(crate) fn ask(address: &str, timeout: Duration) -> Result<Topics, Failure> {
    let deadline = Instant::now() + timeout;
    let stream = dial(address, deadline)?;
    let mut conversation = QueryConnection { address, stream, deadline, input: Vec::new() };
    conversation.connect()?;
    let topics = conversation.read_topics()?;
    conversation.leave();
    if topics.is_empty() {
        let sentence = format!("an MQTT broker is running at {address}, but publishes nothing below {ROOT}");
        return Err(Failure::new(NO_ANSWER, sentence));
    }
    Ok(topics)
}

/// A connection to a program that may be a broker.
struct QueryConnection<'a> {
    address: &'a str,
    stream: TcpStream,
    deadline: Instant,
    /// Bytes that are read but not yet decoded.
    input: Vec<u8>,
}

/// The content of a received packet, as far as the query needs it.
enum Received {
    Connected(ReasonCode),
    Subscribed { granted: bool },
    Topic { name: String, value: String },
    Pong,
    Other,
}

impl QueryConnection<'_> {
    fn connect(&mut self) -> Result<(), Failure> {
        let client_id = format!("midge-status-{}", std::process::id());
        self.send(&Packet::Connect(Connect {
            version: VERSION,
            clean_start: true,
            keep_alive: 60,
            is_bridge: false,
            client_id: &client_id,
            will: None,
            username: None,
            password: None,
            properties: Properties::EMPTY,
        }))?;
        // Anything but a CONNACK may announce a length that never arrives.
        while self.input.is_empty() {
            self.read()?;
        }
        if self.input.first() != Some(&CONNACK) {
            return Err(self.no_broker("its answer to CONNECT is not a CONNACK"));
        }
        match self.receive()? {
            Received::Connected(ReasonCode::Success) => Ok(()),
            Received::Connected(reason) => {
                let (address, reason) = (self.address, reason.name());
                let sentence =
                    format!("an MQTT broker is running at {address}, but refuses the connection: {reason}");
                Err(Failure::new(NO_ANSWER, sentence))
            }
            _ => Err(self.no_broker("its answer to CONNECT is not a CONNACK")),
        }
    }

    /// Retained messages may arrive before or after the SUBACK, but before the answer to a ping that follows it.
    fn read_topics(&mut self) -> Result<Topics, Failure> {
        self.send(&Packet::Subscribe(subscribe(&requests())?))?;
        let mut topics = Topics::new();
        loop {
            match self.receive()? {
                Received::Topic { name, value } => {
                    topics.insert(name, value);
                }
                Received::Subscribed { granted: true } => self.send(&Packet::Pingreq)?,
                Received::Subscribed { granted: false } | Received::Pong => return Ok(topics),
                Received::Connected(_) | Received::Other => {}
            }
        }
    }

    /// Disconnects. The query is complete, so a failure does not matter.
    fn leave(&mut self) {
        const DISCONNECT: [u8; 2] = [0xE0, 0];
        let _sent = self.stream.write_all(&DISCONNECT);
    }

    fn send(&mut self, packet: &Packet<'_>) -> Result<(), Failure> {
        let mut bytes = Vec::new();
        packet.encode(VERSION, &mut bytes);
        self.wait_at_most()?;
        self.stream.write_all(&bytes).map_err(|error| self.broken(&error))
    }

    /// The next packet.
    fn receive(&mut self) -> Result<Received, Failure> {
        loop {
            let framing = split(&self.input, LONGEST).map_err(|error| self.no_broker(&error.to_string()))?;
            if let Framing::Complete(frame) = framing {
                let packet = decode(frame, VERSION).map_err(|error| self.no_broker(&error.to_string()))?;
                let (heard, len) = (understand(&packet), frame.whole.len());
                self.input.drain(..len);
                return Ok(heard);
            }
            self.read()?;
        }
    }

    fn read(&mut self) -> Result<(), Failure> {
        self.wait_at_most()?;
        let mut portion = [0; 4096];
        match self.stream.read(&mut portion) {
            Ok(0) => return Err(self.no_broker("it closed the connection")),
            Ok(count) => self.input.extend_from_slice(portion.get(..count).unwrap_or_default()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(self.broken(&error)),
        }
        Ok(())
    }

    /// Limits the next call on the socket to the deadline.
    fn wait_at_most(&self) -> Result<(), Failure> {
        let left = time_left(self.deadline).map_err(|error| self.broken(&error))?;
        let limited = self.stream.set_read_timeout(Some(left));
        limited.and_then(|()| self.stream.set_write_timeout(Some(left))).map_err(|error| self.broken(&error))
    }

    fn broken(&self, error: &io::Error) -> Failure {
        match error.kind() {
            // The error of a socket timeout differs between systems.
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => self.no_broker("it says nothing in time"),
            _ => self.no_broker(&error.to_string()),
        }
    }

    fn no_broker(&self, cause: &str) -> Failure {
        let sentence =
            format!("the program at {} does not behave like an MQTT broker: {cause}", self.address);
        Failure::new(NO_ANSWER, sentence)
    }
}

/// Connects to the first resolved address that accepts the connection.
fn dial(address: &str, deadline: Instant) -> Result<TcpStream, Failure> {
    let unknown =
        |cause: String| Failure::runtime(format!("the address {address} cannot be resolved: {cause}"));
    let mut refusal = None;
    for candidate in address.to_socket_addrs().map_err(|error| unknown(error.to_string()))? {
        match time_left(deadline).and_then(|left| TcpStream::connect_timeout(&candidate, left)) {
            Ok(stream) => return Ok(stream),
            Err(error) => refusal = Some(error),
        }
    }
    let refusal = refusal.ok_or_else(|| unknown("the name has no address".to_owned()))?;
    let cause = match refusal.kind() {
        io::ErrorKind::ConnectionRefused => "connection refused".to_owned(),
        io::ErrorKind::TimedOut => "no answer in time (--timeout)".to_owned(),
        _ => refusal.to_string(),
    };
    Err(Failure::new(NOT_RUNNING, format!("no broker is running at {address}: {cause}")))
}

/// The time until `deadline`; an error if it has passed.
fn time_left(deadline: Instant) -> io::Result<Duration> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(left) }
}

/// The entries of the SUBSCRIBE.
fn requests() -> Vec<u8> {
    let mut encoded = Vec::new();
    let filter = format!("{ROOT}#");
    SubscriptionRequest { filter: &filter, options: SubscriptionOptions::default() }.encode(&mut encoded);
    encoded
}

fn subscribe(requests: &[u8]) -> Result<Subscribe<'_>, Failure> {
    Subscribe::from_encoded(PacketId::MIN, Properties::EMPTY, requests)
        .map_err(|error| Failure::runtime(format!("the subscription to $SYS could not be encoded: {error}")))
}

fn understand(packet: &Packet<'_>) -> Received {
    match packet {
        Packet::Connack(connack) => Received::Connected(connack.reason),
        Packet::Suback(suback) => {
            Received::Subscribed { granted: suback.reasons.iter().all(|code| *code < 0x80) }
        }
        Packet::Publish(publish) => match publish.topic.strip_prefix(ROOT) {
            Some(name) => Received::Topic {
                name: name.to_owned(),
                value: String::from_utf8_lossy(publish.payload).into_owned(),
            },
            None => Received::Other,
        },
        Packet::Pingresp => Received::Pong,
        _ => Received::Other,
    }
}
