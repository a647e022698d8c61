//! Listeners of Unix domain sockets, and listeners that are added, paused and stopped while the broker runs.

use std::fs;
use std::io::{Read, Write};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{SocketAddr, UnixDatagram, UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::mpsc::channel;

use midge::codec::packet::Packet;
use midge::codec::reason::ReasonCode;
use midge::codec::version::Version;
use midge::config::Config;
use midge::embed::{Broker, Connections, Error, Hooks, ListenerState, Verdict};
use midge::session::peer::Credentials;

use super::client::{Client, PATIENCE, broker, broker_with_workers, config};

/// CONNECT of an MQTT 3.1.1 client `a`.
const CONNECT: &[u8] = b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x00\x00\x01a";
/// CONNACK without a session.
const CONNACK: [u8; 4] = [0x20, 2, 0, 0];

/// A directory of a test, which is removed with it.
struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Directory {
        let path = std::env::temp_dir().join(format!("midge-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Directory(path)
    }

    fn socket(&self) -> PathBuf {
        self.0.join("mqtt.sock")
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _removed = fs::remove_dir_all(&self.0);
    }
}

/// Settings whose only listener is called `local` and is at this address.
fn at(address: &str) -> Config {
    let mut config = Config::new();
    config.set("listener.tcp.bind", "off").unwrap();
    config.set("listener.local.bind", address).unwrap();
    config
}

fn at_path(path: &Path) -> Config {
    at(&format!("unix:{}", path.display()))
}

/// Connects a client.
fn greet(mut stream: UnixStream) -> UnixStream {
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(CONNECT).unwrap();
    let mut answer = [0; 4];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(answer, CONNACK);
    stream
}

fn connect(path: &Path) -> UnixStream {
    greet(UnixStream::connect(path).unwrap())
}

/// Why a broker with these settings does not start.
fn refused(config: &Config) -> String {
    Broker::start(config).err().unwrap().to_string()
}

#[test]
fn clients_connect_by_a_unix_socket_and_are_known_by_their_process() {
    let directory = Directory::new("credentials");
    let path = directory.socket();
    let (seen, asked) = channel();
    let hooks = Hooks::new().authenticate(move |request| {
        seen.send((request.address.unwrap().credentials(), request.listener.map(str::to_owned))).unwrap();
        Verdict::Allow
    });
    let broker = Broker::builder(&at_path(&path)).hooks(hooks).start().unwrap();
    assert_eq!(broker.addresses()[0].1.to_string(), format!("unix:{}", path.display()));
    assert_eq!(broker.address("local"), None, "it has no address of the network");
    let _client = connect(&path);
    let made = fs::metadata(&path).unwrap();
    let own = Credentials { uid: made.uid(), gid: made.gid(), pid: std::process::id() };
    assert_eq!(asked.recv_timeout(PATIENCE).unwrap(), (Some(own), Some("local".to_owned())));
    let client = &broker.clients()[0];
    assert_eq!(client.address.unwrap().credentials(), Some(own));
    assert_eq!(
        client.address.unwrap().to_string(),
        format!("unix:uid={},gid={},pid={}", own.uid, own.gid, own.pid)
    );
}

#[test]
fn the_file_has_its_mode_and_goes_with_the_broker() {
    let directory = Directory::new("mode");
    let path = directory.socket();
    for (mode, expected) in [(None, 0o660), (Some("0600"), 0o600), (Some("0666"), 0o666)] {
        let mut config = at_path(&path);
        if let Some(mode) = mode {
            config.set("listener.local.unix_mode", mode).unwrap();
        }
        let broker = Broker::start(&config).unwrap();
        let made = fs::symlink_metadata(&path).unwrap();
        assert!(made.file_type().is_socket());
        assert_eq!(made.permissions().mode() & 0o777, expected);
        broker.stop(None).unwrap();
        assert!(!path.exists(), "a stopped broker leaves no file");
    }
}

#[test]
fn a_file_that_is_no_longer_the_brokers_stays() {
    let directory = Directory::new("foreign");
    let path = directory.socket();
    let broker = Broker::start(&at_path(&path)).unwrap();
    fs::remove_file(&path).unwrap();
    let _other = UnixListener::bind(&path).unwrap();
    broker.stop(None).unwrap();
    assert!(UnixStream::connect(&path).is_ok(), "the other's socket is still there");
}

#[test]
fn a_stale_file_is_replaced_and_a_live_one_is_an_error_that_says_who_listens() {
    let directory = Directory::new("stale");
    let path = directory.socket();
    drop(UnixListener::bind(&path).unwrap());
    assert!(path.exists(), "the listener is dead and its file has stayed");
    let broker = Broker::start(&at_path(&path)).unwrap();
    let client = connect(&path);
    let error = refused(&at_path(&path));
    let place = format!("listener.local.bind: unix:{}", path.display());
    assert_eq!(error, format!("{place}: address in use: this process listens there"));
    drop(client);
    drop(connect(&path));
    broker.stop(None).unwrap();
    let _datagrams = UnixDatagram::bind(&path).unwrap();
    assert_eq!(refused(&at_path(&path)), format!("{place}: address in use"));
}

#[test]
fn a_path_that_is_no_socket_is_never_removed() {
    let directory = Directory::new("file");
    let path = directory.socket();
    fs::write(&path, "precious").unwrap();
    let no_socket = "there is a file that is no socket, which the broker does not remove";
    let place = format!("listener.local.bind: unix:{}", path.display());
    assert_eq!(refused(&at_path(&path)), format!("{place}: {no_socket}"));
    assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
    let link = directory.0.join("link.sock");
    std::os::unix::fs::symlink(&path, &link).unwrap();
    assert!(refused(&at_path(&link)).ends_with(no_socket));
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    let nowhere = directory.0.join("none/mqtt.sock");
    assert!(refused(&at_path(&nowhere)).contains("No such file or directory"));
}

#[test]
fn an_abstract_name_needs_no_file() {
    let name = format!("midge-test-{}", std::process::id());
    let broker = Broker::start(&at(&format!("unix:@{name}"))).unwrap();
    let address = SocketAddr::from_abstract_name(&name).unwrap();
    drop(greet(UnixStream::connect_addr(&address).unwrap()));
    assert_eq!(
        refused(&at(&format!("unix:@{name}"))),
        format!("listener.local.bind: unix:@{name}: address in use: this process listens there")
    );
    broker.stop(None).unwrap();
    assert!(UnixStream::connect_addr(&address).is_err());
}

#[test]
fn a_path_that_is_too_long_is_an_error_with_the_limit() {
    let fits = format!("unix:@{}", "n".repeat(107));
    drop(Broker::start(&at(&fits)).unwrap());
    for address in [format!("unix:@{}", "n".repeat(108)), format!("unix:/{}", "n".repeat(107))] {
        let cause = "the path has 108 bytes; a socket's may have 107 at most";
        assert_eq!(refused(&at(&address)), format!("listener.local.bind: {address}: {cause}"));
    }
}

#[test]
fn an_owner_that_does_not_exist_is_an_error_and_leaves_no_file() {
    let directory = Directory::new("owner");
    let path = directory.socket();
    for (owner, cause) in [
        ("nobody-of-this-name", "this machine has no user \"nobody-of-this-name\""),
        (":no-group", "this machine has no group \"no-group\""),
    ] {
        let mut config = at_path(&path);
        config.set("listener.local.unix_owner", owner).unwrap();
        assert_eq!(refused(&config), format!("listener.local.unix_owner: {cause}"));
        assert!(!path.exists());
    }
    // The own user and group by number may always be set.
    let own = fs::metadata(&directory.0).unwrap();
    let mut config = at_path(&path);
    config.set("listener.local.unix_owner", &format!("{}:{}", own.uid(), own.gid())).unwrap();
    let _broker = Broker::start(&config).unwrap();
    if own.uid() == 0 {
        config.set("listener.local.unix_owner", "65534:65534").unwrap();
        config.set("listener.local.bind", &format!("unix:{}.2", path.display())).unwrap();
        let _other = Broker::start(&config).unwrap();
        let made = fs::metadata(directory.0.join("mqtt.sock.2")).unwrap();
        assert_eq!((made.uid(), made.gid()), (65534, 65534));
    }
}

fn ping(client: &mut Client) {
    client.try_send(b"\xc0\x00").unwrap();
    client.expect("PINGRESP", |packet| matches!(packet, Packet::Pingresp).then_some(()));
}

/// The settings of a listener `lan` at this address.
fn lan(address: &str) -> Config {
    let mut config = Config::new();
    config.set("listener.lan.bind", address).unwrap();
    config
}

#[test]
fn a_listener_is_added_to_a_running_broker_and_stopped() {
    for workers in ["1", "2"] {
        let broker = broker_with_workers(workers);
        let mut wanted = lan("127.0.0.1:0");
        wanted.set("listener.lan.max_connections", "1").unwrap();
        let address = broker.add_listener("lan", &wanted).unwrap().as_socket().unwrap();
        assert_eq!(broker.address("lan"), Some(address));
        let mut client = Client::connect(address, "a", Version::V5);
        let mut second = Client::raw(address);
        second.send_connect("b", 0);
        assert_eq!(second.connack(), ReasonCode::ServerUnavailable, "its own limit is one client");
        let views = broker.listeners();
        assert_eq!(views.iter().map(|view| view.name.as_str()).collect::<Vec<_>>(), ["tcp", "lan"]);
        let view = &views[1];
        assert_eq!((view.state, view.transport), (ListenerState::Accepting, "tcp"));
        assert_eq!((view.connections, view.max_connections), (1, Some(1)));
        assert_eq!((view.accepted, view.refused), (2, 1));
        assert_eq!(broker.stop_listener("lan", Connections::Keep).unwrap(), 1);
        ping(&mut client);
        assert_eq!(broker.listeners().len(), 1);
        // Name and address are free again.
        broker.add_listener("lan", &lan(&address.to_string())).unwrap();
        drop(Client::connect(address, "c", Version::V311));
        ping(&mut client);
        broker.stop(None).unwrap();
        assert!(broker.listeners().iter().all(|view| view.state == ListenerState::Stopped));
    }
}

#[test]
fn a_stopped_listener_may_disconnect_its_clients_and_no_others() {
    let broker = broker();
    let address = broker.add_listener("lan", &lan("127.0.0.1:0")).unwrap().as_socket().unwrap();
    let mut other = Client::connect(broker.address("tcp").unwrap(), "other", Version::V5);
    let mut client = Client::connect(address, "a", Version::V5);
    let mut old = Client::connect(address, "b", Version::V311);
    let mut silent = Client::raw(address);
    super::deadline::until("the silent one is accepted", || broker.listeners()[1].accepted == 3);
    assert_eq!(broker.stop_listener("lan", Connections::Disconnect).unwrap(), 2);
    let reason = client.expect("DISCONNECT", |packet| match packet {
        Packet::Disconnect(disconnect) => Some(disconnect.reason),
        _ => None,
    });
    assert_eq!(reason, ReasonCode::AdministrativeAction);
    assert!(old.until_closed().is_empty());
    assert!(silent.until_closed().is_empty());
    ping(&mut other);
}

#[test]
fn a_paused_listener_lets_clients_wait_and_resumes_with_them() {
    let broker = broker();
    let address = broker.address("tcp").unwrap();
    let mut before = Client::connect(address, "before", Version::V5);
    broker.pause_listener("tcp").unwrap();
    broker.pause_listener("tcp").unwrap();
    assert_eq!(broker.listeners()[0].state, ListenerState::Paused);
    let mut waiting = Client::raw(address);
    ping(&mut before);
    assert_eq!(broker.listeners()[0].accepted, 1, "the one that waits is not accepted");
    broker.resume_listener("tcp").unwrap();
    broker.resume_listener("tcp").unwrap();
    waiting.send_connect("waiting", 0);
    assert_eq!(waiting.connack(), ReasonCode::Success);
    ping(&mut waiting);
    assert_eq!(broker.listeners()[0].state, ListenerState::Accepting);
    // A paused listener can be stopped.
    broker.pause_listener("tcp").unwrap();
    broker.stop_listener("tcp", Connections::Keep).unwrap();
    assert!(std::net::TcpStream::connect(address).is_err());
}

#[test]
fn errors_of_listeners_name_what_is_wrong() {
    let broker = broker();
    let address = broker.address("tcp").unwrap();
    let sentence = |outcome: Result<_, Error>| outcome.err().unwrap().to_string();
    let taken = broker.add_listener("tcp", &config());
    assert_eq!(sentence(taken), "listener: this broker has a listener \"tcp\" already");
    let in_use = broker.add_listener("lan", &lan(&address.to_string()));
    assert_eq!(sentence(in_use), format!("listener.lan.bind: {address}: address in use"));
    for config in [Config::new(), lan("off")] {
        let none = broker.add_listener("lan", &config);
        assert_eq!(sentence(none), "listener.lan.bind: the listener needs an address");
    }
    let unknown = "listener: this broker has no listener \"lan\"";
    assert_eq!(broker.stop_listener("lan", Connections::Keep).unwrap_err().to_string(), unknown);
    assert_eq!(broker.pause_listener("lan").unwrap_err().to_string(), unknown);
    assert_eq!(broker.resume_listener("lan").unwrap_err().to_string(), unknown);
    broker.stop(None).unwrap();
    assert!(matches!(broker.add_listener("lan", &lan("127.0.0.1:0")), Err(Error::Stopped)));
    assert!(matches!(broker.stop_listener("tcp", Connections::Keep), Err(Error::Stopped)));
    assert!(matches!(broker.pause_listener("tcp"), Err(Error::Stopped)));
    assert!(matches!(broker.resume_listener("tcp"), Err(Error::Stopped)));
}

/// A hook runs on the thread that closes the listener's socket.
#[test]
fn a_hook_may_add_and_stop_listeners() {
    use std::sync::{Arc, OnceLock, Weak};
    let place: Arc<OnceLock<Weak<Broker>>> = Arc::default();
    let inside = Arc::clone(&place);
    let (done, told) = channel();
    let hooks = Hooks::new().on_connected(move |_| {
        let broker = inside.get().unwrap().upgrade().unwrap();
        let address = broker.add_listener("lan", &lan("127.0.0.1:0")).unwrap();
        broker.stop_listener("tcp", Connections::Keep).unwrap();
        done.send(address.as_socket().unwrap()).unwrap();
    });
    let broker = Arc::new(Broker::builder(&config()).hooks(hooks).start().unwrap());
    place.set(Arc::downgrade(&broker)).unwrap();
    let mut client = Client::connect(broker.address("tcp").unwrap(), "a", Version::V5);
    let address = told.recv_timeout(PATIENCE).unwrap();
    ping(&mut client);
    assert_eq!(broker.addresses(), [("lan".to_owned(), address.into())]);
}

#[test]
fn listeners_come_and_go_while_the_broker_stops() {
    let broker = broker();
    std::thread::scope(|scope| {
        for number in 0..4 {
            let broker = &broker;
            scope.spawn(move || {
                let name = format!("lan{number}");
                let mut config = Config::new();
                config.set(&format!("listener.{name}.bind"), "127.0.0.1:0").unwrap();
                while broker.add_listener(&name, &config).is_ok() {
                    let _stopped = broker.stop_listener(&name, Connections::Disconnect);
                }
            });
        }
        broker.stop(None).unwrap();
    });
    assert!(matches!(broker.add_listener("x", &lan("off")), Err(Error::Stopped)));
}

/// The path is free when the call returns, and its file is gone.
#[test]
fn a_unix_listener_comes_and_goes() {
    let directory = Directory::new("runtime");
    let path = directory.socket();
    let broker = broker();
    let wanted = lan(&format!("unix:{}", path.display()));
    for _ in 0..20 {
        broker.add_listener("lan", &wanted).unwrap();
        drop(connect(&path));
        broker.stop_listener("lan", Connections::Keep).unwrap();
        assert!(!path.exists());
    }
}
