//! Where a connection comes from.

use std::fmt;
use std::sync::Arc;

use crate::session::identity::TlsIdentity;
use crate::session::peer::Peer;

/// Where a connection comes from.
#[derive(Clone, Debug, Default)]
pub struct Origin {
    /// The number of the connection, unique in this broker.
    pub number: u64,
    /// The peer's address; `None` for a connection without a network address.
    pub peer: Option<Peer>,
    /// How it came; shared by all plain connections of a listener, so that each holds one pointer.
    pub way: Option<Arc<Way>>,
}

/// How a connection has come.
#[derive(Clone, Debug, Default)]
pub struct Way {
    /// The name of the listener that accepted it; `None` for an adopted connection.
    pub listener: Option<Arc<str>>,
    /// What the handshake of TLS has shown; `None` without TLS.
    pub tls: Option<Arc<TlsIdentity>>,
}

impl Origin {
    /// The name of the listener that accepted it; `None` for an adopted connection.
    pub fn listener(&self) -> Option<&Arc<str>> {
        self.way.as_ref()?.listener.as_ref()
    }

    /// What the handshake of TLS has shown; `None` without TLS.
    pub fn tls(&self) -> Option<&Arc<TlsIdentity>> {
        self.way.as_ref()?.tls.as_ref()
    }

    /// Notes what the handshake of TLS has shown.
    pub fn secure(&mut self, tls: Arc<TlsIdentity>) {
        let listener = self.listener().cloned();
        self.way = Some(Arc::new(Way { listener, tls: Some(tls) }));
    }
}

/// For the log: `from 127.0.0.1:50000 at listener tcp`.
impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.peer {
            Some(peer) => write!(f, "from {peer}")?,
            None => f.write_str("from this host")?,
        }
        match self.listener() {
            Some(listener) => write!(f, " at listener {listener}"),
            None => Ok(()),
        }
    }
}
