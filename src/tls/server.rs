//! The TLS settings of one listener as rustls needs them, and reading their files again.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use rustls::crypto::CryptoProvider;
use rustls::crypto::ring::{Ticketer, default_provider};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{ServerSessionMemoryCache, VerifierBuilderError, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::version::{TLS12, TLS13};
use rustls::{Error, InconsistentKeys, RootCertStore, ServerConfig};

use crate::config::ClientCertificates;
use crate::locks::{Mutex, RwLock};
use crate::tls::certificate::{Certificate, Lifetime};
use crate::tls::chains::{Chain, Chains};
use crate::tls::files::{FileKind, Opened, Stamp, TlsError, TlsFiles};

/// The most sessions of TLS 1.2 clients without tickets that can be resumed.
const RESUMABLE: usize = 256;
/// Days before the end of a certificate from which on the log warns.
const SOON: u64 = 14;

/// The TLS side of a listener. Its files can be read again while connections use what was read before.
pub struct TlsServer {
    files: TlsFiles,
    protocols: Vec<Vec<u8>>,
    loaded: RwLock<Loaded>,
    watched: Mutex<Watched>,
}

/// What the files contained.
#[derive(Clone)]
struct Loaded {
    config: Arc<ServerConfig>,
    certificates: Arc<[ServedCertificate]>,
    warnings: Arc<[String]>,
}

/// The files as they were seen.
struct Watched {
    /// When they were last read, with or without success.
    read: Stamp,
    /// When they were last looked at.
    seen: Stamp,
}

/// A certificate of a server, for the console and metrics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServedCertificate {
    /// Its file.
    pub file: PathBuf,
    /// What is written in it.
    pub certificate: Certificate,
}

impl TlsServer {
    /// Reads the files. `protocols`: the names for ALPN; a client that offers none of them is refused, and one without
    /// ALPN is accepted.
    pub fn load(files: TlsFiles, protocols: &[&[u8]]) -> Result<TlsServer, TlsError> {
        let protocols: Vec<_> = protocols.iter().map(|name| name.to_vec()).collect();
        let stamp = files.stamp();
        let loaded = Loaded::read(&files, &protocols)?;
        let watched = Watched { read: stamp.clone(), seen: stamp };
        Ok(TlsServer { files, protocols, loaded: RwLock::new(loaded), watched: Mutex::new(watched) })
    }

    /// What a new connection uses.
    pub fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.loaded.read().config)
    }

    /// The certificates that new connections get.
    pub fn certificates(&self) -> Arc<[ServedCertificate]> {
        Arc::clone(&self.loaded.read().certificates)
    }

    /// What is wrong with the files although they can be used: permissions, and certificates that end soon or have
    /// ended.
    pub fn remarks(&self) -> Vec<String> {
        let loaded = self.loaded.read().clone();
        let now = now();
        let of_certificates = loaded.certificates.iter().filter_map(|served| served.remark(now));
        loaded.warnings.iter().cloned().chain(of_certificates).collect()
    }

    /// Reads the files again. After an error everything stays as it was. Connections and their keys are not touched;
    /// sessions from before cannot be resumed.
    pub fn reload(&self) -> Result<(), TlsError> {
        let stamp = self.files.stamp();
        let outcome = Loaded::read(&self.files, &self.protocols).and_then(|loaded| {
            let now = now();
            let valid = |loaded: &Loaded| loaded.certificates.iter().all(|served| served.is_valid(now));
            if let Some(bad) = loaded.certificates.iter().find(|served| !served.is_valid(now))
                && valid(&self.loaded.read())
            {
                let cause = format!("the certificate {}", bad.certificate.lifetime(now));
                return Err(TlsError { kind: FileKind::Certificate, file: bad.file.clone(), cause });
            }
            Ok(loaded)
        });
        let mut watched = self.watched.lock();
        *watched = Watched { read: stamp.clone(), seen: stamp };
        *self.loaded.write() = outcome?;
        Ok(())
    }

    /// Reads the files again if they have changed since they were read, and not since the last look: several files are
    /// not replaced at the same moment. Returns `None` if there is nothing to do.
    pub fn reload_if_changed(&self) -> Option<Result<(), TlsError>> {
        let stamp = self.files.stamp();
        let mut watched = self.watched.lock();
        let is_settled = watched.seen == stamp;
        let is_new = watched.read != stamp;
        watched.seen = stamp;
        drop(watched);
        (is_new && is_settled).then(|| self.reload())
    }
}

impl ServedCertificate {
    /// The state at this time, in seconds since 1970.
    pub fn lifetime(&self, now: u64) -> Lifetime {
        self.certificate.lifetime(now)
    }

    fn is_valid(&self, now: u64) -> bool {
        matches!(self.lifetime(now), Lifetime::Valid(_))
    }

    /// The sentence of the log about a certificate that has ended or ends soon.
    pub fn remark(&self, now: u64) -> Option<String> {
        let lifetime = self.lifetime(now);
        let file = self.file.display();
        match lifetime {
            Lifetime::Valid(days) if days > SOON => None,
            Lifetime::Valid(_) => Some(format!("{file}: the certificate is {lifetime} more")),
            Lifetime::Over(_) => Some(format!("{file}: the certificate has {lifetime}")),
            Lifetime::Early(_) => Some(format!("{file}: the certificate is {lifetime}")),
        }
    }
}

