//! A TCP connection as the engine writes to it.

use std::io::{self, IoSlice, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Waker;
use std::time::Duration;

use parking_lot::Mutex;
use socket2::SockRef;
use tokio::io::unix::AsyncFd;

use crate::runtime::{NotInherited, watch_stream};
use crate::session::link::{Cause, Link, Written};

/// A vectored write to a dead peer must not raise SIGPIPE: it may happen on a thread of the host.
#[cfg(any(target_os = "linux", target_os = "android", target_os = "freebsd"))]
const NO_SIGNAL: i32 = libc::MSG_NOSIGNAL;
/// Elsewhere SO_NOSIGPIPE is set on the socket by std.
#[cfg(not(any(target_os = "linux", target_os = "android", target_os = "freebsd")))]
const NO_SIGNAL: i32 = 0;

/// A TCP connection. Its task reads, any thread writes.
pub struct TcpLink {
    /// Before the socket, so that it is dropped before it.
    _not_inherited: NotInherited,
    pub(super) io: AsyncFd<TcpStream>,
    waker: Mutex<Option<Waker>>,
    /// Whether something happened that the task has not yet looked at.
    woken: AtomicBool,
    ending: Mutex<Option<Ending>>,
}

/// The end of a connection: what is still to be written, and why it ends.
pub(super) struct Ending {
    pub last: Vec<u8>,
    pub cause: Cause,
}

impl TcpLink {
    /// A link over a connected, non-blocking socket. Must be called inside the runtime.
    pub(super) fn new(stream: TcpStream) -> io::Result<TcpLink> {
        Ok(TcpLink {
            _not_inherited: NotInherited::mark(&stream),
            io: watch_stream(stream)?,
            waker: Mutex::new(None),
            woken: AtomicBool::new(false),
            ending: Mutex::new(None),
        })
    }

    /// Has `waker` called when something happens; before it looks, so that nothing is missed.
    pub(super) fn register(&self, waker: &Waker) {
        let mut registered = self.waker.lock();
        if !registered.as_ref().is_some_and(|known| known.will_wake(waker)) {
            *registered = Some(waker.clone());
        }
    }

    /// Whether something happened since the last call.
    pub(super) fn take_woken(&self) -> bool {
        self.woken.load(Ordering::Relaxed) && self.woken.swap(false, Ordering::AcqRel)
    }

    /// The connection's end, if it was asked for.
    pub(super) fn take_ending(&self) -> Option<Ending> {
        self.ending.lock().take()
    }

    /// Says that nothing more will be sent.
    pub(super) fn shut_down_writing(&self) {
        // The peer may be gone already, which is as good.
        let _gone = self.io.get_ref().shutdown(Shutdown::Write);
    }

    /// Has the connection end with a reset when it is closed.
    pub(super) fn reset(&self) {
        // A socket that refuses is closed in order, which is an end, too.
        let _orderly = SockRef::from(self.io.get_ref()).set_linger(Some(Duration::ZERO));
    }

    fn notify(&self) {
        self.woken.store(true, Ordering::Release);
        let waker = self.waker.lock().clone();
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl Link for TcpLink {
    fn write(&self, buffers: &[IoSlice<'_>]) -> Written {
        let mut stream = self.io.get_ref();
        loop {
            // std's write of one buffer sends with MSG_NOSIGNAL, its vectored write does not.
            let outcome = match buffers {
                [one] => stream.write(one),
                many => SockRef::from(stream).send_vectored_with_flags(many, NO_SIGNAL),
            };
            return match outcome {
                Ok(count) => Written::Bytes(count),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => Written::Blocked,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(_) => Written::Gone,
            };
        }
    }

    fn wake(&self) {
        self.notify();
    }

    fn finish(&self, last: Vec<u8>, cause: Cause) {
        let mut ending = self.ending.lock();
        if ending.is_none() {
            *ending = Some(Ending { last, cause });
        }
        drop(ending);
        self.notify();
    }
}
