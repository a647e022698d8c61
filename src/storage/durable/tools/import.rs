//! `import`: a new store from the lines of an export, or from the file of a mosquitto.

use std::io::{self, BufRead, Read};

use serde_json::Value;

use crate::codec::packet_id::PacketId;
use crate::codec::properties::PropertyWriter;
use crate::codec::qos::QoS;
use crate::codec::subscribe::{RetainHandling, SubscriptionOptions};
use crate::codec::topic::TopicName;
use crate::storage::durable::disk::Disk;
use crate::storage::durable::tools::builder::{
    Builder, CONFIRMED, IN_STORE, ImportOptions, Imported, NewDelivery, Refusal, SharedMessages, Wrong,
    check_text,
};
use crate::storage::durable::tools::export::FORMAT;
use crate::storage::durable::tools::fields::Fields;
use crate::storage::durable::tools::maker::NewStore;
use crate::storage::durable::tools::mosquitto;
use crate::storage::{DeliveryRecord, MessageRecord, SessionChange, StoreError};
use crate::time::WallTime;

/// The longest line that is read: the largest payload, with all of it escaped.
const LONGEST_LINE: u64 = 2 << 30;
/// The largest Subscription Identifier.
pub(super) const LARGEST_IDENTIFIER: u32 = 268_435_455;

/// Why a file could not be imported.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// A line of an export is wrong.
    #[error("line {line}: {field}{}{what}", if field.is_empty() { "" } else { ": " })]
    Line {
        /// Its number; the first is 1.
        line: u64,
        /// The field, such as `message.topic`; empty if it is none in particular.
        field: String,
        /// What is wrong.
        what: String,
    },
    /// The file of a mosquitto is wrong, or of a version that cannot be read.
    #[error("byte {offset}: {what}")]
    Mosquitto {
        /// Where.
        offset: u64,
        /// What is wrong.
        what: String,
    },
    /// The file cannot be read.
    #[error("it cannot be read: {0}")]
    Read(#[from] io::Error),
    /// The store cannot be made.
    #[error("{0}")]
    Store(#[from] StoreError),
}

/// Makes the store of a disk, which has none, from a file: an export, or a `mosquitto.db`. If it fails, no store is there.
///
/// # Errors
/// The file says what no store holds, and the sentence names the place; or the store cannot be written.
pub fn import(
    disk: &dyn Disk,
    file: &mut dyn BufRead,
    options: &ImportOptions,
) -> Result<Imported, ImportError> {
    let builder = Builder::begin(disk, options)?;
    let imported = match file.fill_buf().map(<[u8]>::first) {
        Ok(Some(0)) => mosquitto::import(builder, file, options.now),
        Ok(_) => import_lines(builder, file, options.now),
        Err(error) => Err(error.into()),
    };
    imported.inspect_err(|_| NewStore::discard(disk))
}

fn import_lines(
    builder: Builder<'_>,
    file: &mut dyn BufRead,
    now: WallTime,
) -> Result<Imported, ImportError> {
    let mut import = Import { builder, shared: SharedMessages::new(), now, has_begun: false };
    let mut text = Vec::new();
    let mut number = 0;
    loop {
        text.clear();
        number += 1;
        if (&mut *file).take(LONGEST_LINE).read_until(b'\n', &mut text)? == 0 {
            break;
        }
        if text.trim_ascii().is_empty() {
            continue;
        }
        import.line(&text).map_err(|refusal| match refusal {
            Refusal::Wrong(Wrong { field, what }) => ImportError::Line { line: number, field, what },
            Refusal::Store(error) => ImportError::Store(error),
        })?;
    }
    if !import.has_begun {
        let what = "the file is empty: an export begins with {\"type\":\"store\",\"format\":1}".to_owned();
        return Err(ImportError::Line { line: 1, field: String::new(), what });
    }
    Ok(import.builder.finish()?)
}

struct Import<'d> {
    builder: Builder<'d>,
    shared: SharedMessages<Message>,
    now: WallTime,
    /// Whether the first line was read.
    has_begun: bool,
}

