//! Readiness of sockets and of the latch, by the runtime.
#![allow(
    unsafe_code,
    reason = "tokio requires that the descriptor stays the same; on the short list of docs/design.md"
)]

use std::io::{self, PipeReader};
use std::sync::Arc;

use socket2::Socket;
use tokio::io::unix::AsyncFd;

use crate::runtime::latch::Latch;

/// Watches a non-blocking socket, connected or listening. Must be called inside the runtime.
pub fn watch_socket(socket: Socket) -> io::Result<AsyncFd<Socket>> {
    // SAFETY: a Socket owns its descriptor, never changes it, and is closed only when it is dropped, which the AsyncFd,
    // its only owner, does after it has deregistered it. Nobody is handed `&mut`.
    let watched = unsafe { AsyncFd::register(socket) };
    watched.map_err(io::Error::from)
}

/// Watches a latch: readable once it is set. Must be called inside the runtime.
///
/// # Errors
/// The system refuses, or the latch is closed.
pub fn watch_latch(latch: &Latch) -> io::Result<AsyncFd<Arc<PipeReader>>> {
    let reader = latch.reader().ok_or_else(|| io::Error::other("the latch is closed"))?;
    // SAFETY: a PipeReader owns its descriptor, never changes it, and closes it only when it is dropped. The AsyncFd keeps
    // it alive.
    let watched = unsafe { AsyncFd::register(reader) };
    watched.map_err(io::Error::from)
}
