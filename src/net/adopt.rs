//! Connections that the host provides: an accepted socket, or one end of a socketpair.

use std::io;
use std::os::fd::BorrowedFd;
use std::sync::Arc;

use socket2::{Domain, SockRef, Socket, Type};

use crate::net::handshake::Accepted;
use crate::net::listeners::Layers;
use crate::net::places::ListenerLimit;
use crate::net::server::{ConnectionLimits, FULL, Server};
use crate::session::peer::Peer;

/// Why a descriptor was refused.
#[derive(Debug)]
pub enum AdoptError {
    /// It cannot carry a connection.
    Unfit(&'static str),
    /// The connection limit is reached.
    Full,
    /// A system call failed.
    Io(io::Error),
}

impl From<io::Error> for AdoptError {
    fn from(error: io::Error) -> AdoptError {
        AdoptError::Io(error)
    }
}

/// Serves a connection over a duplicate of `descriptor`, which the caller keeps, with these layers. Must be called inside
/// the runtime.
pub fn adopt(
    descriptor: BorrowedFd<'_>,
    server: &Arc<Server>,
    limit: &Arc<ListenerLimit>,
    layers: Layers,
) -> Result<(), AdoptError> {
    let peer = peer_of(SockRef::from(&descriptor))?;
    let (server, limit) = (Arc::clone(server), Arc::clone(limit));
    let limits = Arc::new(ConnectionLimits { server, limit, layers: layers.0 });
    let Some((permit, place)) = limits.permit() else {
        limits.server.turned_away(peer, FULL);
        return Err(AdoptError::Full);
    };
    let socket = Socket::from(descriptor.try_clone_to_owned()?);
    if peer.is_some() {
        socket.set_tcp_nodelay(true)?;
    }
    // Apple's systems have no flag for a single write, so the socket is set to raise no SIGPIPE.
    #[cfg(target_vendor = "apple")]
    socket.set_nosigpipe(true)?;
    let before = socket.nonblocking()?;
    socket.set_nonblocking(true)?;
    let accepted = Accepted::new(socket, peer, permit, place);
    if accepted.is_err() && !before {
        // The duplicate shares the flag with the caller's descriptor.
        SockRef::from(&descriptor).set_nonblocking(false)?;
    }
    accepted?.start();
    Ok(())
}

/// The peer's address; `None` for a UNIX socket.
fn peer_of(socket: SockRef<'_>) -> Result<Option<Peer>, AdoptError> {
    let kind = socket.r#type().map_err(|error| match error.raw_os_error() {
        Some(libc::ENOTSOCK) => AdoptError::Unfit("is not a socket"),
        Some(libc::EBADF) => AdoptError::Unfit("is not open"),
        _ => AdoptError::Io(error),
    })?;
    let domain = socket.local_addr()?.domain();
    if kind != Type::STREAM || ![Domain::IPV4, Domain::IPV6, Domain::UNIX].contains(&domain) {
        return Err(AdoptError::Unfit("is neither a TCP socket nor a UNIX stream socket"));
    }
    match socket.peer_addr() {
        Ok(peer) => Ok(peer.as_socket().map(Peer::Network)),
        Err(error) if error.kind() == io::ErrorKind::NotConnected => {
            Err(AdoptError::Unfit("is not connected"))
        }
        Err(error) => Err(AdoptError::Io(error)),
    }
}
