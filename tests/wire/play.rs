//! Plays a scenario: a broker of its own, real sockets, and a look at every byte.

use std::collections::HashMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use midge::config::Config;
use midge::embed::Broker;

use crate::script::{Act, Scenario, Step, Token, Version, Wrong};

/// How long is waited for what must come.
const PATIENCE: Duration = Duration::from_secs(10);

const PINGREQ: &[u8] = &[0xC0, 0];
const PINGRESP: &[u8] = &[0xD0, 0];

/// A byte as it is to be sent, or as it is expected.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Mark {
    Byte(u8),
    Any,
    /// The Remaining Length, which the packet's framing has checked already.
    Length,
    /// Two bytes that the broker chooses.
    Variable(String),
    Rest,
}

struct Player {
    version: Version,
    address: SocketAddr,
    sockets: HashMap<String, TcpStream>,
    variables: HashMap<String, [u8; 2]>,
}

/// Plays a scenario in one version.
pub fn play(scenario: &Scenario, version: Version) -> Result<(), Wrong> {
    let broker = start(scenario).map_err(|cause| (scenario.line, cause))?;
    let address = broker.address("tcp").ok_or((scenario.line, "no listener".to_owned()))?;
    let mut player = Player { version, address, sockets: HashMap::new(), variables: HashMap::new() };
    let result = player.steps(&scenario.steps);
    drop(player);
    broker.stop(Some(Duration::ZERO)).map_err(|error| (scenario.line, error.to_string()))?;
    result
}

fn start(scenario: &Scenario) -> Result<Broker, String> {
    let mut config = Config::new();
    config.set("listener.tcp.bind", "127.0.0.1:0").map_err(|error| error.to_string())?;
    for (key, value) in &scenario.settings {
        config.set(key, value).map_err(|error| error.to_string())?;
    }
    Broker::start(&config).map_err(|error| error.to_string())
}

impl Player {
    fn steps(&mut self, steps: &[Step]) -> Result<(), Wrong> {
        let counted: Vec<&Step> = steps.iter().filter(|s| s.only.is_none_or(|v| v == self.version)).collect();
        let together = |a: &&Step, b: &&Step| {
            a.who == b.who && matches!((&a.act, &b.act), (Act::ReceiveAnyOrder(_), Act::ReceiveAnyOrder(_)))
        };
        for group in counted.chunk_by(together) {
            match group {
                [step] => self.step(step).map_err(|cause| (step.line, cause))?,
                _ => self.any_order(group)?,
            }
        }
        Ok(())
    }

    fn step(&mut self, step: &Step) -> Result<(), String> {
        let Some(who) = step.who.first() else { return Err("nobody".to_owned()) };
        match &step.act {
            Act::Connects(properties) => self.connects(who, properties),
            Act::Send(tokens) => {
                let bytes = self.to_send(tokens)?;
                self.send(who, &bytes)
            }
            Act::Receive(tokens) if step.who.len() > 1 => self.one_of(&step.who, tokens),
            Act::Receive(tokens) | Act::ReceiveAnyOrder(tokens) => {
                let packet = self.receive(who)?;
                self.compare(tokens, &packet)
            }
            Act::Quiet => match self.until_pingresp(who)?.first() {
                None => Ok(()),
                Some(packet) => Err(format!("{who} received {}", hex(packet))),
            },
            Act::Closed(codes) => self.closed(who, &[0xE0], codes),
            Act::Refused(codes) => self.closed(who, &[0x20, 0], codes),
            Act::Gone => {
                while self.receive_or_end(who)?.is_some() {}
                self.sockets.remove(who);
                Ok(())
            }
            Act::Drops => {
                if let Some(socket) = self.sockets.remove(who) {
                    socket.shutdown(Shutdown::Both).map_err(|error| error.to_string())?;
                }
                Ok(())
            }
        }
    }

    /// CONNECT with a new session and Keep Alive 0, and CONNACK.
    fn connects(&mut self, who: &str, properties: &[Token]) -> Result<(), String> {
        let mut all = vec![Token::Bytes(vec![0x17, 0])];
        all.extend_from_slice(properties);
        let mut id = (who.len() as u16).to_be_bytes().to_vec();
        id.extend_from_slice(who.as_bytes());
        let connect = [
            Token::Bytes(vec![0x10]),
            Token::Length,
            Token::Protocol,
            Token::Bytes(vec![2, 0, 0]),
            Token::Properties(all),
            Token::Bytes(id),
        ];
        let bytes = self.to_send(&connect)?;
        self.send(who, &bytes)?;
        let packet = self.receive(who)?;
        let connack = match self.version {
            Version::V5 => {
                vec![Token::Bytes(vec![0x20]), Token::Length, Token::Bytes(vec![0, 0]), Token::Rest]
            }
            _ => vec![Token::Bytes(vec![0x20, 2, 0, 0])],
        };
        self.compare(&connack, &packet)
    }

