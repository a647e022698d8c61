//! Connections that the host hands over.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use crate::config::Transport;
use crate::embed::broker::Broker;
use crate::embed::error::Error;
use crate::embed::listeners::failed;
use crate::net::{AdoptError, Layers, adopt};

/// How a connection is adopted. The default is plain MQTT of no listener.
#[derive(Clone, Copy, Debug, Default)]
pub struct AdoptOptions<'o> {
    /// The listener whose client it is; without one only `mqtt.max_connections` bounds it.
    pub listener: Option<&'o str>,
    /// What lies between MQTT and the socket, with the other settings of `listener`, which it needs unless this is TCP. `None`
    /// is nothing.
    pub transport: Option<Transport>,
}

impl Broker {
    /// Serves a client on a connected stream socket: a TCP connection that the host has accepted, or one end of a UNIX
    /// socketpair. Its client counts as one of `listener`, or of none: then only `mqtt.max_connections` bounds it. The broker
    /// needs no listener for it (`listener.tcp.bind = "off"`).
    ///
    /// The socket is closed when the connection ends, and if this fails. It becomes non-blocking, as do its duplicates.
    ///
    /// # Errors
    /// [`Error::Argument`]: no such listener, or no such socket; [`Error::System`]: the limit of
    /// connections is reached, or the system refused; [`Error::Stopped`].
    pub fn adopt(&self, socket: impl Into<OwnedFd>, listener: Option<&str>) -> Result<(), Error> {
        self.adopt_with(socket, &AdoptOptions { listener, transport: None })
    }

    /// As [`Broker::adopt`], of a connection that may speak TLS or WebSocket.
    ///
    /// # Errors
    /// Those of [`Broker::adopt`], and [`Error::Config`] if the listener's settings do not fit the transport.
    pub fn adopt_with(&self, socket: impl Into<OwnedFd>, options: &AdoptOptions<'_>) -> Result<(), Error> {
        let socket = socket.into();
        self.adopt_duplicate(socket.as_fd(), options)
    }

    /// As [`Broker::adopt_with`], of a duplicate; the descriptor stays the caller's.
    pub(crate) fn adopt_duplicate(
        &self,
        socket: BorrowedFd<'_>,
        options: &AdoptOptions<'_>,
    ) -> Result<(), Error> {
        let shared = self.shared()?;
        let transport = options.transport.unwrap_or(Transport::Tcp);
        let (limit, layers) = match options.listener {
            Some(name) => shared.listeners.limit(name, transport).map_err(|error| failed(name, error))?,
            None if transport == Transport::Tcp => (shared.no_limit.clone(), Layers::default()),
            None => {
                let cause = format!("{} needs a listener, whose settings it takes", transport.name());
                return Err(Error::Argument { argument: "transport", cause });
            }
        };
        let handle = shared.runtime()?;
        let _inside = handle.enter();
        adopt(socket, shared.server(), &limit, layers).map_err(|refused| match refused {
            AdoptError::Unfit(cause) => Error::Argument { argument: "socket", cause: cause.to_owned() },
            AdoptError::Full => {
                let cause = "too many connections have sent no CONNECT (mqtt.max_pending_connections)";
                Error::System { what: "the socket", source: io::Error::other(cause) }
            }
            AdoptError::Io(source) => Error::System { what: "the socket", source },
        })
    }
}
