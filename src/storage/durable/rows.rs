//! The values of the rows.

use std::hash::Hasher;

use siphasher::sip::SipHasher13;

use crate::codec::packet_id::PacketId;
use crate::codec::qos::QoS;
use crate::storage::durable::decode::optional;
use crate::storage::durable::encode::put_optional;
use crate::storage::durable::wire::{
    DeliveryHead, Malformed, Reader, put_bytes, put_delivery, put_message, put_number,
};
use crate::storage::{DeliveryRecord, MessageRecord, SessionChange};
use crate::time::WallTime;

/// What a session is beside its messages and subscriptions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SessionRow {
    /// The Session Expiry Interval in seconds.
    pub expiry_interval: u32,
    /// The user that it is bound to.
    pub user: Option<Box<str>>,
    /// When its connection ended; `None` while it has one.
    pub detached_at: Option<WallTime>,
    /// Its will, as [`will`] writes it.
    pub will: Option<Box<[u8]>>,
}

impl SessionRow {
    /// A session that has a connection, and no will.
    pub(super) fn new(expiry_interval: u32, user: Option<&str>) -> SessionRow {
        SessionRow { expiry_interval, user: user.map(Into::into), detached_at: None, will: None }
    }

    /// The row of the session of this client.
    pub(super) fn encode(&self, client_id: &str) -> Vec<u8> {
        let mut row = Vec::new();
        put_bytes(&mut row, client_id.as_bytes());
        put_number(&mut row, u64::from(self.expiry_interval));
        put_optional(&mut row, self.user.as_deref());
        // 0 is none.
        put_number(&mut row, self.detached_at.map_or(0, |at| at.as_millis().saturating_add(1)));
        match &self.will {
            None => row.push(0),
            Some(will) => {
                row.push(1);
                row.extend_from_slice(will);
            }
        }
        row
    }

    /// The client and its row.
    pub(super) fn decode(row: &[u8]) -> Result<(&str, SessionRow), Malformed> {
        let mut reader = Reader::new(row);
        let client_id = reader.str()?;
        let expiry_interval = reader.number_u32()?;
        let user = optional(&mut reader)?.map(Into::into);
        let detached_at = reader.number()?.checked_sub(1).map(WallTime::from_millis);
        let will = match reader.byte()? {
            0 => None,
            1 => Some(reader.take(reader.left())?.into()),
            _ => return Err(Malformed),
        };
        Ok((client_id, SessionRow { expiry_interval, user, detached_at, will }))
    }
}

/// The value of a will.
pub(super) fn will(message: &MessageRecord<'_>, delay: u32, expiry: Option<u32>) -> Vec<u8> {
    let mut row = Vec::new();
    put_number(&mut row, u64::from(delay));
    put_number(&mut row, expiry.map_or(0, |seconds| u64::from(seconds) + 1));
    put_message(&mut row, message);
    row
}

/// The change that sets a will of [`will`].
pub(super) fn will_change(row: &[u8]) -> Result<SessionChange<'_>, Malformed> {
    let mut reader = Reader::new(row);
    let (delay, expiry) = (reader.number_u32()?, reader.number()?);
    let expiry = expiry.checked_sub(1).map(u32::try_from).transpose().map_err(|_| Malformed)?;
    Ok(SessionChange::Will { message: reader.message()?.0, delay, expiry })
}

/// The row of a message that deliveries name: with a check, as redb does not look whether a page that it reads is damaged.
pub(super) fn numbered_message(number: u64, record: &MessageRecord<'_>) -> Vec<u8> {
    let mut row = message(record);
    let check = check_of(number, &row);
    row.extend_from_slice(&check.to_le_bytes());
    row
}

/// The message of a row of [`numbered_message`].
pub(super) fn numbered_message_of(number: u64, row: &[u8]) -> Result<MessageRecord<'_>, Malformed> {
    let (row, check) = row.split_last_chunk().ok_or(Malformed)?;
    if check_of(number, row) != u64::from_le_bytes(*check) {
        return Err(Malformed);
    }
    let mut reader = Reader::new(row);
    let (message, _) = reader.message()?;
    if reader.left() == 0 { Ok(message) } else { Err(Malformed) }
}

