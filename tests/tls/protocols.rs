//! Which versions, cipher suites and features a listener takes, asked by openssl: what testssl.sh looks for.

use std::net::SocketAddr;

use midge::embed::Broker;

use crate::world::{World, address, run};

/// What openssl says after a handshake with these arguments.
fn ask(address: SocketAddr, arguments: &[&str]) -> String {
    let address = address.to_string();
    let mut all = vec!["s_client", "-connect", &address];
    all.extend(arguments);
    let output = run("openssl", &all, "");
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[test]
fn only_current_versions_and_cipher_suites_are_taken() {
    let world = World::new();
    let broker = Broker::start(&world.config()).unwrap();
    let at = address(&broker);
    // Without a cipher suite, "Cipher is (NONE)".
    let taken = |arguments: &[&str]| {
        let said = ask(at, arguments);
        assert!(said.contains("Cipher is"), "{arguments:?}: {said}");
        !said.contains("Cipher is (NONE)")
    };
    for good in [
        &["-tls1_3"][..],
        &["-tls1_2"],
        &["-tls1_3", "-ciphersuites", "TLS_AES_128_GCM_SHA256"],
        &["-tls1_3", "-ciphersuites", "TLS_AES_256_GCM_SHA384"],
        &["-tls1_3", "-ciphersuites", "TLS_CHACHA20_POLY1305_SHA256"],
        &["-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-GCM-SHA256"],
        &["-tls1_2", "-cipher", "ECDHE-ECDSA-CHACHA20-POLY1305"],
        &["-alpn", "mqtt"],
    ] {
        assert!(taken(good), "{good:?}");
    }
    for bad in [
        &["-tls1", "-cipher", "ALL:@SECLEVEL=0"][..],
        &["-tls1_1", "-cipher", "ALL:@SECLEVEL=0"],
        &["-tls1_2", "-cipher", "NULL:@SECLEVEL=0"],
        &["-tls1_2", "-cipher", "aNULL:@SECLEVEL=0"],
        &["-tls1_2", "-cipher", "AES128-SHA:AES256-SHA:AES128-GCM-SHA256:@SECLEVEL=0"],
        &["-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-SHA:ECDHE-ECDSA-AES256-SHA384:@SECLEVEL=0"],
        &["-tls1_2", "-cipher", "DHE:@SECLEVEL=0"],
        &["-tls1_2", "-cipher", "PSK:@SECLEVEL=0"],
        &["-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-CCM8:@SECLEVEL=0"],
    ] {
        assert!(!taken(bad), "{bad:?}");
    }
    let said = ask(at, &["-alpn", "h2"]);
    assert!(said.contains("no application protocol"), "{said}");
}

#[test]
fn there_is_neither_compression_nor_renegotiation_nor_early_data() {
    let world = World::new();
    let broker = Broker::start(&world.config()).unwrap();
    let at = address(&broker);
    let said = ask(at, &["-tls1_2"]);
    assert!(said.contains("Compression: NONE"), "{said}");
    assert!(said.contains("Secure Renegotiation IS supported"), "{said}");
    let said = ask(at, &["-tls1_3", "-alpn", "mqtt"]);
    assert!(said.contains("ALPN protocol: mqtt"), "{said}");
    assert!(!said.contains("Max Early Data: 1"), "{said}");
    let address = at.to_string();
    // R asks for a new handshake on the same connection.
    let asked = run("openssl", &["s_client", "-connect", &address, "-tls1_2"], "R\n");
    let said = String::from_utf8_lossy(&asked.stderr).into_owned();
    assert!(said.contains("no renegotiation"), "{said}");
}
