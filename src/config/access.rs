//! The settings of access: which authorities decide, in which order, and clients without a user name.

use crate::config::error::{ConfigError, ErrorKind};
use crate::config::settings::{AccessSettings, Anonymous, Settings};
use crate::config::tls::names;
use crate::config::value::{Field, Value};

impl Anonymous {
    /// The words of the setting.
    pub(super) const NAMES: &'static [&'static str] = &["auto", "true", "false"];
}

impl Field for Anonymous {
    const BLANK: Self = Anonymous::Auto;

    fn to_value(&self) -> Value {
        Value::Choice(match self {
            Anonymous::Auto => "auto",
            Anonymous::Allowed => "true",
            Anonymous::Refused => "false",
        })
    }

    fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::Choice("auto") => Some(Anonymous::Auto),
            Value::Choice("true") => Some(Anonymous::Allowed),
            Value::Choice("false") => Some(Anonymous::Refused),
            _ => None,
        }
    }
}

/// An authority that `access.authorities` names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum AuthorityName {
    /// The host's hooks.
    Hooks,
    /// The password file.
    Passwords,
    /// The file of access rules.
    Acl,
}

impl AuthorityName {
    const ALL: [AuthorityName; 3] = [AuthorityName::Hooks, AuthorityName::Passwords, AuthorityName::Acl];

    /// Its word in the setting.
    pub(crate) fn word(self) -> &'static str {
        match self {
            AuthorityName::Hooks => "hooks",
            AuthorityName::Passwords => "passwords",
            AuthorityName::Acl => "acl",
        }
    }
}

impl AccessSettings {
    /// The authorities in the order in which they are asked. Settings that were not checked may name unknown ones, which
    /// are left out.
    pub(crate) fn order(&self) -> Vec<AuthorityName> {
        names(&self.authorities).filter_map(named).collect()
    }

    /// Whether one authority is asked before another one; both are in the order.
    pub(crate) fn is_before(&self, one: AuthorityName, other: AuthorityName) -> bool {
        let order = self.order();
        let place = |name| order.iter().position(|known| *known == name);
        place(one) < place(other)
    }

    /// Whether a file is set that decides.
    pub(crate) fn has_files(&self) -> bool {
        !self.password_file.is_empty() || !self.acl_file.is_empty()
    }
}

fn named(word: &str) -> Option<AuthorityName> {
    AuthorityName::ALL.into_iter().find(|name| name.word() == word)
}

/// Checks the order of authorities, and that no file is set in vain.
pub(super) fn check_access(settings: &Settings) -> Result<(), ConfigError> {
    let access = &settings.access;
    let refuse = |key: &str, cause: String| {
        Err(ConfigError::of_key(ErrorKind::Conflict, &format!("access.{key}"), cause))
    };
    let mut seen = Vec::new();
    for word in names(&access.authorities) {
        let Some(name) = named(word) else {
            return refuse("authorities", format!("{word:?} is none of hooks, passwords and acl"));
        };
        if seen.contains(&name) {
            return refuse("authorities", format!("{word} stands there twice"));
        }
        seen.push(name);
    }
    let files = [
        ("password_file", &access.password_file, AuthorityName::Passwords),
        ("acl_file", &access.acl_file, AuthorityName::Acl),
    ];
    for (key, file, name) in files {
        if !file.is_empty() && !seen.contains(&name) {
            return refuse(key, format!("it is not used: access.authorities does not name {}", name.word()));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::AuthorityName;
    use crate::config::configuration::Config;

    fn refused(settings: &[(&str, &str)]) -> Option<String> {
        let mut config = Config::new();
        settings.iter().for_each(|(key, value)| config.set(key, value).unwrap());
        config.validate().err().map(|error| error.to_string())
    }

    #[test]
    fn the_order_is_that_of_the_setting() {
        let mut config = Config::new();
        let all = [AuthorityName::Hooks, AuthorityName::Passwords, AuthorityName::Acl];
        assert_eq!(config.settings().access.order(), all);
        config.set("access.authorities", "acl,passwords , hooks").unwrap();
        let other = [AuthorityName::Acl, AuthorityName::Passwords, AuthorityName::Hooks];
        assert_eq!(config.settings().access.order(), other);
    }

    #[test]
    fn wrong_orders_and_unused_files_are_refused() {
        let unknown = refused(&[("access.authorities", "hooks, ldap")]).unwrap();
        assert_eq!(unknown, "access.authorities: \"ldap\" is none of hooks, passwords and acl");
        let twice = refused(&[("access.authorities", "acl, hooks, acl")]).unwrap();
        assert_eq!(twice, "access.authorities: acl stands there twice");
        let unused = refused(&[("access.authorities", "hooks"), ("access.acl_file", "a")]).unwrap();
        assert_eq!(unused, "access.acl_file: it is not used: access.authorities does not name acl");
        let unused = refused(&[("access.authorities", "acl"), ("access.password_file", "a")]).unwrap();
        assert_eq!(
            unused,
            "access.password_file: it is not used: access.authorities does not name passwords"
        );
        assert_eq!(refused(&[("access.authorities", "")]), None);
    }
}
