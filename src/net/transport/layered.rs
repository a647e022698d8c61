//! Layers over a socket: moves bytes between the layers and the socket.

use std::io::IoSlice;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use crate::engine::parts::origin::Origin;
use crate::locks::Mutex;
use crate::net::handshake_steps::StepTurn;
use crate::net::transport::descriptor::{Descriptor, Received};
use crate::net::transport::layer::{Layer, LayerError};
use crate::net::transport::stack::Stack;
use crate::session::identity::TlsIdentity;
use crate::session::link::Written;

/// Bytes read from the socket at once: the largest record of TLS with its header.
const RAW: usize = 16 * 1024 + 512;
/// The most portions read at once that carry nothing, such as frames that only ask for an answer.
const BARREN: usize = 16;
/// The most bytes of MQTT that layers take before the socket takes their output.
const PORTION: usize = 16 * 1024;

/// The layers of one connection.
///
/// Their lock is held while bytes are encoded and offered to the socket, because encoded bytes must be sent in order.
/// Nothing under it blocks. It is taken below a session's locks; only locks of the test kit are taken below it.
pub(in crate::net) struct Layered {
    state: Mutex<State>,
}

struct State {
    stack: Stack,
    /// Bytes that layers have taken and that are not reported as written yet, because their encoded form was not sent.
    /// The next write offers the same bytes again. So the outbox holds them too, and they count as waiting there.
    owed: usize,
    closed: bool,
    failure: Failure,
}

/// Why the layers have failed, if they have.
enum Failure {
    None,
    New(LayerError),
    /// The task has taken the reason.
    Known,
}

impl Layered {
    pub(in crate::net) fn new(layers: Vec<Box<dyn Layer>>) -> Layered {
        let stack = Stack::new(layers);
        Layered { state: Mutex::new(State { stack, owed: 0, closed: false, failure: Failure::None }) }
    }

    /// Continues the handshake until it is complete or has failed. `eager`: reads from the socket before the runtime
    /// reports it as readable.
    pub(in crate::net) fn poll_handshake(
        &self,
        descriptor: &Descriptor,
        origin: &mut Origin,
        turn: &mut StepTurn,
        mut eager: bool,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), LayerError>> {
        let mut raw = [0; RAW];
        loop {
            let permitted = self.state.lock().stack.is_costly();
            if permitted {
                ready!(turn.poll_begin(cx));
            }
            let mut state = self.state.lock();
            let step = state.stack.handshake(origin, permitted);
            // The last bytes of a failed handshake are sent, too, as far as the socket takes them.
            let flushed = state.flush(descriptor);
            let is_next_costly = state.stack.is_costly();
            drop(state);
            if let Poll::Ready(outcome) = step {
                return Poll::Ready(outcome);
            }
            if flushed == Written::Gone {
                return Poll::Ready(Err(lost()));
            }
            if turn.is_held() {
                // The caller polls again after the other tasks.
                return Poll::Pending;
            }
            if is_next_costly {
                continue;
            }
            if flushed == Written::Blocked {
                match ready!(self.poll_flush(descriptor, cx)) {
                    Written::Bytes(_) => continue,
                    Written::Blocked | Written::Gone => return Poll::Ready(Err(lost())),
                }
            }
            let mut guard = None;
            if !std::mem::take(&mut eager) {
                let Ok(ready) = ready!(descriptor.poll_readable(cx)) else {
                    return Poll::Ready(Err(lost()));
                };
                guard = Some(ready);
            }
            match descriptor.receive(&mut raw) {
                Received::Bytes { count, drained } => {
                    if drained && let Some(guard) = &mut guard {
                        guard.clear_ready();
                    }
                    self.state.lock().stack.feed(raw.get(..count).unwrap_or_default());
                }
                Received::Blocked => guard.iter_mut().for_each(|guard| guard.clear_ready()),
                Received::End => self.state.lock().stack.feed_end(),
            }
        }
    }

    /// Reads the bytes that the layers hold, else from the socket. There may be more at once unless `drained` is set.
    pub(in crate::net) fn receive(&self, descriptor: &Descriptor, room: &mut [u8]) -> Received {
        let mut socket_drained = false;
        let mut barren = 0;
        let mut raw = [0; RAW];
        loop {
            let mut state = self.state.lock();
            let outcome = state.stack.read(room);
            // Sends answers of a layer; the task sends the rest that the socket does not take.
            let _later = state.flush(descriptor);
            match outcome {
                Err(error) => {
                    state.fail(error);
                    return Received::End;
                }
                Ok(0) if state.stack.is_over() => return Received::End,
                Ok(0) if socket_drained => return Received::Blocked,
                // Other connections come first, or the peer must read.
                Ok(0) if barren == BARREN || state.stack.is_full() => {
                    return Received::Bytes { count: 0, drained: false };
                }
                Ok(0) => barren += 1,
                Ok(count) => {
                    return Received::Bytes { count, drained: socket_drained && !state.stack.may_read() };
                }
            }
            drop(state);
            match descriptor.receive(&mut raw) {
                Received::Bytes { count, drained } => {
                    socket_drained = drained;
                    self.state.lock().stack.feed(raw.get(..count).unwrap_or_default());
                }
                Received::Blocked => return Received::Blocked,
                Received::End => self.state.lock().stack.feed_end(),
            }
        }
    }

    /// Whether reading may return bytes without new bytes from the socket.
    pub(in crate::net) fn may_read(&self) -> bool {
        self.state.lock().stack.may_read()
    }

