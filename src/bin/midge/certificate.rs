//! `midge certificate`: a private authority, and certificates of it for a server and for clients.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use midge::tls::Certificate;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose,
};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use time::{Duration, OffsetDateTime};

use crate::arguments;
use crate::failure::Failure;

/// Days that the authority is valid: ten years.
const AUTHORITY_DAYS: i64 = 3650;
/// The rights of a private key's file: only its owner may read it.
const PRIVATE: u32 = 0o600;
const PUBLIC: u32 = 0o644;

/// Writes `ca.pem` and `ca.key`, `server.pem` and `server.key`, and `NAME.pem` and `NAME.key` for each client.
pub(crate) fn run(arguments: &arguments::Certificate) -> Result<(), Failure> {
    for name in &arguments.client {
        check_name(name)?;
    }
    let dir = &arguments.dir;
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .map_err(|error| Failure::usage(format!("{}: {error}", dir.display())))?;
    let authority = authority(dir)?;
    let default = ["localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()];
    let server = if arguments.server.is_empty() { default.as_slice() } else { arguments.server.as_slice() };
    let has_server = dir.join("server.pem").exists();
    if !arguments.server.is_empty() || (arguments.client.is_empty() && !has_server) {
        issue(dir, &authority, "server", server, ExtendedKeyUsagePurpose::ServerAuth, arguments.days)?;
    }
    for name in &arguments.client {
        issue(dir, &authority, name, &[], ExtendedKeyUsagePurpose::ClientAuth, arguments.days)?;
    }
    Ok(())
}

/// The authority whose files are in the directory, or a new one.
fn authority(dir: &Path) -> Result<Issuer<'static, KeyPair>, Failure> {
    let (pem, key) = (dir.join("ca.pem"), dir.join("ca.key"));
    if !pem.exists() && !key.exists() {
        let name = format!("Midge private CA {:08x}", random()?);
        let (params, pair) = (authority_params(&name), KeyPair::generate().map_err(failed)?);
        let certificate = params.self_signed(&pair).map_err(failed)?;
        write(&key, &pair.serialize_pem(), PRIVATE)?;
        write(&pem, &certificate.pem(), PUBLIC)?;
        return Ok(Issuer::new(params, pair));
    }
    let unusable = |cause: &str| Failure::usage(format!("{}: {cause}", pem.display()));
    let read = |path: &Path| {
        fs::read_to_string(path).map_err(|error| Failure::usage(format!("{}: {error}", path.display())))
    };
    let der = CertificateDer::from_pem_slice(read(&pem)?.as_bytes());
    let certificate = der.ok().and_then(|der| Certificate::read(&der));
    let name = certificate.and_then(|certificate| certificate.common_name);
    let name = name.filter(|name| name.starts_with("Midge private CA "));
    let name = name.ok_or_else(|| unusable("it was not made by `midge certificate`"))?;
    let pair = KeyPair::from_pem(&read(&key)?)
        .map_err(|error| Failure::usage(format!("{}: {error}", key.display())))?;
    Ok(Issuer::new(authority_params(&name), pair))
}

fn authority_params(name: &str) -> CertificateParams {
    let mut params = params(name, AUTHORITY_DAYS);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

fn params(name: &str, days: i64) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    let now = OffsetDateTime::now_utc();
    // Clocks of devices are not exact.
    params.not_before = now - Duration::hours(1);
    params.not_after = now + Duration::days(days);
    params.use_authority_key_identifier_extension = true;
    params
}

fn issue(
    dir: &Path,
    authority: &Issuer<'static, KeyPair>,
    name: &str,
    hosts: &[String],
    purpose: ExtendedKeyUsagePurpose,
    days: u32,
) -> Result<(), Failure> {
    let mut params = params(hosts.first().map_or(name, String::as_str), i64::from(days));
    let names =
        CertificateParams::new(hosts).map_err(|error| Failure::usage(format!("--server: {error}")))?;
    params.subject_alt_names = names.subject_alt_names;
    params.extended_key_usages = vec![purpose];
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    let pair = KeyPair::generate().map_err(failed)?;
    let certificate = params.signed_by(&pair, authority).map_err(failed)?;
    write(&dir.join(format!("{name}.key")), &pair.serialize_pem(), PRIVATE)?;
    write(&dir.join(format!("{name}.pem")), &certificate.pem(), PUBLIC)
}

/// A client's name is a name of files, and not one of those that are there for others.
fn check_name(name: &str) -> Result<(), Failure> {
    let plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
    if name.is_empty() || !plain || name.starts_with('.') || name == "ca" || name == "server" {
        let cause = "use letters, digits, `-`, `_` and `.`; not `ca` or `server`";
        return Err(Failure::usage(format!("--client: {name:?}: {cause}")));
    }
    Ok(())
}

/// Writes a file whole or not at all, and says so.
fn write(path: &Path, text: &str, mode: u32) -> Result<(), Failure> {
    let failed = |error: std::io::Error| Failure::runtime(format!("{}: {error}", path.display()));
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".new");
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(mode)
        .open(&temporary)
        .map_err(failed)?;
    file.write_all(text.as_bytes()).map_err(failed)?;
    fs::rename(&temporary, path).map_err(failed)?;
    crate::print(&format!("{}\n", path.display()))
}

/// Tells authorities of several runs apart.
fn random() -> Result<u32, Failure> {
    getrandom::u32().map_err(|error| Failure::runtime(format!("no random numbers: {error}")))
}

fn failed(error: rcgen::Error) -> Failure {
    Failure::runtime(error.to_string())
}
