//! The settings of access rules: how subscriptions are checked, and what becomes of a client that loses a right.

use crate::config::value::{Field, Value};

/// How access rules check a subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[cfg_attr(not(feature = "internals"), allow(unnameable_types, reason = "settings are words in public"))]
pub enum SubscribeCheck {
    /// A filter is refused unless the client may read every topic that it matches.
    Covered,
    /// Every filter is accepted, and each message is checked when it is delivered.
    Delivery,
}

/// What becomes of a client whose subscription is not allowed any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[cfg_attr(not(feature = "internals"), allow(unnameable_types, reason = "settings are words in public"))]
pub enum LostRights {
    /// The subscription ends, and so does the connection, with 0x87, Not authorized.
    Disconnect,
    /// The subscription ends. The client is not told.
    Unsubscribe,
}

impl SubscribeCheck {
    /// The words of the setting.
    pub(super) const NAMES: &'static [&'static str] = &["covered", "delivery"];
}

impl LostRights {
    /// The words of the setting.
    pub(super) const NAMES: &'static [&'static str] = &["disconnect", "unsubscribe"];
}

impl Field for SubscribeCheck {
    const BLANK: Self = SubscribeCheck::Covered;

    fn to_value(&self) -> Value {
        Value::Choice(match self {
            SubscribeCheck::Covered => "covered",
            SubscribeCheck::Delivery => "delivery",
        })
    }

    fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::Choice("covered") => Some(SubscribeCheck::Covered),
            Value::Choice("delivery") => Some(SubscribeCheck::Delivery),
            _ => None,
        }
    }
}

impl Field for LostRights {
    const BLANK: Self = LostRights::Disconnect;

    fn to_value(&self) -> Value {
        Value::Choice(match self {
            LostRights::Disconnect => "disconnect",
            LostRights::Unsubscribe => "unsubscribe",
        })
    }

    fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::Choice("disconnect") => Some(LostRights::Disconnect),
            Value::Choice("unsubscribe") => Some(LostRights::Unsubscribe),
            _ => None,
        }
    }
}