    /// Writes as far as the socket takes it. Bytes are reported as written when the socket has taken their encoded
    /// form.
    pub(in crate::net) fn write(&self, descriptor: &Descriptor, buffers: &[IoSlice<'_>]) -> Written {
        let mut state = self.state.lock();
        let mut written = 0;
        loop {
            match state.flush(descriptor) {
                Written::Blocked if written > 0 => return Written::Bytes(written),
                Written::Bytes(_) => written += std::mem::take(&mut state.owed),
                stopped => return stopped,
            }
            if rest(buffers, written).is_empty() {
                return Written::Bytes(written);
            }
            if let Err(error) = state.take(buffers, written) {
                return state.fail(error);
            }
        }
    }

    /// Sends the bytes that the layers hold, as far as the socket takes them.
    pub(in crate::net) fn flush(&self, descriptor: &Descriptor) -> Written {
        self.state.lock().flush(descriptor)
    }

    /// Ready when the socket has taken the bytes that the layers held, or is broken.
    pub(in crate::net) fn poll_flush(&self, descriptor: &Descriptor, cx: &mut Context<'_>) -> Poll<Written> {
        if self.pending_out() == 0 {
            return Poll::Ready(Written::Bytes(0));
        }
        loop {
            let Ok(mut guard) = ready!(descriptor.poll_writable(cx)) else {
                return Poll::Ready(Written::Gone);
            };
            match self.flush(descriptor) {
                // A broken socket stays writable for ever.
                Written::Blocked if !guard.ready().is_write_closed() => guard.clear_ready(),
                outcome => return Poll::Ready(outcome),
            }
        }
    }

    /// The number of unsent bytes.
    pub(in crate::net) fn pending_out(&self) -> usize {
        self.state.lock().stack.pending_out()
    }

    /// Whether the layers hold so many unsent bytes that reading must pause.
    pub(in crate::net) fn is_full(&self) -> bool {
        self.state.lock().stack.is_full()
    }

    /// Ends the writing: the layers tell the peer, and the bytes that they hold are sent, as far as the socket takes
    /// them.
    pub(in crate::net) fn close(&self, descriptor: &Descriptor) -> Written {
        let mut state = self.state.lock();
        if !std::mem::replace(&mut state.closed, true)
            && let Err(error) = state.stack.close()
        {
            return state.fail(error);
        }
        state.flush(descriptor)
    }

    pub(in crate::net) fn identify(&self, client_id: &str) {
        self.state.lock().stack.identify(client_id);
    }

    /// What a layer knows of the peer.
    pub(in crate::net) fn identity(&self) -> Option<Arc<TlsIdentity>> {
        self.state.lock().stack.identity()
    }

    /// Whether a layer has failed.
    pub(in crate::net) fn has_failed(&self) -> bool {
        !matches!(self.state.lock().failure, Failure::None)
    }

    /// Takes the reason why a layer has failed.
    pub(in crate::net) fn take_failure(&self) -> Option<LayerError> {
        let mut state = self.state.lock();
        match std::mem::replace(&mut state.failure, Failure::Known) {
            Failure::New(error) => Some(error),
            Failure::Known => None,
            Failure::None => {
                state.failure = Failure::None;
                None
            }
        }
    }
}

impl State {
    /// Gives the next portion of `buffers` to the layers; the socket has taken `written` bytes of them.
    fn take(&mut self, buffers: &[IoSlice<'_>], written: usize) -> Result<(), LayerError> {
        while self.owed < PORTION {
            let bytes = rest(buffers, written + self.owed);
            let bytes = bytes.get(..PORTION - self.owed).unwrap_or(bytes);
            let taken = if bytes.is_empty() { 0 } else { self.stack.write(bytes)? };
            self.owed += taken;
            if taken == 0 {
                break;
            }
        }
        if self.owed == 0 {
            return Err(LayerError::new("a layer takes no bytes although none wait for the socket"));
        }
        Ok(())
    }

    /// Sends the bytes that the layers hold: `Bytes` if nothing is left, else the reason why it stopped.
    fn flush(&mut self, descriptor: &Descriptor) -> Written {
        if !matches!(self.failure, Failure::None) {
            return Written::Gone;
        }
        let mut sent = 0;
        loop {
            if let Err(error) = self.stack.push_down() {
                return self.fail(error);
            }
            let Some(output) = self.stack.output() else {
                return Written::Bytes(sent);
            };
            match descriptor.send(&[IoSlice::new(output.bytes())]) {
                Written::Bytes(count) if count > 0 => {
                    output.consume(count);
                    sent += count;
                }
                Written::Blocked => return Written::Blocked,
                Written::Bytes(_) | Written::Gone => return Written::Gone,
            }
        }
    }

    fn fail(&mut self, error: LayerError) -> Written {
        if matches!(self.failure, Failure::None) {
            self.failure = Failure::New(error);
        }
        Written::Gone
    }
}

fn lost() -> LayerError {
    LayerError::new("the connection was lost during its handshake")
}

/// The bytes after the first `skipped`, up to the end of one buffer.
fn rest<'a>(buffers: &'a [IoSlice<'_>], mut skipped: usize) -> &'a [u8] {
    for buffer in buffers {
        match buffer.get(skipped..) {
            Some(rest) if !rest.is_empty() => return rest,
            _ => skipped = skipped.saturating_sub(buffer.len()),
        }
    }
    &[]
}
