//! A connected stream socket of any family, watched by the runtime. No other file reads or writes sockets.

use std::io::{self, IoSlice, Read};
use std::mem::MaybeUninit;
use std::net::Shutdown;
use std::task::{Context, Poll};
use std::time::Duration;

use socket2::Socket;
use tokio::io::unix::{AsyncFd, AsyncFdReadyGuard};

use crate::runtime::{NotInherited, watch_socket};
use crate::session::link::Written;

/// A write to a dead peer must not raise SIGPIPE: it may happen on a thread of the host.
#[cfg(any(target_os = "linux", target_os = "android", target_os = "freebsd"))]
const NO_SIGNAL: i32 = libc::MSG_NOSIGNAL;
/// Elsewhere the flag does not exist; SO_NOSIGPIPE on the socket has the same effect.
#[cfg(not(any(target_os = "linux", target_os = "android", target_os = "freebsd")))]
const NO_SIGNAL: i32 = 0;

/// A connected, non-blocking stream socket: TCP or UNIX.
pub(in crate::net) struct Descriptor {
    /// Before the socket, so that it is dropped before it.
    _not_inherited: NotInherited,
    io: AsyncFd<Socket>,
}

/// The result of one read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::net) enum Received {
    /// Bytes were read. `drained`: there are no more for now.
    Bytes { count: usize, drained: bool },
    /// There is nothing to read now.
    Blocked,
    /// The peer has closed the connection, or it is broken.
    End,
}

impl Descriptor {
    /// Watches a connected, non-blocking socket. Must be called inside the runtime.
    pub(in crate::net) fn new(socket: Socket) -> io::Result<Descriptor> {
        Ok(Descriptor { _not_inherited: NotInherited::mark(&socket), io: watch_socket(socket)? })
    }

    /// Ready when there may be something to read. The caller clears the guard when the socket had nothing.
    pub(in crate::net) fn poll_readable(
        &self,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<AsyncFdReadyGuard<'_, Socket>>> {
        self.io.poll_read_ready(cx)
    }

    /// Ready when the socket may take bytes. The caller clears the guard when it took none.
    pub(in crate::net) fn poll_writable(
        &self,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<AsyncFdReadyGuard<'_, Socket>>> {
        self.io.poll_write_ready(cx)
    }

    /// Reads once. A stream socket that fills less than `room` has no more for now.
    pub(in crate::net) fn receive(&self, room: &mut [u8]) -> Received {
        let mut socket = self.io.get_ref();
        loop {
            return match socket.read(room) {
                Ok(0) => Received::End,
                Ok(count) => Received::Bytes { count, drained: count < room.len() },
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => Received::Blocked,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(_) => Received::End,
            };
        }
    }

    /// Whether the peer has sent bytes that were not read yet; they stay unread.
    pub(in crate::net) fn has_unread(&self) -> bool {
        let mut one = [MaybeUninit::uninit()];
        loop {
            return match self.io.get_ref().peek(&mut one) {
                Ok(count) => count > 0,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(_) => false,
            };
        }
    }

    /// Writes once.
    pub(in crate::net) fn send(&self, buffers: &[IoSlice<'_>]) -> Written {
        let socket = self.io.get_ref();
        loop {
            let outcome = match buffers {
                [one] => socket.send_with_flags(one, NO_SIGNAL),
                many => socket.send_vectored_with_flags(many, NO_SIGNAL),
            };
            return match outcome {
                Ok(count) => Written::Bytes(count),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => Written::Blocked,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(_) => Written::Gone,
            };
        }
    }

    /// Shuts down the sending side.
    pub(in crate::net) fn shut_down_writing(&self) {
        // The peer may be gone already.
        let _gone = self.io.get_ref().shutdown(Shutdown::Write);
    }

    /// Makes the close reset the connection.
    pub(in crate::net) fn reset(&self) {
        // A socket that refuses the option is closed without a reset.
        let _orderly = self.io.get_ref().set_linger(Some(Duration::ZERO));
    }
}
