//! A network connection as sessions see it: a link to write to and a task to wake.

use std::io::IoSlice;
use std::sync::Arc;

use crate::codec::reason::ReasonCode;
use crate::session::identity::TlsIdentity;
use crate::session::last_bytes::LastBytes;

/// The result of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// The number of bytes that were taken.
    Bytes(usize),
    /// Nothing was taken: the connection cannot take more now.
    Blocked,
    /// The connection is gone.
    Gone,
}

/// Why a network connection ended, or must end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Cause {
    /// The client sent DISCONNECT.
    Disconnected,
    /// The peer closed the connection or it broke.
    ConnectionLost,
    /// The client broke a rule of the protocol, or was refused; the reason code says which.
    Refused(ReasonCode),
    /// The client was silent for one and a half times its Keep Alive [MQTT-3.1.2-22].
    KeepAliveTimeout,
    /// No CONNECT packet arrived within `mqtt.connect_timeout`.
    ConnectTimeout,
    /// Another connection took the session over.
    SessionTakenOver,
    /// The host or an administrator disconnected the client.
    Kicked,
    /// The broker stops.
    ServerShuttingDown,
}

/// Whether a connection has a place among those of clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// It has one.
    Admitted,
    /// The limit is reached.
    Full,
    /// Its end was requested before.
    Over,
}

/// A network connection as the floors below the network see it.
///
/// Every method may be called from any thread, and none of them blocks.
pub trait Link: Send + Sync {
    /// Writes the bytes that the connection takes now.
    fn write(&self, buffers: &[IoSlice<'_>]) -> Written;

    /// Whether the peer has sent bytes that were not read yet: then it is not the peer that is silent. No lock may be held.
    fn has_unread(&self) -> bool {
        false
    }

    /// Gives the connection a place among those of clients, if it has none. `takes_over`: it takes that of another
    /// connection.
    fn admit(&self, _takes_over: bool) -> Admission {
        Admission::Admitted
    }

    /// As [`Link::finish`] without last bytes, unless the client was admitted or the connection has ended; whether it ends
    /// now. The client cannot be admitted afterwards.
    fn expire(&self, cause: Cause) -> bool {
        self.finish(LastBytes::default(), cause);
        true
    }

    /// Whether the listener of this very name has accepted it.
    fn is_of(&self, _listener: &Arc<str>) -> bool {
        false
    }

    /// Whether its end was requested.
    fn is_over(&self) -> bool {
        false
    }

    /// What the handshake of TLS has shown; `None` without TLS.
    fn identity(&self) -> Option<Arc<TlsIdentity>> {
        None
    }

    /// Tells whose connection it is, before the first packet that follows from it is written.
    fn identify(&self, _client_id: &str) {}

    /// Lets the connection's own task look at its session again: there is something to flush when the
    /// connection is writable.
    fn wake(&self);

    /// Writes `last`, then closes the connection. Later calls change nothing.
    fn finish(&self, last: LastBytes, cause: Cause);
}
