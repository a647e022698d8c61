//! The files of a TLS server: which ones, how they are read, and what can be wrong with them.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::config::{ClientCertificates, Listener, names};
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};

/// The largest file that is read: chains, authorities and revocation lists are far smaller.
const LARGEST: u64 = 64 << 20;

/// The files of one TLS server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate chains; each begins with the server's own certificate.
    pub certificates: Vec<PathBuf>,
    /// The private keys, in the order of the chains. If there are none, each key is in the file of its chain.
    pub keys: Vec<PathBuf>,
    /// Whether clients present certificates.
    pub clients: ClientCertificates,
    /// The authorities of the clients' certificates.
    pub client_ca: Option<PathBuf>,
    /// The revocation lists for the clients' certificates.
    pub client_crls: Vec<PathBuf>,
}

/// What a file is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FileKind {
    /// A certificate chain.
    Certificate,
    /// A private key.
    Key,
    /// The authorities of the clients' certificates.
    ClientCa,
    /// A list of revoked certificates.
    ClientCrl,
}

impl FileKind {
    /// The last part of the setting that names the file.
    pub fn setting(self) -> &'static str {
        match self {
            FileKind::Certificate => "certificate",
            FileKind::Key => "key",
            FileKind::ClientCa => "client_ca",
            FileKind::ClientCrl => "client_crl",
        }
    }
}

/// Why the files cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}: {cause}", file.display())]
pub struct TlsError {
    /// What the file is for.
    pub kind: FileKind,
    /// The file.
    pub file: PathBuf,
    /// What is wrong.
    pub cause: String,
}

/// What changes when a file is replaced or written to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stamp(Vec<Option<FileStamp>>);

/// The state of one file.
#[derive(Clone, Debug, PartialEq, Eq)]
struct FileStamp {
    device: u64,
    inode: u64,
    changed: (i64, i64),
    size: u64,
}

impl TlsFiles {
    /// The files of a listener.
    pub fn of_listener(listener: &Listener) -> TlsFiles {
        TlsFiles {
            certificates: list(&listener.certificate),
            keys: list(&listener.key),
            clients: listener.client_certificate,
            client_ca: (!listener.client_ca.is_empty()).then(|| PathBuf::from(&listener.client_ca)),
            client_crls: list(&listener.client_crl),
        }
    }

    /// The files of a server that asks for no certificates of clients.
    pub fn of_server(certificates: &str, keys: &str) -> TlsFiles {
        TlsFiles { certificates: list(certificates), keys: list(keys), ..TlsFiles::default() }
    }

    /// The key file of the chain at `index`.
    pub(super) fn key_of(&self, index: usize) -> Option<&Path> {
        if self.keys.is_empty() { self.certificates.get(index) } else { self.keys.get(index) }
            .map(PathBuf::as_path)
    }

    /// The state of all files on the disk.
    pub(super) fn stamp(&self) -> Stamp {
        let all = self.certificates.iter().chain(&self.keys).chain(&self.client_ca).chain(&self.client_crls);
        let stamp = |file: &PathBuf| {
            let found = fs::metadata(file).ok()?;
            Some(FileStamp {
                device: found.dev(),
                inode: found.ino(),
                changed: (found.mtime(), found.mtime_nsec()),
                size: found.size(),
            })
        };
        Stamp(all.map(stamp).collect())
    }
}

fn list(text: &str) -> Vec<PathBuf> {
    names(text).map(PathBuf::from).collect()
}

/// A file that was read.
pub(super) struct Opened<'f> {
    kind: FileKind,
    file: &'f Path,
    text: Vec<u8>,
    /// Whether every user of the machine may read it.
    pub(super) is_open_to_all: bool,
}

impl<'f> Opened<'f> {
    pub(super) fn read(kind: FileKind, file: &'f Path) -> Result<Opened<'f>, TlsError> {
        let failed = |cause: String| TlsError { kind, file: file.to_owned(), cause };
        let found = fs::metadata(file).map_err(|error| failed(error.to_string()))?;
        if !found.is_file() {
            return Err(failed("it is not a file".to_owned()));
        }
        if found.len() > LARGEST {
            return Err(failed(format!("it has more than {LARGEST} bytes")));
        }
        let text = fs::read(file).map_err(|error| failed(error.to_string()))?;
        Ok(Opened { kind, file, text, is_open_to_all: found.permissions().mode() & 0o004 != 0 })
    }

    pub(super) fn error(&self, cause: impl Into<String>) -> TlsError {
        TlsError { kind: self.kind, file: self.file.to_owned(), cause: cause.into() }
    }

    /// All certificates of the file, at least one.
    pub(super) fn certificates(&self) -> Result<Vec<CertificateDer<'static>>, TlsError> {
        let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&self.text).collect();
        let found = found.map_err(|error| self.not_pem(&error))?;
        if found.is_empty() {
            return Err(self.error("no certificate in it (PEM, BEGIN CERTIFICATE)"));
        }
        Ok(found)
    }

    /// The first private key of the file: PKCS#8, PKCS#1 or SEC 1.
    pub(super) fn key(&self) -> Result<PrivateKeyDer<'static>, TlsError> {
        PrivateKeyDer::from_pem_slice(&self.text).map_err(|error| match error {
            pem::Error::NoItemsFound if self.contains(b"ENCRYPTED PRIVATE KEY") => {
                self.error("the private key is encrypted with a password; write it without one")
            }
            pem::Error::NoItemsFound => self.error("no private key in it (PEM, BEGIN PRIVATE KEY)"),
            error => self.not_pem(&error),
        })
    }

    /// All revocation lists of the file, at least one.
    pub(super) fn revocation_lists(&self) -> Result<Vec<CertificateRevocationListDer<'static>>, TlsError> {
        let found: Result<Vec<_>, _> = CertificateRevocationListDer::pem_slice_iter(&self.text).collect();
        let found = found.map_err(|error| self.not_pem(&error))?;
        if found.is_empty() {
            return Err(self.error("no revocation list in it (PEM, BEGIN X509 CRL)"));
        }
        Ok(found)
    }

    fn not_pem(&self, error: &pem::Error) -> TlsError {
        self.error(match error {
            pem::Error::MissingSectionEnd { .. } => "a section of the PEM file has no end".to_owned(),
            pem::Error::Base64Decode(_) => "a section of the PEM file is not base64".to_owned(),
            error => format!("it is not a PEM file: {error}"),
        })
    }

    fn contains(&self, words: &[u8]) -> bool {
        self.text.windows(words.len()).any(|window| window == words)
    }
}
