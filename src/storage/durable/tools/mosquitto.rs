//! The file in which mosquitto keeps its state: `mosquitto.db`, in the version that mosquitto 2 writes.
//!
//! It is a list of chunks: a kind, a length, fields of fixed size, then texts. Lengths and small numbers are in network
//! order, numbers of 64 bits in that of the machine, which is taken to be little-endian.

use std::io::{BufRead, Read};

use hashbrown::HashMap;

use crate::codec::packet_id::PacketId;
use crate::codec::properties::Properties;
use crate::codec::qos::QoS;
use crate::codec::subscribe::SubscriptionOptions;
use crate::codec::topic::{TopicFilter, TopicName};
use crate::codec::version::Version;
use crate::storage::durable::tools::builder::{
    Builder, CONFIRMED, IN_STORE, Imported, NewDelivery, Refusal, SharedMessages,
};
use crate::storage::durable::tools::import::ImportError;
use crate::storage::{DeliveryRecord, MessageRecord, SessionChange};
use crate::time::WallTime;

const MAGIC: &[u8; 15] = b"\x00\xb5\x00mosquitto db";
/// The version that is read.
const VERSION: u32 = 6;
/// The largest payload with the longest texts and properties.
const LARGEST_CHUNK: u32 = 600_000_000;

/// Kinds of chunks.
mod kind {
    pub(super) const CONFIGURATION: u32 = 1;
    pub(super) const MESSAGE: u32 = 2;
    pub(super) const CLIENT_MESSAGE: u32 = 3;
    pub(super) const RETAINED: u32 = 4;
    pub(super) const SUBSCRIPTION: u32 = 5;
    pub(super) const CLIENT: u32 = 6;
}

/// States of a client's message.
mod state {
    pub(super) const PUBLISH_QOS1: u8 = 2;
    pub(super) const WAIT_FOR_PUBACK: u8 = 3;
    pub(super) const PUBLISH_QOS2: u8 = 4;
    pub(super) const WAIT_FOR_PUBREC: u8 = 5;
    pub(super) const RESEND_PUBREL: u8 = 6;
    pub(super) const WAIT_FOR_PUBREL: u8 = 7;
    pub(super) const RESEND_PUBCOMP: u8 = 8;
    pub(super) const WAIT_FOR_PUBCOMP: u8 = 9;
    pub(super) const SEND_PUBREC: u8 = 10;
    pub(super) const QUEUED: u8 = 11;
}

/// Makes the store from the file.
pub(super) fn import(
    builder: Builder<'_>,
    file: &mut dyn BufRead,
    now: WallTime,
) -> Result<Imported, ImportError> {
    let content = Content::read(file)?;
    let offset = content.end;
    let mut filling = Filling { builder, content, now, shared: SharedMessages::new() };
    filling.fill().map_err(|refusal| match refusal {
        Refusal::Wrong(wrong) => {
            ImportError::Mosquitto { offset, what: format!("{}: {}", wrong.field, wrong.what) }
        }
        Refusal::Store(error) => ImportError::Store(error),
    })?;
    Ok(filling.builder.finish()?)
}

/// What the file holds.
#[derive(Default)]
struct Content {
    messages: HashMap<u64, Message>,
    clients: Vec<Client>,
    /// The places of the clients.
    names: HashMap<String, usize>,
    retained: Vec<u64>,
    /// Where the file ends.
    end: u64,
}

struct Message {
    topic: String,
    payload: Vec<u8>,
    properties: Vec<u8>,
    qos: QoS,
    retain: bool,
    expires_at: WallTime,
    /// How many deliveries name it.
    deliveries: u32,
}

#[derive(Default)]
struct Client {
    client_id: String,
    expiry_interval: u32,
    detached_at: Option<WallTime>,
    subscriptions: Vec<Subscription>,
    /// In flight, in the order of sending.
    window: Vec<ClientMessage>,
    queue: Vec<ClientMessage>,
    /// From the client, with QoS 2.
    received: Vec<ClientMessage>,
    /// What a store has no place for.
    left_out: u64,
}

