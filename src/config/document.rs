//! The settings as documents: docs/CONFIGURATION.md, and a commented TOML file.

use crate::config::configuration::Config;
use crate::config::error::ConfigError;
use crate::config::kind::Kind;
use crate::config::settings::GROUPS;
use crate::config::table::{Setting, find, table};

const INTRODUCTION: &str = "\
# Configuration

Generated from the table of settings in `src/config/settings.rs`; a test compares the two.

A setting has a key and a value, both text: `mqtt.keep_alive_max` is `\"5m\"`. The same texts work in the C, Python and
Rust interfaces. In a TOML file the part of a key before the dot is a table:

```toml
[listener.tcp]
bind = \"127.0.0.1:1884\"

[mqtt]
max_qos = 1
keep_alive_max = \"5m\"
max_packet_size = \"256KiB\"
```

| Kind | Text |
|---|---|
| boolean | `true` or `false`; also `on`, `off`, `yes`, `no` |
| integer | digits |
| duration | digits and one of the units `ms`, `s`, `m`, `h`, `d`; `0` needs no unit |
| size | digits and one of the units `B`, `KiB`, `MiB`, `GiB` (powers of 1024), `KB`, `MB`, `GB` (powers of 1000); without a unit, bytes |
| choice | one of the listed words |
| address | `127.0.0.1:1883`, `[::1]:1883`, `localhost:1883` (which is 127.0.0.1), or `off`; names are not looked up. A listener may also have `unix:/path`, `unix:@name` or `systemd` |
| mode | the rights of a file in three or four octal digits, such as `0660` |
| text | any text without control characters |

In TOML, integers, booleans and sizes in bytes need no quotation marks. An unknown key or a value out of range is an
error that names the key, and in a file also the line and column. A file with an error changes nothing.
";

/// docs/CONFIGURATION.md.
pub fn markdown() -> String {
    let mut text = INTRODUCTION.to_owned();
    for (group, about) in GROUPS {
        text.push_str(&format!("\n## {group}\n\n{}", wrapped("", about)));
        for setting in table().iter().filter(|setting| setting.group() == *group) {
            text.push_str(&format!(
                "\n### `{}`\n\n{}: {}. Default: {}.\n\n{}",
                setting.title(),
                capitalised(setting.kind.name()),
                setting.range(),
                default_of(setting),
                wrapped("", setting.help)
            ));
        }
    }
    text
}

impl Config {
    /// The configuration as a TOML document: every setting with its help as a comment. Settings at their default are
    /// commented out, so that the document stays valid when a default changes. Loaded into a new `Config`, it gives
    /// the same settings.
    pub fn toml_document(&self) -> String {
        let mut text = String::new();
        let mut table_name = "";
        let keys = self.keys();
        for key in &keys {
            let Some((setting, _)) = find(key) else { continue };
            let (group, field) = key.rsplit_once('.').unwrap_or_default();
            if group != table_name {
                let about =
                    GROUPS.iter().find(|(name, _)| *name == setting.group()).map_or("", |(_, about)| about);
                text.push_str(&format!(
                    "{}{}[{group}]\n",
                    if table_name.is_empty() { "" } else { "\n" },
                    wrapped("# ", about)
                ));
                table_name = group;
            }
            text.push_str(&self.toml_line(key, field, setting));
        }
        text
    }

    /// The setting `key` as a TOML document of its own, with its help as a comment: `mqtt.max_qos = 2`.
    ///
    /// # Errors
    /// `UnknownKey` with the nearest name, also for a listener that does not exist.
    pub fn toml_setting(&self, key: &str) -> Result<String, ConfigError> {
        let text = self.get(key)?;
        let Some((setting, _)) = find(key) else { return Ok(String::new()) };
        Ok(format!("{}{key} = {}\n", help_of(setting), toml_value(setting, text)))
    }

    fn toml_line(&self, key: &str, field: &str, setting: &Setting) -> String {
        let value = toml_value(setting, self.get(key).unwrap_or_default());
        let help = help_of(setting);
        let unset = self.is_default(key) || (setting.field() == "bind" && !self.is_given(key));
        let mark = if unset { "# " } else { "" };
        format!("\n{help}{mark}{field} = {value}\n")
    }
}

/// The help of a setting as a comment, with its kind and range.
fn help_of(setting: &Setting) -> String {
    wrapped("# ", &format!("{} ({}: {}.)", setting.help, setting.kind.name(), setting.range()))
}

/// The default of a setting, quoted for a sentence.
fn default_of(setting: &Setting) -> String {
    if setting.default.is_empty() { "the empty text".to_owned() } else { format!("`{}`", setting.default) }
}

/// The text of a setting's value as TOML.
fn toml_value(setting: &Setting, text: String) -> String {
    if matches!(setting.kind, Kind::Text | Kind::Secret | Kind::Mode) {
        return toml_string(&text);
    }
    let bare = text.bytes().all(|byte| byte.is_ascii_digit()) || text == "true" || text == "false";
    if bare { text } else { toml_string(&text) }
}

