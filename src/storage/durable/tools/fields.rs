//! The fields of a JSON object, taken one by one: each has a type, and none may be left.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};

use crate::codec::packet_id::PacketId;
use crate::codec::qos::QoS;
use crate::storage::durable::tools::builder::Wrong;
use crate::storage::durable::tools::date;
use crate::time::WallTime;

/// An object that is read.
pub(super) struct Fields {
    /// What stands before the name of a field: nothing, or `message.`.
    path: String,
    map: Map<String, Value>,
}

impl Fields {
    /// The fields of `value`, whose name is `path`.
    pub(super) fn of(value: Value, path: &str) -> Result<Fields, Wrong> {
        let before = if path.is_empty() { String::new() } else { format!("{path}.") };
        match value {
            Value::Object(map) => Ok(Fields { path: before, map }),
            _ => Err(Wrong::new(path, "this is not an object: write {...}")),
        }
    }

    /// The whole name of a field.
    pub(super) fn name(&self, name: &str) -> String {
        format!("{}{name}", self.path)
    }

    /// The error of a field.
    pub(super) fn wrong(&self, name: &str, what: impl Into<String>) -> Wrong {
        Wrong { field: self.name(name), what: what.into() }
    }

    fn take(&mut self, name: &str) -> Option<Value> {
        self.map.remove(name).filter(|value| !value.is_null())
    }

    fn required<T>(&self, name: &str, value: Option<T>) -> Result<T, Wrong> {
        value.ok_or_else(|| self.wrong(name, "it is missing"))
    }

    /// A text that must be there.
    pub(super) fn text(&mut self, name: &str) -> Result<String, Wrong> {
        let text = self.optional_text(name)?;
        self.required(name, text)
    }

    /// A text that may be absent.
    pub(super) fn optional_text(&mut self, name: &str) -> Result<Option<String>, Wrong> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(self.wrong(name, "this is not a text: write \"...\"")),
        }
    }

    /// A number from `least` to `most` that may be absent.
    pub(super) fn optional_number(
        &mut self,
        name: &str,
        least: u64,
        most: u64,
    ) -> Result<Option<u64>, Wrong> {
        let Some(value) = self.take(name) else {
            return Ok(None);
        };
        match value.as_u64().filter(|number| (least..=most).contains(number)) {
            Some(number) => Ok(Some(number)),
            None => {
                let what = format!("{value} is not a whole number from {least} to {most}");
                Err(self.wrong(name, what))
            }
        }
    }

    /// A number that must be there.
    pub(super) fn number(&mut self, name: &str, least: u64, most: u64) -> Result<u64, Wrong> {
        let number = self.optional_number(name, least, most)?;
        self.required(name, number)
    }

    /// A number of 32 bits that may be absent.
    pub(super) fn optional_u32(&mut self, name: &str, most: u32) -> Result<Option<u32>, Wrong> {
        let number = self.optional_number(name, 0, u64::from(most))?;
        Ok(number.and_then(|number| u32::try_from(number).ok()))
    }

    /// A QoS from `least` on.
    pub(super) fn qos(&mut self, name: &str, least: u64) -> Result<QoS, Wrong> {
        let number = self.number(name, least, 2)?;
        let qos = u8::try_from(number).ok().and_then(QoS::from_u8);
        qos.ok_or_else(|| self.wrong(name, "this is not a QoS"))
    }

    /// A Packet Identifier that may be absent.
    pub(super) fn packet_id(&mut self, name: &str) -> Result<Option<PacketId>, Wrong> {
        let number = self.optional_number(name, 1, 65_535)?;
        Ok(number.and_then(|number| u16::try_from(number).ok()).and_then(PacketId::new))
    }

    /// Whether a flag is there and true.
    pub(super) fn flag(&mut self, name: &str) -> Result<bool, Wrong> {
        match self.take(name) {
            None => Ok(false),
            Some(Value::Bool(flag)) => Ok(flag),
            Some(value) => Err(self.wrong(name, format!("{value} is neither true nor false"))),
        }
    }

    /// A time that may be absent.
    pub(super) fn time(&mut self, name: &str) -> Result<Option<WallTime>, Wrong> {
        let Some(text) = self.optional_text(name)? else {
            return Ok(None);
        };
        match date::parse(&text) {
            Some(time) => Ok(Some(time)),
            None => {
                let what = format!("{text:?} is not a time: write it like 2026-11-30T20:15:00.000Z");
                Err(self.wrong(name, what))
            }
        }
    }

    /// Bytes that may be absent: a text, or base64 in a field whose name says so.
    pub(super) fn bytes(&mut self, name: &str) -> Result<Option<Vec<u8>>, Wrong> {
        let name_of_base64 = format!("{name}_base64");
        let (text, base64) = (self.optional_text(name)?, self.optional_text(&name_of_base64)?);
        match (text, base64) {
            (text, None) => Ok(text.map(String::into_bytes)),
            (Some(_), Some(_)) => {
                Err(self.wrong(name, format!("{name} and {name_of_base64} are both there: leave one out")))
            }
            (None, Some(base64)) => match STANDARD.decode(base64) {
                Ok(bytes) => Ok(Some(bytes)),
                Err(error) => Err(self.wrong(&name_of_base64, format!("this is not base64: {error}"))),
            },
        }
    }

    /// A list; one that is absent is empty.
    pub(super) fn list(&mut self, name: &str) -> Result<Vec<Value>, Wrong> {
        match self.take(name) {
            None => Ok(Vec::new()),
            Some(Value::Array(values)) => Ok(values),
            Some(_) => Err(self.wrong(name, "this is not a list: write [...]")),
        }
    }

    /// An object that may be absent.
    pub(super) fn object(&mut self, name: &str) -> Result<Option<Fields>, Wrong> {
        let path = self.name(name);
        self.take(name).map(|value| Fields::of(value, &path)).transpose()
    }

    /// An object that must be there.
    pub(super) fn required_object(&mut self, name: &str) -> Result<Fields, Wrong> {
        let object = self.object(name)?;
        self.required(name, object)
    }

    /// The error of a field that nobody has taken.
    pub(super) fn end(self) -> Result<(), Wrong> {
        match self.map.keys().next() {
            None => Ok(()),
            Some(name) => Err(self.wrong(name, "there is no such field here")),
        }
    }
}
