//! Who may connect: closed by default, the password file, and clients without a user name.

use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use midge::codec::reason::ReasonCode;
use midge::codec::version::Version;
use midge::config::Config;
use midge::embed::{Broker, Hooks, Verdict};
use midge::session::event::Level;

use super::client::{Client, address, config};

/// `secret`, by Debian's mosquitto_passwd.
const SECRET: &str = "$7$101$hqR93+XoHWTzC0sZ$Issi0o4rD/nZ3Kfv/F49KT9rjoLvJt+qSAGopJw9+Q8AzH16vTfYA0Yug9XPWUXDga3V31TNwgRMK8pR4k2uwg==";

/// A file of a test, which is removed with it.
struct File(PathBuf);

impl File {
    fn new(name: &str, content: &str) -> File {
        let path = std::env::temp_dir().join(format!("midge-access-{name}-{}", std::process::id()));
        let file = File(path);
        file.write(content);
        file
    }

    fn write(&self, content: &str) {
        fs::write(&self.0, content).unwrap();
    }

    fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _removed = fs::remove_file(&self.0);
    }
}

fn with(settings: &[(&str, &str)]) -> Config {
    let mut config = config();
    settings.iter().for_each(|(key, value)| config.set(key, value).unwrap());
    config
}

fn refused(config: &Config, hooks: &Hooks) -> String {
    Broker::start_with(config, hooks).err().unwrap().to_string()
}

/// Hooks that collect the log.
fn logging(level: Level) -> (Hooks, Arc<Mutex<Vec<String>>>) {
    let lines = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&lines);
    (Hooks::new().on_log(level, move |line| kept.lock().unwrap().push(line.text.to_string())), lines)
}

/// The answer to a CONNECT with this user name and password.
fn answer(broker: &Broker, user: Option<&str>, password: Option<&[u8]>, version: Version) -> ReasonCode {
    Client::with_credentials(address(broker), "c", user, password, version).connack()
}

#[test]
fn a_listener_for_other_machines_needs_somebody_who_decides() {
    let bind = ("listener.tcp.bind", "0.0.0.0:0");
    let error = refused(&with(&[bind]), &Hooks::new());
    assert!(error.starts_with("listener.tcp.bind: 0.0.0.0:"), "{error}");
    assert!(
        error.ends_with(
            " can be reached by other machines, and nobody decides who may connect: set access.password_file or a \
             hook (authenticate, authorize), or access.anonymous = true to let everybody do everything"
        ),
        "{error}"
    );
    let any = refused(&with(&[("listener.tcp.bind", "[::]:0")]), &Hooks::new());
    assert!(any.contains("access.anonymous"), "{any}");
    // Hooks that only watch decide nothing.
    assert!(refused(&with(&[bind]), &logging(Level::Error).0).contains("access.anonymous"));
    for hooks in [Hooks::new().authenticate(|_| Verdict::Allow), Hooks::new().authorize(|_| Verdict::Allow)] {
        drop(Broker::start_with(&with(&[bind]), &hooks).unwrap());
    }
    let file = File::new("open", "");
    for open in [("access.anonymous", "true"), ("access.password_file", file.path())] {
        drop(Broker::start(&with(&[bind, open])).unwrap());
    }
}

#[test]
fn a_listener_that_is_added_later_is_no_exception() {
    let (hooks, lines) = logging(Level::Info);
    let broker = Broker::start_with(&config(), &hooks).unwrap();
    let lan = with(&[("listener.lan.bind", "0.0.0.0:0")]);
    let error = broker.add_listener("lan", &lan).unwrap_err().to_string();
    assert!(
        error.starts_with("listener.lan.bind: 0.0.0.0:") && error.contains("access.anonymous"),
        "{error}"
    );
    broker.add_listener("lan", &with(&[("listener.lan.bind", "127.0.0.1:0")])).unwrap();
    assert!(lines.lock().unwrap().iter().any(|line| line.starts_with("nobody decides who may connect: ")));

    let open = Broker::start(&with(&[("access.anonymous", "true")])).unwrap();
    open.add_listener("lan", &lan).unwrap();
}

#[test]
fn the_right_password_alone_lets_in() {
    let file = File::new("passwords", &format!("ann:{SECRET}\n"));
    let (hooks, lines) = logging(Level::Warn);
    let broker = Broker::start_with(&with(&[("access.password_file", file.path())]), &hooks).unwrap();
    for version in [Version::V31, Version::V311, Version::V5] {
        let ask = |user, password| answer(&broker, user, password, version);
        assert_eq!(ask(Some("ann"), Some(b"secret")), ReasonCode::Success);
        assert_eq!(ask(Some("ann"), Some(b"Secret")), ReasonCode::BadUserNameOrPassword);
        assert_eq!(ask(Some("bob"), Some(b"secret")), ReasonCode::BadUserNameOrPassword);
        assert_eq!(ask(None, None), ReasonCode::NotAuthorized);
    }
    broker.stop(None).unwrap();
    let lines = lines.lock().unwrap();
    let readable = "every user of this machine may read it (chmod o-r)";
    assert_eq!(lines[0], format!("access.password_file: {readable}"));
    let ann = lines.iter().find(|line| line.contains("ann")).unwrap();
    assert!(ann.starts_with("connection 2 of client \"c\" (user \"ann\") from 127.0.0.1:"), "{ann}");
    let end = "is refused with 0x86 by passwords: the authentication has failed";
    assert!(ann.ends_with(end), "{ann}");
    // Neither passwords nor their hashes.
    assert!(
        !lines.iter().any(|line| line.to_lowercase().contains("secret") || line.contains("hqR93")),
        "{lines:?}"
    );
}

