//! A connection as the engine writes to it.

use std::io::{self, IoSlice};
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Waker;

use parking_lot::Mutex;
use socket2::Socket;

use crate::net::transport::{Descriptor, Received};
use crate::session::link::{Cause, Link, Written};

/// A connection. Its task reads, any thread writes.
pub struct StreamLink {
    pub(super) descriptor: Descriptor,
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

impl StreamLink {
    /// A link over a connected, non-blocking socket. Must be called inside the runtime.
    pub(super) fn new(socket: Socket) -> io::Result<StreamLink> {
        Ok(StreamLink {
            descriptor: Descriptor::new(socket)?,
            waker: Mutex::new(None),
            woken: AtomicBool::new(false),
            ending: Mutex::new(None),
        })
    }

    /// Reads once.
    pub(super) fn receive(&self, room: &mut [u8]) -> Received {
        self.descriptor.receive(room)
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

    fn notify(&self) {
        self.woken.store(true, Ordering::Release);
        let waker = self.waker.lock().clone();
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl Link for StreamLink {
    fn write(&self, buffers: &[IoSlice<'_>]) -> Written {
        self.descriptor.send(buffers)
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
