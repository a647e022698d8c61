//! The authorities that a client of the command trusts.

use std::path::Path;
use std::sync::Arc;

use rustls::crypto::ring::default_provider;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

use crate::failure::Failure;

/// The authorities that the system trusts, on Debian and on most other systems.
const SYSTEM: &str = "/etc/ssl/certs/ca-certificates.crt";

/// The settings of a client that trusts the authorities of a PEM file; without one, those of the system.
pub(crate) fn of_file(file: Option<&Path>) -> Result<ClientConfig, Failure> {
    let file = file.unwrap_or(Path::new(SYSTEM));
    let wrong = |cause: String| Failure::usage(format!("--ca: {}: {cause}", file.display()));
    let mut roots = RootCertStore::empty();
    let certificates = CertificateDer::pem_file_iter(file).map_err(|error| wrong(error.to_string()))?;
    for certificate in certificates {
        let certificate = certificate.map_err(|error| wrong(error.to_string()))?;
        // The system's file may have some of a kind that is not understood.
        let _understood = roots.add(certificate);
    }
    if roots.is_empty() {
        return Err(wrong("no certificate in it (PEM, BEGIN CERTIFICATE)".to_owned()));
    }
    let config = ClientConfig::builder_with_provider(Arc::new(default_provider()));
    let config = config.with_safe_default_protocol_versions().map_err(|error| wrong(error.to_string()))?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}
