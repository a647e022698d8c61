//! Certificates are read again while connections stay.

use midge::embed::{Broker, Level};

use crate::world::{World, address, der, line_with, logged, ping, shown};

#[test]
fn new_connections_get_the_new_certificate_and_old_ones_stay() {
    let world = World::new();
    let (broker, lines) = logged(&world.config(), Level::Info);
    let mut old: Vec<_> =
        (0..20).map(|n| world.connect(address(&broker), &format!("old{n}"), None)).collect();
    let renewed = world.authority.server(&["localhost", "renewed.example"]);
    world.folder.issued("server", &renewed);
    assert_eq!(broker.reload_certificates().unwrap(), 1);
    line_with(&lines, "listener.tls: certificates read again: CN=localhost");
    let mut new = world.connect(address(&broker), "new", None);
    assert_eq!(shown(&new), der(&renewed));
    ping(&mut new);
    for client in &mut old {
        assert_ne!(shown(client), der(&renewed));
        ping(client);
    }
    assert_eq!(broker.stats().clients_connected, 21);
}

#[test]
fn bad_new_files_change_nothing_and_are_named() {
    let world = World::new();
    let (broker, lines) = logged(&world.config(), Level::Error);
    let before = shown(&world.connect(address(&broker), "a", None));
    let renewed = world.authority.server(&["localhost"]);
    world.folder.write("server.pem", &renewed.certificate);
    let key = world.text("server.key");
    let cause = format!("the private key does not fit the certificate in {}", world.text("server.pem"));
    let expected = format!("listener.tls.key: {key}: {cause}");
    assert_eq!(broker.reload_certificates().unwrap_err().to_string(), expected);
    let line = line_with(&lines, &expected);
    assert!(line.ends_with("; the certificates from before stay in use"), "{line}");
    assert_eq!(shown(&world.connect(address(&broker), "b", None)), before);
    // An expired certificate does not replace a valid one.
    world.folder.issued("server", &world.authority.server_until(&["localhost"], -2));
    let error = broker.reload_certificates().unwrap_err().to_string();
    assert_eq!(
        error,
        format!("listener.tls.certificate: {}: the certificate expired 2 days ago", world.text("server.pem"))
    );
    world.folder.issued("server", &renewed);
    assert_eq!(broker.reload_certificates().unwrap(), 1);
    assert_eq!(shown(&world.connect(address(&broker), "c", None)), der(&renewed));
}

/// While clients come, publish and go, certificates are replaced: no connection is lost.
#[test]
fn reloads_under_load_lose_no_connection() {
    let world = World::new();
    let broker = Broker::start(&world.config()).unwrap();
    let at = address(&broker);
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..4)
            .map(|thread| {
                let world = &world;
                scope.spawn(move || {
                    let mut stays = world.connect(at, &format!("stays{thread}"), None);
                    for round in 0..15 {
                        let mut comes = world.connect(at, &format!("comes{thread}-{round}"), None);
                        ping(&mut comes);
                        ping(&mut stays);
                    }
                })
            })
            .collect();
        while !clients.iter().all(|client| client.is_finished()) {
            world.folder.issued("server", &world.authority.server(&["localhost"]));
            assert_eq!(broker.reload_certificates().unwrap(), 1);
        }
    });
    assert_eq!(broker.stats().connections_refused, 0);
}

/// A list of revoked certificates that is read again refuses the clients in it from then on, also with a ticket.
#[test]
fn a_revoked_client_cannot_come_back() {
    let world = World::new();
    let own = world.authority.client("device-1");
    world.folder.write("crl.pem", &world.authority.revoke(&[], 30));
    let mut config = world.strict();
    config.set("listener.tls.client_crl", &world.text("crl.pem")).unwrap();
    let (broker, lines) = logged(&config, Level::Warn);
    let client = world.client_config(Some(&own));
    let mut stream = crate::world::open(address(&broker), "localhost", client.clone());
    crate::world::greet(&mut stream, "a");
    ping(&mut stream);
    world.folder.write("crl.pem", &world.authority.revoke(&[&own], 30));
    broker.reload_certificates().unwrap();
    ping(&mut stream);
    let mut again = crate::world::open(address(&broker), "localhost", client);
    std::io::Write::write_all(&mut again, b"x").unwrap();
    let error = std::io::Read::read(&mut again, &mut [0; 10]).unwrap_err().to_string();
    assert!(error.contains("CertificateRevoked"), "{error}");
    line_with(&lines, "tls: client certificate revoked");
}

/// Files are read when they have changed and are the same at the next look, so that a certificate is not read while its
/// key is still the old one.
#[test]
fn changed_files_are_read_at_the_second_look() {
    let world = World::new();
    let files = midge::tls::TlsFiles::of_server(&world.text("server.pem"), &world.text("server.key"));
    let server = midge::tls::TlsServer::load(files, &[b"mqtt"]).unwrap();
    let before = server.certificates();
    assert!(server.reload_if_changed().is_none());
    let renewed = world.authority.server(&["localhost"]);
    world.folder.write("server.pem", &renewed.certificate);
    assert!(server.reload_if_changed().is_none(), "the key is to follow");
    world.folder.write("server.key", &renewed.key);
    assert!(server.reload_if_changed().is_none());
    server.reload_if_changed().expect("it is settled").unwrap();
    assert_ne!(server.certificates(), before);
    assert!(server.reload_if_changed().is_none());
    // What is wrong is said once.
    let good = server.certificates();
    world.folder.write("server.key", "");
    assert!(server.reload_if_changed().is_none());
    server.reload_if_changed().expect("it is settled").unwrap_err();
    assert!(server.reload_if_changed().is_none());
    assert_eq!(server.certificates(), good);
}
