//! What the handshake of TLS has shown of a client.

use std::fmt;

/// What the handshake of TLS has shown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsIdentity {
    /// `TLS 1.3` or `TLS 1.2`.
    pub version: &'static str,
    /// The cipher suite, such as `TLS13_AES_256_GCM_SHA384`.
    pub cipher: &'static str,
    /// The server's name that the client has asked for (SNI).
    pub server_name: Option<Box<str>>,
    /// The application protocol that was agreed on (ALPN).
    pub protocol: Option<Box<str>>,
    /// Whether the session was resumed.
    pub resumed: bool,
    /// The client's certificate, which was verified.
    pub certificate: Option<ClientCertificate>,
}

/// What is written in a client's certificate.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientCertificate {
    /// The subject, such as `CN=device-1,O=Example`.
    pub subject: Box<str>,
    /// The subject's common name.
    pub common_name: Option<Box<str>>,
    /// The alternative names, each with its kind, such as `DNS:device-1.example`.
    pub names: Box<[Box<str>]>,
    /// The issuer, as the subject.
    pub issuer: Box<str>,
    /// The SHA-256 digest of the certificate in lower-case hexadecimal digits.
    pub fingerprint: Box<str>,
    /// The last second of its validity, in seconds since 1970.
    pub not_after: u64,
}

/// For the log: `TLS 1.3, certificate CN=device-1`.
impl fmt::Display for TlsIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.version)?;
        match &self.certificate {
            Some(certificate) => write!(f, ", certificate {}", certificate.subject),
            None => Ok(()),
        }
    }
}
