//! Listening sockets, and accepting connections.

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use socket2::{SockAddr, Socket};
use tokio::io::unix::{AsyncFd, AsyncFdReadyGuard};
use tokio::time::{sleep, timeout};

use crate::config::{ConfigError, ListenAddress, Listener};
use crate::net::gate::{Closing, Gate};
use crate::net::handshake::Accepted;
use crate::net::passed::passed_socket;
use crate::net::places::ListenerLimit;
use crate::net::server::{ConnectionLimits, FULL, Server};
use crate::net::testing::{ProbeSlot, TestListener};
use crate::net::transport::{MakeLayers, Secured, choose, secure};
use crate::net::unix::{SocketFile, listen_abstract, listen_at};
use crate::runtime::{NotInherited, listen, peer_credentials, watch_socket};
use crate::session::event::Level;
use crate::session::peer::Peer;

/// Connections that the system holds until they are accepted.
const BACKLOG: i32 = 1024;
/// Connections accepted in a row before other tasks run.
const AT_ONCE: usize = 32;
/// The first and the longest pause after accepting has failed, such as for lack of descriptors or memory.
const REST: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(1));

/// A listening socket that does not accept yet.
pub struct Bound {
    /// Before the socket, so that it is dropped before it.
    not_inherited: NotInherited,
    listener: Socket,
    address: ListenAddress,
    /// The file of a Unix domain socket.
    file: Option<SocketFile>,
    settings: Listener,
    /// The layers of its connections; `None` is plain MQTT.
    layers: Option<MakeLayers>,
    /// The TLS side of the listener.
    secured: Option<Secured>,
}

/// Why a listener does not listen.
#[derive(Debug)]
pub enum BindError {
    /// A setting is wrong.
    Config(ConfigError),
    /// A system call failed for this address.
    Io(ListenAddress, io::Error),
}

impl From<ConfigError> for BindError {
    fn from(error: ConfigError) -> BindError {
        BindError::Config(error)
    }
}

/// Binds the socket of a listener to `address`. With port 0 the system chooses a port. An IPv6 address accepts no IPv4
/// connections. TCP [MQTT-4.2-1], [MQTT3-7.1.1-1].
pub fn bind(address: &ListenAddress, settings: &Listener) -> Result<Bound, BindError> {
    let failed = |error| BindError::Io(address.clone(), error);
    let secured = secure(settings.transport, settings)?;
    let layers = choose(settings.transport, settings, secured.as_ref())?;
    let (listener, address, file) = match address {
        ListenAddress::Tcp(wanted) => {
            let listener = listen(*wanted, BACKLOG).map_err(failed)?;
            let address = listener.local_addr().map_err(failed)?.into();
            (listener.into(), address, None)
        }
        ListenAddress::Unix(path) => {
            let (listener, file) = listen_at(path, settings, BACKLOG)?;
            (listener, address.clone(), Some(file))
        }
        ListenAddress::Abstract(name) => {
            (listen_abstract(name, BACKLOG).map_err(failed)?, address.clone(), None)
        }
        ListenAddress::Systemd => {
            let (listener, address) = passed_socket(&settings.name).map_err(failed)?;
            (listener, address, None)
        }
    };
    let not_inherited = NotInherited::mark(&listener);
    let (layers, address) = dress(layers, address);
    Ok(Bound { not_inherited, listener, address, file, settings: settings.clone(), layers, secured })
}

impl fmt::Debug for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bound").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Bound {
    /// The address, with the port that the system chose.
    pub fn address(&self) -> &ListenAddress {
        &self.address
    }

    /// The name of the listener.
    pub fn name(&self) -> &str {
        &self.settings.name
    }

    /// Its settings.
    pub(super) fn settings(&self) -> &Listener {
        &self.settings
    }

    /// What makes the layers of its connections.
    pub(super) fn layers(&self) -> Option<MakeLayers> {
        self.layers.clone()
    }

    /// The limit of its connections.
    pub(super) fn limit(&self, server: &Server) -> Arc<ListenerLimit> {
        server.limit(Some(&self.settings.name), self.settings.max_connections)
    }

    /// Accepts connections until the gate says that it is stopped. Must be called inside the
    /// runtime.
    pub(super) fn accept(
        self,
        server: Arc<Server>,
        limit: Arc<ListenerLimit>,
        gate: Arc<Gate>,
    ) -> io::Result<impl Future<Output = ()> + Send + 'static> {
        let listener = watch_socket(self.listener)?;
        if let Some(secured) = &self.secured {
            server.note_secured(&limit, secured);
        }
        let accepting = Accepting {
            _not_inherited: self.not_inherited,
            _file: self.file,
            listener,
            _closing: Closing(Arc::clone(&gate)),
            gate,
        };
        let tested = server.test_net().map(|test_net| test_net.listener());
        let limits = Arc::new(ConnectionLimits { server, limit, layers: self.layers });
        Ok(async move {
            match tested {
                None => run(accepting, limits).await,
                Some((test_listener, slot)) => run_tested(accepting, limits, &test_listener, slot).await,
            }
        })
    }
}

