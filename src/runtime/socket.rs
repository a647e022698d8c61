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

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;

    use socket2::{Domain, Socket, Type};

    use super::{listen, reserve};

    #[test]
    fn an_address_that_is_reserved_is_free_for_a_listener_alone() {
        let address = listen("127.0.0.1:0".parse().unwrap(), 1).unwrap().local_addr().unwrap();
        let reserved = reserve(address).unwrap();
        let refused = std::net::TcpStream::connect(address).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
        let other = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        assert_eq!(other.bind(&address.into()).unwrap_err().kind(), ErrorKind::AddrInUse);
        drop(reserved);
        listen(address, 1).unwrap();
    }
}
