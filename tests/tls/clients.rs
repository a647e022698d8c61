//! mosquitto's clients with and without certificates.

use midge::config::Config;
use midge::embed::{Broker, Level};

use crate::certificates::Authority;
use crate::world::{World, address, line_with, logged, run};

/// Publishes with mosquitto_pub; whether it succeeded, and what it said.
fn publish(world: &World, broker: &Broker, host: &str, own: Option<&str>, ca: &str) -> (bool, String) {
    let port = address(broker).port().to_string();
    let ca = world.text(ca);
    let mut arguments =
        vec!["-h", host, "-p", &port, "-t", "t", "-m", "hello", "-q", "2", "-V", "5", "-r", "--cafile", &ca];
    let (certificate, key) = (
        world.text(&format!("{}.pem", own.unwrap_or_default())),
        world.text(&format!("{}.key", own.unwrap_or_default())),
    );
    if own.is_some() {
        arguments.extend(["--cert", &certificate, "--key", &key]);
    }
    let output = run("mosquitto_pub", &arguments, "");
    (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn mosquitto_publishes_and_subscribes() {
    let world = World::new();
    let broker = Broker::start(&world.config()).unwrap();
    let (done, said) = publish(&world, &broker, "localhost", None, "ca.pem");
    assert!(done, "{said}");
    let port = address(&broker).port().to_string();
    for version in ["311", "5"] {
        for tls in ["tlsv1.2", "tlsv1.3"] {
            let heard = run(
                "mosquitto_sub",
                &[
                    "-h",
                    "localhost",
                    "-p",
                    &port,
                    "-t",
                    "#",
                    "-C",
                    "1",
                    "-q",
                    "1",
                    "-V",
                    version,
                    "--cafile",
                    &world.text("ca.pem"),
                    "--tls-version",
                    tls,
                    "-W",
                    "20",
                ],
                "",
            );
            assert_eq!(String::from_utf8_lossy(&heard.stdout), "hello\n", "{version} {tls}");
        }
    }
}

#[test]
fn a_client_refuses_a_wrong_server() {
    let world = World::new();
    let (broker, lines) = logged(&world.config(), Level::Warn);
    world.folder.write("another-ca.pem", &Authority::new("Another CA").certificate);
    assert!(!publish(&world, &broker, "localhost", None, "another-ca.pem").0);
    line_with(
        &lines,
        "tls: the client does not trust the certificate authority of this listener's certificate",
    );
    world.folder.issued("server", &world.authority.server(&["elsewhere.example"]));
    broker.reload_certificates().unwrap();
    let (done, said) = publish(&world, &broker, "localhost", None, "ca.pem");
    assert!(!done, "{said}");
}

fn strict(world: &World, list: &str) -> Config {
    let mut config = world.strict();
    world.folder.write("crl.pem", list);
    config.set("listener.tls.client_crl", &world.text("crl.pem")).unwrap();
    config
}

#[test]
fn client_certificates_are_accepted_and_refused() {
    let world = World::new();
    let lost = world.authority.client("lost");
    world.folder.issued("good", &world.authority.client("good"));
    world.folder.issued("lost", &lost);
    world.folder.issued("old", &world.authority.client_until("old", -3));
    world.folder.issued("stranger", &Authority::new("Another CA").client("stranger"));
    let (broker, lines) = logged(&strict(&world, &world.authority.revoke(&[&lost], 30)), Level::Warn);
    let (done, said) = publish(&world, &broker, "localhost", Some("good"), "ca.pem");
    assert!(done, "{said}");
    for (own, cause) in [
        (None, "the client has sent no certificate (client_certificate)"),
        (Some("lost"), "client certificate revoked"),
        (Some("old"), "client certificate expired 3 days ago"),
        (Some("stranger"), "client certificate of an unknown certificate authority (client_ca)"),
    ] {
        assert!(!publish(&world, &broker, "localhost", own, "ca.pem").0, "{own:?}");
        line_with(&lines, &format!("is closed during its handshake: tls: {cause}"));
    }
    assert_eq!(broker.stats().connections_refused, 4);
}
