//! The settings as documents: docs/CONFIGURATION.md, and a commented TOML file.

use crate::config::configuration::Config;
use crate::config::settings::GROUPS;
use crate::config::table::{Setting, table};

const INTRODUCTION: &str = "\
# Configuration

Written from the table of settings in `src/config/settings.rs`; a test compares the two.

A setting has a key and a text: `mqtt.keep_alive_max` is `\"5m\"`. The same keys and texts work in the C, Python and
Rust interfaces and in a TOML file, where a table is the part of a key before a dot:

```toml
[listener.tcp]
bind = \"0.0.0.0:1883\"

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
| choice | one of the words named |
| address | `127.0.0.1:1883`, `[::1]:1883`, `localhost:1883` (which is 127.0.0.1), or `off`; names are not looked up |

In TOML, integers and booleans may stand without quotation marks, and so may sizes in bytes. A key that does not exist
and a value that is out of range are errors that name the key, and in a file its line and column; a file with an error
changes nothing.
";

/// docs/CONFIGURATION.md.
pub fn markdown() -> String {
    let mut text = INTRODUCTION.to_owned();
    for (group, about) in GROUPS {
        text.push_str(&format!("\n## {group}\n\n{about}\n"));
        for setting in table().iter().filter(|setting| setting.group() == *group) {
            text.push_str(&format!(
                "\n### `{}`\n\n{}: {}. Default: `{}`.\n\n{}\n",
                setting.title(),
                capitalised(setting.kind.name()),
                setting.range(),
                setting.default,
                setting.help
            ));
        }
    }
    text
}

impl Config {
    /// The configuration as a TOML document: every setting with its help as a comment. Settings that have their
    /// default are comments too, so that the document stays true when a default changes. Loaded into a new `Config`
    /// it gives the same settings.
    pub fn toml_document(&self) -> String {
        let mut text = String::new();
        let mut table_name = "";
        let keys = self.keys();
        for key in &keys {
            let Some((setting, _)) = crate::config::table::find(key) else { continue };
            let (group, field) = key.rsplit_once('.').unwrap_or_default();
            if group != table_name {
                let about =
                    GROUPS.iter().find(|(name, _)| *name == setting.group()).map_or("", |(_, about)| about);
                text.push_str(&format!(
                    "{}{}[{group}]\n",
                    if table_name.is_empty() { "" } else { "\n" },
                    comment(about)
                ));
                table_name = group;
            }
            text.push_str(&self.toml_line(key, field, setting));
        }
        text
    }

    fn toml_line(&self, key: &str, field: &str, setting: &Setting) -> String {
        let value = self.get(key).unwrap_or_default();
        let bare = value.bytes().all(|byte| byte.is_ascii_digit()) || value == "true" || value == "false";
        let value = if bare { value } else { toml_string(&value) };
        let help = comment(&format!("{} ({}: {}.)", setting.help, setting.kind.name(), setting.range()));
        let unset = self.is_default(key) || (setting.field() == "bind" && !self.is_given(key));
        let mark = if unset { "# " } else { "" };
        format!("\n{help}{mark}{field} = {value}\n")
    }
}

/// `text` as lines of a TOML comment.
fn comment(text: &str) -> String {
    const WIDTH: usize = 100;
    let mut lines = String::new();
    let mut line = String::from("#");
    for word in text.split_whitespace() {
        if line.len() + 1 + word.len() > WIDTH {
            lines.push_str(&line);
            lines.push('\n');
            line = String::from("#");
        }
        line.push(' ');
        line.push_str(word);
    }
    format!("{lines}{line}\n")
}

/// `text` as a TOML string; a setting's text has no control character.
fn toml_string(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

fn capitalised(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}