/// A listening socket that accepts. The mark comes before the socket, so that it is dropped before it.
struct Accepting {
    _not_inherited: NotInherited,
    /// Before the socket, so that nobody takes the file for that of a dead broker.
    _file: Option<SocketFile>,
    listener: AsyncFd<Socket>,
    gate: Arc<Gate>,
    /// After the socket, so that it is closed when this is dropped.
    _closing: Closing,
}

async fn run(accepting: Accepting, limits: Arc<ConnectionLimits>) {
    let mut rest = REST.0;
    while let Some(mut guard) = poll_fn(|cx| accepting.poll_accept(cx)).await {
        let mut accepted = 0;
        while accepted < AT_ONCE {
            match guard.get_inner().accept() {
                Ok((socket, peer)) => {
                    accepted += 1;
                    rest = REST.0;
                    start_connection(socket, &peer, &limits);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    guard.clear_ready();
                    break;
                }
                // Only this connection has failed; the next one is accepted.
                Err(error) if is_of_the_connection(&error) => accepted += 1,
                Err(error) => {
                    if rest == REST.0 {
                        limits.server.log(Level::Error, || {
                            let name = limits.limit.name().map(AsRef::as_ref).unwrap_or_default();
                            format!("listener {name} cannot accept connections for now: {error}")
                        });
                    }
                    // Trying again at once would only spin. Existing connections continue; new ones wait in the
                    // backlog. It ends early if the listener is stopped.
                    let _stopped = timeout(rest, poll_fn(|cx| accepting.gate.poll_stopped(cx))).await;
                    rest = REST.1.min(rest * 2);
                }
            }
        }
        drop(guard);
        tokio::task::yield_now().await;
    }
}

impl Accepting {
    /// Ready when a connection may wait; `None` when the listener is stopped or the runtime shuts down.
    fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<Option<AsyncFdReadyGuard<'_, Socket>>> {
        if self.gate.poll_stopped(cx).is_ready() {
            return Poll::Ready(None);
        }
        match self.gate.is_accepting() {
            true => self.listener.poll_read_ready(cx).map(Result::ok),
            false => Poll::Pending,
        }
    }
}

/// As [`run`], in test mode: a test that asks is answered when no connection is left in the backlog.
async fn run_tested(
    accepting: Accepting,
    limits: Arc<ConnectionLimits>,
    test_listener: &TestListener,
    _slot: ProbeSlot,
) {
    loop {
        let mut requested = pin!(test_listener.requested());
        let is_stopped = poll_fn(|cx| {
            if accepting.gate.poll_stopped(cx).is_ready() {
                return Poll::Ready(true);
            }
            match requested.as_mut().poll(cx) {
                Poll::Ready(()) => Poll::Ready(false),
                Poll::Pending if !accepting.gate.is_accepting() => Poll::Pending,
                Poll::Pending => poll_ready(&accepting.listener, cx).map(|()| false),
            }
        })
        .await;
        let asked = test_listener.asked();
        if is_stopped {
            return;
        }
        let exhausted = accepting.gate.is_accepting()
            && loop {
                match accepting.listener.get_ref().accept() {
                    Ok((socket, peer)) => start_connection(socket, &peer, &limits),
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break false,
                    Err(error) if is_of_the_connection(&error) => {}
                    Err(_) => break true,
                }
            };
        drop(asked);
        if exhausted {
            sleep(REST.1).await;
        }
    }
}

/// Ready when a connection may wait. The readiness is cleared before accepting.
fn poll_ready(listener: &AsyncFd<Socket>, cx: &mut Context<'_>) -> Poll<()> {
    match listener.poll_read_ready(cx) {
        Poll::Ready(Ok(mut guard)) => {
            guard.clear_ready();
            Poll::Ready(())
        }
        // The runtime is shutting down.
        Poll::Ready(Err(_)) | Poll::Pending => Poll::Pending,
    }
}

/// `address`: that of the peer.
fn start_connection(socket: Socket, address: &SockAddr, limits: &Arc<ConnectionLimits>) {
    let address = address.as_socket();
    let peer = match address {
        Some(address) => Some(Peer::Network(address)),
        None => peer_credentials(&socket).map(Peer::Process),
    };
    limits.limit.tally().accept();
    let Some((permit, place)) = limits.permit() else {
        limits.limit.tally().refuse();
        limits.server.turned_away(peer, FULL);
        return;
    };
    // A connection that cannot be prepared is gone already.
    let Ok(socket) = prepare(socket, address.is_some()) else {
        return;
    };
    match Accepted::new(socket, peer, permit, place) {
        Ok(accepted) => accepted.start(),
        Err(error) => limits.server.turned_away(peer, &error.to_string()),
    }
}

