//! The ACL file of a running broker: read again, with clients that are connected.

use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use midge::codec::packet::Packet;
use midge::codec::qos::QoS;
use midge::codec::reason::ReasonCode;
use midge::codec::version::Version;
use midge::embed::{Broker, Hooks, PublishOptions, Verdict};
use midge::session::event::Level;

use super::client::{Client, address, config};

/// Clients whose rights stay.
const INNOCENT: usize = 200;
/// Clients that lose a right.
const LOSERS: usize = 10;

const BEFORE: &str = "topic read all\npattern readwrite own/%c\n";
const AFTER: &str = "pattern readwrite own/%c\n";

struct Acl(PathBuf);

impl Acl {
    fn new(name: &str, rules: &str) -> Acl {
        let acl = Acl(std::env::temp_dir().join(format!("midge-acl-{name}-{}", std::process::id())));
        acl.write(rules);
        acl
    }

    fn write(&self, rules: &str) {
        fs::write(&self.0, rules).unwrap();
    }

    fn broker(&self) -> Broker {
        let mut config = config();
        config.set("access.acl_file", self.0.to_str().unwrap()).unwrap();
        Broker::start(&config).unwrap()
    }
}

impl Drop for Acl {
    fn drop(&mut self) {
        let _removed = fs::remove_file(&self.0);
    }
}

/// The reason of the DISCONNECT that comes next.
fn disconnected(client: &mut Client) -> ReasonCode {
    client.expect("DISCONNECT", |packet| match packet {
        Packet::Disconnect(disconnect) => Some(disconnect.reason),
        _ => None,
    })
}

#[test]
fn a_change_of_rules_reaches_those_alone_whose_rights_it_changes() {
    let acl = Acl::new("change", BEFORE);
    let broker = acl.broker();
    let connect = |name: String, filter: &str| {
        let mut client = Client::connect(address(&broker), &name, Version::V5);
        client.subscribe(filter, QoS::AtMostOnce);
        (name, client)
    };
    let mut innocent: Vec<_> =
        (0..INNOCENT).map(|number| connect(format!("c{number}"), &format!("own/c{number}"))).collect();
    let mut losers: Vec<_> = (0..LOSERS).map(|number| connect(format!("l{number}"), "all")).collect();
    acl.write(AFTER);
    let begun = Instant::now();
    assert_eq!(broker.reload_access().unwrap(), 1);
    for (name, loser) in &mut losers {
        assert_eq!(disconnected(loser), ReasonCode::NotAuthorized, "{name}");
        assert!(loser.until_closed().is_empty());
    }
    println!("{LOSERS} of {} clients have lost their right after {:?}", INNOCENT + LOSERS, begun.elapsed());
    for (name, client) in &mut innocent {
        let topic = format!("own/{name}");
        client.publish(&topic, b"still here", QoS::AtMostOnce);
        assert_eq!(client.message().topic, topic);
    }
    broker.stop(None).unwrap();
}

#[test]
fn a_file_with_an_error_changes_nothing() {
    let acl = Acl::new("error", BEFORE);
    let broker = acl.broker();
    let mut client = Client::connect(address(&broker), "c", Version::V5);
    client.subscribe("all", QoS::AtMostOnce);
    acl.write("pattern own/%c\n\ntopic wirte all\n");
    let error = broker.reload_access().unwrap_err().to_string();
    assert!(error.contains("access.acl_file") && error.contains("line 3: \"wirte\" is none of"), "{error}");
    broker.publish("all", b"still here", &PublishOptions::default()).unwrap();
    assert_eq!(client.message().topic, "all");
    broker.stop(None).unwrap();
}

#[test]
fn a_broker_does_not_start_with_rules_that_are_wrong() {
    let acl = Acl::new("start", "user\n");
    let mut config = config();
    config.set("access.acl_file", acl.0.to_str().unwrap()).unwrap();
    let error = Broker::start(&config).err().unwrap().to_string();
    assert!(
        error.starts_with("access.acl_file: ") && error.ends_with("line 1: user without a name"),
        "{error}"
    );
}

/// A hook that decides about topics always has an opinion.
#[test]
fn a_file_that_is_never_asked_is_remarked() {
    let acl = Acl::new("order", BEFORE);
    for (order, remarked) in [("hooks, passwords, acl", true), ("acl, hooks", false)] {
        let mut config = config();
        config.set("access.acl_file", acl.0.to_str().unwrap()).unwrap();
        config.set("access.authorities", order).unwrap();
        let lines = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&lines);
        let hooks = Hooks::new()
            .authorize(|_| Verdict::Allow)
            .on_log(Level::Warn, move |line| kept.lock().unwrap().push(line.text.to_string()));
        let broker = Broker::start_with(&config, &hooks).unwrap();
        broker.stop(None).unwrap();
        let expected = "access.acl_file: it is never asked, because the hook authorize is asked first (access.authorities)";
        let found = lines.lock().unwrap().iter().any(|line| line == expected);
        assert_eq!(found, remarked, "{order}: {:?}", lines.lock().unwrap());
    }
}
