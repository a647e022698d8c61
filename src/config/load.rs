//! Settings from a TOML file.

use std::fs;
use std::path::Path;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::config::configuration::Config;
use crate::config::error::{ConfigError, ErrorKind};
use crate::config::kind::Kind;
use crate::config::table::find;

impl Config {
    /// Reads settings from the TOML document `toml`; tables nest into dotted keys. `origin` names the document in
    /// errors. Settings that the document does not name are unchanged.
    ///
    /// # Errors
    /// `Syntax`, or the first error of [`Config::set`], with its line and column (in characters, from 1).
    /// On an error nothing changes.
    pub fn load_text(&mut self, toml: &str, origin: &str) -> Result<(), ConfigError> {
        let place = |offset| format!("{origin}:{}", line_and_column(toml, offset));
        let document = DeTable::parse(toml).map_err(|error| {
            let offset = error.span().map_or(0, |span| span.start);
            ConfigError::of_place(ErrorKind::Syntax, place(offset), error.message().replace('\n', "; "))
        })?;
        let mut entries = Vec::new();
        flatten(document.get_ref(), "", &mut entries);
        entries.sort_by_key(|entry| entry.offset);
        let mut changed = self.clone();
        for entry in &entries {
            changed.load_entry(entry).map_err(|error| error.at(place(entry.offset)))?;
        }
        *self = changed;
        Ok(())
    }

    /// Reads settings from the TOML file at `path`, as [`Config::load_text`] does.
    ///
    /// # Errors
    /// `Io` if the file cannot be read or is not UTF-8, and those of [`Config::load_text`].
    pub fn load_file(&mut self, path: &Path) -> Result<(), ConfigError> {
        let origin = path.display().to_string();
        let text = fs::read_to_string(path)
            .map_err(|error| ConfigError::of_place(ErrorKind::Io, &origin, error.to_string()))?;
        self.load_text(&text, &origin)
    }

    fn load_entry(&mut self, entry: &Entry<'_, '_>) -> Result<(), ConfigError> {
        match mode_of(entry).or_else(|| text_of(entry.value)) {
            Some(text) => self.set(&entry.key, &text),
            None if entry.value.is_table() && Config::is_group(&entry.key) => Ok(()),
            None => {
                self.get(&entry.key)?;
                let cause = format!("a TOML {} cannot be the value of a setting", entry.value.type_str());
                Err(ConfigError::of_key(ErrorKind::BadValue, &entry.key, cause))
            }
        }
    }
}

/// A key of the document that ends at a value, or at a table without any.
struct Entry<'a, 'i> {
    key: String,
    /// The position of the key, in bytes.
    offset: usize,
    value: &'a DeValue<'i>,
}

/// Adds the entries of `table` and of the tables in it to `entries`.
fn flatten<'a, 'i>(table: &'a DeTable<'i>, prefix: &str, entries: &mut Vec<Entry<'a, 'i>>) {
    for (name, value) in table.iter() {
        let key = format!("{prefix}{}", name.get_ref());
        match value.get_ref() {
            DeValue::Table(inner) if !inner.is_empty() => flatten(inner, &format!("{key}."), entries),
            value => entries.push(Entry { key, offset: Spanned::span(name).start, value }),
        }
    }
}

/// The octal digits of a file's mode that is written as TOML's octal integer, such as `0o660`.
fn mode_of(entry: &Entry<'_, '_>) -> Option<String> {
    let (setting, _) = find(&entry.key)?;
    match entry.value {
        DeValue::Integer(integer) if setting.kind == Kind::Mode && integer.radix() == 8 => {
            Some(integer.as_str().to_owned())
        }
        _ => None,
    }
}