struct Subscription {
    filter: String,
    options: SubscriptionOptions,
    identifier: u32,
}

struct ClientMessage {
    message: u64,
    packet_id: Option<PacketId>,
    qos: QoS,
    state: u8,
    retain: bool,
    identifiers: Vec<u32>,
}

impl Content {
    fn read(file: &mut dyn BufRead) -> Result<Content, ImportError> {
        let mut head = Vec::new();
        (&mut *file).take(23).read_to_end(&mut head)?;
        let mut head = Chunk { bytes: &head, start: 0, at: 0 };
        if head.take(MAGIC.len()).ok() != Some(MAGIC) {
            return Err(head.wrong("this is neither an export nor a mosquitto.db"));
        }
        head.take(4)?;
        let version = head.u32()?;
        if version != VERSION {
            let what = format!(
                "this mosquitto.db has version {version}, and only {VERSION} can be read: let a mosquitto 2.0 load \
                 and save it once"
            );
            return Err(ImportError::Mosquitto { offset: 19, what });
        }
        let mut content = Content { end: 23, ..Content::default() };
        while content.chunk(file)? {}
        Ok(content)
    }

    /// Reads a chunk; false at the end of the file.
    fn chunk(&mut self, file: &mut dyn BufRead) -> Result<bool, ImportError> {
        let start = self.end;
        let mut bytes = Vec::new();
        (&mut *file).take(8).read_to_end(&mut bytes)?;
        if bytes.is_empty() {
            return Ok(false);
        }
        let mut head = Chunk { bytes: &bytes, start, at: 0 };
        let (kind, length) = (head.u32()?, head.u32()?);
        if length > LARGEST_CHUNK {
            return Err(head.wrong(&format!("a part of {length} bytes is longer than any that mosquitto writes")));
        }
        let mut bytes = Vec::new();
        let length = u64::from(length);
        (&mut *file).take(length).read_to_end(&mut bytes)?;
        if bytes.len() as u64 != length {
            return Err(head.wrong(&format!("the file ends within a part of {length} bytes")));
        }
        self.end = start + 8 + length;
        let chunk = Chunk { bytes: &bytes, start: start + 8, at: 0 };
        match kind {
            kind::CONFIGURATION => chunk.configuration()?,
            kind::MESSAGE => {
                let (number, message) = chunk.message()?;
                self.messages.insert(number, message);
            }
            kind::CLIENT => self.client(chunk)?,
            kind::CLIENT_MESSAGE => self.client_message(chunk)?,
            kind::SUBSCRIPTION => self.subscription(chunk)?,
            kind::RETAINED => {
                let mut chunk = chunk;
                self.retained.push(chunk.id()?);
            }
            // mosquitto skips what it does not know, too.
            _ => {}
        }
        Ok(true)
    }

    fn client(&mut self, mut chunk: Chunk<'_>) -> Result<(), ImportError> {
        let (expires_at, expiry_interval) = (chunk.i64()?, chunk.u32()?);
        chunk.take(2)?;
        let id_len = chunk.u16()?;
        // The port, the user name and padding. mosquitto 2.0.11 writes user names of other clients.
        chunk.take(8)?;
        let client_id = chunk.text(id_len)?;
        let ends = expiry_interval != u32::MAX && expires_at > 0;
        let detached = expires_at.saturating_sub(i64::from(expiry_interval)).max(0).unsigned_abs();
        let detached_at = ends.then(|| WallTime::from_millis(detached.saturating_mul(1000)));
        let place = self.clients.len();
        if self.names.insert(client_id.clone(), place).is_some() {
            return Err(chunk.wrong(&format!("client {client_id:?} is there twice")));
        }
        self.clients.push(Client { client_id, expiry_interval, detached_at, ..Client::default() });
        Ok(())
    }

