//! `export`: what a store holds, as lines of JSON. docs/storage.md describes them.

use std::io::{self, Write};
use std::sync::Arc;

use hashbrown::HashMap;

use crate::codec::properties::Properties;
use crate::codec::subscribe::RetainHandling;
use crate::storage::durable::disk::Disk;
use crate::storage::durable::tools::check::Reading;
use crate::storage::durable::tools::date;
use crate::storage::durable::tools::line::{Object, put_text};
use crate::storage::durable::tools::reading::{
    DeliveryItem, DeliveryState, DueItem, Item, SessionItem, SubscriptionItem, read,
};
use crate::storage::{DeliveryRecord, MessageRecord, StoreError};
use crate::time::WallTime;

/// The format of the lines.
pub(super) const FORMAT: u64 = 1;

/// Why a store could not be exported.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The store cannot be read.
    #[error("{0}")]
    Store(#[from] StoreError),
    /// The lines cannot be written.
    #[error("the export cannot be written: {0}")]
    Write(#[from] io::Error),
}

/// Writes everything that the store of a disk holds, a line each. The store's files stay what they are.
///
/// # Errors
/// The store cannot be read, or `out` cannot be written.
pub fn export(disk: Arc<dyn Disk>, out: &mut dyn Write) -> Result<(), ExportError> {
    let Reading { tables, .. } = Reading::open(disk)?;
    let mut export = Export { out, line: String::new(), shared: HashMap::new() };
    export.line("store", |line| line.number("format", FORMAT))?;
    read(&tables, &mut |item| export.item(&item))?;
    Ok(export.out.flush()?)
}

struct Export<'o> {
    out: &'o mut dyn Write,
    line: String,
    /// The numbers in the export of messages that several deliveries name.
    shared: HashMap<u64, u64>,
}

impl Export<'_> {
    fn line(&mut self, kind: &str, fields: impl FnOnce(&mut Object<'_>)) -> Result<(), ExportError> {
        self.line.clear();
        Object::write(&mut self.line, |line| {
            line.text("type", kind);
            fields(line);
        });
        self.line.push('\n');
        Ok(self.out.write_all(self.line.as_bytes())?)
    }

    fn item(&mut self, item: &Item<'_>) -> Result<(), ExportError> {
        match item {
            Item::Retained(message) => self.line("retained", |line| put_message(line, message, Flags::No)),
            Item::Session(session) => self.line("session", |line| put_session(line, session)),
            Item::Delivery(delivery) => self.delivery(delivery),
        }
    }

    fn delivery(&mut self, delivery: &DeliveryItem<'_>) -> Result<(), ExportError> {
        let shared = match (&delivery.record, delivery.shared) {
            (Some(record), Some(number)) => Some(self.shared(number, &record.message)?),
            _ => None,
        };
        self.line("delivery", |line| {
            line.text("client_id", delivery.client_id);
            let (state, packet_id) = match delivery.state {
                DeliveryState::Queued => ("queued", None),
                DeliveryState::Sent(packet_id) => ("sent", Some(packet_id)),
                DeliveryState::Confirmed(packet_id) => ("confirmed", Some(packet_id)),
            };
            line.text("state", state);
            if let Some(packet_id) = packet_id {
                line.number("packet_id", u64::from(packet_id.get()));
            }
            if let Some(record) = &delivery.record {
                put_delivery(line, record);
                match shared {
                    Some(number) => line.number("shared", number),
                    None => line.object("message", |line| put_message(line, &record.message, Flags::Yes)),
                }
            }
        })
    }

    /// The number of a message that several deliveries name; before the first of them it gets a line.
    fn shared(&mut self, number: u64, message: &MessageRecord<'_>) -> Result<u64, ExportError> {
        if let Some(known) = self.shared.get(&number) {
            return Ok(*known);
        }
        let next = self.shared.len() as u64 + 1;
        self.shared.insert(number, next);
        self.line("shared", |line| {
            line.number("number", next);
            line.object("message", |line| put_message(line, message, Flags::Yes));
        })?;
        Ok(next)
    }
}