/// `text` in lines of at most 100 bytes where its words allow it; each begins with `mark`.
fn wrapped(mark: &str, text: &str) -> String {
    const WIDTH: usize = 100;
    let mut lines = String::new();
    let mut line = String::new();
    for word in text.split_whitespace() {
        if !line.is_empty() && mark.len() + line.len() + 1 + word.len() > WIDTH {
            lines.push_str(&format!("{mark}{line}\n"));
            line.clear();
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    format!("{lines}{mark}{line}\n")
}

/// `text` as a TOML string; a setting's text has no control character.
fn toml_string(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

fn capitalised(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

#[cfg(test)]
mod tests {
    use super::{markdown, wrapped};
    use crate::config::configuration::Config;
    use crate::config::table::table;

    #[test]
    fn the_committed_document_is_the_table() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/CONFIGURATION.md");
        if std::env::var_os("MIDGE_BLESS").is_some() {
            std::fs::write(path, markdown()).unwrap();
        }
        let committed = std::fs::read_to_string(path).unwrap();
        assert!(
            committed == markdown(),
            "docs/CONFIGURATION.md is out of date; write it with MIDGE_BLESS=1 cargo test"
        );
    }

    #[test]
    fn the_example_in_the_document_loads() {
        let document = markdown();
        let example = document.split("```").nth(1).unwrap().strip_prefix("toml").unwrap();
        let mut config = Config::new();
        config.load_text(example, "example").unwrap();
        assert_eq!(config.get("mqtt.keep_alive_max").unwrap(), "5m");
    }

    #[test]
    fn a_document_of_defaults_sets_nothing() {
        let document = Config::new().toml_document();
        let is_setting = |line: &&str| !line.is_empty() && !line.starts_with(['#', '[']);
        assert_eq!(document.lines().filter(is_setting).count(), 0, "{document}");
        for setting in table() {
            assert!(document.contains(&format!("\n# {} = ", setting.field())), "{}", setting.key);
        }
    }

    #[test]
    fn defaults_that_are_uncommented_load() {
        let mut document = Config::new().toml_document();
        for setting in table() {
            document = document
                .replace(&format!("\n# {} = ", setting.field()), &format!("\n{} = ", setting.field()));
        }
        let mut config = Config::new();
        config.load_text(&document, "document").unwrap();
        assert_eq!(config.settings(), Config::new().settings());
        assert!(
            document.lines().filter(|line| line.contains(" = ") && !line.starts_with('#')).count()
                >= table().len()
        );
    }

    #[test]
    fn a_document_gives_its_configuration_back() {
        let mut config = Config::new();
        let pairs = [
            ("listener.tcp.bind", "off"),
            ("listener.lan.bind", "[::]:1884"),
            ("listener.lan.max_connections", "7"),
            ("mqtt.retain", "no"),
            ("mqtt.response_information", "007"),
            ("mqtt.keep_alive_max", "90s"),
            ("session.max_queued_messages", "unlimited"),
            ("session.queue_overflow", "disconnect"),
            ("retained.max_bytes", "0"),
        ];
        for (key, value) in pairs {
            config.set(key, value).unwrap();
        }
        let mut read = Config::new();
        read.load_text(&config.toml_document(), "document").unwrap();
        assert_eq!(read.settings(), config.settings());
        assert_eq!(read.validate(), Ok(()));
    }

    #[test]
    fn a_single_setting_is_a_document_too() {
        let mut config = Config::new();
        config.set("mqtt.max_qos", "1").unwrap();
        config.set("mqtt.keep_alive_max", "90s").unwrap();
        config.set("listener.lan.bind", "[::]:1884").unwrap();
        for key in config.keys() {
            let mut read = Config::new();
            let document = config.toml_setting(&key).unwrap();
            read.load_text(&document, "document").unwrap();
            assert_eq!(read.get(&key), config.get(&key), "{document}");
            assert!(document.starts_with("# "), "{document}");
        }
        // Numbers and what is on or off need no quotes.
        for (key, line) in [
            ("mqtt.max_qos", "mqtt.max_qos = 1\n"),
            ("mqtt.retain", "mqtt.retain = true\n"),
            ("mqtt.keep_alive_max", "mqtt.keep_alive_max = \"90s\"\n"),
        ] {
            let document = config.toml_setting(key).unwrap();
            assert!(document.ends_with(&format!("\n{line}")), "{document}");
        }
        assert!(config.toml_setting("mqtt.max_quos").is_err());
        assert!(config.toml_setting("listener.wan.bind").is_err());
    }

    #[test]
    fn an_address_that_was_never_given_is_not_written_as_off() {
        let mut config = Config::new();
        config.set("listener.lan.max_connections", "7").unwrap();
        let mut read = Config::new();
        read.load_text(&config.toml_document(), "document").unwrap();
        assert_eq!(read.validate(), config.validate());
        assert!(read.validate().is_err());
    }

    #[test]
    fn comments_are_wrapped() {
        let text = wrapped("# ", &"word ".repeat(60));
        assert!(text.lines().all(|line| line.starts_with("# ") && line.len() <= 100));
        assert_eq!(text.matches("word").count(), 60);
    }
}
