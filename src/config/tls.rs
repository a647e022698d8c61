//! The settings of TLS: which certificates, and checks of what fits together.

use crate::config::error::{ConfigError, ErrorKind};
use crate::config::settings::{Listener, Settings};
use crate::config::transport::Transport;
use crate::config::value::{Field, Value};

/// Whether clients present certificates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum ClientCertificates {
    /// The broker asks for none.
    #[default]
    None,
    /// A client may present one; a wrong one is refused.
    Optional,
    /// A client without one is refused.
    Required,
}

impl Field for ClientCertificates {
    const BLANK: Self = ClientCertificates::None;

    fn to_value(&self) -> Value {
        Value::Choice(match self {
            ClientCertificates::None => "none",
            ClientCertificates::Optional => "optional",
            ClientCertificates::Required => "required",
        })
    }

    fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::Choice("none") => Some(ClientCertificates::None),
            Value::Choice("optional") => Some(ClientCertificates::Optional),
            Value::Choice("required") => Some(ClientCertificates::Required),
            _ => None,
        }
    }
}

/// The names of a comma-separated list.
pub(crate) fn names(list: &str) -> impl Iterator<Item = &str> {
    list.split(',').map(str::trim).filter(|name| !name.is_empty())
}

/// Checks that what TLS needs is there, and that nothing is set in vain.
pub(super) fn check_tls(settings: &Settings) -> Result<(), ConfigError> {
    for listener in &settings.listeners {
        check_listener(listener)?;
    }
    let console = &settings.console;
    check_pairs("console", &console.certificate, &console.key)
}

fn check_listener(listener: &Listener) -> Result<(), ConfigError> {
    let group = format!("listener.{}", listener.name);
    let conflict = |part: &str, cause: &str| {
        Err(ConfigError::of_key(ErrorKind::Conflict, &format!("{group}.{part}"), cause))
    };
    let secured = matches!(listener.transport, Transport::Tls | Transport::Wss);
    let has_certificate = names(&listener.certificate).next().is_some();
    if secured && !has_certificate && listener.bind.is_some() {
        return conflict("certificate", "TLS needs a certificate: name its PEM file here");
    }
    if !secured && listener.transport != Transport::Auto && has_certificate {
        return conflict("certificate", "it is not used: set the listener's transport to tls, wss or auto");
    }
    check_pairs(&group, &listener.certificate, &listener.key)?;
    let has_ca = !listener.client_ca.is_empty();
    if listener.client_certificate == ClientCertificates::None {
        if has_ca {
            return conflict("client_ca", "it is not used: set client_certificate to optional or required");
        }
    } else if !has_certificate {
        return conflict("client_certificate", "it needs TLS: set transport and certificate");
    } else if !has_ca {
        let cause = "client certificates need the file of the authority that issues them: name it here";
        return conflict("client_ca", cause);
    }
    if !has_ca && names(&listener.client_crl).next().is_some() {
        return conflict("client_crl", "it is not used: set client_ca and client_certificate");
    }
    Ok(())
}

/// Each certificate has a key, or none has and each file contains both.
fn check_pairs(group: &str, certificates: &str, keys: &str) -> Result<(), ConfigError> {
    let (certificates, keys) = (names(certificates).count(), names(keys).count());
    if keys == 0 || keys == certificates {
        return Ok(());
    }
    let cause = format!(
        "{keys} files for {certificates} certificates: name one for each, or none if both are in one file"
    );
    Err(ConfigError::of_key(ErrorKind::Conflict, &format!("{group}.key"), cause))
}

#[cfg(test)]
mod tests {
    use crate::config::Config;

    /// The error for these settings of a listener that has an address.
    fn refused(settings: &[(&str, &str)]) -> Option<String> {
        let mut config = Config::new();
        for (key, value) in settings {
            config.set(&format!("listener.tcp.{key}"), value).unwrap();
        }
        config.validate().err().map(|error| error.to_string())
    }

    #[test]
    fn what_tls_needs_is_named() {
        let tls = ("transport", "tls");
        let pair = ("certificate", "a.pem");
        assert!(refused(&[tls]).unwrap().starts_with("listener.tcp.certificate: TLS needs"));
        assert!(refused(&[("transport", "wss")]).unwrap().starts_with("listener.tcp.certificate: TLS needs"));
        assert_eq!(refused(&[tls, pair]), None);
        assert_eq!(refused(&[("transport", "auto"), pair]), None);
        assert!(refused(&[pair]).unwrap().starts_with("listener.tcp.certificate: it is not used"));
        let required = ("client_certificate", "required");
        assert!(refused(&[tls, pair, required]).unwrap().starts_with("listener.tcp.client_ca: client"));
        assert_eq!(refused(&[tls, pair, required, ("client_ca", "ca.pem")]), None);
        assert!(refused(&[required]).unwrap().starts_with("listener.tcp.client_certificate: it needs TLS"));
        let unused = refused(&[tls, pair, ("client_ca", "ca.pem")]).unwrap();
        assert!(unused.starts_with("listener.tcp.client_ca: it is not used"), "{unused}");
        let unused = refused(&[tls, pair, ("client_crl", "crl.pem")]).unwrap();
        assert!(unused.starts_with("listener.tcp.client_crl: it is not used"), "{unused}");
    }

    #[test]
    fn each_certificate_has_its_key() {
        let of = |certificates, keys| {
            refused(&[("transport", "tls"), ("certificate", certificates), ("key", keys)])
        };
        assert_eq!(of("a.pem, b.pem", "a.key,b.key"), None);
        assert_eq!(of("a.pem, b.pem", ""), None);
        let cause = of("a.pem, b.pem", "a.key").unwrap();
        assert!(cause.starts_with("listener.tcp.key: 1 files for 2 certificates"), "{cause}");
        let mut config = Config::new();
        config.set("console.key", "x.key").unwrap();
        let error = config.validate().unwrap_err().to_string();
        assert!(error.starts_with("console.key: 1 files for 0 certificates"), "{error}");
    }
}
