//! The other end of a connection.

use std::fmt;
use std::net::SocketAddr;

/// The other end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Peer {
    /// An address of the network.
    Network(SocketAddr),
    /// A process of this machine, by a Unix domain socket.
    Process(Credentials),
}

/// What the system says of the process at the other end of a Unix domain socket, at the time it connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Credentials {
    /// Its effective user.
    pub uid: u32,
    /// Its effective group.
    pub gid: u32,
    /// Its number; 0 if the system does not say, such as for a process of another PID namespace.
    pub pid: u32,
}

impl Peer {
    /// Its address on the network, if it has one.
    pub fn as_socket(&self) -> Option<SocketAddr> {
        match self {
            Peer::Network(address) => Some(*address),
            Peer::Process(_) => None,
        }
    }

    /// What the system says of it, if it is a process of this machine.
    pub fn credentials(&self) -> Option<Credentials> {
        match self {
            Peer::Process(credentials) => Some(*credentials),
            Peer::Network(_) => None,
        }
    }
}

impl From<SocketAddr> for Peer {
    fn from(address: SocketAddr) -> Peer {
        Peer::Network(address)
    }
}

/// `127.0.0.1:50000`, or `unix:uid=1000,gid=1000,pid=4242`.
impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Peer::Network(address) => address.fmt(f),
            Peer::Process(Credentials { uid, gid, pid }) => write!(f, "unix:uid={uid},gid={gid},pid={pid}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Credentials, Peer};

    /// Every connection has one, so what it may also be costs nothing.
    #[test]
    fn a_peer_is_no_larger_than_an_address_of_the_network() {
        assert_eq!(size_of::<Option<Peer>>(), size_of::<Option<std::net::SocketAddr>>());
        let peer = Peer::Process(Credentials { uid: 1, gid: 2, pid: 3 });
        assert_eq!(peer.to_string(), "unix:uid=1,gid=2,pid=3");
        assert_eq!((peer.as_socket(), peer.credentials().map(|c| c.gid)), (None, Some(2)));
    }
}
