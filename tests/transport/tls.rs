//! The layer of TLS against rustls's client, without a socket.

use std::io::{Read, Write};
use std::sync::Arc;
use std::task::Poll;

use midge::config::ClientCertificates;
use midge::tls::{TlsFiles, TlsServer};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, SupportedProtocolVersion};

use crate::engine::parts::origin::Origin;
use crate::net::transport::stack::Stack;
use crate::net::transport::tls::Tls;

use crate::session::identity::TlsIdentity;

use super::certificates::{Authority, Folder, Issued};
use super::layers::Scramble;

pub const VERSIONS: [&SupportedProtocolVersion; 2] = [&rustls::version::TLS12, &rustls::version::TLS13];

pub struct World {
    folder: Folder,
    pub authority: Authority,
}

impl World {
    pub fn new() -> World {
        World { folder: Folder::new(), authority: Authority::new("Test CA") }
    }

    fn files(&self, issued: &Issued) -> TlsFiles {
        let (certificate, key) = self.folder.issued("server", issued);
        TlsFiles { certificates: vec![certificate], keys: vec![key], ..TlsFiles::default() }
    }

    pub fn server(&self) -> TlsServer {
        let files = self.files(&self.authority.server(&["broker.example"]));
        TlsServer::load(files, &[b"mqtt"]).unwrap()
    }

    /// A server that asks for certificates of this authority.
    pub fn strict(&self, clients: ClientCertificates, revoked: Option<String>) -> TlsServer {
        let mut files = self.files(&self.authority.server(&["broker.example"]));
        files.clients = clients;
        files.client_ca = Some(self.folder.write("ca.pem", &self.authority.certificate));
        files.client_crls = revoked.iter().map(|list| self.folder.write("crl.pem", list)).collect();
        TlsServer::load(files, &[b"mqtt"]).unwrap()
    }

    pub fn client(
        &self,
        versions: &[&'static SupportedProtocolVersion],
        own: Option<&Issued>,
    ) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.authority.certificate.as_bytes()).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(roots);
        let mut config = match own {
            None => builder.with_no_client_auth(),
            Some(own) => builder
                .with_client_auth_cert(
                    vec![CertificateDer::from_pem_slice(own.certificate.as_bytes()).unwrap()],
                    PrivateKeyDer::from_pem_slice(own.key.as_bytes()).unwrap(),
                )
                .unwrap(),
        };
        config.alpn_protocols = vec![b"mqtt".to_vec()];
        Arc::new(config)
    }
}

/// A client and the stack of a connection, and the way between them.
pub struct Pair {
    pub client: ClientConnection,
    pub stack: Stack,
    origin: Origin,
    is_open: bool,
    /// What the stack has carried to MQTT.
    read: Vec<u8>,
    failure: Option<String>,
}

impl Pair {
    pub fn new(server: &TlsServer, config: &Arc<ClientConfig>) -> Pair {
        let name = ServerName::try_from("broker.example").unwrap();
        let client = ClientConnection::new(Arc::clone(config), name).unwrap();
        let stack = Stack::new(vec![Tls::boxed(server)]);
        let (origin, read) = (Origin::default(), Vec::new());
        Pair { client, stack, origin, is_open: false, read, failure: None }
    }

    /// What the client sends now.
    pub fn sent(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        while self.client.wants_write() {
            self.client.write_tls(&mut bytes).unwrap();
        }
        bytes
    }

    /// Gives the stack bytes of the peer, and lets it work.
    fn feed(&mut self, bytes: &[u8]) {
        self.stack.feed(bytes);
        self.work();
    }

    fn work(&mut self) {
        let worked = self.step();
        self.failure = self.failure.take().or(worked.err().map(|error| error.to_string()));
    }

    fn step(&mut self) -> Result<(), crate::net::transport::LayerError> {
        if !self.is_open {
            match self.stack.handshake(&mut self.origin, true) {
                Poll::Ready(outcome) => outcome?,
                Poll::Pending => return Ok(()),
            }
            self.is_open = true;
        }
        let mut room = [0; 100];
        loop {
            match self.stack.read(&mut room)? {
                0 => return Ok(()),
                count => self.read.extend_from_slice(&room[..count]),
            }
        }
    }

