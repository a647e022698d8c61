//! The certificates of listeners and console: what new connections get, and reading the files again.

use serde::Serialize;

use crate::http::answer::{Problem, Reply};
use crate::http::console::Console;
use crate::http::service::ApiRequest;
#[cfg(feature = "tls")]
use crate::tls::{Reloaded, ServedCertificate, TlsServer, TlsServers};

/// What the console knows of TLS.
#[cfg(feature = "tls")]
pub struct ConsoleTls {
    /// The console's own; `None` for HTTP.
    pub own: Option<std::sync::Arc<TlsServer>>,
    /// Those of all listeners, and of the console.
    pub servers: std::sync::Arc<TlsServers>,
    /// Reads all files again.
    pub reload: Box<dyn Fn() -> Vec<Reloaded> + Send + Sync>,
}

#[derive(Serialize)]
struct Certificates {
    items: Vec<Certificate>,
    /// Why files were not read again; the certificates from before stay in use.
    errors: Vec<String>,
}

#[derive(Debug, Serialize)]
pub(super) struct Certificate {
    /// The settings: `listener.<name>` or `console`.
    pub(super) group: String,
    pub(super) file: String,
    subject: String,
    names: Vec<String>,
    issuer: String,
    fingerprint: String,
    not_before: u64,
    not_after: u64,
    /// Whole days until it ends; negative afterwards.
    pub(super) days_left: i64,
}

/// `GET /api/v1/certificates`
pub(super) fn list(console: &Console, _request: &ApiRequest) -> Result<Reply, Problem> {
    Reply::json(&Certificates { items: served(console), errors: Vec::new() })
}

/// `POST /api/v1/certificates/reload`
pub(super) fn reload(console: &Console, _request: &ApiRequest) -> Result<Reply, Problem> {
    let errors = read_again(console);
    Reply::json(&Certificates { items: served(console), errors })
}

/// The certificates that new connections get.
#[cfg(feature = "tls")]
pub(super) fn served(console: &Console) -> Vec<Certificate> {
    let now = console.unix(console.now()) / 1000;
    let mut all = Vec::new();
    for (group, server) in console.tls.servers.all() {
        all.extend(server.certificates().iter().map(|served| shown(&group, served, now)));
    }
    all
}

#[cfg(feature = "tls")]
fn shown(group: &str, served: &ServedCertificate, now: u64) -> Certificate {
    let certificate = &served.certificate;
    let seconds = certificate.not_after.cast_signed() - now.cast_signed();
    Certificate {
        group: group.to_owned(),
        file: served.file.display().to_string(),
        subject: certificate.subject.clone(),
        names: certificate.names.clone(),
        issuer: certificate.issuer.clone(),
        fingerprint: certificate.fingerprint.clone(),
        not_before: certificate.not_before,
        not_after: certificate.not_after,
        days_left: seconds.div_euclid(24 * 3600),
    }
}

#[cfg(feature = "tls")]
fn read_again(console: &Console) -> Vec<String> {
    (console.tls.reload)().iter().filter_map(Reloaded::failure).collect()
}

/// A library without TLS has no certificates.
#[cfg(not(feature = "tls"))]
pub(super) fn served(_console: &Console) -> Vec<Certificate> {
    Vec::new()
}

#[cfg(not(feature = "tls"))]
fn read_again(_console: &Console) -> Vec<String> {
    Vec::new()
}