fn check_of(number: u64, row: &[u8]) -> u64 {
    let mut hasher = SipHasher13::new();
    hasher.write_u64(number);
    hasher.write(row);
    hasher.finish()
}

/// The row of a retained message.
pub(super) fn message(message: &MessageRecord<'_>) -> Vec<u8> {
    let mut row = Vec::new();
    put_message(&mut row, message);
    row
}

/// The row of a delivery of this message.
pub(super) fn delivery(delivery: &DeliveryRecord<'_>, message: u64) -> Vec<u8> {
    let mut row = Vec::new();
    let MessageRecord { topic, properties, payload, expires_at, .. } = delivery.message;
    put_number(&mut row, message);
    put_number(&mut row, (topic.len() + properties.len() + payload.len()) as u64);
    // 0 is never.
    let expires = if expires_at == WallTime::NEVER { 0 } else { expires_at.as_millis().saturating_add(1) };
    put_number(&mut row, expires);
    put_delivery(&mut row, delivery);
    row
}

/// What a row of [`delivery`] says.
pub(super) struct DeliveryRow<'b> {
    /// The number of the message.
    pub message: u64,
    /// Bytes of the message's topic, properties and payload.
    pub bytes: u64,
    /// When the message expires.
    pub expires_at: WallTime,
    /// What the delivery has beside it.
    pub head: DeliveryHead<'b>,
}

impl DeliveryRow<'_> {
    /// Reads a row of [`delivery`].
    pub(super) fn decode(row: &[u8]) -> Result<DeliveryRow<'_>, Malformed> {
        let mut reader = Reader::new(row);
        let (message, bytes) = (reader.number()?, reader.number()?);
        let expires = reader.number()?.checked_sub(1);
        let expires_at = expires.map_or(WallTime::NEVER, WallTime::from_millis);
        Ok(DeliveryRow { message, bytes, expires_at, head: reader.delivery()? })
    }
}

/// The Packet Identifier of a number in a key.
pub(super) fn packet_id(number: u64) -> Result<PacketId, Malformed> {
    u16::try_from(number).ok().and_then(PacketId::new).ok_or(Malformed)
}

/// The row of a delivery in a window.
pub(super) fn window(packet_id: PacketId, confirmed: bool) -> Vec<u8> {
    let [low, high] = packet_id.get().to_le_bytes();
    vec![low, high, u8::from(confirmed)]
}

/// What a row of [`window`] says.
pub(super) fn window_of(row: &[u8]) -> Result<(PacketId, bool), Malformed> {
    let mut reader = Reader::new(row);
    let packet_id = PacketId::new(u16::from_le_bytes(reader.array()?)).ok_or(Malformed)?;
    match reader.byte()? {
        confirmed @ (0 | 1) => Ok((packet_id, confirmed == 1)),
        _ => Err(Malformed),
    }
}

/// The row of a subscription.
pub(super) fn subscription(options: u8, identifier: u32) -> Vec<u8> {
    let mut row = vec![options];
    put_number(&mut row, u64::from(identifier));
    row
}

/// The options' byte and the identifier of a row of [`subscription`].
pub(super) fn subscription_of(row: &[u8]) -> Result<(u8, u32), Malformed> {
    let mut reader = Reader::new(row);
    Ok((reader.byte()?, reader.number_u32()?))
}

/// The row of a subscription whose retained messages are to be sent; `order` says which comes first.
pub(super) fn due(order: u64, qos: QoS, identifier: u32) -> Vec<u8> {
    let mut row = Vec::new();
    put_number(&mut row, order);
    row.push(qos.as_u8());
    put_number(&mut row, u64::from(identifier));
    row
}

/// The order, QoS and identifier of a row of [`due`].
pub(super) fn due_of(row: &[u8]) -> Result<(u64, QoS, u32), Malformed> {
    let mut reader = Reader::new(row);
    let order = reader.number()?;
    Ok((order, QoS::from_u8(reader.byte()?).ok_or(Malformed)?, reader.number_u32()?))
}
