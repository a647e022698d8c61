//! Connections that the host hands over.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use crate::embed::broker::Broker;
use crate::embed::error::Error;
use crate::net::{AdoptError, adopt};

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
        let socket = socket.into();
        self.adopt_duplicate(socket.as_fd(), listener)
    }

    /// As [`Broker::adopt`], of a duplicate; the descriptor stays the caller's.
    pub(crate) fn adopt_duplicate(
        &self,
        socket: BorrowedFd<'_>,
        listener: Option<&str>,
    ) -> Result<(), Error> {
        let shared = self.shared()?;
        let limit = shared.limit(listener)?;
        let handle = shared.runtime()?;
        let inside = handle.enter();
        let task = adopt(socket, shared.server(), &limit).map_err(|refused| match refused {
            AdoptError::Unfit(cause) => Error::Argument { argument: "socket", cause: cause.to_owned() },
            AdoptError::Full => {
                let cause = "too many connections have sent no CONNECT (mqtt.max_pending_connections)";
                Error::System { what: "the socket", source: io::Error::other(cause) }
            }
            AdoptError::Io(source) => Error::System { what: "the socket", source },
        })?;
        drop(inside);
        handle.spawn(task);
        Ok(())
    }
}
