//! Settings from a TOML file.

use std::fs;
use std::path::Path;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::config::configuration::Config;
use crate::config::error::{ConfigError, ErrorKind};

impl Config {
    /// Reads settings from the TOML document `toml`; tables nest into dotted keys. `origin` names the document in
    /// errors. Settings that it does not name stay as they are.
    ///
    /// # Errors
    /// `Syntax`, or the errors of [`Config::set`], with line and column (in characters, from 1) of the first of them.
    /// On an error nothing is changed.
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
        match text_of(entry.value) {
            Some(text) => self.set(&entry.key, &text),
            None if entry.value.is_table() && Config::is_group(&entry.key) => Ok(()),
            None => {
                self.get(&entry.key)?;
                let cause = format!("a TOML {} is not the value of a setting", entry.value.type_str());
                Err(ConfigError::of_key(ErrorKind::BadValue, &entry.key, cause))
            }
        }
    }
}

/// A key of the document that ends at a value, or at a table without any.
struct Entry<'a, 'i> {
    key: String,
    /// Where the key stands, in bytes.
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

/// A value as the text that the table of settings parses; `None` for a value that no setting has.
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
