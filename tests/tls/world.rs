//! An authority, a broker with a certificate of it, and a client over rustls.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

use midge::config::Config;
use midge::embed::{Broker, Hooks, Level};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::certificates::{Authority, Folder, Issued};

/// How long a test waits for what must come.
pub const PATIENCE: Duration = Duration::from_secs(20);

pub struct World {
    pub folder: Folder,
    pub authority: Authority,
}

/// A client's connection.
pub type Stream = StreamOwned<ClientConnection, TcpStream>;

impl World {
    pub fn new() -> World {
        let world = World { folder: Folder::new(), authority: Authority::new("Test CA") };
        world.folder.write("ca.pem", &world.authority.certificate);
        world.folder.issued("server", &world.authority.server(&["localhost", "127.0.0.1"]));
        world
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path(name)
    }

    pub fn text(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }

    /// The settings of a broker with the listener `tls`.
    pub fn config(&self) -> Config {
        let mut config = Config::new();
        for (key, value) in [
            ("listener.tcp.bind", "off"),
            ("listener.tls.bind", "127.0.0.1:0"),
            ("listener.tls.transport", "tls"),
            ("listener.tls.certificate", &self.text("server.pem")),
            ("listener.tls.key", &self.text("server.key")),
        ] {
            config.set(key, value).unwrap();
        }
        config
    }

    /// The same; each client must have a certificate of the authority.
    pub fn strict(&self) -> Config {
        let mut config = self.config();
        config.set("listener.tls.client_certificate", "required").unwrap();
        config.set("listener.tls.client_ca", &self.text("ca.pem")).unwrap();
        config
    }

    pub fn client_config(&self, own: Option<&Issued>) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.authority.certificate.as_bytes()).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
        match own {
            None => builder.with_no_client_auth(),
            Some(own) => {
                let certificate = CertificateDer::from_pem_slice(own.certificate.as_bytes()).unwrap();
                let key = PrivateKeyDer::from_pem_slice(own.key.as_bytes()).unwrap();
                builder.with_client_auth_cert(vec![certificate], key).unwrap()
            }
        }
    }

    /// A connection on which nothing was sent.
    pub fn open(&self, address: SocketAddr, own: Option<&Issued>) -> Stream {
        open(address, "localhost", self.client_config(own))
    }

    /// A connected MQTT 3.1.1 client.
    pub fn connect(&self, address: SocketAddr, id: &str, own: Option<&Issued>) -> Stream {
        let mut stream = self.open(address, own);
        greet(&mut stream, id);
        stream
    }
}

pub fn open(address: SocketAddr, name: &str, config: ClientConfig) -> Stream {
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let socket = TcpStream::connect(address).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.set_nodelay(true).unwrap();
    StreamOwned::new(ClientConnection::new(Arc::new(config), name).unwrap(), socket)
}

/// Sends CONNECT and reads CONNACK.
pub fn greet(stream: &mut Stream, id: &str) {
    let mut connect = b"\x10\x00\x00\x04MQTT\x04\x02\x00\x00".to_vec();
    connect.extend((id.len() as u16).to_be_bytes());
    connect.extend(id.as_bytes());
    connect[1] = connect.len() as u8 - 2;
    stream.write_all(&connect).unwrap();
    expect(stream, &[0x20, 2, 0, 0]);
}

/// Reads what must come next.
pub fn expect(stream: &mut Stream, expected: &[u8]) {
    let mut received = vec![0; expected.len()];
    stream.read_exact(&mut received).unwrap();
    assert_eq!(received, expected);
}

/// PINGREQ and its answer: the connection lives.
pub fn ping(stream: &mut Stream) {
    stream.write_all(&[0xc0, 0]).unwrap();
    expect(stream, &[0xd0, 0]);
}

/// The first certificate that the server has shown.
pub fn shown(stream: &Stream) -> Vec<u8> {
    stream.conn.peer_certificates().unwrap()[0].to_vec()
}

pub fn der(issued: &Issued) -> Vec<u8> {
    CertificateDer::from_pem_slice(issued.certificate.as_bytes()).unwrap().to_vec()
}

/// A broker, and its lines from this level on.
pub fn logged(config: &Config, level: Level) -> (Broker, Receiver<String>) {
    let (sender, lines) = mpsc::channel();
    let hooks = Hooks::new().on_log(level, move |line| drop(sender.send(line.to_string())));
    (Broker::start_with(config, &hooks).unwrap(), lines)
}

/// The next line with these words.
pub fn line_with(lines: &Receiver<String>, words: &str) -> String {
    loop {
        let line = lines.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("no line with {words:?}"));
        if line.contains(words) {
            return line;
        }
    }
}

pub fn address(broker: &Broker) -> SocketAddr {
    broker.address("tls").unwrap()
}

/// Runs a program that is needed; its outcome.
pub fn run(program: &str, arguments: &[&str], input: &str) -> Output {
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{program}: {error}"));
    // It may have ended.
    let _gone = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}
