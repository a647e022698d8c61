//! One chunk of the file.

use crate::codec::properties::Properties;
use crate::codec::qos::QoS;
use crate::codec::topic::TopicName;
use crate::storage::durable::tools::import::ImportError;
use crate::storage::durable::tools::mosquitto::content::Message;
use crate::time::WallTime;

/// A part of the file that is read.
pub(super) struct Chunk<'b> {
    pub(super) bytes: &'b [u8],
    /// Where it begins in the file.
    pub(super) start: u64,
    /// Bytes that were taken.
    pub(super) at: u64,
}

impl<'b> Chunk<'b> {
    pub(super) fn wrong(&self, what: &str) -> ImportError {
        ImportError::Mosquitto { offset: self.start + self.at, what: what.to_owned() }
    }

    pub(super) fn take(&mut self, len: usize) -> Result<&'b [u8], ImportError> {
        let Some((taken, rest)) = self.bytes.split_at_checked(len) else {
            return Err(self.wrong("a part of the file ends too early"));
        };
        self.bytes = rest;
        self.at += len as u64;
        Ok(taken)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], ImportError> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    pub(super) fn u8(&mut self) -> Result<u8, ImportError> {
        self.array().map(|[byte]| byte)
    }

    pub(super) fn u16(&mut self) -> Result<u16, ImportError> {
        self.array().map(u16::from_be_bytes)
    }

    pub(super) fn u32(&mut self) -> Result<u32, ImportError> {
        self.array().map(u32::from_be_bytes)
    }

    pub(super) fn i64(&mut self) -> Result<i64, ImportError> {
        self.array().map(i64::from_le_bytes)
    }

    pub(super) fn id(&mut self) -> Result<u64, ImportError> {
        self.array().map(u64::from_le_bytes)
    }

    pub(super) fn qos(&mut self) -> Result<QoS, ImportError> {
        let number = self.u8()?;
        QoS::from_u8(number).ok_or_else(|| self.wrong(&format!("{number} is not a QoS")))
    }

    pub(super) fn text(&mut self, len: u16) -> Result<String, ImportError> {
        let bytes = self.take(usize::from(len))?;
        match std::str::from_utf8(bytes) {
            Ok(text) => Ok(text.to_owned()),
            Err(_) => Err(self.wrong("a text is not UTF-8")),
        }
    }

    /// Properties with their length, if anything is left.
    pub(super) fn properties(&mut self) -> Result<Properties<'b>, ImportError> {
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

    pub(super) fn configuration(mut self) -> Result<(), ImportError> {
        self.take(9)?;
        match self.u8()? {
            8 => Ok(()),
            size => {
                Err(self.wrong(&format!("numbers of messages have {size} bytes, and only 8 can be read")))
            }
        }
    }

    pub(super) fn message(mut self) -> Result<(u64, Message), ImportError> {
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
