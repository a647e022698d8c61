//! The kinds of settings: which texts they take, and how their values are written.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use crate::config::error::ErrorKind;
use crate::config::value::Value;

/// What a setting's text means, and which values it takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `true` or `false`; also `on`, `off`, `yes` and `no`.
    Bool,
    /// A whole number.
    Integer(Limits),
    /// A number and a unit of time (`ms`, `s`, `m`, `h`, `d`); the limits are in milliseconds.
    Duration(Limits),
    /// A number and a unit of memory (`B`, `KiB`, `MiB`, `GiB`, `KB`, `MB`, `GB`), or plain bytes; the limits are in bytes.
    Size(Limits),
    /// One of these words.
    Choice(&'static [&'static str]),
    /// An address to listen on, `IPv4:port`, `[IPv6]:port` or `localhost:port`, or `off`.
    Address,
    /// Any text without control characters.
    Text,
}

/// The numbers that a setting takes, in the smallest unit of its kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The smallest value.
    pub min: u64,
    /// The largest value.
    pub max: u64,
    /// Every value is a multiple of this.
    pub step: u64,
    /// Whether 0 is taken although it is less than `min`.
    pub zero: bool,
    /// Whether the word for "no bound" is taken: `unlimited`, or `never` for a duration.
    pub absent: bool,
}

/// A text that a kind does not take, and why.
pub(super) struct Refusal {
    pub(super) kind: ErrorKind,
    pub(super) cause: String,
}

