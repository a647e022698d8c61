//! One line of an export: a JSON object, written field by field.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// A JSON object that is written.
pub(super) struct Object<'o> {
    out: &'o mut String,
    is_empty: bool,
}

impl Object<'_> {
    /// Writes an object.
    pub(super) fn write(out: &mut String, fields: impl FnOnce(&mut Object<'_>)) {
        out.push('{');
        fields(&mut Object { out, is_empty: true });
        out.push('}');
    }

    fn key(&mut self, name: &str) -> &mut String {
        if !std::mem::replace(&mut self.is_empty, false) {
            self.out.push(',');
        }
        put_text(self.out, name);
        self.out.push(':');
        self.out
    }

    /// A field with a text.
    pub(super) fn text(&mut self, name: &str, value: &str) {
        put_text(self.key(name), value);
    }

    /// A field with a text, if there is one.
    pub(super) fn optional_text(&mut self, name: &str, value: Option<&str>) {
        if let Some(value) = value {
            self.text(name, value);
        }
    }

    /// A field with a number.
    pub(super) fn number(&mut self, name: &str, value: u64) {
        let text = value.to_string();
        self.key(name).push_str(&text);
    }

    /// A field that is true; one that is false is left out.
    pub(super) fn flag(&mut self, name: &str, value: bool) {
        if value {
            self.key(name).push_str("true");
        }
    }

    /// Bytes, as a text if people can read them, else as base64 in a field whose name says so.
    pub(super) fn bytes(&mut self, name: &str, value: &[u8]) {
        match std::str::from_utf8(value) {
            Ok(text) if text.chars().all(is_readable) => self.text(name, text),
            _ => self.text(&format!("{name}_base64"), &STANDARD.encode(value)),
        }
    }

    /// A field with an object.
    pub(super) fn object(&mut self, name: &str, fields: impl FnOnce(&mut Object<'_>)) {
        Object::write(self.key(name), fields);
    }

    /// A field with a list; an empty one is left out.
    pub(super) fn list<T>(
        &mut self,
        name: &str,
        values: impl IntoIterator<Item = T>,
        mut put: impl FnMut(&mut String, T),
    ) {
        let mut values = values.into_iter().peekable();
        if values.peek().is_none() {
            return;
        }
        let out = self.key(name);
        out.push('[');
        let mut is_first = true;
        for value in values {
            if !std::mem::replace(&mut is_first, false) {
                out.push(',');
            }
            put(out, value);
        }
        out.push(']');
    }
}

fn is_readable(character: char) -> bool {
    !character.is_control() || matches!(character, '\n' | '\r' | '\t')
}

/// Writes a text in quotation marks.
pub(super) fn put_text(out: &mut String, text: &str) {
    out.push('"');
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            character if (character as u32) < 0x20 => {
                out.push_str(&format!("\\u{:04x}", character as u32));
            }
            character => out.push(character),
        }
    }
    out.push('"');
}
