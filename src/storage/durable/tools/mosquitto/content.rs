//! What the file holds.

use std::io::{BufRead, Read};

use hashbrown::HashMap;

use crate::codec::packet_id::PacketId;
use crate::codec::qos::QoS;
use crate::codec::subscribe::SubscriptionOptions;
use crate::codec::version::Version;
use crate::storage::durable::tools::import::{ImportError, LARGEST_IDENTIFIER};
use crate::storage::durable::tools::mosquitto::chunk::Chunk;
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
pub(super) mod state {
    pub(in super::super) const PUBLISH_QOS1: u8 = 2;
    pub(in super::super) const WAIT_FOR_PUBACK: u8 = 3;
    pub(in super::super) const PUBLISH_QOS2: u8 = 4;
    pub(in super::super) const WAIT_FOR_PUBREC: u8 = 5;
    pub(in super::super) const RESEND_PUBREL: u8 = 6;
    pub(in super::super) const WAIT_FOR_PUBREL: u8 = 7;
    pub(in super::super) const RESEND_PUBCOMP: u8 = 8;
    pub(in super::super) const WAIT_FOR_PUBCOMP: u8 = 9;
    pub(in super::super) const SEND_PUBREC: u8 = 10;
    pub(in super::super) const QUEUED: u8 = 11;
}

/// What the file holds.
#[derive(Default)]
pub(super) struct Content {
    pub(super) messages: HashMap<u64, Message>,
    pub(super) clients: Vec<Client>,
    /// The places of the clients.
    pub(super) names: HashMap<String, usize>,
    pub(super) retained: Vec<u64>,
    /// Where the file ends.
    pub(super) end: u64,
}

pub(super) struct Message {
    pub(super) topic: String,
    pub(super) payload: Vec<u8>,
    pub(super) properties: Vec<u8>,
    pub(super) qos: QoS,
    pub(super) retain: bool,
    pub(super) expires_at: WallTime,
    /// How many deliveries name it.
    pub(super) deliveries: u32,
}

#[derive(Default)]
pub(super) struct Client {
    pub(super) client_id: String,
    pub(super) expiry_interval: u32,
    pub(super) detached_at: Option<WallTime>,
    pub(super) subscriptions: Vec<Subscription>,
    /// In flight, in the order of sending.
    pub(super) window: Vec<ClientMessage>,
    pub(super) queue: Vec<ClientMessage>,
    /// From the client, with QoS 2.
    pub(super) received: Vec<ClientMessage>,
    /// What a store has no place for.
    pub(super) left_out: u64,
}

pub(super) struct Subscription {
    pub(super) filter: String,
    pub(super) options: SubscriptionOptions,
    pub(super) identifier: u32,
}

pub(super) struct ClientMessage {
    pub(super) message: u64,
    pub(super) packet_id: Option<PacketId>,
    pub(super) qos: QoS,
    pub(super) state: u8,
    pub(super) retain: bool,
    pub(super) identifiers: Vec<u32>,
}

impl Content {
    pub(super) fn read(file: &mut dyn BufRead) -> Result<Content, ImportError> {
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
            return Err(
                head.wrong(&format!("a part of {length} bytes is longer than any that mosquitto writes"))
            );
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
        let received = matches!(state, state::WAIT_FOR_PUBREL | state::SEND_PUBREC | state::RESEND_PUBCOMP);
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
        if identifier > LARGEST_IDENTIFIER {
            let what = format!("Subscription Identifier {identifier} is larger than {LARGEST_IDENTIFIER}");
            return Err(chunk.wrong(&what));
        }
        // Subscriptions of clients whose sessions end with the connection are there, too.
        if let Some(client) = self.names.get(&client_id).and_then(|place| self.clients.get_mut(*place)) {
            client.subscriptions.push(Subscription { filter, options, identifier });
        }
        Ok(())
    }
}
