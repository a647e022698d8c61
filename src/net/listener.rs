//! Listening sockets, and the accepting of connections.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::unix::AsyncFd;
use tokio::time::sleep;

use crate::net::connection::ConnectionTask;
use crate::net::wing::{Limit, Wing};
use crate::runtime::watch_listener;

/// Connections that the system holds until they are accepted.
const BACKLOG: i32 = 1024;
/// Connections accepted in one go before other tasks have their turn.
const AT_ONCE: usize = 32;
/// How long accepting rests when the system is out of descriptors or memory, at first and at most.
const REST: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(1));

/// A listening socket that does not yet accept.
#[derive(Debug)]
pub struct Bound {
    listener: TcpListener,
    address: SocketAddr,
    max_connections: Option<u32>,
}

/// Binds a listening socket. Port 0 has the system choose one. An IPv6 address takes no IPv4 connections.
/// TCP [MQTT-4.2-1], [MQTT3-7.1.1-1].
pub fn bind(address: SocketAddr, max_connections: Option<u32>) -> io::Result<Bound> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // A port whose old connections linger can be bound at once; one that is listened on cannot.
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    let listener = TcpListener::from(socket);
    let address = listener.local_addr()?;
    Ok(Bound { listener, address, max_connections })
}

impl Bound {
    /// The address, with the port that the system chose.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Accepts connections for as long as the task lives. Must be called inside the runtime.
    /// `name` is the listener's.
    pub fn accept(self, name: &str, wing: Arc<Wing>) -> io::Result<impl Future<Output = ()> + Send + use<>> {
        let limit = Arc::new(Limit::new(name, self.max_connections));
        let listener = watch_listener(self.listener)?;
        Ok(run(listener, wing, limit))
    }
}

async fn run(listener: AsyncFd<TcpListener>, wing: Arc<Wing>, limit: Arc<Limit>) {
    let mut rest = REST.0;
    loop {
        let Ok(mut guard) = listener.readable().await else {
            // The runtime is shutting down.
            return;
        };
        let mut accepted = 0;
        while accepted < AT_ONCE {
            match guard.get_inner().accept() {
                Ok((stream, peer)) => {
                    accepted += 1;
                    rest = REST.0;
                    welcome(stream, peer, &wing, &limit);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    guard.clear_ready();
                    break;
                }
                Err(error) if is_exhausted(&error) => {
                    // Existing connections live on; new ones wait until there is room again.
                    sleep(rest).await;
                    rest = REST.1.min(rest * 2);
                }
                // The connection was gone before it was accepted: the next one.
                Err(_) => accepted += 1,
            }
        }
        tokio::task::yield_now().await;
    }
}

fn welcome(stream: std::net::TcpStream, peer: SocketAddr, wing: &Arc<Wing>, limit: &Arc<Limit>) {
    let Some(permit) = wing.permit(limit) else {
        wing.turned_away();
        return;
    };
    let prepared = stream.set_nonblocking(true).and_then(|()| stream.set_nodelay(true));
    if prepared.is_err() {
        return;
    }
    match ConnectionTask::new(Arc::clone(wing), stream, peer, permit) {
        Ok(task) => {
            tokio::spawn(task);
        }
        Err(_) => wing.turned_away(),
    }
}

/// Whether the system is out of something, so that trying again at once would only spin.
fn is_exhausted(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM))
}
