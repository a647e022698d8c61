//! The values of settings between their text and their typed field.

use std::net::SocketAddr;
use std::time::Duration;

use crate::config::address::ListenAddress;

/// A parsed value; the setting's kind decides the variant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Value {
    Bool(bool),
    /// An integer, or a size in bytes.
    Number(u64),
    Duration(Duration),
    Choice(&'static str),
    Address(SocketAddr),
    Listen(ListenAddress),
    Text(String),
    /// `unlimited`, `never` or `off`.
    Absent,
}

/// A type that a field of the settings can have.
pub(super) trait Field: Sized {
    /// The value of the field before the table's default is set.
    const BLANK: Self;
    /// The field as a value.
    fn to_value(&self) -> Value;
    /// The field from a value; `None` if the field's type cannot hold the setting's kind.
    fn from_value(value: &Value) -> Option<Self>;
}

impl Field for bool {
    const BLANK: Self = false;

    fn to_value(&self) -> Value {
        Value::Bool(*self)
    }

    fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::Bool(bool) => Some(*bool),
            _ => None,
        }
    }
}

macro_rules! number_field {
    ($($number:ty),*) => {$(
        impl Field for $number {
            const BLANK: Self = 0;

            fn to_value(&self) -> Value {
                Value::Number(*self as u64)
            }

            fn from_value(value: &Value) -> Option<Self> {
                match value {
                    Value::Number(number) => <$number>::try_from(*number).ok(),
                    _ => None,
                }
            }
        }
    )*};
}

number_field!(u8, u16, u32, u64, usize);

impl Field for Duration {
    const BLANK: Self = Duration::ZERO;

    fn to_value(&self) -> Value {
        Value::Duration(*self)
    }

    fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::Duration(duration) => Some(*duration),
            _ => None,
        }
    }
}

impl Field for SocketAddr {
    const BLANK: Self = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

    fn to_value(&self) -> Value {
        Value::Address(*self)
    }

    fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::Address(address) => Some(*address),
            _ => None,
        }
    }
}

impl Field for String {
    const BLANK: Self = String::new();

    fn to_value(&self) -> Value {
        Value::Text(self.clone())
    }

    fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::Text(text) => Some(text.clone()),
            _ => None,
        }
    }
}

impl<T: Field> Field for Option<T> {
    const BLANK: Self = None;

    fn to_value(&self) -> Value {
        self.as_ref().map_or(Value::Absent, T::to_value)
    }

    fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::Absent => Some(None),
            value => T::from_value(value).map(Some),
        }
    }
}
