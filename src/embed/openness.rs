//! Closed by default: a listener that other machines can reach needs somebody who decides about its clients.

use crate::config::settings::AccessSettings;
use crate::config::{Anonymous, ClientCertificates, ConfigError, ErrorKind, ListenAddress, Listener};
use crate::embed::hooks::Hooks;

/// Whether listeners may be reached by other machines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Openness {
    /// They may: a file or a hook decides, or `access.anonymous` is true.
    Open,
    /// Only those that demand a certificate of each client: nobody decides.
    Closed,
}

impl Openness {
    /// That of these settings and hooks.
    pub(super) fn of(access: &AccessSettings, hooks: &Hooks) -> Openness {
        match access.anonymous == Anonymous::Allowed || access.has_files() || hooks.decide() {
            true => Openness::Open,
            false => Openness::Closed,
        }
    }

    /// Checks that a listener may be at this address.
    ///
    /// # Errors
    /// Other machines can reach it, and nobody decides about them: the sentence says what to set.
    pub(super) fn check(self, address: &ListenAddress, settings: &Listener) -> Result<(), ConfigError> {
        if self == Openness::Open || settings.client_certificate == ClientCertificates::Required {
            return Ok(());
        }
        match address.as_socket() {
            Some(socket) if !socket.ip().to_canonical().is_loopback() => {
                let cause = format!(
                    "{address} can be reached by other machines, and nobody decides who may connect: set \
                     access.password_file or a hook (authenticate, authorize), or access.anonymous = true to let \
                     everybody do everything"
                );
                Err(ConfigError::of_key(
                    ErrorKind::Conflict,
                    &format!("listener.{}.bind", settings.name),
                    cause,
                ))
            }
            _ => Ok(()),
        }
    }
}
