//! What an idle connection takes of a broker with TLS, beside one without.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;

use midge::codec::version::Version;
use midge::config::Config;
use midge::embed::Broker;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned, SupportedProtocolVersion};

use crate::certificates::{Authority, Folder, Issued};
use crate::{alone, check, counting, packets};

const COUNT: usize = 300;

fn client_config(
    authority: &Authority,
    version: &'static SupportedProtocolVersion,
    own: &Issued,
) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(authority.certificate.as_bytes()).unwrap()).unwrap();
    let certificate = CertificateDer::from_pem_slice(own.certificate.as_bytes()).unwrap();
    let key = PrivateKeyDer::from_pem_slice(own.key.as_bytes()).unwrap();
    let mut config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_protocol_versions(&[version])
        .unwrap()
        .with_root_certificates(roots)
        .with_client_auth_cert(vec![certificate], key)
        .unwrap();
    config.resumption = rustls::client::Resumption::disabled();
    Arc::new(config)
}

/// Clients that have connected and been silent since. Of a client its socket alone is left.
fn connected(broker: &Broker, config: &Arc<ClientConfig>, count: usize) -> Vec<TcpStream> {
    let mut streams = Vec::with_capacity(COUNT);
    for number in 0..count {
        let mut packet = Vec::new();
        packets::connect(Version::V311, &format!("device-{number:06}"), &mut packet);
        // The answer to it says that the broker waits for input again.
        packet.extend([0xc0, 0]);
        let socket = TcpStream::connect(broker.address("tls").unwrap()).unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        let client = ClientConnection::new(Arc::clone(config), name).unwrap();
        let mut stream = StreamOwned::new(client, socket);
        stream.write_all(&packet).unwrap();
        stream.read_exact(&mut [0; 6]).unwrap();
        streams.push(stream.sock);
    }
    streams
}

#[test]
fn an_idle_connection_of_tls_holds_no_buffers() {
    let _alone = alone();
    let folder = Folder::new();
    let authority = Authority::new("CA");
    let (certificate, key) = folder.issued("server", &authority.server(&["localhost"]));
    let ca = folder.write("ca.pem", &authority.certificate);
    let own = authority.client("device");
    for (kind, asked) in [("", "none"), ("_with_certificate", "required")] {
        let mut config = Config::new();
        for (setting, value) in [
            ("listener.tcp.bind", "off"),
            ("listener.tls.bind", "127.0.0.1:0"),
            ("listener.tls.transport", "tls"),
            ("listener.tls.certificate", certificate.to_str().unwrap()),
            ("listener.tls.key", key.to_str().unwrap()),
            ("listener.tls.client_certificate", asked),
            ("listener.tls.client_ca", if asked == "none" { "" } else { ca.to_str().unwrap() }),
            ("sys.interval", "0"),
        ] {
            config.set(setting, value).unwrap();
        }
        let broker = Broker::start(&config).unwrap();
        for (version, name) in [(&rustls::version::TLS12, "12"), (&rustls::version::TLS13, "13")] {
            let client = client_config(&authority, version, &own);
            // Tables have grown.
            let first = connected(&broker, &client, 100);
            let before = counting::in_use();
            let streams = connected(&broker, &client, COUNT);
            check(&format!("connection_tls_{name}{kind}"), (counting::in_use() - before) / COUNT as isize);
            drop((first, streams));
            crate::deadline::until("they are gone", || broker.stats().clients_connected == 0);
        }
    }
}