    fn client_message(&mut self, mut chunk: Chunk<'_>) -> Result<(), ImportError> {
        let (message, packet_id, id_len) = (chunk.id()?, chunk.u16()?, chunk.u16()?);
        let (qos, state, retain_dup, direction) = (chunk.qos()?, chunk.u8()?, chunk.u8()?, chunk.u8()?);
        let client_id = chunk.text(id_len)?;
        let properties = chunk.properties()?;
        let identifiers = properties.subscription_identifiers().collect();
        let packet_id = PacketId::new(packet_id);
        let retain = retain_dup & 0xf0 != 0;
        let entry = ClientMessage { message, packet_id, qos, state, retain, identifiers };
        let Some(stored) = self.messages.get_mut(&message) else {
            return Err(chunk.wrong(&format!("message {message} of client {client_id:?} is missing")));
        };
        let Some(client) = self.names.get(&client_id).and_then(|place| self.clients.get_mut(*place)) else {
            return Err(chunk.wrong(&format!("client {client_id:?} is missing")));
        };
        let sent = matches!(
            state,
            state::PUBLISH_QOS1 | state::WAIT_FOR_PUBACK | state::PUBLISH_QOS2 | state::WAIT_FOR_PUBREC
        );
        let confirmed = matches!(state, state::RESEND_PUBREL | state::WAIT_FOR_PUBCOMP);
        let received =
            matches!(state, state::WAIT_FOR_PUBREL | state::SEND_PUBREC | state::RESEND_PUBCOMP);
        match (direction, qos) {
            (0, QoS::ExactlyOnce) if received && packet_id.is_some() => client.received.push(entry),
            (1, QoS::AtLeastOnce | QoS::ExactlyOnce) if state == state::QUEUED => {
                stored.deliveries += 1;
                client.queue.push(entry);
            }
            (1, QoS::AtLeastOnce | QoS::ExactlyOnce) if sent && packet_id.is_some() => {
                stored.deliveries += 1;
                client.window.push(entry);
            }
            (1, QoS::ExactlyOnce) if confirmed && packet_id.is_some() => client.window.push(entry),
            _ => client.left_out += 1,
        }
        Ok(())
    }

    fn subscription(&mut self, mut chunk: Chunk<'_>) -> Result<(), ImportError> {
        let (identifier, id_len, filter_len) = (chunk.u32()?, chunk.u16()?, chunk.u16()?);
        let (qos, options) = (chunk.qos()?, chunk.u8()?);
        chunk.take(2)?;
        let (client_id, filter) = (chunk.text(id_len)?, chunk.text(filter_len)?);
        let byte = qos.as_u8() | options & 0x3c;
        let Ok(options) = SubscriptionOptions::from_byte(byte, Version::V5) else {
            return Err(chunk.wrong(&format!("{byte:#x} are no options of a subscription")));
        };
        // Subscriptions of clients whose sessions end with the connection are there, too.
        if let Some(client) = self.names.get(&client_id).and_then(|place| self.clients.get_mut(*place)) {
            client.subscriptions.push(Subscription { filter, options, identifier });
        }
        Ok(())
    }
}

/// A part of the file that is read.
struct Chunk<'b> {
    bytes: &'b [u8],
    /// Where it begins in the file.
    start: u64,
    /// Bytes that were taken.
    at: u64,
}

impl<'b> Chunk<'b> {
    fn wrong(&self, what: &str) -> ImportError {
        ImportError::Mosquitto { offset: self.start + self.at, what: what.to_owned() }
    }