    fn any_order(&mut self, group: &[&Step]) -> Result<(), Wrong> {
        let mut open: Vec<&Step> = group.to_vec();
        while let Some(first) = open.first() {
            let who = first.who.first().cloned().unwrap_or_default();
            let packet = self.receive(&who).map_err(|cause| (first.line, cause))?;
            let found = open.iter().position(|step| match &step.act {
                Act::ReceiveAnyOrder(tokens) => self.compare(tokens, &packet).is_ok(),
                _ => false,
            });
            match found {
                Some(at) => drop(open.remove(at)),
                None => return Err((first.line, format!("none of the lines is {}", hex(&packet)))),
            }
        }
        Ok(())
    }

    /// Exactly one of several connections receives a packet.
    fn one_of(&mut self, names: &[String], tokens: &[Token]) -> Result<(), String> {
        let mut all = Vec::new();
        for who in names {
            all.extend(self.until_pingresp(who)?);
        }
        match all.as_slice() {
            [packet] => self.compare(tokens, packet),
            [] => Err("nobody received it".to_owned()),
            _ => Err(format!("{} packets were received", all.len())),
        }
    }

    /// The broker closes; in MQTT 5, if there are codes, behind a packet that begins like `last` and has one of them.
    fn closed(&mut self, who: &str, last: &[u8], codes: &[u8]) -> Result<(), String> {
        if let (Version::V5, [first, flags @ ..], false) = (self.version, last, codes.is_empty()) {
            let packet = self.receive(who)?;
            let forms = codes.iter().map(|code| {
                let body = Token::Bytes([flags, &[*code]].concat());
                [Token::Bytes(vec![*first]), Token::Length, body, Token::Rest]
            });
            let outcomes: Vec<_> = forms.map(|form| self.compare(&form, &packet)).collect();
            if let (None, Some(Err(wrong))) = (outcomes.iter().find(|o| o.is_ok()), outcomes.first()) {
                return Err(wrong.clone());
            }
        }
        match self.receive_or_end(who)? {
            None => drop(self.sockets.remove(who)),
            Some(packet) => return Err(format!("open, and received {}", hex(&packet))),
        }
        Ok(())
    }

    /// What comes before the answer to a PINGREQ.
    fn until_pingresp(&mut self, who: &str) -> Result<Vec<Vec<u8>>, String> {
        self.send(who, PINGREQ)?;
        let mut packets = Vec::new();
        loop {
            let packet = self.receive(who)?;
            if packet == PINGRESP {
                return Ok(packets);
            }
            packets.push(packet);
        }
    }

    fn socket(&mut self, who: &str) -> Result<&mut TcpStream, String> {
        if !self.sockets.contains_key(who) {
            let socket = TcpStream::connect(self.address).map_err(|error| error.to_string())?;
            socket.set_nodelay(true).map_err(|error| error.to_string())?;
            socket.set_read_timeout(Some(PATIENCE)).map_err(|error| error.to_string())?;
            self.sockets.insert(who.to_owned(), socket);
        }
        self.sockets.get_mut(who).ok_or_else(|| format!("{who} is not connected"))
    }

    fn send(&mut self, who: &str, bytes: &[u8]) -> Result<(), String> {
        self.socket(who)?.write_all(bytes).map_err(|error| format!("{who} cannot send: {error}"))
    }

    fn receive(&mut self, who: &str) -> Result<Vec<u8>, String> {
        self.receive_or_end(who)?.ok_or_else(|| format!("{who} is closed"))
    }

    /// One packet by its fixed header; `None` if the broker has closed.
    fn receive_or_end(&mut self, who: &str) -> Result<Option<Vec<u8>>, String> {
        let socket = self.sockets.get_mut(who).ok_or_else(|| format!("{who} is not connected"))?;
        let mut packet = vec![0];
        match socket.read(&mut packet) {
            Ok(0) => return Ok(None),
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::ConnectionReset => return Ok(None),
            Err(error) => return Err(format!("{who} received nothing: {error}")),
        }
        let (mut len, mut shift) = (0, 0);
        loop {
            let mut byte = [0];
            socket.read_exact(&mut byte).map_err(|error| format!("{}: {error}", hex(&packet)))?;
            packet.extend_from_slice(&byte);
            len |= usize::from(byte[0] & 0x7F) << shift;
            shift += 7;
            match byte[0] & 0x80 {
                0 => break,
                _ if shift == 28 => return Err(format!("{}: a fifth byte of length", hex(&packet))),
                _ => {}
            }
        }
        let head = packet.len();
        packet.resize(head + len, 0);
        socket.read_exact(&mut packet[head..]).map_err(|error| format!("{who}: half a packet: {error}"))?;
        Ok(Some(packet))
    }