/// Units of time in milliseconds, longest first.
const TIME_UNITS: &[(&str, u64)] =
    &[("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)];
/// Units of memory in bytes that values are written in, largest first.
const MEMORY_UNITS: &[(&str, u64)] = &[("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];
/// Units of memory in bytes that are only read.
const DECIMAL_UNITS: &[(&str, u64)] = &[("GB", 1_000_000_000), ("MB", 1_000_000), ("KB", 1000)];

impl Kind {
    /// An integer from `min` to `max`.
    pub(super) const fn integer(min: u64, max: u64) -> Self {
        Kind::Integer(Limits::new(min, max))
    }

    /// A duration from `min` to `max` milliseconds.
    pub(super) const fn duration(min: u64, max: u64) -> Self {
        Kind::Duration(Limits::new(min, max))
    }

    /// A size from `min` to `max` bytes.
    pub(super) const fn size(min: u64, max: u64) -> Self {
        Kind::Size(Limits::new(min, max))
    }

    /// This kind, and 0.
    pub(super) const fn or_zero(self) -> Self {
        self.with_limits(true, false, 1)
    }

    /// This kind, and the word for "no bound".
    pub(super) const fn or_unlimited(self) -> Self {
        self.with_limits(false, true, 1)
    }

    /// This kind, in multiples of `step`.
    pub(super) const fn in_steps_of(self, step: u64) -> Self {
        self.with_limits(false, false, step)
    }

    const fn with_limits(self, zero: bool, absent: bool, step: u64) -> Self {
        match self {
            Kind::Integer(limits) => Kind::Integer(limits.with(zero, absent, step)),
            Kind::Duration(limits) => Kind::Duration(limits.with(zero, absent, step)),
            Kind::Size(limits) => Kind::Size(limits.with(zero, absent, step)),
            other => other,
        }
    }

    /// The kind in one word, for documents.
    pub fn name(&self) -> &'static str {
        match self {
            Kind::Bool => "boolean",
            Kind::Integer(_) => "integer",
            Kind::Duration(_) => "duration",
            Kind::Size(_) => "size",
            Kind::Choice(_) => "choice",
            Kind::Address => "address",
            Kind::Text => "text",
        }
    }

    /// The values that are taken, in words: `0, or 1s to 1d`.
    pub fn range(&self) -> String {
        match self {
            Kind::Bool => "true or false".to_owned(),
            Kind::Integer(limits) | Kind::Size(limits) | Kind::Duration(limits) => self.number_range(limits),
            Kind::Choice(names) => one_of(names),
            Kind::Address => "IPv4:port, [IPv6]:port, localhost:port, or off".to_owned(),
            Kind::Text => "any text without control characters".to_owned(),
        }
    }

    /// The value that `text` stands for; spaces around it do not count.
    pub(super) fn parse(&self, text: &str) -> Result<Value, Refusal> {
        let text = text.trim();
        match self {
            Kind::Bool => parse_bool(text),
            Kind::Integer(limits) => {
                if !is_digits(text.strip_prefix('-').unwrap_or(text)) {
                    return self
                        .absent_or(limits, text, || bad(format!("{} is not an integer", quoted(text))));
                }
                self.bounded(limits, text, text.parse().ok())
            }
            Kind::Duration(limits) => self.parse_duration(limits, text),
            Kind::Size(limits) => self.parse_size(limits, text),
            Kind::Choice(names) => match names.iter().find(|name| **name == text) {
                Some(name) => Ok(Value::Choice(name)),
                None => Err(bad(format!("{} is not one of {}", quoted(text), one_of(names)))),
            },
            Kind::Address => parse_address(text),
            Kind::Text if text.chars().any(char::is_control) => {
                Err(bad(format!("{} has a control character", quoted(text))))
            }
            Kind::Text => Ok(Value::Text(text.to_owned())),
        }
    }

    /// The canonical text of `value`: `parse` gives the same value back.
    pub(super) fn write(&self, value: &Value) -> String {
        match (self, value) {
            (Kind::Size(_), Value::Number(bytes)) => in_largest_unit(*bytes, MEMORY_UNITS),
            (_, Value::Number(number)) => number.to_string(),
            (_, Value::Bool(bool)) => bool.to_string(),
            (_, Value::Duration(time)) => {
                in_largest_unit(u64::try_from(time.as_millis()).unwrap_or(u64::MAX), TIME_UNITS)
            }
            (_, Value::Choice(name)) => (*name).to_owned(),
            (_, Value::Address(address)) => address.to_string(),
            (_, Value::Text(text)) => text.clone(),
            (_, Value::Absent) => self.absent_word().to_owned(),
        }
    }

    fn parse_duration(&self, limits: &Limits, text: &str) -> Result<Value, Refusal> {
        let examples = "examples: 250ms, 30s, 5m, 2h, 7d";
        let (digits, unit) = split_unit(text);
        if is_digits(digits) && unit.is_empty() && !digits.trim_matches('0').is_empty() {
            return Err(bad(format!("{digits} has no unit of time ({examples})")));
        }
        let factor = match TIME_UNITS.iter().find(|(name, _)| *name == unit) {
            Some((_, factor)) => *factor,
            None if is_digits(digits) && unit.is_empty() => 1,
            None => {
                let error = || bad(format!("{} is not a duration ({examples})", quoted(text)));
                return self.absent_or(limits, text, error);
            }
        };
        if !is_digits(digits) {
            return Err(bad(format!("{} is not a duration ({examples})", quoted(text))));
        }
        let millis = digits.parse::<u64>().ok().and_then(|number| number.checked_mul(factor));
        self.bounded(limits, text, millis)
    }

    fn parse_size(&self, limits: &Limits, text: &str) -> Result<Value, Refusal> {
        let (digits, unit) = split_unit(text);
        let factor = match unit {
            "" => Some(1),
            unit => MEMORY_UNITS
                .iter()
                .chain(DECIMAL_UNITS)
                .find(|(name, _)| name.eq_ignore_ascii_case(unit))
                .map(|(_, factor)| *factor),
        };
        match factor {
            Some(factor) if is_digits(digits) => {
                let bytes = digits.parse::<u64>().ok().and_then(|number| number.checked_mul(factor));
                self.bounded(limits, text, bytes)
            }
            _ => self.absent_or(limits, text, || {
                bad(format!("{} is not a size (examples: 512B, 64KiB, 16MiB, 1GiB)", quoted(text)))
            }),
        }
    }

    /// `number` if it is within the limits; `None` stands for one that is too large or too small to hold.
    fn bounded(&self, limits: &Limits, text: &str, number: Option<u64>) -> Result<Value, Refusal> {
        match number {
            Some(number) if limits.take(number) => Ok(match self {
                Kind::Duration(_) => Value::Duration(Duration::from_millis(number)),
                _ => Value::Number(number),
            }),
            _ => Err(Refusal {
                kind: ErrorKind::OutOfRange,
                cause: format!("{} is out of range ({})", clipped(text), self.range()),
            }),
        }
    }

    /// No bound if `text` says so and the limits allow it, else the error.
    fn absent_or(&self, limits: &Limits, text: &str, error: impl Fn() -> Refusal) -> Result<Value, Refusal> {
        if text != self.absent_word() {
            return Err(error());
        }
        if limits.absent {
            return Ok(Value::Absent);
        }
        Err(Refusal {
            kind: ErrorKind::OutOfRange,
            cause: format!("{text} is out of range ({})", self.range()),
        })
    }

    fn absent_word(&self) -> &'static str {
        match self {
            Kind::Duration(_) => "never",
            Kind::Address => "off",
            _ => "unlimited",
        }
    }

    fn number_range(&self, limits: &Limits) -> String {
        let text = |number| match self {
            Kind::Duration(_) => self.write(&Value::Duration(Duration::from_millis(number))),
            _ => self.write(&Value::Number(number)),
        };
        let mut range = format!("{} to {}", text(limits.min), text(limits.max));
        if limits.zero {
            range = format!("0, or {range}");
        }
        if limits.step > 1 {
            range = format!("{range} in steps of {}", text(limits.step));
        }
        if limits.absent {
            range = format!("{range}, or {}", self.absent_word());
        }
        range
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Limits {
    const fn new(min: u64, max: u64) -> Self {
        Self { min, max, step: 1, zero: false, absent: false }
    }

    /// These limits, made wider by `zero` and `absent` and multiplied into steps of `step`.
    const fn with(self, zero: bool, absent: bool, step: u64) -> Self {
        Self {
            zero: self.zero || zero,
            absent: self.absent || absent,
            step: if step > self.step { step } else { self.step },
            ..self
        }
    }

    fn take(&self, number: u64) -> bool {
        let in_range = (self.min..=self.max).contains(&number) || (number == 0 && self.zero);
        in_range && number.is_multiple_of(self.step)
    }
}

fn parse_bool(text: &str) -> Result<Value, Refusal> {
    match text {
        "true" | "on" | "yes" => Ok(Value::Bool(true)),
        "false" | "off" | "no" => Ok(Value::Bool(false)),
        _ => Err(bad(format!("{} is neither true nor false", quoted(text)))),
    }
}

fn parse_address(text: &str) -> Result<Value, Refusal> {
    if text == "off" {
        return Ok(Value::Absent);
    }
    let address = match text.strip_prefix("localhost:") {
        Some(port) if is_digits(port) => {
            port.parse().ok().map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
        }
        _ => text.parse().ok(),
    };
    address.map(Value::Address).ok_or_else(|| {
        bad(format!(
            "{} is not an address (examples: 127.0.0.1:1883, [::1]:1883, localhost:1883, off)",
            quoted(text)
        ))
    })
}

fn bad(cause: String) -> Refusal {
    Refusal { kind: ErrorKind::BadValue, cause }
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// The leading digits of `text`, and what follows them without the space between.
fn split_unit(text: &str) -> (&str, &str) {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, unit) = text.split_at(end);
    (digits, unit.trim_start())
}

/// `number` in the largest of the units that divides it.
fn in_largest_unit(number: u64, units: &[(&str, u64)]) -> String {
    match units.iter().find(|(_, factor)| number != 0 && number.is_multiple_of(*factor)) {
        Some((name, factor)) => format!("{}{name}", number / factor),
        None => number.to_string(),
    }
}

fn one_of(names: &[&str]) -> String {
    match names {
        [before @ .., last] if !before.is_empty() => format!("{} or {last}", before.join(", ")),
        _ => names.concat(),
    }
}

/// `text` in quotation marks, escaped and clipped so that an error stays one readable line.
pub(super) fn quoted(text: &str) -> String {
    format!("{:?}", clipped(text))
}

fn clipped(text: &str) -> String {
    const LONGEST: usize = 60;
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}...", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}
