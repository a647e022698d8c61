//! Listening sockets.

use std::io;
use std::net::{SocketAddr, TcpListener};

use socket2::{Domain, Protocol, Socket, Type};

/// A non-blocking listening TCP socket; the system queues `backlog` connections until they are accepted. With port 0
/// the system chooses a port. An IPv6 address accepts no IPv4 connections.
pub fn listen(address: SocketAddr, backlog: i32) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // A port with old connections in TIME_WAIT can be bound at once; a port that is listened on cannot.
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(backlog)?;
    Ok(TcpListener::from(socket))
}

/// An address that nobody listens at, kept from those who let the system choose a port.
#[derive(Debug)]
pub struct Reserved {
    _socket: Socket,
}

/// Keeps an address until the value is dropped. Clients that connect to it are refused.
pub fn reserve(address: SocketAddr) -> io::Result<Reserved> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // As the listener that had it, whose connections may be in TIME_WAIT.
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    Ok(Reserved { _socket: socket })
}
