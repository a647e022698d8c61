//! Sockets of std under the runtime's watch.
#![allow(
    unsafe_code,
    reason = "tokio asks for a promise about the descriptor; on the short list of docs/design.md"
)]

use std::io;
use std::net::{TcpListener, TcpStream};

use tokio::io::unix::AsyncFd;

/// Watches a connected, non-blocking socket. Must be called inside the runtime.
pub fn watch_stream(stream: TcpStream) -> io::Result<AsyncFd<TcpStream>> {
    // SAFETY: a TcpStream owns its descriptor, never changes it, and is closed only when it is dropped, which the
    // AsyncFd, its only owner, does after it has deregistered it. Nobody is handed `&mut`.
    let watched = unsafe { AsyncFd::register(stream) };
    watched.map_err(io::Error::from)
}

/// Watches a non-blocking listening socket. Must be called inside the runtime.
pub fn watch_listener(listener: TcpListener) -> io::Result<AsyncFd<TcpListener>> {
    // SAFETY: as for `watch_stream`, of a TcpListener.
    let watched = unsafe { AsyncFd::register(listener) };
    watched.map_err(io::Error::from)
}
