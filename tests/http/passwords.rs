//! What the console tells of refused clients: the user and the authority, and never a password.

use std::fs;

use midge::codec::reason::ReasonCode;
use midge::codec::version::Version;

use crate::client::{Client, address};
use crate::http::{Http, broker, console};

/// `secret`, by Debian's mosquitto_passwd.
const SECRET: &str = "$7$101$hqR93+XoHWTzC0sZ$Issi0o4rD/nZ3Kfv/F49KT9rjoLvJt+qSAGopJw9+Q8AzH16vTfYA0Yug9XPWUXDga3V31TNwgRMK8pR4k2uwg==";

#[test]
fn refusals_are_told_and_counted_without_a_password() {
    let file = std::env::temp_dir().join(format!("midge-http-passwords-{}", std::process::id()));
    fs::write(&file, format!("ann:{SECRET}\n")).unwrap();
    let broker = broker(&[("access.password_file", file.to_str().unwrap())]);
    let mut viewer = Http::admin(console(&broker));
    viewer.send("GET", "/api/v1/events", &[], b"");
    assert_eq!(viewer.head().0, 200);
    let ask = |user, password: Option<&[u8]>| {
        Client::with_credentials(address(&broker), "c", user, password, Version::V5)
    };
    let mut ann = ask(Some("ann"), Some(b"secret"));
    assert_eq!(ann.connack(), ReasonCode::Success);
    assert_eq!(viewer.event("activity")["kind"], "connected");
    assert_eq!(ask(Some("ann"), Some(b"hunter2")).connack(), ReasonCode::BadUserNameOrPassword);
    let refused = viewer.event("activity");
    let said = refused["text"].as_str().unwrap();
    assert!(said.starts_with("A connection of user \"ann\" from 127.0.0.1:"), "{said}");
    assert!(said.ends_with(" was refused by passwords: the authentication has failed (0x86)."), "{said}");
    assert_eq!(ask(Some("max"), Some(b"hunter2")).connack(), ReasonCode::BadUserNameOrPassword);
    assert_eq!(ask(None, None).connack(), ReasonCode::NotAuthorized);
    let mut admin = Http::admin(console(&broker));
    let metrics = admin.get("/metrics").text().to_owned();
    for (reason, count) in
        [("wrong_password", 1), ("unknown_user", 1), ("no_user_name", 1), ("slowed", 0), ("busy", 0)]
    {
        let line =
            format!("midge_access_refused_total{{authority=\"passwords\",reason=\"{reason}\"}} {count}\n");
        assert!(metrics.contains(&line), "{reason}: {metrics}");
    }
    let paths = [
        "/metrics",
        "/api/v1/clients",
        "/api/v1/clients/c",
        "/api/v1/sessions",
        "/api/v1/sessions/c",
        "/api/v1/settings",
        "/api/v1/overview",
        "/api/v1/drops",
        "/api/v1/tutorial",
    ];
    for path in paths {
        let answer = admin.get(path);
        assert_eq!(answer.status, 200, "{path}");
        let text = answer.text();
        for hidden in ["hunter2", "hqR93", "Issi0o4rD"] {
            assert!(!text.contains(hidden), "{path}: {hidden}");
        }
    }
    fs::remove_file(&file).unwrap();
}
