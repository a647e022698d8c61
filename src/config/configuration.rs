//! The configuration of a broker: settings by key and text.

use std::collections::BTreeSet;

use crate::config::error::{ConfigError, ErrorKind};
use crate::config::kind::quoted;
use crate::config::nearest::nearest;
use crate::config::settings::{Listener, Settings};
use crate::config::table::{Access, Setting, find, table};
use crate::config::value::Value;

/// The listener that exists without being configured.
const DEFAULT_LISTENER: &str = "tcp";

/// The settings of one broker. Every change is checked when it is made; a refused one changes nothing.
#[derive(Clone, Debug)]
pub struct Config {
    settings: Settings,
    /// The keys of listeners that were given a value: `off` is a choice, no value is an oversight.
    given: BTreeSet<String>,
}

impl Config {
    /// All defaults: one listener, `tcp`, on 127.0.0.1:1883.
    pub fn new() -> Self {
        let mut settings = Settings::blank();
        let mut tcp = Listener::blank(DEFAULT_LISTENER);
        for setting in table() {
            // A test parses every default of the table, so that none of them is left out here.
            if let Ok(value) = setting.kind.parse(setting.default) {
                match setting.field {
                    Access::Listener { put, .. } => put(&mut tcp, &value),
                    Access::Broker { put, .. } => put(&mut settings, &value),
                };
            }
        }
        settings.listeners.push(tcp);
        Self { settings, given: BTreeSet::from([format!("listener.{DEFAULT_LISTENER}.bind")]) }
    }

    /// Gives the setting `key` the value that `value` says. A listener that does not exist yet is added.
    ///
    /// # Errors
    /// `UnknownKey` with the nearest name, `BadValue` or `OutOfRange`; the configuration is as before.
    pub fn set(&mut self, key: &str, value: &str) -> Result<(), ConfigError> {
        let (setting, listener) = find(key).ok_or_else(|| Self::unknown(key))?;
        if let Some(name) = listener {
            check_listener_name(key, name)?;
        }
        let value = setting
            .kind
            .parse(value)
            .map_err(|refusal| ConfigError::of_key(refusal.kind, key, refusal.cause))?;
        let stored = match setting.field {
            Access::Broker { put, .. } => put(&mut self.settings, &value),
            Access::Listener { put, .. } => {
                let name = listener.unwrap_or_default();
                self.given.insert(key.to_owned());
                self.listener(name).is_some_and(|listener| put(listener, &value))
            }
        };
        // Only a number too large for this machine's `usize` is not stored.
        if stored {
            Ok(())
        } else {
            let cause = format!("{} does not fit into this machine's memory", setting.kind.write(&value));
            Err(ConfigError::of_key(ErrorKind::OutOfRange, key, cause))
        }
    }

    /// The value of the setting `key` as canonical text, which [`Config::set`] takes back.
    ///
    /// # Errors
    /// `UnknownKey` with the nearest name, also for a listener that does not exist.
    pub fn get(&self, key: &str) -> Result<String, ConfigError> {
        let (setting, listener) = find(key).ok_or_else(|| Self::unknown(key))?;
        let value = self.value(setting, listener).ok_or_else(|| {
            ConfigError::of_key(ErrorKind::UnknownKey, key, "there is no listener of this name")
        })?;
        Ok(setting.kind.write(&value))
    }

    /// The settings with their types, as the broker reads them.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Every key, in the order of the table, with those of each listener spelled out.
    pub fn keys(&self) -> Vec<String> {
        let is_listener = |setting: &&Setting| matches!(setting.field, Access::Listener { .. });
        let listeners = self.settings.listeners.iter().flat_map(|listener| {
            table().iter().filter(is_listener).map(|setting| setting.key.replace('*', &listener.name))
        });
        let others =
            table().iter().filter(|setting| !is_listener(setting)).map(|setting| setting.key.to_owned());
        listeners.chain(others).collect()
    }

