//! Where a connection comes from.

use std::net::SocketAddr;
use std::sync::Arc;

/// Where a connection comes from.
#[derive(Clone, Debug, Default)]
pub struct Origin {
    /// Its number, which no other connection of this broker has.
    pub number: u64,
    /// The peer's address, where there is one.
    pub peer: Option<SocketAddr>,
    /// The name of the listener that it came by, where there is one.
    pub listener: Option<Arc<str>>,
}