/// A value as the text that the table of settings parses; `None` for a type that no setting has.
fn text_of(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::String(text) => Some(text.to_string()),
        DeValue::Boolean(bool) => Some(bool.to_string()),
        DeValue::Float(float) => Some(float.as_str().to_owned()),
        DeValue::Datetime(datetime) => Some(datetime.to_string()),
        DeValue::Integer(integer) => {
            let number = i128::from_str_radix(integer.as_str(), integer.radix());
            Some(number.map_or_else(|_| integer.as_str().to_owned(), |number| number.to_string()))
        }
        DeValue::Array(_) | DeValue::Table(_) => None,
    }
}

/// The position `offset` of `text` as `line:column`, both from 1, the column in characters.
fn line_and_column(text: &str, offset: usize) -> String {
    let before = text.get(..offset).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    format!("{line}:{column}")
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::line_and_column;
    use crate::config::configuration::Config;
    use crate::config::error::ErrorKind;
    use crate::config::settings::Settings;

    fn loaded(toml: &str) -> Config {
        let mut config = Config::new();
        config.load_text(toml, "midge.toml").unwrap_or_else(|error| panic!("{error}"));
        config
    }

    /// The kind, key and sentence of the error for `toml`.
    fn refused(toml: &str) -> (ErrorKind, Option<String>, String) {
        let mut config = Config::new();
        let error = config.load_text(toml, "midge.toml").unwrap_err();
        assert_eq!(config.settings(), &Settings::default(), "a refused document changes nothing");
        assert_eq!(config.keys(), Config::new().keys());
        (error.kind(), error.key().map(str::to_owned), error.to_string())
    }

    #[test]
    fn tables_nest_into_keys() {
        let config = loaded(
            "sys.interval = \"1m\"\n[mqtt]\nmax_qos = 1\nretain = false\n'max_packet_size' = 65536\n\
             [session]\nqueue_qos0 = \"on\"\nmax_queued_bytes = \"1MiB\"\n[listener.lan]\nbind = \"[::]:1883\"\n\
             [listener]\ntcp = { bind = \"off\", max_connections = 0x10, unix_mode = 0o640 }\n",
        );
        let pairs = [
            ("sys.interval", "1m"),
            ("mqtt.max_qos", "1"),
            ("mqtt.retain", "false"),
            ("mqtt.max_packet_size", "64KiB"),
            ("session.queue_qos0", "true"),
            ("session.max_queued_bytes", "1MiB"),
            ("listener.lan.bind", "[::]:1883"),
            ("listener.tcp.bind", "off"),
            ("listener.tcp.max_connections", "16"),
            ("listener.tcp.unix_mode", "0640"),
        ];
        for (key, text) in pairs {
            assert_eq!(config.get(key).unwrap(), text, "{key}");
        }
    }

    #[test]
    fn an_empty_document_and_an_empty_group_change_nothing() {
        for toml in ["", "# nothing\n", "[mqtt]\n", "[mqtt]\n[listener.lan]\n[listener]\n"] {
            assert_eq!(loaded(toml).settings(), &Settings::default(), "{toml}");
        }
    }

    #[test]
    fn what_was_set_before_stays() {
        let mut config = Config::new();
        config.set("mqtt.max_qos", "0").unwrap();
        config.load_text("[mqtt]\nretain = false\n", "midge.toml").unwrap();
        assert_eq!((config.settings().mqtt.max_qos, config.settings().mqtt.retain), (0, false));
    }

    #[test]
    fn errors_have_line_and_column() {
        let (kind, key, sentence) =
            refused("# Büro\n\n[session]\nmax_sessions = 5\n\n[mqtt]\n  max_qos = 5\n");
        assert_eq!((kind, key.as_deref()), (ErrorKind::OutOfRange, Some("mqtt.max_qos")));
        assert_eq!(sentence, "midge.toml:7:3: mqtt.max_qos: 5 is out of range (0 to 2)");
    }

    #[test]
    fn columns_count_characters() {
        let text = "a\nüü\u{1f980}b\r\nc";
        let place = |letter| line_and_column(text, text.find(letter).unwrap());
        assert_eq!([place('a'), place('b'), place('c')], ["1:1", "2:4", "3:1"]);
        assert_eq!(line_and_column(text, text.len()), "3:2");
        assert_eq!(line_and_column("", 0), "1:1");
    }

    #[test]
    fn the_first_error_of_the_document_is_told() {
        let (_, _, sentence) = refused("[sys]\ninterval = 10\n[mqtt]\nmax_qos = 5\n");
        assert_eq!(
            sentence,
            "midge.toml:2:1: sys.interval: 10 has no unit of time (examples: 250ms, 30s, 5m, 2h, 7d)"
        );
    }

    #[test]
    fn unknown_keys_and_tables_are_errors() {
        let cases = [
            (
                "[mqtt]\nmax_quos = 1",
                "midge.toml:2:1: mqtt.max_quos: unknown setting; did you mean mqtt.max_qos?",
            ),
            ("[zebra]", "midge.toml:1:2: zebra: unknown setting"),
            ("[listener.'a b']", "midge.toml:1:11: listener.a b: unknown setting"),
            ("[zebra]\nstripes = []", "midge.toml:2:1: zebra.stripes: unknown setting"),
            ("mqtt = 5", "midge.toml:1:1: mqtt: this is a group of settings, not a setting"),
            ("mqtt = []", "midge.toml:1:1: mqtt: this is a group of settings, not a setting"),
        ];
        for (toml, expected) in cases {
            let (kind, _, sentence) = refused(toml);
            assert_eq!(kind, ErrorKind::UnknownKey, "{toml}");
            assert_eq!(sentence, expected);
        }
        assert_eq!(refused("[mqtt.max_qos]\nx = 1").0, ErrorKind::UnknownKey);
    }

    #[test]
    fn values_of_other_types_are_refused() {
        let cases = [
            ("mqtt.max_qos = [1]", "mqtt.max_qos: a TOML array cannot be the value of a setting"),
            ("mqtt.max_qos = {}", "mqtt.max_qos: a TOML table cannot be the value of a setting"),
            ("mqtt.max_qos = true", "mqtt.max_qos: \"true\" is not an integer"),
            ("mqtt.max_qos = 1.5", "mqtt.max_qos: \"1.5\" is not an integer"),
            ("mqtt.retain = 1", "mqtt.retain: \"1\" is neither true nor false"),
        ];
        for (toml, expected) in cases {
            let (kind, _, sentence) = refused(toml);
            assert_eq!(kind, ErrorKind::BadValue, "{toml}");
            assert_eq!(sentence, format!("midge.toml:1:6: {expected}"));
        }
    }

    #[test]
    fn what_is_not_toml_is_a_syntax_error_with_a_place() {
        let (kind, key, sentence) = refused("[mqtt]\nmax_qos = \n");
        assert_eq!((kind, key), (ErrorKind::Syntax, None));
        assert!(sentence.starts_with("midge.toml:2:1"), "{sentence}");
        let (kind, _, sentence) = refused("[mqtt]\nmax_qos = 1\nmax_qos = 2\n");
        assert_eq!(kind, ErrorKind::Syntax);
        assert!(sentence.starts_with("midge.toml:3:1: "), "{sentence}");
        assert!(!sentence.contains('\n'), "{sentence}");
    }

    #[test]
    fn files_are_read_or_the_cause_is_told() {
        let missing = Path::new("no/such/midge.toml");
        let error = Config::new().load_file(missing).unwrap_err();
        assert_eq!((error.kind(), error.key()), (ErrorKind::Io, None));
        assert!(error.to_string().starts_with("no/such/midge.toml: "), "{error}");

        let path = std::env::temp_dir().join(format!("midge-load-{}.toml", std::process::id()));
        std::fs::write(&path, "[mqtt]\nmax_qos = 1\n").unwrap();
        let mut config = Config::new();
        let result = config.load_file(&path);
        std::fs::remove_file(&path).unwrap();
        assert_eq!(result, Ok(()));
        assert_eq!(config.settings().mqtt.max_qos, 1);
    }
}
