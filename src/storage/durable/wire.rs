//! The bytes of the store: numbers of variable length, strings and messages, written and read.

use crate::codec::qos::QoS;
use crate::storage::{DeliveryRecord, MessageRecord};
use crate::time::WallTime;

/// The bytes of a message before its topic: flags, times and lengths.
const HEAD: usize = 27;
/// The bit of a message's flags that says RETAIN.
const RETAIN: u8 = 0x04;
/// The bit of a message's flags that says that several deliveries of its group name it.
pub(super) const SHARED: u8 = 0x80;

/// Bytes that are not what the store writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("bytes end within an entry, or are none")]
pub struct Malformed;

/// Appends a number, seven bits a byte, the lowest first.
pub(super) fn put_number(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// Appends a length and bytes.
pub(super) fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_number(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Appends a message.
pub(super) fn put_message(out: &mut Vec<u8>, message: &MessageRecord<'_>) {
    out.reserve(HEAD + message.topic.len() + message.properties.len() + message.payload.len());
    out.extend_from_slice(&head_of(message));
    out.extend_from_slice(message.topic.as_bytes());
    out.extend_from_slice(message.properties);
    out.extend_from_slice(message.payload);
}

/// Whether `encoded` begins with this message; whether it is shared makes no difference.
pub(super) fn is_message(encoded: &[u8], message: &MessageRecord<'_>) -> bool {
    let head = head_of(message);
    let Some((flags, rest)) = encoded.split_first() else {
        return false;
    };
    let parts = [head.get(1..).unwrap_or_default(), message.topic.as_bytes(), message.properties];
    let rest = parts.iter().try_fold(rest, |rest, part| rest.strip_prefix(*part));
    head.first() == Some(&(flags & !SHARED)) && rest.is_some_and(|rest| rest.starts_with(message.payload))
}

fn head_of(message: &MessageRecord<'_>) -> [u8; HEAD] {
    let mut head = [0; HEAD];
    let flags = message.qos.as_u8() | if message.retain { RETAIN } else { 0 };
    let lengths = [message.properties.len() as u32, message.payload.len() as u32];
    let fields = [flags]
        .into_iter()
        .chain(message.received_at.as_millis().to_le_bytes())
        .chain(message.expires_at.as_millis().to_le_bytes())
        .chain((message.topic.len() as u16).to_le_bytes())
        .chain(lengths.into_iter().flat_map(u32::to_le_bytes));
    head.iter_mut().zip(fields).for_each(|(to, from)| *to = from);
    head
}

/// Appends what a delivery has beside its message.
pub(super) fn put_delivery(out: &mut Vec<u8>, delivery: &DeliveryRecord<'_>) {
    let has = |has: bool, bit: u8| if has { bit } else { 0 };
    out.push(delivery.qos.as_u8() | has(delivery.retain, RETAIN) | has(delivery.share.is_some(), 0x08));
    put_number(out, delivery.identifiers.len() as u64);
    delivery.identifiers.iter().for_each(|identifier| put_number(out, u64::from(*identifier)));
    if let Some(share) = delivery.share {
        put_bytes(out, share.as_bytes());
    }
}

/// What a delivery has beside its message.
#[derive(Clone, Debug)]
pub(super) struct DeliveryHead<'b> {
    /// The QoS of the delivery.
    pub qos: QoS,
    /// Its RETAIN flag.
    pub retain: bool,
    /// Its Subscription Identifiers.
    pub identifiers: Vec<u32>,
    /// The filter of the shared subscription.
    pub share: Option<&'b str>,
}

/// Reads from the front of bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reader<'b> {
    bytes: &'b [u8],
}

impl<'b> Reader<'b> {
    /// A reader of all of `bytes`.
    pub(super) fn new(bytes: &'b [u8]) -> Reader<'b> {
        Reader { bytes }
    }

    /// How many bytes are left.
    pub(super) fn left(&self) -> usize {
        self.bytes.len()
    }

    /// The next `len` bytes.
    pub(super) fn take(&mut self, len: usize) -> Result<&'b [u8], Malformed> {
        let (taken, rest) = self.bytes.split_at_checked(len).ok_or(Malformed)?;
        self.bytes = rest;
        Ok(taken)
    }

    pub(super) fn byte(&mut self) -> Result<u8, Malformed> {
        self.array().map(|[byte]| byte)
    }

