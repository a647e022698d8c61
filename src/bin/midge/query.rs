//! What a broker says of itself: its `$SYS` topics, read as an MQTT client.

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

/// Every broker speaks it.
const VERSION: Version = Version::V311;
/// What the topics begin with.
const ROOT: &str = "$SYS/broker/";
/// The longest packet that is read, in bytes; those of `$SYS` are short.
const LONGEST: u32 = 64 * 1024;
/// The first byte of a CONNACK.
const CONNACK: u8 = 0x20;

/// The topics of a broker without `$SYS/broker/`, and their payloads.
pub(crate) type Topics = BTreeMap<String, String>;

/// Asks the broker at `address`. The whole conversation lasts `timeout` at most. The answer has at least one topic.
pub(crate) fn ask(address: &str, timeout: Duration) -> Result<Topics, Failure> {
    let deadline = Instant::now() + timeout;
    let stream = dial(address, deadline)?;
    let mut conversation = Conversation { address, stream, deadline, input: Vec::new() };
    conversation.connect()?;
    let topics = conversation.read_topics()?;
    conversation.leave();
    if topics.is_empty() {
        let sentence = format!("an MQTT broker runs at {address}, but tells nothing below {ROOT}");
        return Err(Failure::new(NO_ANSWER, sentence));
    }
    Ok(topics)
}

/// A connection to what may be a broker.
struct Conversation<'a> {
    address: &'a str,
    stream: TcpStream,
    deadline: Instant,
    /// What was read and not yet understood.
    input: Vec<u8>,
}

/// What a packet means for the question.
enum Heard {
    Connected(ReasonCode),
    Subscribed { granted: bool },
    Topic { name: String, value: String },
    Pong,
    Other,
}

impl Conversation<'_> {
    fn connect(&mut self) -> Result<(), Failure> {
        let client_id = format!("midge-status-{}", std::process::id());
        self.say(&Packet::Connect(Connect {
            version: VERSION,
            clean_start: true,
            keep_alive: 60,
            client_id: &client_id,
            will: None,
            username: None,
            password: None,
            properties: Properties::EMPTY,
        }))?;
        // What is no CONNACK may announce a length that never comes.
        while self.input.is_empty() {
            self.read()?;
        }
        if self.input.first() != Some(&CONNACK) {
            return Err(self.no_broker("its answer to CONNECT is something else"));
        }
        match self.hear()? {
            Heard::Connected(ReasonCode::Success) => Ok(()),
            Heard::Connected(reason) => {
                let (address, reason) = (self.address, reason.name());
                let sentence = format!("an MQTT broker runs at {address}, but refuses to talk: {reason}");
                Err(Failure::new(NO_ANSWER, sentence))
            }
            _ => Err(self.no_broker("its answer to CONNECT is something else")),
        }
    }

    /// Retained messages may come before or behind the SUBACK, but before the answer to a ping that follows it.
    fn read_topics(&mut self) -> Result<Topics, Failure> {
        self.say(&Packet::Subscribe(subscribe(&requests())?))?;
        let mut topics = Topics::new();
        loop {
            match self.hear()? {
                Heard::Topic { name, value } => {
                    topics.insert(name, value);
                }
                Heard::Subscribed { granted: true } => self.say(&Packet::Pingreq)?,
                Heard::Subscribed { granted: false } | Heard::Pong => return Ok(topics),
                Heard::Connected(_) | Heard::Other => {}
            }
        }
    }

    /// Says goodbye. Everything is known already: whether it is heard does not matter.
    fn leave(&mut self) {
        const DISCONNECT: [u8; 2] = [0xE0, 0];
        let _unheard = self.stream.write_all(&DISCONNECT);
    }

    fn say(&mut self, packet: &Packet<'_>) -> Result<(), Failure> {
        let mut bytes = Vec::new();
        packet.encode(VERSION, &mut bytes);
        self.wait_at_most()?;
        self.stream.write_all(&bytes).map_err(|error| self.broken(&error))
    }

    /// The next packet.
    fn hear(&mut self) -> Result<Heard, Failure> {
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
            Ok(0) => return Err(self.no_broker("it closes the connection")),
            Ok(count) => self.input.extend_from_slice(portion.get(..count).unwrap_or_default()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(self.broken(&error)),
        }
        Ok(())
    }

    /// Has the next call on the socket wait no longer than until the deadline.
    fn wait_at_most(&self) -> Result<(), Failure> {
        let left = time_left(self.deadline).map_err(|error| self.broken(&error))?;
        let limited = self.stream.set_read_timeout(Some(left));
        limited.and_then(|()| self.stream.set_write_timeout(Some(left))).map_err(|error| self.broken(&error))
    }

    fn broken(&self, error: &io::Error) -> Failure {
        match error.kind() {
            // What a socket says when its timeout is over differs from system to system.
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => self.no_broker("it says nothing in time"),
            _ => self.no_broker(&error.to_string()),
        }
    }

    fn no_broker(&self, cause: &str) -> Failure {
        let sentence = format!("what runs at {} does not behave as an MQTT broker: {cause}", self.address);
        Failure::new(NO_ANSWER, sentence)
    }
}

/// Connects to the first of the address's addresses that takes the connection.
fn dial(address: &str, deadline: Instant) -> Result<TcpStream, Failure> {
    let unknown = |cause: String| Failure::runtime(format!("the address {address} is not known: {cause}"));
    let mut refusal = None;
    for candidate in address.to_socket_addrs().map_err(|error| unknown(error.to_string()))? {
        match time_left(deadline).and_then(|left| TcpStream::connect_timeout(&candidate, left)) {
            Ok(stream) => return Ok(stream),
            Err(error) => refusal = Some(error),
        }
    }
    let refusal = refusal.ok_or_else(|| unknown("it has no address".to_owned()))?;
    let cause = match refusal.kind() {
        io::ErrorKind::ConnectionRefused => "nobody listens there".to_owned(),
        io::ErrorKind::TimedOut => "nobody answers there in time".to_owned(),
        _ => refusal.to_string(),
    };
    Err(Failure::new(NOT_RUNNING, format!("no broker runs at {address}: {cause}")))
}

/// The time until `deadline`, more than none.
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
        .map_err(|error| Failure::runtime(format!("the subscription to $SYS could not be written: {error}")))
}

fn understand(packet: &Packet<'_>) -> Heard {
    match packet {
        Packet::Connack(connack) => Heard::Connected(connack.reason),
        Packet::Suback(suback) => {
            Heard::Subscribed { granted: suback.reasons.iter().all(|code| *code < 0x80) }
        }
        Packet::Publish(publish) => match publish.topic.strip_prefix(ROOT) {
            Some(name) => Heard::Topic {
                name: name.to_owned(),
                value: String::from_utf8_lossy(publish.payload).into_owned(),
            },
            None => Heard::Other,
        },
        Packet::Pingresp => Heard::Pong,
        _ => Heard::Other,
    }
}
