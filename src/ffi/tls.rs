//! What the handshake of TLS has shown of a client, for C.

use crate::ffi::arguments::{borrowed, borrowed_or_null};
use crate::ffi::views::midge_bytes;
use crate::session::identity::TlsIdentity;

/// How a connection is secured, and which certificate its client has presented. It lives as long as what points to it.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct midge_tls_view {
    /// The size of the struct.
    pub struct_size: usize,
    /// "TLS 1.3" or "TLS 1.2".
    pub version: midge_bytes,
    /// The cipher suite, such as "TLS13_AES_256_GCM_SHA384".
    pub cipher: midge_bytes,
    /// The server's name that the client has asked for (SNI); NULL if it asked for none.
    pub server_name: midge_bytes,
    /// The application protocol that was agreed on (ALPN), such as "mqtt"; NULL if none.
    pub protocol: midge_bytes,
    /// The subject of the client's certificate, which was verified, such as "CN=device-1,O=Example"; NULL without a
    /// certificate, as all that follows but `resumed`.
    pub subject: midge_bytes,
    /// The subject's common name; NULL if it has none.
    pub common_name: midge_bytes,
    /// The alternative names, each with its kind, separated by line feeds: "DNS:a.example\nIP:192.0.2.1".
    pub names: midge_bytes,
    /// The issuer, as the subject.
    pub issuer: midge_bytes,
    /// The SHA-256 digest of the certificate in lower-case hexadecimal digits.
    pub fingerprint: midge_bytes,
    /// The last second of its validity, in seconds since 1970; 0 without a certificate.
    pub not_after: i64,
    /// 1 if the session of an earlier connection was resumed, otherwise 0.
    pub resumed: i32,
    /// 0.
    pub reserved: i32,
}

/// A view that is lent, and the text that it needs.
pub(super) struct LentTls {
    view: midge_tls_view,
    _names: String,
}

impl LentTls {
    /// A view of `identity`, which must outlive it.
    pub(super) fn of(identity: &TlsIdentity) -> Box<LentTls> {
        let certificate = identity.certificate.as_ref();
        let names = certificate.map(|certificate| certificate.names.join("\n"));
        let text = |text: Option<&str>| borrowed_or_null(text.map(str::as_bytes));
        let view = midge_tls_view {
            struct_size: size_of::<midge_tls_view>(),
            version: borrowed(identity.version.as_bytes()),
            cipher: borrowed(identity.cipher.as_bytes()),
            server_name: text(identity.server_name.as_deref()),
            protocol: text(identity.protocol.as_deref()),
            subject: text(certificate.map(|certificate| &*certificate.subject)),
            common_name: text(certificate.and_then(|certificate| certificate.common_name.as_deref())),
            // The bytes stay where they are when the String moves.
            names: text(names.as_deref()),
            issuer: text(certificate.map(|certificate| &*certificate.issuer)),
            fingerprint: text(certificate.map(|certificate| &*certificate.fingerprint)),
            not_after: certificate
                .map_or(0, |certificate| i64::try_from(certificate.not_after).unwrap_or(i64::MAX)),
            resumed: identity.resumed.into(),
            reserved: 0,
        };
        Box::new(LentTls { view, _names: names.unwrap_or_default() })
    }

    /// The pointer that is lent; NULL without TLS.
    pub(super) fn lend(lent: Option<&LentTls>) -> *const midge_tls_view {
        lent.map_or(std::ptr::null(), |lent| &raw const lent.view)
    }
}