impl Import<'_> {
    fn line(&mut self, text: &[u8]) -> Result<(), Refusal> {
        let value: Value = serde_json::from_slice(text.trim_ascii_end()).map_err(|error| {
            let what = error.to_string();
            let what = what.split(" at line ").next().unwrap_or(&what);
            Wrong::new("", format!("this is not JSON: {what} at column {}", error.column()))
        })?;
        let mut line = Fields::of(value, "")?;
        let kind = line.text("type")?;
        if !self.has_begun && kind != "store" {
            let what = "an export begins with a line of type \"store\"";
            return Err(line.wrong("type", what).into());
        }
        match &*kind {
            "store" if self.has_begun => Err(line.wrong("type", "only the first line is a store").into()),
            "store" => self.store(line),
            "retained" => {
                let message = Message::read_retained(&mut line, self.now)?;
                line.end()?;
                self.builder.retained(&message.record())
            }
            "session" => self.session(line),
            "shared" => {
                let number = line.number("number", 1, u64::MAX)?;
                let message = self.message(&mut line)?;
                let taken = line.wrong("number", format!("{number} is the number of a line before"));
                line.end()?;
                if self.shared.put(number, message) { Ok(()) } else { Err(taken.into()) }
            }
            "delivery" => self.delivery(line),
            _ => {
                let what = format!("{kind:?} is none of store, retained, session, shared, delivery");
                Err(line.wrong("type", what).into())
            }
        }
    }

    fn store(&mut self, mut line: Fields) -> Result<(), Refusal> {
        let format = line.number("format", 0, u64::MAX)?;
        if format != FORMAT {
            let what = format!("{format} is not known: this version of Midge reads {FORMAT}");
            return Err(line.wrong("format", what).into());
        }
        self.has_begun = true;
        Ok(line.end()?)
    }

    fn message(&self, line: &mut Fields) -> Result<Message, Wrong> {
        let mut fields = line.required_object("message")?;
        let message = Message::read(&mut fields, self.now)?;
        fields.end()?;
        Ok(message)
    }

    fn session(&mut self, mut line: Fields) -> Result<(), Refusal> {
        let client_id = line.text("client_id")?;
        let user = line.optional_text("user")?;
        let expiry_interval = expiry(&mut line)?;
        let detached_at = line.time("disconnected")?;
        if self.builder.has_session(&client_id) {
            return Err(line.wrong("client_id", format!("{client_id:?} has a session already")).into());
        }
        self.builder.session(&client_id, expiry_interval, user.as_deref())?;
        self.subscriptions(&mut line, &client_id)?;
        for (index, value) in line.list("received")?.into_iter().enumerate() {
            let number = value.as_u64().and_then(|number| u16::try_from(number).ok());
            let Some(packet_id) = number.and_then(PacketId::new) else {
                let what = format!("{value} is not a whole number from 1 to 65535");
                return Err(line.wrong(&format!("received[{index}]"), what).into());
            };
            self.builder.change(&client_id, SessionChange::Received { packet_id }, "received")?;
        }
        if let Some(mut will) = line.object("will")? {
            let delay = will.optional_u32("delay", u32::MAX)?.unwrap_or(0);
            let expiry = will.optional_u32("message_expiry", u32::MAX)?;
            let message = self.message(&mut will)?;
            will.end()?;
            let change = SessionChange::Will { message: message.record(), delay, expiry };
            self.builder.change(&client_id, change, "will")?;
        }
        if let Some(at) = detached_at {
            let detached = SessionChange::Detached { expiry_interval };
            self.builder.change_at(at, &client_id, detached, "disconnected")?;
        }
        Ok(line.end()?)
    }

    fn subscriptions(&mut self, line: &mut Fields, client_id: &str) -> Result<(), Refusal> {
        let mut dues = Vec::new();
        for (index, value) in line.list("subscriptions")?.into_iter().enumerate() {
            let path = line.name(&format!("subscriptions[{index}]"));
            let mut fields = Fields::of(value, &path)?;
            let filter = fields.text("filter")?;
            let options = SubscriptionOptions {
                qos: fields.qos("qos", 0)?,
                no_local: fields.flag("no_local")?,
                retain_as_published: fields.flag("retain_as_published")?,
                retain_handling: match fields.optional_number("retain_handling", 0, 2)? {
                    Some(1) => RetainHandling::SendIfNew,
                    Some(2) => RetainHandling::DoNotSend,
                    _ => RetainHandling::SendAlways,
                },
            };
            let identifier = fields.optional_u32("identifier", LARGEST_IDENTIFIER)?.unwrap_or(0);
            let change = SessionChange::Subscribed { filter: &filter, options, identifier };
            self.builder.change(client_id, change, &fields.name("filter"))?;
            if let Some(mut due) = fields.object("retained_due")? {
                let place = due.optional_number("place", 0, u64::MAX)?.unwrap_or(0);
                let qos = due.qos("qos", 0)?;
                let identifier = due.optional_u32("identifier", LARGEST_IDENTIFIER)?.unwrap_or(0);
                due.end()?;
                dues.push((place, filter, qos, identifier));
            }
            fields.end()?;
        }
        dues.sort_by_key(|(place, ..)| *place);
        for (_, filter, qos, identifier) in &dues {
            let change = SessionChange::RetainedDue { filter, qos: *qos, identifier: *identifier };
            self.builder.change(client_id, change, "subscriptions")?;
        }
        Ok(())
    }

    fn delivery(&mut self, mut line: Fields) -> Result<(), Refusal> {
        let client_id = line.text("client_id")?;
        let state = line.text("state")?;
        let packet_id = line.packet_id("packet_id")?;
        let (needs_id, confirmed) = match &*state {
            "queued" => (false, false),
            "sent" => (true, false),
            "confirmed" => (true, true),
            _ => {
                let what = format!("{state:?} is none of queued, sent, confirmed");
                return Err(line.wrong("state", what).into());
            }
        };
        match (needs_id, packet_id) {
            (true, None) => return Err(line.wrong("packet_id", "it is missing").into()),
            (false, Some(_)) => {
                return Err(line.wrong("packet_id", "a delivery that is queued has none").into());
            }
            _ => {}
        }
        if confirmed {
            let client_id = &client_id;
            line.end()?;
            let record = DeliveryRecord {
                message: CONFIRMED,
                qos: QoS::ExactlyOnce,
                retain: false,
                identifiers: &[],
                share: None,
            };
            let delivery = NewDelivery { client_id, record, shared: None, packet_id, confirmed };
            return self.builder.delivery(&delivery);
        }
        let qos = line.qos("qos", 1)?;
        let retain = line.flag("retain")?;
        let identifiers = identifiers(&mut line)?;
        let share = line.optional_text("share")?;
        let number = line.optional_number("shared", 1, u64::MAX)?;
        let (shared, message) = match number {
            None => (None, Some(self.message(&mut line)?)),
            Some(number) => match self.shared.take(number) {
                Some((place, message)) => (Some(place), message),
                None => {
                    let what = format!("no line before has the type \"shared\" and the number {number}");
                    return Err(line.wrong("shared", what).into());
                }
            },
        };
        line.end()?;
        let message = message.as_ref().map_or(IN_STORE, Message::record);
        let record =
            DeliveryRecord { message, qos, retain, identifiers: &identifiers, share: share.as_deref() };
        self.builder.delivery(&NewDelivery { client_id: &client_id, record, shared, packet_id, confirmed })
    }
}