    /// The next `N` bytes.
    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        self.take(N)?.try_into().map_err(|_| Malformed)
    }

    pub(super) fn number(&mut self) -> Result<u64, Malformed> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                return Err(Malformed);
            }
            number |= bits << shift;
            if byte < 0x80 {
                return Ok(number);
            }
        }
        Err(Malformed)
    }

    pub(super) fn number_u32(&mut self) -> Result<u32, Malformed> {
        self.number()?.try_into().map_err(|_| Malformed)
    }

    /// A length and as many bytes.
    pub(super) fn bytes(&mut self) -> Result<&'b [u8], Malformed> {
        let len = self.number()?.try_into().map_err(|_| Malformed)?;
        self.take(len)
    }

    /// A length and a string of as many bytes.
    pub(super) fn str(&mut self) -> Result<&'b str, Malformed> {
        std::str::from_utf8(self.bytes()?).map_err(|_| Malformed)
    }

    /// A message, and whether it is shared.
    pub(super) fn message(&mut self) -> Result<(MessageRecord<'b>, bool), Malformed> {
        let flags = self.byte()?;
        let received_at = WallTime::from_millis(u64::from_le_bytes(self.array()?));
        let expires_at = WallTime::from_millis(u64::from_le_bytes(self.array()?));
        let topic = usize::from(u16::from_le_bytes(self.array()?));
        let properties = u32::from_le_bytes(self.array()?) as usize;
        let payload = u32::from_le_bytes(self.array()?) as usize;
        let message = MessageRecord {
            qos: QoS::from_u8(flags & 3).ok_or(Malformed)?,
            retain: flags & RETAIN != 0,
            received_at,
            expires_at,
            topic: std::str::from_utf8(self.take(topic)?).map_err(|_| Malformed)?,
            properties: self.take(properties)?,
            payload: self.take(payload)?,
        };
        Ok((message, flags & SHARED != 0))
    }

    /// What a delivery has beside its message.
    pub(super) fn delivery(&mut self) -> Result<DeliveryHead<'b>, Malformed> {
        let flags = self.byte()?;
        let count = self.number()?;
        if count > self.left() as u64 {
            return Err(Malformed);
        }
        let identifiers = (0..count).map(|_| self.number_u32()).collect::<Result<_, _>>()?;
        let share = if flags & 0x08 != 0 { Some(self.str()?) } else { None };
        let qos = QoS::from_u8(flags & 3).ok_or(Malformed)?;
        Ok(DeliveryHead { qos, retain: flags & RETAIN != 0, identifiers, share })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::{Malformed, Reader, is_message, put_message, put_number};
    use crate::codec::qos::QoS;
    use crate::storage::MessageRecord;
    use crate::time::WallTime;

    #[test]
    fn a_number_of_any_size_is_read_back() {
        for number in [0, 1, 127, 128, 16_383, 16_384, u64::from(u32::MAX), u64::MAX] {
            let mut bytes = Vec::new();
            put_number(&mut bytes, number);
            assert_eq!(Reader::new(&bytes).number(), Ok(number));
            assert_eq!(Reader::new(&bytes[..bytes.len() - 1]).number(), Err(Malformed));
        }
        assert_eq!(Reader::new(&[0xff; 10]).number(), Err(Malformed));
        assert_eq!(
            Reader::new(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2]).number(),
            Err(Malformed)
        );
    }

    #[test]
    fn a_message_is_read_back_and_only_its_own_bytes_are_it() {
        let message = MessageRecord {
            topic: "a/b",
            properties: b"pp",
            payload: b"payload",
            qos: QoS::ExactlyOnce,
            retain: true,
            received_at: WallTime::from_millis(7),
            expires_at: WallTime::NEVER,
        };
        let mut bytes = Vec::new();
        put_message(&mut bytes, &message);
        assert_eq!(Reader::new(&bytes).message(), Ok((message, false)));
        assert!(is_message(&bytes, &message));
        for changed in [
            MessageRecord { topic: "a/c", ..message },
            MessageRecord { properties: b"ppp", payload: b"ayload", ..message },
            MessageRecord { payload: b"payloae", ..message },
            MessageRecord { qos: QoS::AtLeastOnce, ..message },
            MessageRecord { retain: false, ..message },
            MessageRecord { received_at: WallTime::from_millis(8), ..message },
            MessageRecord { expires_at: WallTime::from_millis(8), ..message },
        ] {
            assert!(!is_message(&bytes, &changed), "{changed:?}");
        }
        for len in 0..bytes.len() {
            assert_eq!(Reader::new(&bytes[..len]).message(), Err(Malformed));
        }
    }
}
