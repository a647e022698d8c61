//! What follows the addresses in a header of version 2: types, lengths and values.

use crate::session::identity::{ClientCertificate, TlsIdentity};

const ALPN: u8 = 0x01;
const AUTHORITY: u8 = 0x02;
const CRC32C: u8 = 0x03;
const SSL: u8 = 0x20;
const SSL_VERSION: u8 = 0x21;
const SSL_CN: u8 = 0x22;

/// The client has spoken TLS.
const CLIENT_SSL: u8 = 0x01;
/// It has presented a certificate on this connection, or in the session that was resumed.
const CLIENT_CERTIFICATE: u8 = 0x02 | 0x04;

const MALFORMED: &str = "malformed TLV in the PROXY header";

/// What the options of `header` say of the client's TLS; `None` without TLS.
pub(super) fn read(header: &[u8], options: &[u8]) -> Result<Option<TlsIdentity>, &'static str> {
    let mut tls = None;
    let (mut protocol, mut server_name) = (None, None);
    for option in each(options) {
        let (kind, value, rest) = option?;
        match kind {
            ALPN => protocol = Some(text(value)),
            AUTHORITY => server_name = Some(text(value)),
            CRC32C => check(header, value, rest)?,
            SSL => tls = ssl(value)?,
            _ => {}
        }
    }
    Ok(tls.map(|tls| TlsIdentity { protocol, server_name, ..tls }))
}

/// The types and values of a list, each with the number of bytes behind it.
fn each(mut bytes: &[u8]) -> impl Iterator<Item = Result<(u8, &[u8], usize), &'static str>> {
    std::iter::from_fn(move || {
        if bytes.is_empty() {
            return None;
        }
        let split = bytes.split_first_chunk().and_then(|(&[kind, high, low], rest)| {
            let (value, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes([high, low])))?;
            Some((kind, value, rest))
        });
        let Some((kind, value, rest)) = split else {
            bytes = &[];
            return Some(Err(MALFORMED));
        };
        bytes = rest;
        Some(Ok((kind, value, rest.len())))
    })
}

fn ssl(value: &[u8]) -> Result<Option<TlsIdentity>, &'static str> {
    let (&[client, verify @ ..], options) = value.split_first_chunk::<5>().ok_or(MALFORMED)?;
    if client & CLIENT_SSL == 0 {
        return Ok(None);
    }
    let mut tls = TlsIdentity::default();
    let mut common_name = None;
    for option in each(options) {
        match option? {
            (SSL_VERSION, value, _) => tls.version = version(value),
            (SSL_CN, value, _) => common_name = Some(text(value)),
            _ => {}
        }
    }
    // The proxy says 0 if it has verified the certificate.
    if client & CLIENT_CERTIFICATE != 0 && verify == [0; 4] {
        let subject = common_name.as_ref().map(|name| format!("CN={name}").into()).unwrap_or_default();
        tls.certificate = Some(ClientCertificate { subject, common_name, ..ClientCertificate::default() });
    }
    Ok(Some(tls))
}

fn version(value: &[u8]) -> &'static str {
    match value {
        b"TLSv1.3" => "TLS 1.3",
        b"TLSv1.2" => "TLS 1.2",
        _ => "TLS",
    }
}

fn text(value: &[u8]) -> Box<str> {
    String::from_utf8_lossy(value).into()
}

/// Compares the checksum with that of the header, in which it counts as zero. `rest`: the number of bytes behind it.
fn check(header: &[u8], sum: &[u8], rest: usize) -> Result<(), &'static str> {
    let sum: [u8; 4] = sum.try_into().map_err(|_| MALFORMED)?;
    let own = (header.len() - rest - sum.len())..(header.len() - rest);
    let bytes = header.iter().enumerate().map(|(at, byte)| if own.contains(&at) { 0 } else { *byte });
    let crc = bytes.fold(!0, |crc, byte| step(crc ^ u32::from(byte)));
    match !crc == u32::from_be_bytes(sum) {
        true => Ok(()),
        false => Err("checksum of the PROXY header is wrong"),
    }
}

/// Eight bits of CRC-32C (Castagnoli), the lowest first.
fn step(crc: u32) -> u32 {
    (0..8).fold(crc, |crc, _| (crc >> 1) ^ (0x82f6_3b78 & 0u32.wrapping_sub(crc & 1)))
}