impl Loaded {
    fn read(files: &TlsFiles, protocols: &[Vec<u8>]) -> Result<Loaded, TlsError> {
        let provider = Arc::new(default_provider());
        let mut warnings = Vec::new();
        let (chains, certificates) = chains(files, &provider, &mut warnings)?;
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&[&TLS13, &TLS12])
            .map_err(|error| first_error(files, &error))?;
        let builder = match verifier(files, &provider)? {
            Some(verifier) => builder.with_client_cert_verifier(verifier),
            None => builder.with_no_client_auth(),
        };
        let mut config = builder.with_cert_resolver(Arc::new(Chains(chains)));
        config.alpn_protocols = protocols.to_vec();
        config.session_storage = ServerSessionMemoryCache::new(RESUMABLE);
        config.ticketer = Ticketer::new().map_err(|error| first_error(files, &error))?;
        config.send_tls13_tickets = 1;
        let (certificates, warnings) = (certificates.into(), warnings.into());
        Ok(Loaded { config: Arc::new(config), certificates, warnings })
    }
}

/// The time of day, in seconds since 1970.
fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// An error that no file is at fault for.
fn first_error(files: &TlsFiles, error: &Error) -> TlsError {
    let file = files.certificates.first().cloned().unwrap_or_default();
    TlsError { kind: FileKind::Certificate, file, cause: error.to_string() }
}

fn chains(
    files: &TlsFiles,
    provider: &CryptoProvider,
    warnings: &mut Vec<String>,
) -> Result<(Vec<Chain>, Vec<ServedCertificate>), TlsError> {
    let mut chains = Vec::new();
    let mut served = Vec::new();
    for (index, file) in files.certificates.iter().enumerate() {
        let opened = Opened::read(FileKind::Certificate, file)?;
        let chain = opened.certificates()?;
        let Some(certificate) = chain.first().and_then(|first| Certificate::read(first)) else {
            return Err(opened.error("the first certificate is malformed"));
        };
        let key_file = files.key_of(index).unwrap_or(file);
        let key = key(key_file, file, chain, provider, warnings)?;
        let names = certificate.server_names().into_iter().map(str::to_ascii_lowercase).collect();
        chains.push(Chain { key: Arc::new(key), names });
        served.push(ServedCertificate { file: file.clone(), certificate });
    }
    Ok((chains, served))
}

fn key(
    file: &Path,
    chain_file: &Path,
    chain: Vec<rustls::pki_types::CertificateDer<'static>>,
    provider: &CryptoProvider,
    warnings: &mut Vec<String>,
) -> Result<CertifiedKey, TlsError> {
    let kind = if file == chain_file { FileKind::Certificate } else { FileKind::Key };
    let opened = Opened::read(kind, file)?;
    if opened.is_open_to_all {
        let name = file.display();
        warnings
            .push(format!("{name}: every user of this machine can read the private key; chmod o-r {name}"));
    }
    CertifiedKey::from_der(chain, opened.key()?, provider).map_err(|error| match error {
        Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
            opened.error(format!("the private key does not fit the certificate in {}", chain_file.display()))
        }
        Error::InvalidCertificate(_) => opened.error(format!("{} is malformed", chain_file.display())),
        error => opened.error(format!("the private key cannot be used: {error}")),
    })
}

/// What checks the certificates of clients, if the server asks for them.
fn verifier(
    files: &TlsFiles,
    provider: &Arc<CryptoProvider>,
) -> Result<Option<Arc<dyn ClientCertVerifier>>, TlsError> {
    let (ClientCertificates::Optional | ClientCertificates::Required, Some(file)) =
        (files.clients, &files.client_ca)
    else {
        return Ok(None);
    };
    let opened = Opened::read(FileKind::ClientCa, file)?;
    let mut roots = RootCertStore::empty();
    for authority in opened.certificates()? {
        roots.add(authority).map_err(|_| opened.error("a certificate in it is malformed"))?;
    }
    let mut builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider));
    for file in &files.client_crls {
        let opened = Opened::read(FileKind::ClientCrl, file)?;
        builder = builder.with_crls(opened.revocation_lists()?);
    }
    if !files.client_crls.is_empty() {
        builder = builder.only_check_end_entity_revocation().enforce_revocation_expiration();
    }
    if files.clients == ClientCertificates::Optional {
        builder = builder.allow_unauthenticated();
    }
    match builder.build() {
        Ok(verifier) => Ok(Some(verifier)),
        Err(VerifierBuilderError::InvalidCrl(error)) => {
            let file = files.client_crls.first().cloned().unwrap_or_default();
            let cause = format!("a revocation list is malformed: {error:?}");
            Err(TlsError { kind: FileKind::ClientCrl, file, cause })
        }
        Err(error) => Err(opened.error(error.to_string())),
    }
}