    fn take(&mut self, len: usize) -> Result<&'b [u8], ImportError> {
        let Some((taken, rest)) = self.bytes.split_at_checked(len) else {
            return Err(self.wrong("a part of the file ends too early"));
        };
        self.bytes = rest;
        self.at += len as u64;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], ImportError> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    fn u8(&mut self) -> Result<u8, ImportError> {
        self.array().map(|[byte]| byte)
    }

    fn u16(&mut self) -> Result<u16, ImportError> {
        self.array().map(u16::from_be_bytes)
    }

    fn u32(&mut self) -> Result<u32, ImportError> {
        self.array().map(u32::from_be_bytes)
    }

    fn i64(&mut self) -> Result<i64, ImportError> {
        self.array().map(i64::from_le_bytes)
    }

    fn id(&mut self) -> Result<u64, ImportError> {
        self.array().map(u64::from_le_bytes)
    }

    fn qos(&mut self) -> Result<QoS, ImportError> {
        let number = self.u8()?;
        QoS::from_u8(number).ok_or_else(|| self.wrong(&format!("{number} is not a QoS")))
    }

    fn text(&mut self, len: u16) -> Result<String, ImportError> {
        let bytes = self.take(usize::from(len))?;
        match std::str::from_utf8(bytes) {
            Ok(text) => Ok(text.to_owned()),
            Err(_) => Err(self.wrong("a text is not UTF-8")),
        }
    }

    /// Properties with their length, if anything is left.
    fn properties(&mut self) -> Result<Properties<'b>, ImportError> {
        let (mut length, mut shift) = (0, 0);
        while !self.bytes.is_empty() {
            let byte = self.u8()?;
            length |= usize::from(byte & 0x7f) << shift;
            shift += 7;
            if byte < 0x80 || shift > 21 {
                break;
            }
        }
        let bytes = self.take(length)?;
        Properties::from_encoded(bytes).map_err(|error| self.wrong(&format!("properties: {error}")))
    }

    fn configuration(mut self) -> Result<(), ImportError> {
        self.take(9)?;
        match self.u8()? {
            8 => Ok(()),
            size => Err(self.wrong(&format!("numbers of messages have {size} bytes, and only 8 can be read"))),
        }
    }

    fn message(mut self) -> Result<(u64, Message), ImportError> {
        let (number, expires_at, payload_len) = (self.id()?, self.i64()?, self.u32()?);
        self.take(2)?;
        let (source_len, user_len, topic_len) = (self.u16()?, self.u16()?, self.u16()?);
        self.take(2)?;
        let (qos, retain) = (self.qos()?, self.u8()? != 0);
        self.take(usize::from(source_len) + usize::from(user_len))?;
        let topic = self.text(topic_len)?;
        if let Err(error) = TopicName::parse(&topic) {
            return Err(self.wrong(error.cause()));
        }
        let payload = self.take(payload_len as usize)?.to_vec();
        let properties = self.properties()?.forwardable().flatten().copied().collect();
        let expires_at = match expires_at {
            ..=0 => WallTime::NEVER,
            seconds => WallTime::from_millis(seconds.unsigned_abs().saturating_mul(1000)),
        };
        let message = Message { topic, payload, properties, qos, retain, expires_at, deliveries: 0 };
        Ok((number, message))
    }
}

/// A store that is filled with the content.
struct Filling<'d> {
    builder: Builder<'d>,
    content: Content,
    now: WallTime,
    /// Messages that the store has already, by their numbers.
    shared: SharedMessages<()>,
}

