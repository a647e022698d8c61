//! The table of settings: name, kind, default, range and help of each.

use crate::config::kind::Kind;
use crate::config::settings::{Listener, Settings};
use crate::config::value::Value;

/// One line of the table.
#[derive(Debug)]
pub struct Setting {
    /// The key, such as `mqtt.max_qos`; `listener.*.bind` stands for one setting of every listener.
    pub key: &'static str,
    /// What its text means, and the values that it allows.
    pub kind: Kind,
    /// The default as canonical text; for `listener.*.bind`, that of the listener `tcp`.
    pub default: &'static str,
    /// Its effect, its cost and its dangers.
    pub help: &'static str,
    pub(super) field: Access,
}

impl Setting {
    /// The values that it allows, in words: `0, or 1s to 1d`.
    pub fn range(&self) -> String {
        self.kind.range()
    }

    /// The key for people, with `<name>` for the name of a listener.
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

/// How a line of the table reaches its field; `put` returns false if the field cannot hold the value.
#[derive(Clone, Copy, Debug)]
pub(super) enum Access {
    Listener { get: fn(&Listener) -> Value, put: fn(&mut Listener, &Value) -> bool },
    Broker { get: fn(&Settings) -> Value, put: fn(&mut Settings, &Value) -> bool },
}

/// Every setting, in the order of documents and of `Config::keys`.
pub fn table() -> &'static [Setting] {
    crate::config::settings::all()
}

/// The setting that `key` names, and the listener's name if the key is one of a listener.
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{find, table};
    use crate::config::kind::Kind;

    #[test]
    fn every_default_is_canonical_text_of_its_kind() {
        for setting in table() {
            let value = setting.kind.parse(setting.default);
            let text = value.map(|value| setting.kind.write(&value)).map_err(|refusal| refusal.cause);
            assert_eq!(text.as_deref(), Ok(setting.default), "{}", setting.key);
        }
    }

    #[test]
    fn keys_are_unique_and_found() {
        let keys: BTreeSet<_> = table().iter().map(|setting| setting.key).collect();
        assert_eq!(keys.len(), table().len());
        for setting in table() {
            let key = setting.key.replace('*', "tcp");
            assert!(find(&key).is_some_and(|(found, _)| found.key == setting.key), "{key}");
        }
    }

    #[test]
    fn names_of_listeners_are_split_off() {
        assert_eq!(find("listener.tls.bind").and_then(|(_, name)| name), Some("tls"));
        assert_eq!(find("mqtt.max_qos").map(|(_, name)| name), Some(None));
        for key in ["listener.bind", "listener.tls", "listener.tls.port", "listener", "mqtt", "", "mqtt.bind"]
        {
            assert!(find(key).is_none(), "{key}");
        }
    }

    #[test]
    fn help_is_sentences() {
        for setting in table() {
            assert!(setting.help.ends_with('.') && !setting.help.contains("  "), "{}", setting.key);
            assert!(setting.help.is_ascii() && !setting.help.contains('\n'), "{}", setting.key);
        }
    }

    #[test]
    fn names_in_help_exist() {
        for setting in table() {
            let quoted = setting.help.split('`').skip(1).step_by(2);
            let is_key = |text: &&str| {
                text.contains('.') && text.bytes().all(|b| b.is_ascii_lowercase() || b"._".contains(&b))
            };
            for key in quoted.filter(is_key) {
                assert!(find(key).is_some(), "{}: {key}", setting.key);
            }
        }
    }

    #[test]
    fn limits_are_in_order() {
        for setting in table() {
            if let Kind::Integer(limits) | Kind::Duration(limits) | Kind::Size(limits) = setting.kind {
                assert!(limits.min < limits.max, "{}", setting.key);
                assert!(!limits.zero || limits.min > 0, "{}", setting.key);
            }
        }
    }
}
