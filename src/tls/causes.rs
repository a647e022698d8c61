//! Why a connection of TLS has failed, in plain words.

use std::borrow::Cow;

use rustls::pki_types::UnixTime;
use rustls::{AlertDescription, CertificateError, Error, InvalidMessage, PeerIncompatible};

use crate::tls::certificate::Lifetime;

const SECONDS_OF_A_DAY: u64 = 24 * 3600;

/// The cause of a failure, for the log.
pub fn cause(error: &Error) -> Cow<'static, str> {
    match error {
        Error::InvalidCertificate(error) => of_certificate(error),
        Error::NoCertificatesPresented => "the client has sent no certificate (client_certificate)".into(),
        Error::PeerIncompatible(error) => incompatible(error),
        Error::AlertReceived(alert) => told(*alert),
        Error::NoApplicationProtocol => {
            "the client offers other application protocols (ALPN) than this listener's".into()
        }
        Error::DecryptError => "a record was damaged or changed on its way".into(),
        Error::PeerSentOversizedRecord | Error::InvalidMessage(InvalidMessage::MessageTooLarge) => {
            "the client has sent a record that is too large".into()
        }
        Error::InvalidMessage(
            InvalidMessage::InvalidContentType | InvalidMessage::UnknownProtocolVersion,
        ) => "the client has sent something else than a record of TLS".into(),
        Error::InvalidMessage(error) => format!("the client has sent a malformed message: {error:?}").into(),
        Error::PeerMisbehaved(error) => format!("the client breaks the protocol: {error:?}").into(),
        Error::InappropriateMessage { .. } | Error::InappropriateHandshakeMessage { .. } => {
            "the client has sent a message at the wrong time".into()
        }
        other => other.to_string().into(),
    }
}

/// What is wrong with the client's certificate.
fn of_certificate(error: &CertificateError) -> Cow<'static, str> {
    let days =
        |from: &UnixTime, to: &UnixTime| to.as_secs().saturating_sub(from.as_secs()) / SECONDS_OF_A_DAY;
    match error {
        CertificateError::ExpiredContext { time, not_after } => {
            format!("client certificate {}", Lifetime::Over(days(not_after, time))).into()
        }
        CertificateError::Expired => "client certificate expired".into(),
        CertificateError::NotValidYetContext { time, not_before } => {
            let early = not_before.as_secs().saturating_sub(time.as_secs()).div_ceil(SECONDS_OF_A_DAY);
            format!("client certificate {}", Lifetime::Early(early)).into()
        }
        CertificateError::NotValidYet => "client certificate not valid yet".into(),
        CertificateError::Revoked => "client certificate revoked".into(),
        CertificateError::UnknownIssuer => {
            "client certificate of an unknown certificate authority (client_ca)".into()
        }
        CertificateError::UnknownRevocationStatus => {
            "no revocation list of the client certificate's issuer (client_crl)".into()
        }
        CertificateError::ExpiredRevocationListContext { time, next_update } => {
            let over = Lifetime::Over(days(next_update, time));
            format!("the revocation list has {over} (client_crl)").into()
        }
        CertificateError::ExpiredRevocationList => "the revocation list has expired (client_crl)".into(),
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            "client certificate not made for clients (extended key usage)".into()
        }
        CertificateError::BadSignature => "client certificate with a wrong signature".into(),
        CertificateError::BadEncoding => "client certificate malformed".into(),
        other => format!("client certificate refused: {other}").into(),
    }
}

/// Why client and server have no common ground.
fn incompatible(error: &PeerIncompatible) -> Cow<'static, str> {
    match error {
        PeerIncompatible::NoCipherSuitesInCommon => "no common cipher suite".into(),
        PeerIncompatible::NoKxGroupsInCommon | PeerIncompatible::NamedGroupsExtensionRequired => {
            "no common group for the key exchange".into()
        }
        PeerIncompatible::NoSignatureSchemesInCommon
        | PeerIncompatible::SignatureAlgorithmsExtensionRequired
        | PeerIncompatible::NoCertificateRequestSignatureSchemesInCommon => {
            "no common signature algorithm".into()
        }
        PeerIncompatible::Tls12NotOffered
        | PeerIncompatible::Tls12NotOfferedOrEnabled
        | PeerIncompatible::ServerDoesNotSupportTls12Or13
        | PeerIncompatible::SupportedVersionsExtensionRequired
        | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig => {
            "the client offers neither TLS 1.2 nor TLS 1.3".into()
        }
        PeerIncompatible::ExtendedMasterSecretExtensionRequired => {
            "the client lacks the extended master secret".into()
        }
        other => format!("client and server have nothing in common: {other:?}").into(),
    }
}

/// What an alert of the client means.
fn told(alert: AlertDescription) -> Cow<'static, str> {
    match alert {
        AlertDescription::UnknownCA => {
            "the client does not trust the certificate authority of this listener's certificate".into()
        }
        AlertDescription::CertificateExpired => {
            "the client says that this listener's certificate expired".into()
        }
        AlertDescription::CertificateRevoked => {
            "the client says that this listener's certificate is revoked".into()
        }
        AlertDescription::BadCertificate
        | AlertDescription::CertificateUnknown
        | AlertDescription::UnsupportedCertificate => {
            "the client does not accept this listener's certificate (wrong name, or not trusted)".into()
        }
        AlertDescription::HandshakeFailure | AlertDescription::ProtocolVersion => {
            "the client does not accept the offered version or cipher suite".into()
        }
        AlertDescription::UserCanceled => "the client has given up".into(),
        other => format!("the client has sent the alert {other:?}").into(),
    }
}