    /// Gives the client what the stack sends, in pieces of this size; returns the bytes that it carries.
    pub fn answer(&mut self, piece: usize) -> Vec<u8> {
        let mut read = Vec::new();
        while let Some(output) = self.stack.output() {
            let bytes = output.bytes().to_vec();
            output.consume(bytes.len());
            for mut piece in bytes.chunks(piece) {
                while !piece.is_empty() {
                    self.client.read_tls(&mut piece).unwrap();
                }
                // An alert is an error of the client; the tests look at the stack's.
                if self.client.process_new_packets().is_err() {
                    return read;
                }
            }
            if self.stack.push_down().is_err() {
                return read;
            }
        }
        let _blocked = self.client.reader().read_to_end(&mut read);
        read
    }

    /// Exchanges bytes in pieces of this size until nobody has anything to say.
    pub fn exchange(&mut self, piece: usize) -> Vec<u8> {
        let mut read = Vec::new();
        loop {
            let sent = self.sent();
            for piece in sent.chunks(piece) {
                self.feed(piece);
            }
            let silent = self.stack.output().is_none();
            read.extend(self.answer(piece));
            if sent.is_empty() && silent {
                return read;
            }
        }
    }

    fn identity(&self) -> &TlsIdentity {
        self.origin.tls().unwrap()
    }
}

/// Bytes that are not the same anywhere.
pub fn pattern(count: usize) -> Vec<u8> {
    (0..count).map(|place| (place * 7 + place / 251) as u8).collect()
}

#[test]
fn every_size_of_pieces_gives_the_same_bytes_both_ways() {
    let world = World::new();
    let server = world.server();
    for version in VERSIONS {
        let config = world.client(&[version], None);
        for piece in [1, 2, 3, 5, 16, 100, 1000, 16 * 1024, 1 << 20] {
            let mut pair = Pair::new(&server, &config);
            pair.exchange(piece);
            assert!(pair.is_open, "{version:?} {piece} {:?}", pair.failure);
            let up = pattern(40_000);
            let mut written = 0;
            while written < up.len() {
                written += pair.client.writer().write(&up[written..]).unwrap();
                pair.exchange(piece);
            }
            assert_eq!(pair.read, up, "{version:?} {piece}");
            let down = pattern(50_000);
            let (mut given, mut got) = (0, Vec::new());
            while given < down.len() {
                let end = down.len().min(given + 16 * 1024);
                given += pair.stack.write(&down[given..end]).unwrap();
                pair.stack.push_down().unwrap();
                got.extend(pair.answer(piece));
            }
            assert_eq!(got, down, "{version:?} {piece}");
            assert_eq!(pair.stack.pending_out(), 0);
        }
    }
}

/// The stream of the client, cut in two at every byte: its hello, its answer, and its records.
#[test]
fn a_cut_at_any_byte_changes_nothing() {
    let world = World::new();
    let own = world.authority.client("device-1");
    let server = world.strict(ClientCertificates::Required, None);
    for version in VERSIONS {
        let config = world.client(&[version], Some(&own));
        let mut cut = 0;
        loop {
            let mut pair = Pair::new(&server, &config);
            let mut passed = 0;
            let mut packets: Vec<&[u8]> = vec![b"CONNECT", b"", b"PUBLISH"];
            loop {
                let sent = pair.sent();
                let here = cut.clamp(passed, passed + sent.len()) - passed;
                passed += sent.len();
                let (first, second) = sent.split_at(here);
                for part in [first, second] {
                    if !part.is_empty() {
                        pair.feed(part);
                    }
                }
                pair.answer(1 << 20);
                if !pair.client.is_handshaking() && !pair.client.wants_write() {
                    let Some(packet) = packets.pop() else { break };
                    pair.client.writer().write_all(packet).unwrap();
                }
            }
            assert_eq!(pair.read, b"PUBLISHCONNECT", "{version:?} cut at {cut}: {:?}", pair.failure);
            if cut > passed {
                break;
            }
            cut += 1 + cut / 200;
        }
    }
}

