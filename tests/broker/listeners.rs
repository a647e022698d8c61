//! Listeners of Unix domain sockets.

use std::fs;
use std::io::{Read, Write};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{SocketAddr, UnixDatagram, UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::mpsc::channel;

use midge::config::Config;
use midge::embed::{Broker, Hooks, Verdict};
use midge::session::peer::Credentials;

use super::client::PATIENCE;

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