impl Filling<'_> {
    fn fill(&mut self) -> Result<(), Refusal> {
        let clients = std::mem::take(&mut self.content.clients);
        // A session that ends with its connection has ended.
        let (kept, gone): (Vec<_>, Vec<_>) =
            clients.into_iter().partition(|client| client.expiry_interval != 0);
        for client in &gone {
            let messages = client.window.len() + client.queue.len() + client.received.len();
            self.builder.imported.left_out += client.left_out + messages as u64;
        }
        for client in &kept {
            self.session(client)?;
        }
        for client in &kept {
            for received in client.received.iter().filter(|received| received.state != state::RESEND_PUBCOMP) {
                self.publish(received.message, &kept)?;
            }
        }
        for number in std::mem::take(&mut self.content.retained) {
            self.retain(number)?;
        }
        Ok(())
    }

    fn retain(&mut self, number: u64) -> Result<(), Refusal> {
        match self.content.messages.get(&number) {
            Some(message) => self.builder.retained(&record(message, self.now, true)),
            None => {
                self.builder.imported.left_out += 1;
                Ok(())
            }
        }
    }

    fn session(&mut self, client: &Client) -> Result<(), Refusal> {
        let Client { client_id, expiry_interval, .. } = client;
        self.builder.session(client_id, *expiry_interval, None)?;
        for Subscription { filter, options, identifier } in &client.subscriptions {
            let (options, identifier) = (*options, *identifier);
            let change = SessionChange::Subscribed { filter, options, identifier };
            self.builder.change(client_id, change, "subscription")?;
        }
        for entry in client.window.iter().chain(&client.queue) {
            self.deliver(client_id, entry)?;
        }
        for packet_id in client.received.iter().filter_map(|entry| entry.packet_id) {
            self.builder.change(client_id, SessionChange::Received { packet_id }, "received")?;
        }
        if let Some(at) = client.detached_at {
            let change = SessionChange::Detached { expiry_interval: *expiry_interval };
            self.builder.change_at(at, client_id, change, "session_expiry_time")?;
        }
        self.builder.imported.left_out += client.left_out;
        Ok(())
    }

    fn deliver(&mut self, client_id: &str, entry: &ClientMessage) -> Result<(), Refusal> {
        let ClientMessage { message: number, packet_id, qos, state, retain, identifiers } = entry;
        let packet_id = packet_id.filter(|_| *state != state::QUEUED);
        let confirmed = matches!(*state, state::RESEND_PUBREL | state::WAIT_FOR_PUBCOMP);
        let (shared, message) = match self.content.messages.get(number) {
            _ if confirmed => (None, CONFIRMED),
            None => (None, IN_STORE),
            Some(message) if message.deliveries < 2 => (None, record(message, self.now, message.retain)),
            Some(message) => {
                self.shared.put(*number, ());
                match self.shared.take(*number) {
                    Some((place, Some(()))) => (Some(place), record(message, self.now, message.retain)),
                    taken => (taken.map(|(place, _)| place), IN_STORE),
                }
            }
        };
        let record = DeliveryRecord { message, qos: *qos, retain: *retain, identifiers, share: None };
        self.builder.delivery(&NewDelivery { client_id, record, shared, packet_id, confirmed })
    }

    /// Publishes a QoS 2 message that its publisher has not released: mosquitto waits for that, a Midge does not.
    fn publish(&mut self, number: u64, clients: &[Client]) -> Result<(), Refusal> {
        let Some(message) = self.content.messages.get(&number) else {
            return Ok(());
        };
        let (topic, retain, clears) = (message.topic.clone(), message.retain, message.payload.is_empty());
        let Ok(name) = TopicName::parse(&topic) else {
            return Ok(());
        };
        for client in clients {
            let matching = client.subscriptions.iter().filter(|subscription| {
                TopicFilter::parse(&subscription.filter).is_ok_and(|filter| filter.matches(&name))
            });
            let matching: Vec<_> = matching.collect();
            let Some(qos) = matching.iter().map(|subscription| subscription.options.qos).max() else {
                continue;
            };
            if qos == QoS::AtMostOnce {
                self.builder.imported.left_out += 1;
                continue;
            }
            let identifiers = matching.iter().map(|subscription| subscription.identifier);
            let entry = ClientMessage {
                message: number,
                packet_id: None,
                qos,
                state: state::QUEUED,
                retain: false,
                identifiers: identifiers.filter(|identifier| *identifier != 0).collect(),
            };
            self.deliver(&client.client_id, &entry)?;
        }
        if retain {
            self.content.retained.retain(|other| {
                self.content.messages.get(other).is_none_or(|other| other.topic != topic)
            });
            if !clears {
                self.content.retained.push(number);
            }
        }
        Ok(())
    }
}

fn record(message: &Message, now: WallTime, retain: bool) -> MessageRecord<'_> {
    let Message { topic, payload, properties, qos, expires_at, .. } = message;
    MessageRecord {
        topic,
        properties,
        payload,
        qos: *qos,
        retain,
        received_at: now,
        expires_at: *expires_at,
    }
}
