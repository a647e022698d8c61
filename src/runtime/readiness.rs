//! Readiness of std sockets and of the latch, by the runtime.
#![allow(
    unsafe_code,
    reason = "tokio requires that the descriptor stays the same; on the short list of docs/design.md"
)]

use std::io;
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;

use tokio::io::unix::AsyncFd;

use crate::runtime::latch::Latch;

/// Watches a connected, non-blocking socket. Must be called inside the runtime.
pub fn watch_stream(stream: TcpStream) -> io::Result<AsyncFd<TcpStream>> {
    // SAFETY: a TcpStream owns its descriptor and never changes it. The AsyncFd, its only owner, deregisters it before
    // it drops it, and hands out no `&mut`.
    let watched = unsafe { AsyncFd::register(stream) };
    watched.map_err(io::Error::from)
}

/// Watches a non-blocking listening socket. Must be called inside the runtime.
pub fn watch_listener(listener: TcpListener) -> io::Result<AsyncFd<TcpListener>> {
    // SAFETY: as in `watch_stream`, for a TcpListener.
    let watched = unsafe { AsyncFd::register(listener) };
    watched.map_err(io::Error::from)
}

/// Watches a latch: readable once it is set. Must be called inside the runtime.
pub fn watch_latch(latch: Arc<Latch>) -> io::Result<AsyncFd<Arc<Latch>>> {
    // SAFETY: a Latch owns its descriptor, never changes it, and closes it only when it is dropped. The AsyncFd keeps
    // the latch alive.
    let watched = unsafe { AsyncFd::register(latch) };
    watched.map_err(io::Error::from)
}
