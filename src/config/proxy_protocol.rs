//! Whether a listener's connections come through a proxy.

use crate::config::value::{Field, Value};

/// Whether a listener's connections begin with a header of the PROXY protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ProxyProtocol {
    /// None of them does.
    Off,
    /// Each of them does.
    Required,
}

impl ProxyProtocol {
    /// The words of the setting.
    pub(super) const NAMES: &'static [&'static str] = &["off", "required"];
}

impl Field for ProxyProtocol {
    const BLANK: Self = ProxyProtocol::Off;

    fn to_value(&self) -> Value {
        Value::Choice(match self {
            ProxyProtocol::Off => "off",
            ProxyProtocol::Required => "required",
        })
    }

    fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::Choice("off") => Some(ProxyProtocol::Off),
            Value::Choice("required") => Some(ProxyProtocol::Required),
            _ => None,
        }
    }
}