/// Makes an accepted socket non-blocking, and sets TCP_NODELAY on a TCP socket.
fn prepare(socket: Socket, is_tcp: bool) -> io::Result<Socket> {
    // The standard library needs one system call for any socket, socket2 two.
    let stream = TcpStream::from(OwnedFd::from(socket));
    stream.set_nonblocking(true)?;
    if is_tcp {
        stream.set_nodelay(true)?;
    }
    Ok(Socket::from(stream))
}

/// The layers of a new listener, and its address. Tests may put other layers over it, and another address that clients
/// connect to.
#[cfg(not(test))]
fn dress(layers: Option<MakeLayers>, address: ListenAddress) -> (Option<MakeLayers>, ListenAddress) {
    (layers, address)
}

/// Whether accepting failed for one connection alone, which has left the backlog. accept(2) returns errors that the
/// network had already reported for that connection, and a firewall's refusal.
fn is_of_the_connection(error: &io::Error) -> bool {
    const OF_THE_CONNECTION: &[libc::c_int] = &[
        libc::ECONNABORTED,
        libc::ECONNRESET,
        libc::EINTR,
        libc::EPERM,
        libc::EPROTO,
        libc::ENOPROTOOPT,
        libc::EOPNOTSUPP,
        libc::ENETDOWN,
        libc::ENETUNREACH,
        libc::EHOSTDOWN,
        libc::EHOSTUNREACH,
        libc::ETIMEDOUT,
    ];
    error.raw_os_error().is_some_and(|number| OF_THE_CONNECTION.contains(&number))
}

#[cfg(test)]
use crate::net::transport::tests::dress;

#[cfg(test)]
mod tests {
    use std::io::{self, Read, Write};
    use std::net::Shutdown;
    use std::os::unix::net::{UnixListener, UnixStream};
    use std::sync::Arc;

    use socket2::{SockRef, Socket};

    use super::{Bound, bind, is_of_the_connection};
    use crate::config::{Config, ListenAddress};
    use crate::engine::core::state::{Engine, EngineParts};
    use crate::net::listeners::Listeners;
    use crate::net::server::Server;
    use crate::runtime::{Clock, NotInherited, Runtime, Ticker};
    use crate::storage::MemoryStore;

    /// A listener needs no TCP address: any socket that accepts stream sockets works.
    #[test]
    fn a_listening_unix_socket_accepts_connections_without_an_address() {
        let path = std::env::temp_dir().join(format!("midge-listener-{}.socket", std::process::id()));
        let listener = Socket::from(std::os::fd::OwnedFd::from(UnixListener::bind(&path).unwrap()));
        listener.set_nonblocking(true).unwrap();
        let bound = Bound {
            not_inherited: NotInherited::mark(&listener),
            listener,
            address: ListenAddress::Unix(path.clone()),
            file: None,
            settings: Config::new().settings().listeners[0].clone(),
            layers: None,
            secured: None,
        };
        let parts = EngineParts {
            store: Arc::new(MemoryStore),
            alarm: Arc::new(Ticker::default()),
            seed: 7,
            started_unix: 1000,
        };
        let engine = Arc::new(Engine::new(Config::new().settings(), parts));
        let server = Arc::new(Server::new(engine, Clock::start(), None, None));
        let runtime = Runtime::start(1).unwrap();
        let listeners = Listeners::new(server, runtime.handle().clone());
        listeners.open(bound).unwrap();
        let mut client = UnixStream::connect(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        client.write_all(b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x00\x00\x01a\xc0\x00").unwrap();
        let mut answers = [0; 6];
        client.read_exact(&mut answers).unwrap();
        assert_eq!(answers, [0x20, 2, 0, 0, 0xd0, 0], "CONNACK and PINGRESP");
        runtime.join();
    }

    #[test]
    fn accepting_rests_unless_a_single_connection_was_at_fault() {
        let is = |number| is_of_the_connection(&io::Error::from_raw_os_error(number));
        assert!([libc::ECONNABORTED, libc::EINTR, libc::EHOSTUNREACH].into_iter().all(is));
        let exhausted = [libc::EMFILE, libc::ENFILE, libc::ENOBUFS, libc::ENOMEM];
        let broken = [libc::EBADF, libc::EINVAL, libc::ENOTSOCK, libc::EFAULT, libc::ENOSYS];
        assert!(!exhausted.into_iter().chain(broken).any(is));
        assert!(!is_of_the_connection(&io::Error::other("no number")));
    }

    /// A faulty host may shut down descriptors that belong to the broker.
    #[test]
    fn a_listening_socket_that_someone_has_shut_down_has_accepting_rest() {
        let bound = bind(
            &"127.0.0.1:0".parse::<std::net::SocketAddr>().unwrap().into(),
            &Config::new().settings().listeners[0],
        )
        .unwrap();
        SockRef::from(&bound.listener).shutdown(Shutdown::Both).unwrap();
        let error = bound.listener.accept().unwrap_err();
        assert_ne!(error.kind(), io::ErrorKind::WouldBlock);
        assert!(!is_of_the_connection(&error), "{error}");
    }
}