    fn to_send(&self, tokens: &[Token]) -> Result<Vec<u8>, String> {
        to_send(tokens, self.version, &self.variables)
    }

    fn compare(&mut self, tokens: &[Token], packet: &[u8]) -> Result<(), String> {
        let mut learned = self.variables.clone();
        let wrong = || format!("expected {tokens:02x?}\n    received {}", hex(packet));
        let mut rest = packet;
        for mark in marks(tokens, self.version)? {
            match mark {
                Mark::Rest => {
                    rest = &[];
                    break;
                }
                Mark::Length => {
                    let end = rest.iter().position(|byte| byte & 0x80 == 0).ok_or_else(wrong)?;
                    rest = &rest[end + 1..];
                }
                Mark::Byte(_) | Mark::Any => {
                    let (first, behind) = rest.split_first().ok_or_else(wrong)?;
                    if mark != Mark::Any && mark != Mark::Byte(*first) {
                        return Err(wrong());
                    }
                    rest = behind;
                }
                Mark::Variable(name) => {
                    let (value, behind) = rest.split_first_chunk::<2>().ok_or_else(wrong)?;
                    if *learned.entry(name).or_insert(*value) != *value || *value == [0, 0] {
                        return Err(wrong());
                    }
                    rest = behind;
                }
            }
        }
        if !rest.is_empty() {
            return Err(wrong());
        }
        self.variables = learned;
        Ok(())
    }
}

/// The bytes that are sent for the tokens of a line without variables.
pub fn encode(tokens: &[Token], version: Version) -> Result<Vec<u8>, String> {
    to_send(tokens, version, &HashMap::new())
}

fn to_send(
    tokens: &[Token],
    version: Version,
    variables: &HashMap<String, [u8; 2]>,
) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    for packet in tokens.split(|token| *token == Token::End) {
        for mark in marks(packet, version)? {
            match mark {
                Mark::Byte(byte) => bytes.push(byte),
                Mark::Variable(name) => {
                    let value = variables.get(&name).ok_or(format!("{name} was not received"))?;
                    bytes.extend_from_slice(value);
                }
                other => return Err(format!("{other:?} cannot be sent")),
            }
        }
    }
    Ok(bytes)
}

/// The bytes of one packet, its lengths computed.
fn marks(tokens: &[Token], version: Version) -> Result<Vec<Mark>, String> {
    let mut found = Vec::new();
    for (at, token) in tokens.iter().enumerate() {
        match token {
            Token::Bytes(bytes) => found.extend(bytes.iter().map(|byte| Mark::Byte(*byte))),
            Token::Protocol => found.extend(version.protocol().iter().map(|byte| Mark::Byte(*byte))),
            Token::Any => found.push(Mark::Any),
            Token::Rest => found.push(Mark::Rest),
            Token::Variable(name) => found.push(Mark::Variable(name.clone())),
            Token::Properties(_) if version != Version::V5 => {}
            Token::Properties(inner) => {
                let inner = marks(inner, version)?;
                found.extend(varint(size(&inner)).map(Mark::Byte));
                found.extend(inner);
            }
            Token::Length => {
                let behind = marks(tokens.get(at + 1..).unwrap_or_default(), version)?;
                match behind.contains(&Mark::Rest) {
                    true => found.push(Mark::Length),
                    false => found.extend(varint(size(&behind)).map(Mark::Byte)),
                }
                found.extend(behind);
                return Ok(found);
            }
            Token::End => return Err("`/` among received bytes".to_owned()),
        }
    }
    Ok(found)
}

/// How many bytes the marks stand for.
fn size(marks: &[Mark]) -> usize {
    marks.iter().map(|mark| if matches!(mark, Mark::Variable(_)) { 2 } else { 1 }).sum()
}

/// A variable byte integer.
fn varint(mut value: usize) -> impl Iterator<Item = u8> {
    let mut bytes = Vec::new();
    loop {
        let byte = (value & 0x7F) as u8;
        value >>= 7;
        if value == 0 {
            bytes.push(byte);
            return bytes.into_iter();
        }
        bytes.push(byte | 0x80);
    }
}

fn hex(bytes: &[u8]) -> String {
    let shown = bytes.iter().take(80).map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" ");
    format!("{shown} ({} bytes)", bytes.len())
}