fn expiry(line: &mut Fields) -> Result<u32, Wrong> {
    let number = line.optional_u32("expiry", u32::MAX - 1);
    match number {
        Ok(Some(seconds)) => Ok(seconds),
        Ok(None) => Err(line.wrong("expiry", "it is missing: write seconds, or \"never\"")),
        Err(wrong) if wrong.what.starts_with("\"never\" ") => Ok(u32::MAX),
        Err(wrong) => Err(Wrong { what: format!("{}, nor \"never\"", wrong.what), ..wrong }),
    }
}

fn identifiers(line: &mut Fields) -> Result<Vec<u32>, Wrong> {
    let mut identifiers = Vec::new();
    for (index, value) in line.list("identifiers")?.into_iter().enumerate() {
        let number = value.as_u64().and_then(|number| u32::try_from(number).ok());
        match number.filter(|number| (1..=LARGEST_IDENTIFIER).contains(number)) {
            Some(number) => identifiers.push(number),
            None => {
                let what = format!("{value} is not a whole number from 1 to {LARGEST_IDENTIFIER}");
                return Err(line.wrong(&format!("identifiers[{index}]"), what));
            }
        }
    }
    Ok(identifiers)
}

/// A message of a line.
struct Message {
    topic: String,
    properties: Vec<u8>,
    payload: Vec<u8>,
    qos: QoS,
    retain: bool,
    received_at: WallTime,
    expires_at: WallTime,
}

