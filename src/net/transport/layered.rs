//! Layers over a socket: what they hold meets what the socket takes and gives.

use std::io::IoSlice;
use std::task::{Context, Poll, ready};

use parking_lot::Mutex;

use crate::engine::parts::origin::Origin;
use crate::net::transport::descriptor::{Descriptor, Received};
use crate::net::transport::layer::{Layer, LayerError};
use crate::net::transport::stack::Stack;
use crate::session::link::Written;

/// Bytes read from the socket at once: the largest record of TLS, and its head.
const RAW: usize = 16 * 1024 + 512;
/// Bytes of MQTT that layers take before the socket has to.
const PORTION: usize = 16 * 1024;

/// The layers of one connection.
///
/// Their lock is held while bytes are carried and offered to the socket, which never waits: encoded bytes must be sent in
/// the order in which they were encoded. It is taken below a session's locks, and no other is taken below it but those
/// of the test kit.
pub(in crate::net) struct Layered {
    state: Mutex<State>,
}

struct State {
    stack: Stack,
    /// Bytes that layers have taken and that were not reported as written: what they became has not been sent. Whoever
    /// writes next offers the same bytes again. So what a layer holds counts as waiting in the outbox, which has it, too.
    owed: usize,
    closed: bool,
    failure: Failure,
}

/// Why the layers cannot go on, if they cannot.
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

    /// Goes on with the handshake until it is over or has failed. `eager`: reads also what the runtime has not been told
    /// of.
    pub(in crate::net) fn poll_handshake(
        &self,
        descriptor: &Descriptor,
        origin: &mut Origin,
        mut eager: bool,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), LayerError>> {
        let mut raw = [0; RAW];
        loop {
            let mut state = self.state.lock();
            let step = state.stack.handshake(origin);
            // What a failed handshake has to say is said, as far as the socket takes it.
            let flushed = state.flush(descriptor);
            drop(state);
            if let Poll::Ready(outcome) = step {
                return Poll::Ready(outcome);
            }
            if flushed == Written::Gone {
                return Poll::Ready(Err(lost()));
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

    /// Reads what the layers hold, else what the socket has. More may be had at once unless it says `drained`.
    pub(in crate::net) fn receive(&self, descriptor: &Descriptor, room: &mut [u8]) -> Received {
        let mut socket_drained = false;
        let mut raw = [0; RAW];
        loop {
            let mut state = self.state.lock();
            let outcome = state.stack.read(room);
            // Answers of a layer; what the socket does not take, the task sends.
            let _later = state.flush(descriptor);
            match outcome {
                Err(error) => {
                    state.fail(error);
                    return Received::End;
                }
                Ok(0) if state.stack.is_over() => return Received::End,
                Ok(0) if socket_drained => return Received::Blocked,
                Ok(0) => {}
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

    /// Whether reading may bring bytes without new ones of the socket.
    pub(in crate::net) fn may_read(&self) -> bool {
        self.state.lock().stack.may_read()
    }

    /// Writes what the socket takes now. Bytes are reported as written when what they became is with the socket.
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

    /// Sends what the layers hold, as far as the socket takes it.
    pub(in crate::net) fn flush(&self, descriptor: &Descriptor) -> Written {
        self.state.lock().flush(descriptor)
    }

    /// Ready when the socket has what the layers held, or never will.
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

    /// Bytes that the peer has not been sent.
    pub(in crate::net) fn pending_out(&self) -> usize {
        self.state.lock().stack.pending_out()
    }

    /// Whether so much waits in the layers that no more of the peer is to be read.
    pub(in crate::net) fn is_full(&self) -> bool {
        self.state.lock().stack.is_full()
    }

    /// Nothing more will be written: the layers say so, and what they hold is sent, as far as the socket takes it.
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

    /// Whether a layer has failed.
    pub(in crate::net) fn has_failed(&self) -> bool {
        !matches!(self.state.lock().failure, Failure::None)
    }

    /// Why a layer has failed; once.
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
    /// Has the layers take the next portion of what is to be written, of which `written` bytes are with the socket.
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
            return Err(LayerError::new("a layer takes no bytes although the socket takes all that it has"));
        }
        Ok(())
    }

    /// Sends what the layers hold: `Bytes` if nothing is left, else what stopped it.
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
    LayerError::new("the connection was lost in its handshake")
}

/// What follows the first `skipped` bytes, up to the end of a buffer.
fn rest<'a>(buffers: &'a [IoSlice<'_>], mut skipped: usize) -> &'a [u8] {
    for buffer in buffers {
        match buffer.get(skipped..) {
            Some(rest) if !rest.is_empty() => return rest,
            _ => skipped = skipped.saturating_sub(buffer.len()),
        }
    }
    &[]
}
