//! What is written in a certificate.

use std::fmt::{self, Write as _};

use x509_cert::der::asn1::{Ia5StringRef, PrintableStringRef, TeletexStringRef, Utf8StringRef};
use x509_cert::der::{Any, Decode, Tag, Tagged};
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::name::Name;
use x509_cert::spki::ObjectIdentifier;

use crate::session::identity::ClientCertificate;

const COMMON_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.3");
const SECONDS_OF_A_DAY: u64 = 24 * 3600;
/// The most characters of a name that are kept.
const NAME: usize = 512;
/// The most alternative names that are kept.
const NAMES: usize = 32;

/// A certificate that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// The subject, such as `CN=broker.example,O=Example`.
    pub subject: String,
    /// The subject's common name.
    pub common_name: Option<String>,
    /// The alternative names, each with its kind, such as `DNS:broker.example` and `IP:127.0.0.1`.
    pub names: Vec<String>,
    /// The issuer, as the subject.
    pub issuer: String,
    /// The SHA-256 digest of the certificate in lower-case hexadecimal digits.
    pub fingerprint: String,
    /// The first second of its validity, in seconds since 1970.
    pub not_before: u64,
    /// The last second of its validity, in seconds since 1970.
    pub not_after: u64,
}

/// Whether a certificate is valid at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lifetime {
    /// It is not valid yet; the number of days until it is.
    Early(u64),
    /// It is valid; the number of whole days that are left.
    Valid(u64),
    /// It is not valid any more; the number of whole days since then.
    Over(u64),
}

impl Certificate {
    /// Reads a certificate; `None` if it is malformed.
    pub fn read(der: &[u8]) -> Option<Certificate> {
        let read = x509_cert::Certificate::from_der(der).ok()?.tbs_certificate;
        let names = match read.get::<SubjectAltName>() {
            Ok(Some((_, SubjectAltName(names)))) => {
                names.iter().filter_map(alternative).take(NAMES).collect()
            }
            _ => Vec::new(),
        };
        Some(Certificate {
            subject: shown(&read.subject.to_string()),
            common_name: common_name(&read.subject),
            names,
            issuer: shown(&read.issuer.to_string()),
            fingerprint: hexadecimal(ring::digest::digest(&ring::digest::SHA256, der).as_ref()),
            not_before: read.validity.not_before.to_unix_duration().as_secs(),
            not_after: read.validity.not_after.to_unix_duration().as_secs(),
        })
    }

    /// Its state at this time, in seconds since 1970.
    pub fn lifetime(&self, now: u64) -> Lifetime {
        if now < self.not_before {
            Lifetime::Early((self.not_before - now).div_ceil(SECONDS_OF_A_DAY))
        } else if now <= self.not_after {
            Lifetime::Valid((self.not_after - now) / SECONDS_OF_A_DAY)
        } else {
            Lifetime::Over((now - self.not_after) / SECONDS_OF_A_DAY)
        }
    }

    /// What a client's certificate shows of it.
    pub(crate) fn of_client(self) -> ClientCertificate {
        ClientCertificate {
            subject: self.subject.into(),
            common_name: self.common_name.map(Into::into),
            names: self.names.into_iter().map(Into::into).collect(),
            issuer: self.issuer.into(),
            fingerprint: self.fingerprint.into(),
            not_after: self.not_after,
        }
    }

    /// The DNS names and addresses in it, else the common name.
    pub fn server_names(&self) -> Vec<&str> {
        let of = |kind: &'static str| self.names.iter().filter_map(move |name| name.strip_prefix(kind));
        let names: Vec<_> = of("DNS:").chain(of("IP:")).collect();
        if names.is_empty() { self.common_name.as_deref().into_iter().collect() } else { names }
    }
}

/// For sentences: `valid for 90 days`.
impl fmt::Display for Lifetime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Lifetime::Early(count) => write!(f, "not valid before {} from now", days(*count)),
            Lifetime::Valid(count) => write!(f, "valid for {}", days(*count)),
            Lifetime::Over(0) => f.write_str("expired today"),
            Lifetime::Over(count) => write!(f, "expired {} ago", days(*count)),
        }
    }
}

/// `1 day`, `2 days`.
fn days(count: u64) -> String {
    if count == 1 { "1 day".to_owned() } else { format!("{count} days") }
}

fn common_name(name: &Name) -> Option<String> {
    let mut attributes = name.0.iter().flat_map(|part| part.0.iter());
    let value = &attributes.find(|attribute| attribute.oid == COMMON_NAME)?.value;
    text(value).map(shown)
}

fn text(value: &Any) -> Option<&str> {
    match value.tag() {
        Tag::Utf8String => Utf8StringRef::try_from(value).ok().map(|text| text.as_str()),
        Tag::PrintableString => PrintableStringRef::try_from(value).ok().map(|text| text.as_str()),
        Tag::TeletexString => TeletexStringRef::try_from(value).ok().map(|text| text.as_str()),
        Tag::Ia5String => Ia5StringRef::try_from(value).ok().map(|text| text.as_str()),
        _ => None,
    }
}

fn alternative(name: &GeneralName) -> Option<String> {
    match name {
        GeneralName::DnsName(name) => Some(shown(&format!("DNS:{}", name.as_str()))),
        GeneralName::Rfc822Name(name) => Some(shown(&format!("email:{}", name.as_str()))),
        GeneralName::UniformResourceIdentifier(name) => Some(shown(&format!("URI:{}", name.as_str()))),
        GeneralName::IpAddress(address) => {
            let bytes = address.as_bytes();
            let address = <[u8; 4]>::try_from(bytes).map(std::net::IpAddr::from);
            let address =
                address.or_else(|_| <[u8; 16]>::try_from(bytes).map(std::net::IpAddr::from)).ok()?;
            Some(format!("IP:{address}"))
        }
        _ => None,
    }
}

/// The beginning of a text, without control characters: certificates come from strangers, too.
fn shown(text: &str) -> String {
    text.chars().take(NAME).map(|letter| if letter.is_control() { '?' } else { letter }).collect()
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        // Writing to a String does not fail.
        let _always = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::{Certificate, Lifetime};

    const DAY: u64 = 24 * 3600;

    #[test]
    fn the_days_of_a_certificate_are_whole_days() {
        let certificate = Certificate {
            subject: String::new(),
            common_name: None,
            names: Vec::new(),
            issuer: String::new(),
            fingerprint: String::new(),
            not_before: 10 * DAY,
            not_after: 20 * DAY,
        };
        let at = |now| certificate.lifetime(now);
        assert_eq!(at(10 * DAY - 1), Lifetime::Early(1));
        assert_eq!(at(8 * DAY), Lifetime::Early(2));
        assert_eq!(at(10 * DAY), Lifetime::Valid(10));
        assert_eq!(at(20 * DAY), Lifetime::Valid(0));
        assert_eq!(at(20 * DAY + 1), Lifetime::Over(0));
        assert_eq!(at(23 * DAY), Lifetime::Over(3));
        assert_eq!(at(23 * DAY).to_string(), "expired 3 days ago");
        assert_eq!(at(20 * DAY + 1).to_string(), "expired today");
        assert_eq!(at(10 * DAY).to_string(), "valid for 10 days");
    }

    #[test]
    fn rubbish_is_no_certificate() {
        assert_eq!(Certificate::read(b""), None);
        assert_eq!(Certificate::read(&[0x30; 64]), None);
    }
}
