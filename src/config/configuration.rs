//! The configuration of a broker: settings by key and text.

use std::collections::BTreeSet;

use crate::config::access::check_access;
use crate::config::console::check_console;
use crate::config::error::{ConfigError, ErrorKind};
use crate::config::nearest::nearest;
use crate::config::settings::{Listener, Settings};
use crate::config::table::{Access, Setting, find, table};
use crate::config::text::quoted;
use crate::config::tls::check_tls;
use crate::config::value::Value;

/// The listener that exists without being configured.
const DEFAULT_LISTENER: &str = "tcp";

/// The settings of one broker. Every change is checked when it is made; a refused one changes nothing.
#[derive(Clone, Debug)]
pub struct Config {
    settings: Settings,
    /// The `listener.*` keys with an explicit value: `off` is a choice, no value is a mistake.
    given: BTreeSet<String>,
}

impl Config {
    /// The defaults: one listener, `tcp`, on 127.0.0.1:1883.
    pub fn new() -> Self {
        let mut settings = Settings::blank();
        for setting in table() {
            // A test parses every default of the table, so none is skipped here.
            if let (Access::Broker { put, .. }, Ok(value)) =
                (setting.field, setting.kind.parse(setting.default))
            {
                put(&mut settings, &value);
            }
        }
        settings.listeners.push(new_listener(DEFAULT_LISTENER));
        Self { settings, given: BTreeSet::from([format!("listener.{DEFAULT_LISTENER}.bind")]) }
    }

