//! Where a connection comes from.

use std::fmt;
use std::sync::Arc;

use crate::session::peer::Peer;

/// Where a connection comes from.
#[derive(Clone, Debug, Default)]
pub struct Origin {
    /// The number of the connection, unique in this broker.
    pub number: u64,
    /// The peer's address; `None` for a connection without a network address.
    pub peer: Option<Peer>,
    /// The name of the listener that accepted it; `None` for an adopted connection.
    pub listener: Option<Arc<str>>,
}

/// For the log: `from 127.0.0.1:50000 at listener tcp`.
impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.peer {
            Some(peer) => write!(f, "from {peer}")?,
            None => f.write_str("from this host")?,
        }
        match &self.listener {
            Some(listener) => write!(f, " at listener {listener}"),
            None => Ok(()),
        }
    }
}
