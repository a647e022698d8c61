//! Reading certificates again while connections stay.

use crate::embed::broker::Broker;
use crate::embed::error::Error;

impl Broker {
    /// Reads the files of all certificates again: of the listeners with TLS, and of the console. New connections get the
    /// new certificates; connections that exist stay as they are. Returns the number of certificates.
    ///
    /// The files are also read by themselves, within half a minute after they have changed.
    ///
    /// # Errors
    /// A file is missing, malformed, or does not fit the others ([`Error::Config`], with the setting and the file): for
    /// that listener everything stays as it was. The broker has stopped.
    pub fn reload_certificates(&self) -> Result<usize, Error> {
        let shared = self.shared()?;
        if shared.has_stopped() {
            return Err(Error::Stopped);
        }
        reload(shared.server())
    }
}

#[cfg(feature = "tls")]
fn reload(server: &crate::net::Server) -> Result<usize, Error> {
    use crate::config::{ConfigError, ErrorKind};

    let mut count = 0;
    let mut failed = None;
    for reloaded in server.reload_certificates() {
        match reloaded.error {
            None => count += reloaded.certificates.len(),
            Some(error) => {
                let key = format!("{}.{}", reloaded.group, error.kind.setting());
                let error = ConfigError::of_key(ErrorKind::Io, &key, error.to_string());
                failed.get_or_insert(error);
            }
        }
    }
    failed.map_or(Ok(count), |error| Err(error.into()))
}

/// A library without TLS has no certificates.
#[cfg(not(feature = "tls"))]
fn reload(_server: &crate::net::Server) -> Result<usize, Error> {
    Ok(0)
}
