//! Errors of settings, with the key of the setting.

use std::error::Error;
use std::fmt;

/// The class of a [`ConfigError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// No setting has this name.
    UnknownKey,
    /// The text is not a value of the setting's kind.
    BadValue,
    /// The value has the right kind, but the setting does not allow it.
    OutOfRange,
    /// The text is not TOML.
    Syntax,
    /// The file could not be read.
    Io,
    /// Two settings, each valid by itself, contradict each other.
    Conflict,
}

/// Why a setting was refused: one sentence with the place, the key and the cause, as far as they are known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    kind: ErrorKind,
    place: Option<String>,
    key: Option<String>,
    cause: String,
}

impl ConfigError {
    /// The class of the error.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The key of the setting, such as `mqtt.max_qos`; `None` if the text is not TOML or the file cannot be read.
    pub fn key(&self) -> Option<&str> {
        self.key.as_deref()
    }

    /// An error about the setting `key`.
    pub(crate) fn of_key(kind: ErrorKind, key: &str, cause: impl Into<String>) -> Self {
        Self { kind, place: None, key: Some(key.to_owned()), cause: cause.into() }
    }

    /// An error about a whole file or a position in it.
    pub(super) fn of_place(kind: ErrorKind, place: impl Into<String>, cause: impl Into<String>) -> Self {
        Self { kind, place: Some(place.into()), key: None, cause: cause.into() }
    }

    /// This error at the place `origin:line:column`.
    pub(super) fn at(mut self, place: String) -> Self {
        self.place = Some(place);
        self
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for part in [&self.place, &self.key].into_iter().flatten() {
            write!(f, "{part}: ")?;
        }
        f.write_str(&self.cause)
    }
}

impl Error for ConfigError {}