#[test]
fn anonymous_clients_are_let_in_if_the_setting_says_so() {
    let file = File::new("anonymous", &format!("ann:{SECRET}\n"));
    let passwords = ("access.password_file", file.path());
    let broker = Broker::start(&with(&[passwords, ("access.anonymous", "true")])).unwrap();
    assert_eq!(answer(&broker, None, None, Version::V5), ReasonCode::Success);
    assert_eq!(answer(&broker, Some("ann"), None, Version::V5), ReasonCode::BadUserNameOrPassword);
    let none = refused(&with(&[("access.anonymous", "false")]), &Hooks::new());
    assert!(none.starts_with("access.anonymous: false needs somebody who checks user names"), "{none}");
    let hooks = Hooks::new().authenticate(|_| Verdict::Allow);
    let broker = Broker::start_with(&with(&[("access.anonymous", "false")]), &hooks).unwrap();
    assert_eq!(answer(&broker, None, None, Version::V5), ReasonCode::NotAuthorized);
    assert_eq!(answer(&broker, Some("max"), None, Version::V5), ReasonCode::Success);
}

#[test]
fn hooks_stand_where_the_order_says() {
    let file = File::new("order", &format!("ann:{SECRET}\n"));
    let passwords = ("access.password_file", file.path());
    let (hooks, lines) = logging(Level::Warn);
    // Lets in everybody but Ann.
    let hooks = hooks.authenticate(|client| match client.username {
        Some("ann") => Verdict::Deny,
        _ => Verdict::Allow,
    });
    let broker = Broker::start_with(&with(&[passwords]), &hooks).unwrap();
    assert_eq!(answer(&broker, Some("ann"), Some(b"secret"), Version::V5), ReasonCode::BadUserNameOrPassword);
    assert_eq!(answer(&broker, Some("bob"), None, Version::V5), ReasonCode::Success);
    assert!(lines.lock().unwrap()[0].starts_with("access.password_file: it is never asked"));

    let behind = ("access.authorities", "passwords, acl, hooks");
    let broker = Broker::start_with(&with(&[passwords, behind]), &hooks).unwrap();
    assert_eq!(answer(&broker, Some("ann"), Some(b"secret"), Version::V5), ReasonCode::Success);
    assert_eq!(answer(&broker, Some("ann"), Some(b"x"), Version::V5), ReasonCode::BadUserNameOrPassword);
    // Those that the file does not have are the hook's.
    assert_eq!(answer(&broker, Some("bob"), Some(b"x"), Version::V5), ReasonCode::Success);
    assert_eq!(answer(&broker, None, None, Version::V5), ReasonCode::Success);
    let error = refused(&with(&[passwords, ("access.authorities", "passwords")]), &hooks);
    assert!(error.starts_with("access.authorities: the host has hooks that decide"), "{error}");
}

#[test]
fn the_file_is_read_again_and_one_with_an_error_is_not_used() {
    let file = File::new("reload", &format!("ann:{SECRET}\n"));
    let (hooks, lines) = logging(Level::Error);
    let broker = Broker::start_with(&with(&[("access.password_file", file.path())]), &hooks).unwrap();
    file.write(&format!("bob:{SECRET}\n"));
    assert_eq!(broker.reload_access().unwrap(), 1);
    let ask = |user| answer(&broker, Some(user), Some(b"secret"), Version::V5);
    assert_eq!((ask("ann"), ask("bob")), (ReasonCode::BadUserNameOrPassword, ReasonCode::Success));
    file.write(&format!("ann:{SECRET}\nbob\n"));
    let error = broker.reload_access().unwrap_err().to_string();
    assert_eq!(error, format!("access.password_file: {}: line 2: a line is user:hash", file.path()));
    assert_eq!(lines.lock().unwrap().last(), Some(&format!("{error}; what it contained before still holds")));
    assert_eq!(ask("bob"), ReasonCode::Success);
    broker.stop(None).unwrap();
    assert!(broker.reload_access().is_err());

    let error = refused(&with(&[("access.password_file", file.path())]), &Hooks::new());
    assert!(error.ends_with(": line 2: a line is user:hash"), "{error}");
    let error = refused(&with(&[("access.password_file", "/no/such/file")]), &Hooks::new());
    assert!(error.starts_with("access.password_file: /no/such/file: "), "{error}");
}

/// Two brokers of one process, one of which is stopped while passwords wait.
#[test]
fn a_broker_that_stops_verifies_no_more_and_leaves_others_alone() {
    let slow = "$argon2id$v=19$m=131072,t=8,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc";
    let (file, other) =
        (File::new("stops", &format!("ann:{slow}\n")), File::new("stays", &format!("ann:{SECRET}\n")));
    let stays = Broker::start(&with(&[("access.password_file", other.path())])).unwrap();
    let stops = Broker::start(&with(&[("access.password_file", file.path())])).unwrap();
    let waiting: Vec<_> = (0..20)
        .map(|number| {
            let id = format!("c{number}");
            Client::with_credentials(address(&stops), &id, Some("ann"), Some(b"x"), Version::V5)
        })
        .collect();
    stops.stop(None).unwrap();
    drop(waiting);
    assert_eq!(answer(&stays, Some("ann"), Some(b"secret"), Version::V5), ReasonCode::Success);
}
