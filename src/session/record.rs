//! Conversion of messages to the store's records, and back.

use std::sync::Arc;

use crate::message::{Message, SharedMessage};
use crate::session::delivery::DeliveryOptions;
use crate::session::pending::Pending;
use crate::storage::{DeliveryRecord, MessageRecord};
use crate::time::WallClock;

/// The record of a message.
pub fn message_record(message: &Message, clock: WallClock) -> MessageRecord<'_> {
    MessageRecord {
        topic: message.topic(),
        properties: message.properties_bytes(),
        payload: message.payload(),
        qos: message.qos(),
        retain: message.retain(),
        received_at: clock.wall(message.received_at()),
        expires_at: clock.wall(message.expires_at()),
    }
}

/// The message of a record.
pub fn message_of(record: &MessageRecord<'_>, clock: WallClock) -> SharedMessage {
    Arc::new(Message::new(
        record.topic.as_bytes(),
        &[record.properties],
        record.payload,
        record.qos,
        record.retain,
        clock.time(record.received_at),
        clock.time(record.expires_at),
    ))
}

/// The record of a message for one session.
pub(super) fn delivery_record(pending: &Pending, clock: WallClock) -> DeliveryRecord<'_> {
    let DeliveryOptions { qos, retain, identifiers, share } = pending.options();
    let message = message_record(&pending.message, clock);
    DeliveryRecord { message, qos, retain, identifiers, share: share.map(|share| &**share) }
}