fn put_session(line: &mut Object<'_>, session: &SessionItem<'_>) {
    line.text("client_id", session.client_id);
    line.optional_text("user", session.user);
    match session.expiry_interval {
        u32::MAX => line.text("expiry", "never"),
        seconds => line.number("expiry", u64::from(seconds)),
    }
    if let Some(at) = session.detached_at {
        line.text("disconnected", &date::format(at));
    }
    let mut places: Vec<u64> = session.subscriptions.iter().filter_map(|one| Some(one.due?.order)).collect();
    places.sort_unstable();
    line.list("subscriptions", &session.subscriptions, |out, subscription| {
        Object::write(out, |line| put_subscription(line, subscription, &places));
    });
    let received = session.received.iter().map(|packet_id| packet_id.get());
    line.list("received", received, |out, packet_id| out.push_str(&packet_id.to_string()));
    if let Some(will) = &session.will {
        line.object("will", |line| {
            line.number("delay", u64::from(will.delay));
            if let Some(seconds) = will.expiry {
                line.number("message_expiry", u64::from(seconds));
            }
            line.object("message", |line| put_message(line, &will.message, Flags::Yes));
        });
    }
}

fn put_subscription(line: &mut Object<'_>, subscription: &SubscriptionItem, places: &[u64]) {
    let SubscriptionItem { filter, options, identifier, due } = subscription;
    line.text("filter", filter);
    line.number("qos", u64::from(options.qos.as_u8()));
    line.flag("no_local", options.no_local);
    line.flag("retain_as_published", options.retain_as_published);
    if options.retain_handling != RetainHandling::SendAlways {
        line.number("retain_handling", options.retain_handling as u64);
    }
    if *identifier != 0 {
        line.number("identifier", u64::from(*identifier));
    }
    if let Some(DueItem { order, qos, identifier }) = due {
        line.object("retained_due", |line| {
            let place = places.iter().filter(|other| *other <= order).count();
            line.number("place", place as u64);
            line.number("qos", u64::from(qos.as_u8()));
            if *identifier != 0 {
                line.number("identifier", u64::from(*identifier));
            }
        });
    }
}

fn put_delivery(line: &mut Object<'_>, record: &DeliveryRecord<'_>) {
    line.number("qos", u64::from(record.qos.as_u8()));
    line.flag("retain", record.retain);
    let identifiers = record.identifiers.iter();
    line.list("identifiers", identifiers, |out, identifier| out.push_str(&identifier.to_string()));
    line.optional_text("share", record.share);
}

/// Whether the RETAIN flag of a message is written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Flags {
    Yes,
    No,
}

fn put_message(line: &mut Object<'_>, message: &MessageRecord<'_>, flags: Flags) {
    line.text("topic", message.topic);
    line.bytes("payload", message.payload);
    line.number("qos", u64::from(message.qos.as_u8()));
    line.flag("retain", message.retain && flags == Flags::Yes);
    put_properties(line, message.properties);
    line.text("received", &date::format(message.received_at));
    if message.expires_at != WallTime::NEVER {
        line.text("expires", &date::format(message.expires_at));
    }
}

fn put_properties(line: &mut Object<'_>, encoded: &[u8]) {
    let Ok(properties) = Properties::from_encoded(encoded) else {
        // `read` has checked them.
        return;
    };
    // In this order always, so that an import that is exported again gives the same lines.
    if let Some(format) = properties.payload_format_indicator() {
        line.number("payload_format", u64::from(format));
    }
    line.optional_text("content_type", properties.content_type());
    line.optional_text("response_topic", properties.response_topic());
    if let Some(data) = properties.correlation_data() {
        line.bytes("correlation_data", data);
    }
    line.list("user_properties", properties.user_properties(), |out, (name, value)| {
        out.push('[');
        put_text(out, name);
        out.push(',');
        put_text(out, value);
        out.push(']');
    });
}
