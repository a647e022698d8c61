//! The kinds of settings, and the values that each allows.

use std::fmt;
use std::time::Duration;

use crate::config::value::Value;

/// What a setting's text means, and which values it allows.
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
    /// The same, or a Unix domain socket, `unix:/path` or `unix:@name`, or `systemd`.
    ListenAddress,
    /// The rights of a file in octal digits, such as `0660`.
    Mode,
    /// Any text without control characters.
    Text,
    /// Any text without control characters, for a password: the console does not show it.
    Secret,
}

/// The numbers that a setting allows, in the smallest unit of its kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The smallest value.
    pub min: u64,
    /// The largest value.
    pub max: u64,
    /// Every value is a multiple of this.
    pub step: u64,
    /// Whether 0 is allowed although it is less than `min`.
    pub zero: bool,
    /// Whether the word for "no limit" is allowed: `unlimited`, or `never` for a duration.
    pub absent: bool,
}

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

    /// This kind, and the word for "no limit".
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
            Kind::ListenAddress => "address",
            Kind::Mode => "mode",
            Kind::Text => "text",
            Kind::Secret => "secret",
        }
    }

    /// The allowed values in words: `0, or 1s to 1d`.
    pub fn range(&self) -> String {
        match self {
            Kind::Bool => "true or false".to_owned(),
            Kind::Integer(limits) | Kind::Size(limits) | Kind::Duration(limits) => self.number_range(limits),
            Kind::Choice(names) => one_of(names),
            Kind::Address => "IPv4:port, [IPv6]:port, localhost:port, or off".to_owned(),
            Kind::ListenAddress => {
                "IPv4:port, [IPv6]:port, localhost:port, unix:/path, unix:@name, systemd, or off".to_owned()
            }
            Kind::Mode => "0000 to 0777, octal digits".to_owned(),
            Kind::Text | Kind::Secret => "any text without control characters".to_owned(),
        }
    }

    /// The word for "no limit" or, for an address, "not listening".
    pub(super) fn absent_word(&self) -> &'static str {
        match self {
            Kind::Duration(_) => "never",
            Kind::Address | Kind::ListenAddress => "off",
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

    /// These limits, widened by `zero` and `absent`, in multiples of `step`.
    const fn with(self, zero: bool, absent: bool, step: u64) -> Self {
        Self {
            zero: self.zero || zero,
            absent: self.absent || absent,
            step: if step > self.step { step } else { self.step },
            ..self
        }
    }

    /// Whether `number` is allowed.
    pub(super) fn take(&self, number: u64) -> bool {
        let in_range = (self.min..=self.max).contains(&number) || (number == 0 && self.zero);
        in_range && number.is_multiple_of(self.step)
    }
}

/// The words as a list: `a, b or c`.
pub(super) fn one_of(names: &[&str]) -> String {
    match names {
        [before @ .., last] if !before.is_empty() => format!("{} or {last}", before.join(", ")),
        _ => names.concat(),
    }
}
