//! A password among the settings, redacted when printed.

use std::fmt;

use crate::config::value::{Field, Value};

/// A text that is redacted when settings are printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// The text.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// Whether the text is empty.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_empty() { "Secret()" } else { "Secret(***)" })
    }
}

impl Field for Secret {
    const BLANK: Self = Secret(String::new());

    fn to_value(&self) -> Value {
        Value::Text(self.0.clone())
    }

    fn from_value(value: &Value) -> Option<Self> {
        String::from_value(value).map(Secret)
    }
}

#[cfg(test)]
mod tests {
    use crate::config::Config;

    #[test]
    fn a_password_is_kept_and_not_printed() {
        let mut config = Config::new();
        config.set("console.password", "open sesame").unwrap();
        assert_eq!(config.get("console.password").unwrap(), "open sesame");
        assert_eq!(config.settings().console.password.reveal(), "open sesame");
        let printed = format!("{:?}", config.settings());
        assert!(printed.contains("password: Secret(***)") && !printed.contains("sesame"), "{printed}");
    }
}
