//! The console over HTTPS, asked by curl.

use midge::config::Config;
use midge::embed::Broker;

use crate::world::{World, address, run};

fn config(world: &World) -> Config {
    let mut config = world.strict();
    for (key, value) in [
        ("console.listen", "127.0.0.1:0"),
        ("console.password", "secret"),
        ("console.certificate", &world.text("server.pem")),
        ("console.key", &world.text("server.key")),
    ] {
        config.set(key, value).unwrap();
    }
    config
}

/// What curl answers, headers included.
fn ask(world: &World, broker: &Broker, path: &str, more: &[&str]) -> String {
    let port = broker.console_address().unwrap().port();
    let url = format!("https://localhost:{port}{path}");
    let ca = world.text("ca.pem");
    let mut arguments = vec!["-s", "-S", "-i", "--cacert", &ca, "-u", "admin:secret"];
    arguments.extend(more);
    arguments.push(&url);
    let output = run("curl", &arguments, "");
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[test]
fn the_console_speaks_https_and_its_cookie_is_secure() {
    let world = World::new();
    let broker = Broker::start(&config(&world)).unwrap();
    let body = r#"{"user": "admin", "password": "secret"}"#;
    let said = ask(&world, &broker, "/api/v1/login", &["-H", "content-type: application/json", "-d", body]);
    let cookie = said.lines().find(|line| line.to_lowercase().starts_with("set-cookie:"));
    assert!(cookie.is_some_and(|line| line.contains("; Secure")), "{said}");
    let port = broker.console_address().unwrap().port();
    let plain = run("curl", &["-s", "-S", &format!("http://127.0.0.1:{port}/health")], "");
    assert!(!plain.status.success(), "HTTP is not answered");
}

#[test]
fn certificates_and_clients_are_shown_and_read_again() {
    let world = World::new();
    let broker = Broker::start(&config(&world)).unwrap();
    let own = world.authority.client("device-1");
    let _client = world.connect(address(&broker), "a", Some(&own));
    let said = ask(&world, &broker, "/api/v1/clients/a", &[]);
    assert!(said.contains(r#""subject":"CN=device-1""#) && said.contains(r#""version":"TLS 1.3""#), "{said}");
    let said = ask(&world, &broker, "/api/v1/certificates", &[]);
    for part in [r#""group":"listener.tls""#, r#""group":"console""#, r#""days_left":90"#, r#""errors":[]"#] {
        assert!(said.contains(part), "{part}: {said}");
    }
    let said = ask(&world, &broker, "/metrics", &[]);
    assert!(said.contains(r#"midge_certificate_days_left{settings="console""#), "{said}");
    world.folder.write("server.key", "");
    let said = ask(&world, &broker, "/api/v1/certificates/reload", &["-X", "POST"]);
    let key = world.text("server.key");
    assert!(said.contains(&format!("listener.tls.key: {key}: no private key in it")), "{said}");
    assert!(said.contains(&format!("console.key: {key}: no private key in it")), "{said}");
    world.folder.issued("server", &world.authority.server_until(&["localhost"], 40));
    let said = ask(&world, &broker, "/api/v1/certificates/reload", &["-X", "POST"]);
    assert!(said.contains(r#""days_left":40"#) && said.contains(r#""errors":[]"#), "{said}");
}