#[test]
fn the_handshake_tells_what_it_has_found() {
    let world = World::new();
    let own = world.authority.client("device-1");
    let server = world.strict(ClientCertificates::Required, None);
    let names = [("TLS 1.2", "TLS_"), ("TLS 1.3", "TLS13_")];
    for (version, (name, cipher)) in VERSIONS.into_iter().zip(names) {
        let config = world.client(&[version], Some(&own));
        let mut pair = Pair::new(&server, &config);
        pair.exchange(1 << 20);
        let identity = pair.identity();
        assert_eq!(identity.version, name);
        assert!(identity.cipher.starts_with(cipher), "{}", identity.cipher);
        assert_eq!(identity.server_name.as_deref(), Some("broker.example"));
        assert_eq!(identity.protocol.as_deref(), Some("mqtt"));
        assert!(!identity.resumed);
        let certificate = identity.certificate.as_ref().unwrap();
        assert_eq!(&*certificate.subject, "CN=device-1");
        assert_eq!(certificate.common_name.as_deref(), Some("device-1"));
        assert_eq!(&*certificate.issuer, "CN=Test CA");
        assert_eq!(certificate.fingerprint.len(), 64);
        // The same client resumes its session, and is known as before.
        let mut pair = Pair::new(&server, &config);
        pair.exchange(1 << 20);
        assert!(pair.identity().resumed, "{version:?}");
        assert_eq!(pair.identity().certificate.as_ref().unwrap().common_name.as_deref(), Some("device-1"));
        assert_eq!(pair.identity().server_name.as_deref(), Some("broker.example"));
    }
}

/// The failure of a handshake with this client.
fn refused(world: &World, server: &TlsServer, own: Option<&Issued>) -> String {
    let mut causes = VERSIONS.map(|version| {
        let mut pair = Pair::new(server, &world.client(&[version], own));
        pair.exchange(1 << 20);
        pair.failure.unwrap()
    });
    assert_eq!(causes[0], causes[1]);
    std::mem::take(&mut causes[0])
}

#[test]
fn a_refused_client_certificate_says_why() {
    let world = World::new();
    let revoked = world.authority.client("lost");
    let list = world.authority.revoke(&[&revoked], 30);
    let server = world.strict(ClientCertificates::Required, Some(list));
    assert_eq!(
        refused(&world, &server, None),
        "tls: the client has sent no certificate (client_certificate)"
    );
    assert_eq!(refused(&world, &server, Some(&revoked)), "tls: client certificate revoked");
    let expired = world.authority.client_until("old", -3);
    assert_eq!(refused(&world, &server, Some(&expired)), "tls: client certificate expired 3 days ago");
    let stranger = Authority::new("Another CA").client("stranger");
    assert_eq!(
        refused(&world, &server, Some(&stranger)),
        "tls: client certificate of an unknown certificate authority (client_ca)"
    );
    let wrong = world.authority.server(&["broker.example"]);
    assert_eq!(
        refused(&world, &server, Some(&wrong)),
        "tls: client certificate not made for clients (extended key usage)"
    );
    let mut pair = Pair::new(&server, &world.client(&VERSIONS, Some(&world.authority.client("good"))));
    pair.exchange(1 << 20);
    assert!(pair.is_open, "{:?}", pair.failure);
    let old = world.strict(ClientCertificates::Required, Some(world.authority.revoke(&[], -4)));
    assert_eq!(
        refused(&world, &old, Some(&world.authority.client("good"))),
        "tls: the revocation list has expired 4 days ago (client_crl)"
    );
}

#[test]
fn an_optional_certificate_may_be_absent_and_not_wrong() {
    let world = World::new();
    let server = world.strict(ClientCertificates::Optional, None);
    let mut pair = Pair::new(&server, &world.client(&VERSIONS, None));
    pair.exchange(1 << 20);
    assert!(pair.is_open);
    assert_eq!(pair.identity().certificate, None);
    let stranger = Authority::new("Another CA").client("stranger");
    assert!(refused(&world, &server, Some(&stranger)).contains("unknown certificate authority"));
}

#[test]
fn something_else_than_tls_is_named() {
    let world = World::new();
    let server = world.server();
    let said = |bytes: &[u8]| {
        let mut pair = Pair::new(&server, &world.client(&VERSIONS, None));
        pair.feed(bytes);
        pair.failure.unwrap()
    };
    assert_eq!(said(b"\x10\x0d\x00\x04MQTT"), "tls: client speaks no TLS: first bytes are MQTT");
    assert_eq!(said(b"GET / HTTP/1.1\r\n"), "tls: client speaks no TLS: first bytes are HTTP");
    assert_eq!(said(b"PROXY TCP4 "), "tls: client speaks no TLS: first bytes are a PROXY header");
    assert_eq!(said(b"\x80\x2e\x01\x00\x02"), "tls: client speaks no TLS: first bytes are SSL 2");
    assert_eq!(said(b"hello"), "tls: client speaks no TLS");
    assert_eq!(said(b"\x16\x07\x07\x00\x10"), "tls: the client has sent something else than a record of TLS");
}

