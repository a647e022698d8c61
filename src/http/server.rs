//! The console's listening socket and its connections, until they are closed.

use std::future::{Future, poll_fn};
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use crate::http::connections::{ConnectionSlot, OpenConnections};
use crate::http::console::Console;
use crate::http::service;
use crate::http::stream::TimedStream;
use crate::http::transport::Transport;
use crate::runtime::{NotInherited, listen};

/// Connections that the system queues until they are accepted.
const BACKLOG: i32 = 128;
/// The maximum size of a request's head, in bytes: the longest address that hyper takes (64 KiB), and headers.
const HEAD_BYTES: usize = 80 * 1024;
/// The maximum number of headers of a request.
const HEADERS: usize = 64;
/// Pause of accepting when the system is out of descriptors or memory.
const REST: Duration = Duration::from_millis(500);
/// Time for responses in progress when the broker stops.
const LINGER: Duration = Duration::from_millis(500);

/// The console's socket before it accepts connections.
#[derive(Debug)]
pub struct Bound {
    /// Before the socket in the struct, so that it is dropped first.
    not_inherited: NotInherited,
    listener: TcpListener,
    address: SocketAddr,
}

/// Binds the console's socket. With port 0 the system chooses a port.
pub fn bind(address: SocketAddr) -> io::Result<Bound> {
    let listener = listen(address, BACKLOG)?;
    let address = listener.local_addr()?;
    let not_inherited = NotInherited::mark(&listener);
    Ok(Bound { not_inherited, listener, address })
}

impl Bound {
    /// The address, with the port that the system chose.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Accepts connections until the runtime ends. Must be called inside the runtime.
    pub fn serve(self, console: Arc<Console>, max_connections: usize) -> io::Result<Server> {
        let listener = tokio::net::TcpListener::from_std(self.listener)?;
        let open = OpenConnections::new(max_connections);
        let stop = console.stop_signal();
        let listener = ListeningSocket { _not_inherited: self.not_inherited, listener };
        tokio::spawn(accept(listener, Arc::clone(&console), Arc::clone(&open), stop));
        tokio::spawn(console.clone().keep());
        Ok(Server { console, open })
    }
}

/// The running server of a console.
pub struct Server {
    console: Arc<Console>,
    open: Arc<OpenConnections>,
}

impl Server {
    /// Ends live streams, lets responses in progress finish, and waits until every connection is closed, at most until
    /// `by`. Must not be called on a thread of the runtime.
    pub fn stop(&self, by: Instant) {
        self.console.stop();
        self.open.wait_for_none(by);
    }
}

/// The listening socket. The mark is before it in the struct, so that it is dropped first.
struct ListeningSocket {
    _not_inherited: NotInherited,
    listener: tokio::net::TcpListener,
}

async fn accept(
    listening: ListeningSocket,
    console: Arc<Console>,
    open: Arc<OpenConnections>,
    mut stop: watch::Receiver<bool>,
) {
    let mut stopped = std::pin::pin!(async move { drop(stop.wait_for(|stop| *stop).await) });
    loop {
        let accepted = poll_fn(|cx| match stopped.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(None),
            Poll::Pending => listening.listener.poll_accept(cx).map(Some),
        });
        match accepted.await {
            None => return,
            Some(Ok((stream, peer))) => {
                if let Some(place) = ConnectionSlot::take(&open) {
                    tokio::spawn(serve(stream, peer, Arc::clone(&console), place));
                }
            }
            Some(Err(error)) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            // Out of descriptors or memory: an immediate retry would spin.
            Some(Err(_)) => sleep(REST).await,
        }
    }
}

async fn serve(stream: TcpStream, peer: SocketAddr, console: Arc<Console>, place: ConnectionSlot) {
    // A failure only delays segments.
    let _delayed = stream.set_nodelay(true);
    let mut stop = console.stop_signal();
    let io_timeout = console.io_timeout();
    let Some(transport) = secure(&console, TimedStream::new(stream, io_timeout), peer).await else {
        return;
    };
    let state = Arc::clone(&place.state);
    let service = service_fn(move |request| {
        let (console, state) = (Arc::clone(&console), Arc::clone(&state));
        async move {
            state.set_busy(true);
            let response = service::respond(console, peer, &state, request).await;
            state.set_busy(false);
            response
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(io_timeout)
        .max_header_size(HEAD_BYTES)
        .max_headers(HEADERS)
        .serve_connection(TokioIo::new(transport), service);
    let mut connection = std::pin::pin!(connection);
    let mut stopped = std::pin::pin!(async move { drop(stop.wait_for(|stop| *stop).await) });
    let mut given_way = std::pin::pin!(place.state.given_way());
    let ended = poll_fn(|cx| {
        if connection.as_mut().poll(cx).is_ready() || given_way.as_mut().poll(cx).is_ready() {
            return Poll::Ready(true);
        }
        stopped.as_mut().poll(cx).map(|()| false)
    });
    if !ended.await {
        connection.as_mut().graceful_shutdown();
        let _in_time = timeout(LINGER, connection).await;
    }
}

/// The connection with TLS, if the console speaks HTTPS; `None` if its handshake fails or takes too long.
#[cfg(feature = "tls")]
async fn secure(console: &Console, stream: TimedStream, peer: SocketAddr) -> Option<Transport> {
    let Some(own) = &console.tls.own else {
        return Some(Transport::Plain(stream));
    };
    let handshake = tokio_rustls::TlsAcceptor::from(own.config()).accept(stream);
    let why = match timeout(console.io_timeout(), handshake).await {
        Ok(Ok(stream)) => return Some(Transport::Tls(Box::new(stream))),
        Ok(Err(error)) => match error.get_ref().and_then(|error| error.downcast_ref::<rustls::Error>()) {
            Some(error) => crate::tls::cause(error),
            None => error.to_string().into(),
        },
        Err(_) => "its handshake was not complete in time (console.io_timeout)".into(),
    };
    console.note(|| format!("the console has closed a connection from {peer}: tls: {why}"));
    None
}

#[cfg(not(feature = "tls"))]
async fn secure(_console: &Console, stream: TimedStream, _peer: SocketAddr) -> Option<Transport> {
    Some(Transport::Plain(stream))
}
