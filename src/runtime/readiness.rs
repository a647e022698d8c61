//! Sockets of std, and the latch, under the runtime's watch.
#![allow(
    unsafe_code,
    reason = "tokio asks for a promise about the descriptor; on the short list of docs/design.md"
)]

use std::io;
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;

use tokio::io::unix::AsyncFd;

use crate::runtime::latch::Latch;

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

/// Watches a latch: readable once it is set. Must be called inside the runtime.
pub fn watch_latch(latch: Arc<Latch>) -> io::Result<AsyncFd<Arc<Latch>>> {
    // SAFETY: a Latch owns its descriptor, never changes it, and closes it only when it is dropped, which it is not as
    // long as the AsyncFd holds it.
    let watched = unsafe { AsyncFd::register(latch) };
    watched.map_err(io::Error::from)
}