#[test]
fn a_client_of_another_application_protocol_is_refused() {
    let world = World::new();
    let server = world.server();
    let mut config = ClientConfig::clone(&world.client(&VERSIONS, None));
    config.alpn_protocols = vec![b"h2".to_vec()];
    let mut pair = Pair::new(&server, &Arc::new(config.clone()));
    pair.exchange(1 << 20);
    let expected = "tls: the client offers other application protocols (ALPN) than this listener's";
    assert_eq!(pair.failure.as_deref(), Some(expected));
    config.alpn_protocols.clear();
    let mut pair = Pair::new(&server, &Arc::new(config));
    pair.exchange(1 << 20);
    assert!(pair.is_open);
    assert_eq!(pair.identity().protocol, None);
}

/// A goodbye of one side ends its direction alone, and a write after it still arrives.
#[test]
fn each_side_says_goodbye_for_itself() {
    let world = World::new();
    let server = world.server();
    for version in VERSIONS {
        let mut pair = Pair::new(&server, &world.client(&[version], None));
        pair.exchange(1 << 20);
        pair.client.writer().write_all(b"last").unwrap();
        pair.client.send_close_notify();
        let mut sent = pair.sent();
        // Whatever follows the goodbye is ignored.
        sent.extend_from_slice(b"rubbish");
        pair.feed(&sent);
        assert_eq!(pair.read, b"last");
        assert!(pair.stack.is_over(), "{version:?}");
        pair.stack.write(b"answer").unwrap();
        pair.stack.push_down().unwrap();
        assert_eq!(pair.answer(1 << 20), b"answer");
        pair.stack.close().unwrap();
        pair.answer(1 << 20);
        assert!(pair.client.process_new_packets().unwrap().peer_has_closed());
        assert_eq!(pair.failure, None);
    }
}

/// A changed byte in a record ends the connection, and the client is told.
#[test]
fn a_damaged_record_is_an_error() {
    let world = World::new();
    let server = world.server();
    let mut pair = Pair::new(&server, &world.client(&VERSIONS, None));
    pair.exchange(1 << 20);
    pair.client.writer().write_all(b"message").unwrap();
    let mut sent = pair.sent();
    *sent.last_mut().unwrap() ^= 1;
    pair.feed(&sent);
    assert_eq!(pair.failure.as_deref(), Some("tls: a record was damaged or changed on its way"));
    assert!(pair.stack.output().is_some(), "the alert");
}

/// While much is read at once, many records wait: writing does not lose them.
#[test]
fn a_write_keeps_the_records_that_were_not_read() {
    let world = World::new();
    let server = world.server();
    let mut pair = Pair::new(&server, &world.client(&VERSIONS, None));
    pair.exchange(1 << 20);
    for number in 0..50u8 {
        pair.client.writer().write_all(&[number; 9]).unwrap();
    }
    let sent = pair.sent();
    pair.stack.feed(&sent);
    pair.stack.write(b"between").unwrap();
    pair.stack.push_down().unwrap();
    assert_eq!(pair.answer(1 << 20), b"between");
    pair.work();
    let expected: Vec<_> = (0..50u8).flat_map(|number| [number; 9]).collect();
    assert_eq!(pair.read, expected);
}

/// TLS below another layer.
#[test]
fn a_layer_over_tls_gets_its_bytes() {
    let world = World::new();
    let server = world.server();
    let mut pair = Pair::new(&server, &world.client(&VERSIONS, None));
    pair.stack = Stack::new(vec![Tls::boxed(&server), Scramble::boxed()]);
    pair.exchange(7);
    assert!(pair.is_open);
    let mut block = b"hello".to_vec();
    super::layers::scramble(&mut block, 0);
    pair.client.writer().write_all(&[&[0, 5], &block[..]].concat()).unwrap();
    pair.client.send_close_notify();
    pair.exchange(3);
    assert_eq!(pair.read, b"hello");
    assert!(pair.stack.is_over());
}