    /// Sets the setting `key` to the value in `value`. A listener that does not exist yet is added.
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
        // Only a number too large for `usize` is not stored.
        if stored {
            Ok(())
        } else {
            let cause = format!("{} is more than this machine can address", setting.kind.write(&value));
            Err(ConfigError::of_key(ErrorKind::OutOfRange, key, cause))
        }
    }

    /// The value of the setting `key` as canonical text, which [`Config::set`] accepts.
    ///
    /// # Errors
    /// `UnknownKey` with the nearest name, also for a listener that does not exist.
    pub fn get(&self, key: &str) -> Result<String, ConfigError> {
        let (setting, listener) = find(key).ok_or_else(|| Self::unknown(key))?;
        let value = self
            .value(setting, listener)
            .ok_or_else(|| ConfigError::of_key(ErrorKind::UnknownKey, key, "no listener has this name"))?;
        Ok(setting.kind.write(&value))
    }

    /// The typed settings, as the broker reads them.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Every key in the order of the table, including the keys of each listener.
    pub fn keys(&self) -> Vec<String> {
        let is_listener = |setting: &&Setting| matches!(setting.field, Access::Listener { .. });
        let listeners = self.settings.listeners.iter().flat_map(|listener| {
            table().iter().filter(is_listener).map(|setting| setting.key.replace('*', &listener.name))
        });
        let others =
            table().iter().filter(|setting| !is_listener(setting)).map(|setting| setting.key.to_owned());
        listeners.chain(others).collect()
    }

    /// Whether the setting `key` has its value in [`Config::new`]. False for an unknown key, and for the address of
    /// every listener but `tcp`, which has no default.
    pub fn is_default(&self, key: &str) -> bool {
        let Some((setting, listener)) = find(key) else { return false };
        if listener.is_some_and(|name| name != DEFAULT_LISTENER) && setting.field() == "bind" {
            return false;
        }
        self.value(setting, listener).is_some_and(|value| setting.kind.write(&value) == setting.default)
    }

    /// Checks that the settings do not contradict each other. The broker calls it when it starts.
    ///
    /// # Errors
    /// `Conflict`, with the key of the setting to change.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let listeners = &self.settings.listeners;
        for (index, listener) in listeners.iter().enumerate() {
            let key = format!("listener.{}.bind", listener.name);
            let conflict = |cause: String| Err(ConfigError::of_key(ErrorKind::Conflict, &key, cause));
            if !self.given.contains(&key) {
                return conflict("the listener needs an address or off".to_owned());
            }
            let Some(address) = listener.bind.as_ref().filter(|address| address.is_exclusive()) else {
                continue;
            };
            let earlier = listeners.iter().take(index).find(|earlier| earlier.bind.as_ref() == Some(address));
            if let Some(earlier) = earlier {
                return conflict(format!("{address} is already used by listener.{}.bind", earlier.name));
            }
        }
        check_tls(&self.settings)?;
        check_access(&self.settings)?;
        check_console(&self.settings)
    }

    /// Whether the listener's setting `key` has an explicit value or a default.
    pub(super) fn is_given(&self, key: &str) -> bool {
        self.given.contains(key)
    }

    /// Whether `key` is a prefix of some setting's key, up to a dot.
    pub(super) fn is_group(key: &str) -> bool {
        key.strip_prefix("listener.").is_some_and(is_listener_name)
            || table().iter().any(|setting| setting.group() == key)
    }

    /// The error for a key that names no setting.
    fn unknown(key: &str) -> ConfigError {
        let name = key.strip_prefix("listener.").and_then(|rest| rest.split('.').next());
        let name = name.filter(|name| is_listener_name(name)).unwrap_or(DEFAULT_LISTENER);
        let candidates = table().iter().map(|setting| setting.key.replace('*', name));
        let cause = match nearest(key, candidates) {
            _ if Self::is_group(key) => "this is a group of settings, not a setting".to_owned(),
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
            listeners.push(new_listener(name));
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

/// A listener with the defaults of the table; only `tcp` has a default address.
fn new_listener(name: &str) -> Listener {
    let mut listener = Listener::blank(name);
    for setting in table().iter().filter(|setting| name == DEFAULT_LISTENER || setting.field() != "bind") {
        if let (Access::Listener { put, .. }, Ok(value)) =
            (setting.field, setting.kind.parse(setting.default))
        {
            put(&mut listener, &value);
        }
    }
    listener
}

fn is_listener_name(name: &str) -> bool {
    (1..=32).contains(&name.len())
        && name.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-'))
}

fn check_listener_name(key: &str, name: &str) -> Result<(), ConfigError> {
    if is_listener_name(name) {
        return Ok(());
    }
    let cause = format!("{} is not a listener name (1 to 32 of a-z, 0-9, _ and -)", quoted(name));
    Err(ConfigError::of_key(ErrorKind::BadValue, key, cause))
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::time::Duration;

    use super::Config;
    use crate::config::error::ErrorKind;
    use crate::config::kind::Kind;
    use crate::config::settings::{QueueOverflow, Settings};
    use crate::config::table::table;

    /// The error when `key` is set to `value`.
    fn refused(key: &str, value: &str) -> (ErrorKind, String) {
        let mut config = Config::new();
        let error = config.set(key, value).unwrap_err();
        assert_eq!(error.key(), Some(key));
        assert_eq!(config.settings(), &Settings::default(), "a refused value changes nothing");
        (error.kind(), error.to_string())
    }

    #[test]
    fn defaults_reach_their_fields() {
        let config = Config::new();
        let settings = config.settings();
        assert_eq!(settings.listeners.len(), 1);
        assert_eq!(settings.listeners[0].name, "tcp");
        assert_eq!(settings.listeners[0].bind, Some(SocketAddr::from(([127, 0, 0, 1], 1883)).into()));
        assert_eq!(settings.listeners[0].max_connections, None);
        assert_eq!(settings.runtime.worker_threads, 1);
        assert_eq!(settings.mqtt.connect_timeout, Duration::from_secs(10));
        assert_eq!(settings.mqtt.max_packet_size, 2 << 20);
        assert_eq!(settings.mqtt.keep_alive_max, Duration::ZERO);
        assert_eq!(settings.mqtt.max_qos, 2);
        assert_eq!(settings.session.max_expiry, None);
        assert_eq!(settings.session.max_queued_messages, Some(1000));
        assert_eq!(settings.session.queue_overflow, QueueOverflow::DropNewest);
        assert!(settings.mqtt.retain && !settings.session.queue_qos0);
    }

    /// The defaults by hand: a host that sets nothing relies on them. The documentation is generated from the table.
    #[test]
    fn no_default_changes_unnoticed() {
        let defaults = [
            ("listener.tcp.bind", "127.0.0.1:1883"),
            ("listener.tcp.max_connections", "unlimited"),
            ("listener.tcp.unix_mode", "0660"),
            ("listener.tcp.unix_owner", ""),
            ("listener.tcp.transport", "tcp"),
            ("listener.tcp.ws_path", "/mqtt"),
            ("listener.tcp.ws_origins", ""),
            ("listener.tcp.proxy_protocol", "off"),
            ("listener.tcp.proxy_from", ""),
            ("listener.tcp.certificate", ""),
            ("listener.tcp.key", ""),
            ("listener.tcp.client_certificate", "none"),
            ("listener.tcp.client_ca", ""),
            ("listener.tcp.client_crl", ""),
            ("runtime.worker_threads", "1"),
            ("runtime.stop_grace", "1s"),
            ("mqtt.max_connections", "unlimited"),
            ("mqtt.max_pending_connections", "1024"),
            ("mqtt.connect_timeout", "10s"),
            ("mqtt.max_packet_size", "2MiB"),
            ("mqtt.keep_alive_max", "0"),
            ("mqtt.receive_maximum", "100"),
            ("mqtt.max_inflight", "100"),
            ("mqtt.topic_alias_maximum", "16"),
            ("mqtt.topic_alias_maximum_outgoing", "16"),
            ("mqtt.max_topic_levels", "256"),
            ("mqtt.max_topic_length", "65535"),
            ("mqtt.max_user_properties", "1000"),
            ("mqtt.max_subscriptions_per_client", "100000"),
            ("mqtt.max_shared_subscriptions_per_client", "1000"),
            ("mqtt.max_subscription_bytes_per_client", "64MiB"),
            ("mqtt.max_client_id_length", "1024"),
            ("mqtt.max_qos", "2"),
            ("mqtt.retain", "true"),
            ("mqtt.wildcard_subscriptions", "true"),
            ("mqtt.shared_subscriptions", "true"),
            ("mqtt.subscription_identifiers", "true"),
            ("mqtt.response_information", ""),
            ("mqtt.allow_empty_client_id", "true"),
            ("session.max_expiry", "never"),
            ("session.max_sessions", "1000000"),
            ("session.other_user", "refuse"),
            ("session.max_queued_messages", "1000"),
            ("session.max_queued_bytes", "16MiB"),
            ("session.queue_overflow", "drop_newest"),
            ("session.publisher_hold", "1s"),
            ("session.queue_qos0", "false"),
            ("session.max_outbox_bytes", "1MiB"),
            ("retained.max_messages", "1000000"),
            ("retained.max_bytes", "256MiB"),
            ("storage.path", ""),
            ("storage.sync", "always"),
            ("storage.on_damage", "refuse"),
            ("storage.log_size", "32MiB"),
            ("storage.memory", "16MiB"),
            ("sys.interval", "10s"),
            ("queue.capacity", "10000"),
            ("queue.max_bytes", "64MiB"),
            ("console.listen", "off"),
            ("console.certificate", ""),
            ("console.key", ""),
            ("console.tutorial", "false"),
            ("console.user", "admin"),
            ("console.password", ""),
            ("console.password_file", ""),
            ("console.viewer_user", "viewer"),
            ("console.viewer_password", ""),
            ("console.viewer_password_file", ""),
            ("console.hosts", ""),
            ("console.trusted_proxies", ""),
            ("console.session_expiry", "12h"),
            ("console.max_connections", "128"),
            ("console.io_timeout", "20s"),
            ("console.max_topics", "50000"),
            ("console.max_topic_bytes", "64MiB"),
            ("console.max_live_messages", "500"),
            ("console.max_live_bytes", "16MiB"),
            ("console.events", "2000"),
            ("access.anonymous", "auto"),
            ("access.authorities", "hooks, passwords, acl"),
            ("access.password_file", ""),
            ("access.acl_file", ""),
            ("access.subscribe", "covered"),
            ("access.lost_rights", "disconnect"),
            ("access.max_waiting", "256"),
            ("hooks.deadline", "5s"),
            ("hooks.max_waiting", "100000"),
        ];
        let config = Config::new();
        assert_eq!(
            config.keys(),
            defaults.map(|(key, _)| key.to_owned()),
            "the list differs from the table of settings"
        );
        for (key, default) in defaults {
            assert_eq!(config.get(key).unwrap(), default, "{key}");
        }
    }

    #[test]
    fn every_key_is_its_default_and_can_be_read_back() {
        let mut config = Config::new();
        for key in config.keys() {
            assert!(config.is_default(&key), "{key}");
            let text = config.get(&key).unwrap();
            config.set(&key, &text).unwrap();
            assert_eq!(config.get(&key).unwrap(), text, "{key}");
        }
        assert_eq!(config.settings(), &Settings::default());
        assert_eq!(config.keys().len(), table().len());
    }

    #[test]
    fn every_field_holds_every_value_that_its_kind_takes() {
        for setting in table() {
            let key = setting.key.replace('*', "tcp");
            let texts = match setting.kind {
                Kind::Bool => vec!["true".to_owned(), "false".to_owned()],
                Kind::Choice(names) => names.iter().map(|name| (*name).to_owned()).collect(),
                Kind::Address => ["off", "0.0.0.0:1", "[::1]:65535"].map(str::to_owned).to_vec(),
                Kind::ListenAddress => {
                    ["off", "0.0.0.0:1", "unix:/a", "unix:@a", "systemd"].map(str::to_owned).to_vec()
                }
                Kind::Mode => ["0000", "0777"].map(str::to_owned).to_vec(),
                Kind::Text | Kind::Secret => vec!["text".to_owned()],
                Kind::Integer(limits) | Kind::Size(limits) | Kind::Duration(limits) => {
                    let unit = if matches!(setting.kind, Kind::Duration(_)) { "ms" } else { "" };
                    let word = if unit == "ms" { "never" } else { "unlimited" };
                    let numbers = [limits.min, limits.max].map(|number| format!("{number}{unit}"));
                    let zero = limits.zero.then(|| "0".to_owned());
                    let absent = limits.absent.then(|| word.to_owned());
                    numbers.into_iter().chain(zero).chain(absent).collect()
                }
            };
            let mut config = Config::new();
            for text in texts {
                config.set(&key, &text).unwrap_or_else(|error| panic!("{text}: {error}"));
                let canonical = config.get(&key).unwrap();
                assert_eq!(canonical == setting.default, config.is_default(&key), "{key}: {text}");
                let value = setting.kind.parse(&text).ok().map(|value| setting.kind.write(&value));
                assert_eq!(Some(canonical), value, "{key}: {text}");
            }
        }
    }

    #[test]
    fn a_setting_changes_its_field_alone() {
        let mut config = Config::new();
        config.set("session.queue_overflow", "drop_oldest").unwrap();
        config.set("session.max_expiry", "2h").unwrap();
        let mut expected = Settings::default();
        expected.session.queue_overflow = QueueOverflow::DropOldest;
        expected.session.max_expiry = Some(Duration::from_secs(7200));
        assert_eq!(config.settings(), &expected);
        assert!(!config.is_default("session.max_expiry") && config.is_default("session.max_sessions"));
    }

    #[test]
    fn errors_name_the_key_and_the_cause() {
        let cases = [
            (
                "mqtt.connect_timeout",
                "5 parsecs",
                ErrorKind::BadValue,
                "mqtt.connect_timeout: \"5 parsecs\" is not a duration (examples: 250ms, 30s, 5m, 2h, 7d)",
            ),
            ("mqtt.max_qos", "5", ErrorKind::OutOfRange, "mqtt.max_qos: 5 is out of range (0 to 2)"),
            (
                "mqtt.recieve_maximum",
                "5",
                ErrorKind::UnknownKey,
                "mqtt.recieve_maximum: unknown setting; did you mean mqtt.receive_maximum?",
            ),
            (
                "listener.tcp.bnid",
                "off",
                ErrorKind::UnknownKey,
                "listener.tcp.bnid: unknown setting; did you mean listener.tcp.bind?",
            ),
            (
                "listener.lan.bin",
                "off",
                ErrorKind::UnknownKey,
                "listener.lan.bin: unknown setting; did you mean listener.lan.bind?",
            ),
            ("zebra", "1", ErrorKind::UnknownKey, "zebra: unknown setting"),
            ("mqtt", "1", ErrorKind::UnknownKey, "mqtt: this is a group of settings, not a setting"),
            (
                "listener.Büro.bind",
                "off",
                ErrorKind::BadValue,
                "listener.Büro.bind: \"Büro\" is not a listener name (1 to 32 of a-z, 0-9, _ and -)",
            ),
        ];
        for (key, value, kind, sentence) in cases {
            assert_eq!(refused(key, value), (kind, sentence.to_owned()));
        }
    }

    #[test]
    fn names_of_listeners_are_checked() {
        let long = "a".repeat(33);
        for name in ["", "*", "a b", "a.b", "A", &long] {
            assert_eq!(refused(&format!("listener.{name}.bind"), "off").0, ErrorKind::BadValue, "{name}");
        }
        let mut config = Config::new();
        config.set(&format!("listener.{}.bind", "a".repeat(32)), "off").unwrap();
        config.set("listener.0-_z.bind", "off").unwrap();
    }

    #[test]
    fn a_listener_is_added_by_its_first_setting_and_tcp_stays() {
        let mut config = Config::new();
        config.set("listener.lan.bind", "0.0.0.0:1884").unwrap();
        config.set("listener.lan.max_connections", "5").unwrap();
        let expected = [
            "listener.tcp.bind",
            "listener.tcp.max_connections",
            "listener.lan.bind",
            "listener.lan.max_connections",
        ];
        let keys = config.keys();
        let of_listeners = keys.iter().take_while(|key| key.starts_with("listener."));
        let is_expected = |key: &&String| [".bind", ".max_connections"].iter().any(|end| key.ends_with(end));
        assert_eq!(of_listeners.filter(is_expected).collect::<Vec<_>>(), expected);
        assert_eq!(config.get("listener.lan.bind").unwrap(), "0.0.0.0:1884");
        assert!(!config.is_default("listener.lan.bind"));
        assert_eq!(config.settings().listeners[1].max_connections, Some(5));
        config.set("listener.tcp.bind", "off").unwrap();
        assert_eq!(config.settings().listeners[0].bind, None);
        assert_eq!(config.validate(), Ok(()));
    }

    #[test]
    fn a_listener_that_does_not_exist_cannot_be_read() {
        let error = Config::new().get("listener.lan.bind").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::UnknownKey);
        assert_eq!(error.to_string(), "listener.lan.bind: no listener has this name");
        assert!(!Config::new().is_default("listener.lan.bind"));
        assert!(!Config::new().is_default("zebra"));
    }

    #[test]
    fn a_listener_without_an_address_is_a_conflict() {
        let mut config = Config::new();
        config.set("listener.lan.max_connections", "5").unwrap();
        let error = config.validate().unwrap_err();
        assert_eq!((error.kind(), error.key()), (ErrorKind::Conflict, Some("listener.lan.bind")));
        assert_eq!(error.to_string(), "listener.lan.bind: the listener needs an address or off");
        config.set("listener.lan.bind", "off").unwrap();
        assert_eq!(config.validate(), Ok(()));
    }

    #[test]
    fn two_listeners_on_one_address_are_a_conflict_unless_the_port_is_free_to_choose() {
        let mut config = Config::new();
        config.set("listener.lan.bind", "localhost:1883").unwrap();
        let error = config.validate().unwrap_err();
        assert_eq!(
            error.to_string(),
            "listener.lan.bind: 127.0.0.1:1883 is already used by listener.tcp.bind"
        );
        config.set("listener.lan.bind", "localhost:0").unwrap();
        config.set("listener.tcp.bind", "localhost:0").unwrap();
        assert_eq!(config.validate(), Ok(()));
    }
}
