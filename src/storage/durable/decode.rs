//! Changes from the bytes of a record.

use crate::codec::packet_id::PacketId;
use crate::codec::qos::QoS;
use crate::codec::subscribe::SubscriptionOptions;
use crate::codec::version::Version;
use crate::storage::durable::encode::{SAME_SESSION, SAME_TIME, tag};
use crate::storage::durable::wire::{Malformed, Reader};
use crate::storage::{Change, DeliveryRecord, SessionChange};
use crate::time::WallTime;

/// A change, and where its message stands.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry<'b> {
    /// When it happened.
    pub at: WallTime,
    /// The change.
    pub change: Change<'b>,
    /// Of a delivery whose message other deliveries of the record may name: where the message stands.
    pub shared: Option<usize>,
}

/// Gives every change of a record to `see`, in order.
///
/// # Errors
/// The bytes are not those of changes, or `see` has failed.
pub(super) fn decode<E: From<Malformed>>(
    record: &[u8],
    mut see: impl FnMut(Entry<'_>) -> Result<(), E>,
) -> Result<(), E> {
    let mut decoder = Decoder { record, reader: Reader::new(record), at: WallTime::default(), session: "" };
    while decoder.reader.left() > 0 {
        decoder.entry(&mut see)?;
    }
    Ok(())
}

struct Decoder<'b> {
    record: &'b [u8],
    reader: Reader<'b>,
    at: WallTime,
    session: &'b str,
}

impl<'b> Decoder<'b> {
    fn entry<E: From<Malformed>>(
        &mut self,
        see: &mut impl FnMut(Entry<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let first = self.reader.byte()?;
        if first & SAME_TIME == 0 {
            self.at = WallTime::from_millis(self.reader.number()?);
        }
        let number = first & !(SAME_TIME | SAME_SESSION);
        let at = self.at;
        let plain = |change| Entry { at, change, shared: None };
        match number {
            tag::RETAINED => return see(plain(Change::Retained(self.reader.message()?.0))),
            tag::CLEARED => return see(plain(Change::Cleared { topic: self.reader.str()? })),
            _ => {}
        }
        if first & SAME_SESSION == 0 {
            self.session = self.reader.str()?;
        }
        let client_id = self.session;
        if number != tag::QUEUED {
            let change = self.session_change(number)?;
            return see(plain(Change::Session { client_id, change }));
        }
        let head = self.reader.delivery()?;
        let (message, shared) = self.named_message()?;
        let (qos, retain, share) = (head.qos, head.retain, head.share);
        let delivery = DeliveryRecord { message, qos, retain, identifiers: &head.identifiers, share };
        let change = Change::Session { client_id, change: SessionChange::Queued(delivery) };
        see(Entry { at, change, shared })
    }

    /// The message of a delivery, and where it stands if it is shared.
    fn named_message(&mut self) -> Result<(crate::storage::MessageRecord<'b>, Option<usize>), Malformed> {
        let here = self.record.len() - self.reader.left();
        let back = self.reader.number()?;
        if back == 0 {
            let at = self.record.len() - self.reader.left();
            let (message, shared) = self.reader.message()?;
            return Ok((message, shared.then_some(at)));
        }
        let at = usize::try_from(back).ok().and_then(|back| here.checked_sub(back)).ok_or(Malformed)?;
        let encoded = self.record.get(at..).ok_or(Malformed)?;
        let (message, shared) = Reader::new(encoded).message()?;
        if shared { Ok((message, Some(at))) } else { Err(Malformed) }
    }

    fn session_change(&mut self, number: u8) -> Result<SessionChange<'b>, Malformed> {
        use SessionChange as S;
        let reader = &mut self.reader;
        Ok(match number {
            tag::BEGUN => S::Begun { expiry_interval: reader.number_u32()?, user: optional(reader)? },
            tag::ATTACHED => S::Attached { expiry_interval: reader.number_u32()?, user: optional(reader)? },
            tag::DETACHED => S::Detached { expiry_interval: reader.number_u32()? },
            tag::ENDED => S::Ended,
            tag::SUBSCRIBED => S::Subscribed {
                filter: reader.str()?,
                options: options(reader.byte()?)?,
                identifier: reader.number_u32()?,
            },
            tag::UNSUBSCRIBED => S::Unsubscribed { filter: reader.str()? },
            tag::RETAINED_DUE => S::RetainedDue {
                filter: reader.str()?,
                qos: QoS::from_u8(reader.byte()?).ok_or(Malformed)?,
                identifier: reader.number_u32()?,
            },
            tag::RETAINED_SENT => S::RetainedSent { filter: reader.str()? },
            tag::DROPPED => S::Dropped { index: reader.number()?.try_into().map_err(|_| Malformed)? },
            tag::SENT => S::Sent { packet_id: packet_id(reader)? },
            tag::CONFIRMED => S::Confirmed { packet_id: packet_id(reader)? },
            tag::DONE => S::Done { packet_id: packet_id(reader)? },
            tag::RECEIVED => S::Received { packet_id: packet_id(reader)? },
            tag::RELEASED => S::Released { packet_id: packet_id(reader)? },
            tag::WILL => {
                let (delay, expiry) = (reader.number_u32()?, reader.number()?);
                let expiry = expiry.checked_sub(1).map(u32::try_from).transpose().map_err(|_| Malformed)?;
                S::Will { message: reader.message()?.0, delay, expiry }
            }
            tag::WILL_CLEARED => S::WillCleared,
            _ => return Err(Malformed),
        })
    }
}

/// Subscription Options of their byte in MQTT 5.
pub(super) fn options(byte: u8) -> Result<SubscriptionOptions, Malformed> {
    SubscriptionOptions::from_byte(byte, Version::V5).map_err(|_| Malformed)
}

/// A string that may be absent.
pub(super) fn optional<'b>(reader: &mut Reader<'b>) -> Result<Option<&'b str>, Malformed> {
    match reader.byte()? {
        0 => Ok(None),
        1 => reader.str().map(Some),
        _ => Err(Malformed),
    }
}

fn packet_id(reader: &mut Reader<'_>) -> Result<PacketId, Malformed> {
    PacketId::new(u16::from_le_bytes(reader.array()?)).ok_or(Malformed)
}
