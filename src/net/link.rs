//! The link to a client, through which the engine writes.

use std::io::{self, IoSlice};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};

use socket2::Socket;
use tokio::io::unix::AsyncFdReadyGuard;

use crate::engine::parts::origin::Origin;
use crate::locks::Mutex;
use crate::net::handshake_steps::StepTurn;
use crate::net::places::{ListenerLimit, NewPlace, Place, Stage};
use crate::net::transport::{Descriptor, Layer, LayerError, Layered, Received};
use crate::session::identity::TlsIdentity;
use crate::session::last_bytes::LastBytes;
use crate::session::link::{Admission, Cause, Link, Written};

/// The link of a connection. Its task reads, any thread writes.
pub struct StreamLink {
    pub(super) descriptor: Descriptor,
    waker: Mutex<Option<Waker>>,
    ending: Mutex<Option<Ending>>,
    /// `None` if the socket carries plain MQTT.
    layers: Option<Box<Layered>>,
    limit: Arc<ListenerLimit>,
    stage: Stage,
    /// Whether something happened that the task has not yet looked at.
    woken: AtomicBool,
}

/// The end of a connection: the last bytes to write, and the cause.
pub(super) struct Ending {
    pub last: LastBytes,
    pub cause: Cause,
}

impl StreamLink {
    /// A link over a connected, non-blocking socket, and layers over it, if there are any. Must be called inside the
    /// runtime.
    pub(super) fn new(
        socket: Socket,
        layers: Vec<Box<dyn Layer>>,
        place: NewPlace,
    ) -> io::Result<StreamLink> {
        Ok(StreamLink {
            descriptor: Descriptor::new(socket)?,
            waker: Mutex::new(None),
            ending: Mutex::new(None),
            layers: (!layers.is_empty()).then(|| Box::new(Layered::new(layers))),
            limit: place.keep(),
            stage: Stage::default(),
            woken: AtomicBool::new(false),
        })
    }

    /// Its place among the broker's connections.
    pub(super) fn place(&self) -> Place<'_> {
        Place { limit: &self.limit, stage: &self.stage }
    }

    /// Goes on with the handshakes of the layers; what they learn is in `origin`.
    pub(super) fn poll_handshake(
        &self,
        origin: &mut Origin,
        turn: &mut StepTurn,
        eager: bool,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), LayerError>> {
        match &self.layers {
            None => Poll::Ready(Ok(())),
            Some(layers) => layers.poll_handshake(&self.descriptor, origin, turn, eager, cx),
        }
    }

    /// Ready when there may be something to read; without a guard if a layer holds it.
    pub(super) fn poll_readable(
        &self,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<Option<AsyncFdReadyGuard<'_, Socket>>>> {
        match &self.layers {
            Some(layers) if layers.may_read() => Poll::Ready(Ok(None)),
            _ => self.descriptor.poll_readable(cx).map_ok(Some),
        }
    }

    /// Reads once.
    pub(super) fn receive(&self, room: &mut [u8]) -> Received {
        match &self.layers {
            None => self.descriptor.receive(room),
            Some(layers) => layers.receive(&self.descriptor, room),
        }
    }

    /// Whether layers hold bytes that were not sent.
    pub(super) fn waits(&self) -> bool {
        self.layers.as_ref().is_some_and(|layers| layers.pending_out() > 0)
    }

    /// Whether layers hold so many unsent bytes that reading must pause.
    pub(super) fn is_full(&self) -> bool {
        self.layers.as_ref().is_some_and(|layers| layers.is_full())
    }

    /// Sends the bytes that layers hold, as far as the socket takes them.
    pub(super) fn flush(&self) -> Written {
        self.layers.as_ref().map_or(Written::Bytes(0), |layers| layers.flush(&self.descriptor))
    }

    /// Sends the bytes that layers hold when the socket is writable; returns whether the connection is broken.
    pub(super) fn poll_flush(&self, cx: &mut Context<'_>) -> bool {
        let Some(layers) = &self.layers else {
            return false;
        };
        matches!(layers.poll_flush(&self.descriptor, cx), Poll::Ready(Written::Blocked | Written::Gone))
    }

    /// Ends the writing: layers tell the peer, as far as the socket takes it.
    pub(super) fn close(&self) -> Written {
        self.layers.as_ref().map_or(Written::Bytes(0), |layers| layers.close(&self.descriptor))
    }

    /// Whether a layer has failed, which ends the connection.
    pub(super) fn has_failed(&self) -> bool {
        self.layers.as_ref().is_some_and(|layers| layers.has_failed())
    }

    /// Takes the reason why a layer has failed.
    pub(super) fn take_failure(&self) -> Option<LayerError> {
        self.layers.as_ref()?.take_failure()
    }

    /// Whether the end of the connection was requested.
    pub(super) fn is_finished(&self) -> bool {
        self.place().is_left()
    }

    /// Ends the connection, unless the client was let in or its end was requested; whether it ends now. `silent`: or CONNECT
    /// has come.
    pub(super) fn expire_if(&self, silent: bool, cause: Cause) -> bool {
        let mut ending = self.ending.lock();
        let expires = self.place().give_up(silent);
        if expires && ending.is_none() {
            *ending = Some(Ending { last: LastBytes::default(), cause });
        }
        drop(ending);
        if expires {
            self.notify();
        }
        expires
    }

    /// Sets the waker of the task. The task calls this before it looks for requests, so that it misses none.
    pub(super) fn register(&self, waker: &Waker) {
        let mut registered = self.waker.lock();
        if !registered.as_ref().is_some_and(|known| known.will_wake(waker)) {
            *registered = Some(waker.clone());
        }
    }

    /// Whether the task was woken since the last call.
    pub(super) fn take_woken(&self) -> bool {
        self.woken.load(Ordering::Relaxed) && self.woken.swap(false, Ordering::AcqRel)
    }

    /// Takes the end of the connection, if it was requested.
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

impl Drop for StreamLink {
    fn drop(&mut self) {
        self.place().leave();
    }
}

impl Link for StreamLink {
    fn write(&self, buffers: &[IoSlice<'_>]) -> Written {
        let Some(layers) = &self.layers else {
            return self.descriptor.send(buffers);
        };
        let outcome = layers.write(&self.descriptor, buffers);
        if outcome == Written::Gone {
            // The task finds the reason.
            self.notify();
        }
        outcome
    }

    fn has_unread(&self) -> bool {
        self.layers.as_ref().is_some_and(|layers| layers.may_read()) || self.descriptor.has_unread()
    }

    fn admit(&self, takes_over: bool) -> Admission {
        self.place().admit(takes_over)
    }

    fn expire(&self, cause: Cause) -> bool {
        self.expire_if(false, cause)
    }

    fn is_of(&self, listener: &Arc<str>) -> bool {
        self.limit.name().is_some_and(|name| Arc::ptr_eq(name, listener))
    }

    fn is_over(&self) -> bool {
        self.is_finished()
    }

    fn identity(&self) -> Option<Arc<TlsIdentity>> {
        self.layers.as_ref()?.identity()
    }

    fn identify(&self, client_id: &str) {
        if let Some(layers) = &self.layers {
            layers.identify(client_id);
        }
    }

    fn wake(&self) {
        self.notify();
    }

    fn finish(&self, last: LastBytes, cause: Cause) {
        let mut ending = self.ending.lock();
        if ending.is_none() {
            *ending = Some(Ending { last, cause });
        }
        drop(ending);
        // A client that comes back need not wait until the peer has taken the last packet.
        self.place().leave();
        self.notify();
    }
}
