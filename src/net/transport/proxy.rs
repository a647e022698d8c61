//! The layer of the PROXY protocol, versions 1 and 2: a header in which a proxy tells the client's address.

mod binary;
mod text;
mod tlv;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::task::Poll;

use ipnet::IpNet;

use crate::config::{ConfigError, ErrorKind, Listener};
use crate::engine::parts::origin::Origin;
use crate::net::transport::layer::{Layer, LayerError, Raw};
use crate::net::transport::protocol::{self, PROXY_V1, PROXY_V2};
use crate::session::identity::TlsIdentity;
use crate::session::peer::Peer;

/// What a header says of the client; nothing of a connection that the proxy itself has made.
#[derive(Debug, Default, PartialEq, Eq)]
struct Told {
    peer: Option<SocketAddr>,
    tls: Option<TlsIdentity>,
}

/// Ready with what the header says and its length.
type Header = Poll<Result<(Told, usize), LayerError>>;

/// The proxies that a listener believes.
pub(in crate::net) struct Proxies {
    listener: Box<str>,
    networks: Box<[IpNet]>,
    /// Whether processes of this machine are believed, which connect by a Unix domain socket.
    processes: bool,
}

impl Proxies {
    /// The proxies of `listener.*.proxy_from`; an error without any.
    pub(in crate::net::transport) fn of_listener(settings: &Listener) -> Result<Proxies, ConfigError> {
        let fault = |cause: String| {
            let key = format!("listener.{}.proxy_from", settings.name);
            Err(ConfigError::of_key(ErrorKind::BadValue, &key, cause))
        };
        let (mut networks, mut processes) = (Vec::new(), false);
        for word in protocol::words(&settings.proxy_from) {
            if word == "unix" {
                processes = true;
                continue;
            }
            match word.parse::<IpAddr>().map(IpNet::from).or_else(|_| word.parse()) {
                Ok(network) => networks.push(network),
                Err(_) => return fault(format!("`{word}` is no address and no network such as 10.0.0.0/8")),
            }
        }
        if networks.is_empty() && !processes {
            return fault("proxy_protocol = required needs the proxies' addresses here".to_owned());
        }
        Ok(Proxies { listener: settings.name.as_str().into(), networks: networks.into(), processes })
    }

    fn include(&self, peer: Option<Peer>) -> bool {
        match peer.and_then(|peer| peer.as_socket()) {
            Some(address) => {
                let address = address.ip().to_canonical();
                self.networks.iter().any(|network| network.contains(&address))
            }
            None => self.processes,
        }
    }
}

/// The header of one connection; what follows it is passed on.
pub(in crate::net) struct Proxy {
    proxies: Arc<Proxies>,
    /// What the header says of the client's TLS. With it the layer stays, because the list of clients asks for it.
    identity: Option<Arc<TlsIdentity>>,
}

impl Proxy {
    pub(in crate::net) fn new(proxies: Arc<Proxies>) -> Proxy {
        Proxy { proxies, identity: None }
    }
}

impl Layer for Proxy {
    fn name(&self) -> &'static str {
        "proxy"
    }

    fn handshake(&mut self, raw: &mut Raw, origin: &mut Origin) -> Poll<Result<(), LayerError>> {
        if !self.proxies.include(origin.peer) {
            let listener = &self.proxies.listener;
            let cause = format!("peer is none of the proxies (listener.{listener}.proxy_from)");
            return Poll::Ready(Err(LayerError::new(cause)));
        }
        let (told, len) = std::task::ready!(parse(raw.input.bytes()))?;
        raw.input.consume(len);
        if let Some(peer) = told.peer {
            origin.peer = Some(peer.into());
        }
        if let Some(tls) = told.tls.map(Arc::new) {
            origin.secure(Arc::clone(&tls));
            self.identity = Some(tls);
        }
        Poll::Ready(Ok(()))
    }

    fn is_spent(&self) -> bool {
        self.identity.is_none()
    }

    fn identity(&self) -> Option<&Arc<TlsIdentity>> {
        self.identity.as_ref()
    }

    fn read(&mut self, raw: &mut Raw, room: &mut [u8]) -> Result<usize, LayerError> {
        Ok(raw.input.take(room))
    }

    fn write(&mut self, bytes: &[u8], raw: &mut Raw) -> Result<usize, LayerError> {
        raw.output.append(bytes);
        Ok(bytes.len())
    }
}

fn parse(bytes: &[u8]) -> Header {
    if begins(bytes, PROXY_V1) {
        text::parse(bytes)
    } else if begins(bytes, PROXY_V2) {
        binary::parse(bytes)
    } else {
        let spoken = protocol::name(bytes);
        fault(format!("connection does not begin with a PROXY header: first bytes are {spoken}"))
    }
}

/// Whether one is the beginning of the other.
fn begins(bytes: &[u8], signature: &[u8]) -> bool {
    bytes.starts_with(signature) || signature.starts_with(bytes)
}

fn fault(cause: impl Into<std::borrow::Cow<'static, str>>) -> Header {
    Poll::Ready(Err(LayerError::new(cause)))
}