    /// Whether the setting `key` has the value that it has in [`Config::new`]. False for a key that does not exist,
    /// and for the address of every listener but `tcp`, which has no default.
    pub fn is_default(&self, key: &str) -> bool {
        let Some((setting, listener)) = find(key) else { return false };
        if listener.is_some_and(|name| name != DEFAULT_LISTENER) && setting.field() == "bind" {
            return false;
        }
        self.value(setting, listener).is_some_and(|value| setting.kind.write(&value) == setting.default)
    }

    /// Checks that the settings fit together; the broker does so when it starts.
    ///
    /// # Errors
    /// `Conflict`, named after the setting that should change.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let listeners = &self.settings.listeners;
        for (index, listener) in listeners.iter().enumerate() {
            let key = format!("listener.{}.bind", listener.name);
            let conflict = |cause: String| Err(ConfigError::of_key(ErrorKind::Conflict, &key, cause));
            if !self.given.contains(&key) {
                return conflict("the listener needs an address, or off".to_owned());
            }
            let Some(address) = listener.bind.filter(|address| address.port() != 0) else { continue };
            let earlier = listeners.iter().take(index).find(|earlier| earlier.bind == Some(address));
            if let Some(earlier) = earlier {
                return conflict(format!("listener.{}.bind is {address} too", earlier.name));
            }
        }
        Ok(())
    }

    /// Whether the listener's setting `key` was given a value, or has a default.
    pub(super) fn is_given(&self, key: &str) -> bool {
        self.given.contains(key)
    }

    /// Whether `key` is the beginning of the key of some setting, up to a dot.
    pub(super) fn is_group(key: &str) -> bool {
        let listener = key.strip_prefix("listener.").is_some_and(|name| !name.contains('.'));
        listener || table().iter().any(|setting| setting.group() == key)
    }

    /// The error for a key that is no setting.
    fn unknown(key: &str) -> ConfigError {
        let name = key.strip_prefix("listener.").and_then(|rest| rest.split('.').next());
        let name = name.filter(|name| is_listener_name(name)).unwrap_or(DEFAULT_LISTENER);
        let candidates = table().iter().map(|setting| setting.key.replace('*', name));
        let cause = match nearest(key, candidates) {
            _ if Self::is_group(key) => "this is a group of settings, not one of them".to_owned(),
            Some(name) => format!("unknown setting; did you mean {name}?"),
            None => "unknown setting".to_owned(),
        };
        ConfigError::of_key(ErrorKind::UnknownKey, key, cause)
    }

    /// The value of a setting; `None` for one of a listener that does not exist.
    fn value(&self, setting: &Setting, listener: Option<&str>) -> Option<Value> {
        match setting.field {
            Access::Broker { get, .. } => Some(get(&self.settings)),
            Access::Listener { get, .. } => {
                self.settings.listeners.iter().find(|known| Some(known.name.as_str()) == listener).map(get)
            }
        }
    }

    /// The listener `name`, added if there is none.
    fn listener(&mut self, name: &str) -> Option<&mut Listener> {
        let listeners = &mut self.settings.listeners;
        if !listeners.iter().any(|listener| listener.name == name) {
            listeners.push(Listener::blank(name));
        }
        listeners.iter_mut().find(|listener| listener.name == name)
    }
}

impl Default for Config {
    fn default() -> Self {
        Self::new()
    }
}

impl Default for Settings {
    fn default() -> Self {
        Config::new().settings
    }
}

fn is_listener_name(name: &str) -> bool {
    (1..=32).contains(&name.len())
        && name.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-'))
}

fn check_listener_name(key: &str, name: &str) -> Result<(), ConfigError> {
    if is_listener_name(name) {
        return Ok(());
    }
    let cause = format!("{} is not the name of a listener (1 to 32 of a-z, 0-9, _ and -)", quoted(name));
    Err(ConfigError::of_key(ErrorKind::BadValue, key, cause))
}
