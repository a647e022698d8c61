//! Files that cannot be used are named at the start, with the setting; files that should not be so are warned of.

use std::os::unix::fs::PermissionsExt;

use midge::config::Config;
use midge::embed::{Broker, Level};

use crate::certificates::Authority;
use crate::world::{World, address, line_with, logged, ping, run};

fn refused(config: &Config) -> String {
    Broker::start(config).err().unwrap().to_string()
}

#[test]
fn a_file_that_cannot_be_used_is_named() {
    let world = World::new();
    let config = world.config();
    let with = |part: &str, value: &str| {
        let mut config = config.clone();
        config.set(&format!("listener.tls.{part}"), value).unwrap();
        refused(&config)
    };
    let missing = world.text("missing.pem");
    assert_eq!(
        with("certificate", &missing),
        format!("listener.tls.certificate: {missing}: No such file or directory (os error 2)")
    );
    world.folder.write("empty.pem", "");
    let empty = world.text("empty.pem");
    assert_eq!(
        with("certificate", &empty),
        format!("listener.tls.certificate: {empty}: no certificate in it (PEM, BEGIN CERTIFICATE)")
    );
    assert_eq!(
        with("key", &empty),
        format!("listener.tls.key: {empty}: no private key in it (PEM, BEGIN PRIVATE KEY)")
    );
    let (_, other) = world.folder.issued("other", &world.authority.server(&["x"]));
    let other = other.to_str().unwrap();
    let server = world.text("server.pem");
    assert_eq!(
        with("key", other),
        format!("listener.tls.key: {other}: the private key does not fit the certificate in {server}")
    );
    world.folder.write("cut.pem", "-----BEGIN CERTIFICATE-----\nMIIB\n");
    let cut = world.text("cut.pem");
    assert_eq!(
        with("certificate", &cut),
        format!("listener.tls.certificate: {cut}: a section of the PEM file has no end")
    );
    let folder = world.folder.as_ref().to_str().unwrap();
    assert_eq!(with("certificate", folder), format!("listener.tls.certificate: {folder}: it is not a file"));
    let mut strict = world.strict();
    strict.set("listener.tls.client_ca", &empty).unwrap();
    assert_eq!(
        refused(&strict),
        format!("listener.tls.client_ca: {empty}: no certificate in it (PEM, BEGIN CERTIFICATE)")
    );
    let mut strict = world.strict();
    strict.set("listener.tls.client_crl", &empty).unwrap();
    assert_eq!(
        refused(&strict),
        format!("listener.tls.client_crl: {empty}: no revocation list in it (PEM, BEGIN X509 CRL)")
    );
}

#[test]
fn an_encrypted_key_is_named() {
    let world = World::new();
    let (key, locked) = (world.text("server.key"), world.text("locked.key"));
    let made = run("openssl", &["pkcs8", "-topk8", "-in", &key, "-out", &locked, "-passout", "pass:x"], "");
    assert!(made.status.success());
    let mut config = world.config();
    config.set("listener.tls.key", &locked).unwrap();
    assert_eq!(
        refused(&config),
        format!(
            "listener.tls.key: {locked}: the private key is encrypted with a password; write it without one"
        )
    );
}

#[test]
fn a_key_that_all_may_read_is_warned_of() {
    let world = World::new();
    let key = world.path("server.key");
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).unwrap();
    let (_broker, lines) = logged(&world.config(), Level::Warn);
    let key = key.display();
    line_with(
        &lines,
        &format!("listener.tls: {key}: every user of this machine can read the private key; chmod o-r {key}"),
    );
}

/// Devices without a clock use an expired certificate, and other listeners go on: the broker starts.
#[test]
fn a_certificate_that_has_ended_or_ends_soon_is_warned_of() {
    let world = World::new();
    let file = world.text("server.pem");
    for (days, words) in
        [(-3, "has expired 3 days ago"), (10, "is valid for 10 days more"), (1, "is valid for 1 day more")]
    {
        world.folder.issued("server", &world.authority.server_until(&["localhost"], days));
        let (_broker, lines) = logged(&world.config(), Level::Warn);
        line_with(&lines, &format!("listener.tls: {file}: the certificate {words}"));
    }
    world.folder.issued("server", &world.authority.server_until(&["localhost"], 15));
    let (broker, lines) = logged(&world.config(), Level::Warn);
    ping(&mut world.connect(address(&broker), "a", None));
    broker.stop(None).unwrap();
    assert_eq!(lines.try_iter().count(), 0);
}

/// Keys as openssl and others write them: RSA in PKCS#1 and PKCS#8, ECDSA in SEC 1 and PKCS#8, Ed25519.
#[test]
fn keys_of_all_kinds_are_read() {
    let world = World::new();
    let (key, pem) = (world.text("k"), world.text("c"));
    let made: [&[&str]; 6] = [
        &["genrsa", "-traditional", "-out", &key, "2048"],
        &["genpkey", "-algorithm", "RSA", "-out", &key],
        &["ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", &key],
        &["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-384", "-out", &key],
        &["genpkey", "-algorithm", "ED25519", "-out", &key],
        &["ecparam", "-name", "secp384r1", "-genkey", "-noout", "-out", &key],
    ];
    for arguments in made {
        assert!(run("openssl", arguments, "").status.success(), "{arguments:?}");
        let signed = run(
            "openssl",
            &[
                "req",
                "-x509",
                "-new",
                "-key",
                &key,
                "-out",
                &pem,
                "-days",
                "30",
                "-subj",
                "/CN=localhost",
                "-addext",
                "subjectAltName=DNS:localhost",
            ],
            "",
        );
        assert!(signed.status.success(), "{arguments:?}");
        let mut config = world.config();
        // Both in one file.
        let both = std::fs::read_to_string(&pem).unwrap() + &std::fs::read_to_string(&key).unwrap();
        let both = world.folder.write("both.pem", &both);
        config.set("listener.tls.certificate", both.to_str().unwrap()).unwrap();
        config.set("listener.tls.key", "").unwrap();
        let broker = Broker::start(&config).unwrap();
        let address = address(&broker).to_string();
        let shown =
            run("openssl", &["s_client", "-connect", &address, "-CAfile", &pem, "-verify_return_error"], "");
        let text = String::from_utf8_lossy(&shown.stdout).into_owned();
        assert!(text.contains("Verify return code: 0 (ok)"), "{arguments:?}: {text}");
    }
}

#[test]
fn a_chain_with_an_intermediate_authority_is_sent() {
    let world = World::new();
    let root = Authority::new("Root");
    let mut params = crate::certificates::params("Intermediate", &[], 100);
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    params.key_usages = vec![rcgen::KeyUsagePurpose::KeyCertSign];
    let key = rcgen::KeyPair::generate().unwrap();
    let again = rcgen::KeyPair::from_pem(&key.serialize_pem()).unwrap();
    let intermediate = root.issue(params.clone(), key);
    let issuer = rcgen::Issuer::new(params, again);
    let key = rcgen::KeyPair::generate().unwrap();
    let leaf = crate::certificates::params("localhost", &["localhost"], 90).signed_by(&key, &issuer).unwrap();
    world.folder.write("server.pem", &(leaf.pem() + &intermediate.certificate));
    world.folder.write("server.key", &key.serialize_pem());
    let root_file = world.folder.write("root.pem", &root.certificate);
    let broker = Broker::start(&world.config()).unwrap();
    let address = address(&broker).to_string();
    let root_file = root_file.to_str().unwrap();
    let shown = run("openssl", &["s_client", "-connect", &address, "-CAfile", root_file], "");
    let text = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(text.contains("Verify return code: 0 (ok)"), "{text}");
}
