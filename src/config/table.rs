//! The table of settings: name, kind, default, range and help of each.

use crate::config::kind::Kind;
use crate::config::settings::{Listener, Settings};
use crate::config::value::Value;

/// One line of the table.
#[derive(Debug)]
pub struct Setting {
    /// The key, such as `mqtt.max_qos`; `listener.*.bind` stands for one setting of every listener.
    pub key: &'static str,
    /// What its text means, and the values that it takes.
    pub kind: Kind,
    /// The default, as canonical text. That of `listener.*.bind` is the one of the listener `tcp`.
    pub default: &'static str,
    /// What it does, what it costs, and what is dangerous about it.
    pub help: &'static str,
    pub(super) field: Access,
}

impl Setting {
    /// The values that it takes, in words: `0, or 1s to 1d`.
    pub fn range(&self) -> String {
        self.kind.range()
    }

    /// The key as people read it, with `<name>` for the name of a listener.
    pub fn title(&self) -> String {
        self.key.replace('*', "<name>")
    }

    /// The part of the key before the first dot.
    pub fn group(&self) -> &'static str {
        self.key.split('.').next().unwrap_or_default()
    }

    /// The part of the key after the last dot.
    pub fn field(&self) -> &'static str {
        self.key.rsplit('.').next().unwrap_or_default()
    }
}

/// How a line of the table reaches its field; `put` answers false if the field cannot hold the value.
#[derive(Clone, Copy, Debug)]
pub(super) enum Access {
    Listener { get: fn(&Listener) -> Value, put: fn(&mut Listener, &Value) -> bool },
    Broker { get: fn(&Settings) -> Value, put: fn(&mut Settings, &Value) -> bool },
}

/// Every setting, in the order of documents and of `Config::keys`.
pub fn table() -> &'static [Setting] {
    crate::config::settings::all()
}

/// The setting that `key` names, and the name of the listener if it is one of a listener.
pub(super) fn find(key: &str) -> Option<(&'static Setting, Option<&str>)> {
    let listener = key.strip_prefix("listener.").and_then(|rest| rest.rsplit_once('.'));
    table().iter().find_map(|setting| match (setting.field, listener) {
        (Access::Listener { .. }, Some((name, field))) if setting.field() == field => {
            Some((setting, Some(name)))
        }
        (Access::Broker { .. }, _) if setting.key == key => Some((setting, None)),
        _ => None,
    })
}