impl Message {
    fn read(fields: &mut Fields, now: WallTime) -> Result<Message, Wrong> {
        let retain = fields.flag("retain")?;
        Ok(Message { retain, ..Message::read_retained(fields, now)? })
    }

    /// A message that was published with RETAIN, as every one that is retained.
    fn read_retained(fields: &mut Fields, now: WallTime) -> Result<Message, Wrong> {
        let topic = fields.text("topic")?;
        let Some(payload) = fields.bytes("payload")? else {
            return Err(fields.wrong("payload", "it is missing: write payload or payload_base64"));
        };
        let qos = fields.qos("qos", 0)?;
        let properties = properties(fields, &payload)?;
        let received_at = fields.time("received")?.unwrap_or(now);
        let expires_at = fields.time("expires")?.unwrap_or(WallTime::NEVER);
        Ok(Message { topic, properties, payload, qos, retain: true, received_at, expires_at })
    }

    fn record(&self) -> MessageRecord<'_> {
        let Message { topic, properties, payload, qos, retain, received_at, expires_at } = self;
        let (qos, retain, received_at) = (*qos, *retain, *received_at);
        MessageRecord { topic, properties, payload, qos, retain, received_at, expires_at: *expires_at }
    }
}

/// The encoded properties.
fn properties(fields: &mut Fields, payload: &[u8]) -> Result<Vec<u8>, Wrong> {
    let mut encoded = Vec::new();
    let mut writer = PropertyWriter::new(&mut encoded);
    if let Some(format) = fields.optional_number("payload_format", 0, 1)? {
        if format == 1 && std::str::from_utf8(payload).is_err() {
            return Err(fields.wrong("payload_format", "1 is for text, and the payload is none"));
        }
        writer.payload_format_indicator(u8::from(format == 1));
    }
    for name in ["content_type", "response_topic"] {
        let Some(text) = fields.optional_text(name)? else {
            continue;
        };
        check_text(&fields.name(name), &text)?;
        if name == "content_type" {
            writer.content_type(&text);
        } else {
            TopicName::parse(&text).map_err(|error| fields.wrong(name, error.cause()))?;
            writer.response_topic(&text);
        }
    }
    if let Some(data) = fields.bytes("correlation_data")? {
        if data.len() > usize::from(u16::MAX) {
            return Err(fields.wrong("correlation_data", "it has more than 65535 bytes"));
        }
        writer.correlation_data(&data);
    }
    for (index, value) in fields.list("user_properties")?.into_iter().enumerate() {
        let name = format!("user_properties[{index}]");
        let pair = match value.as_array().map(Vec::as_slice) {
            Some([Value::String(key), Value::String(value)]) => (key, value),
            _ => return Err(fields.wrong(&name, "this is not a pair: write [\"name\",\"value\"]")),
        };
        check_text(&fields.name(&name), pair.0)?;
        check_text(&fields.name(&name), pair.1)?;
        writer.user_property(pair.0, pair.1);
    }
    Ok(encoded)
}
