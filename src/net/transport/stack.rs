//! The stacked layers of one connection, without I/O: the caller moves bytes to and from the socket.

use std::sync::Arc;
use std::task::Poll;

use crate::engine::parts::origin::Origin;
use crate::net::transport::layer::{Buffer, Layer, LayerError, Raw};
use crate::session::identity::TlsIdentity;

/// The most bytes from the peer that wait below one layer: more than the largest record of TLS.
const INPUT: usize = 32 * 1024;
/// With this many unsent bytes, nothing more is written to the layers or read from the peer.
const OUTPUT: usize = 64 * 1024;
/// The most bytes moved from one layer to the next at once.
const PORTION: usize = 4 * 1024;
/// The most bytes that a peer may send before its handshake is over.
const HANDSHAKE: usize = 64 * 1024;

/// The layers; the one next to the socket is first.
pub(in crate::net) struct Stack {
    floors: Vec<Floor>,
    /// The index of the first layer whose handshake is not complete.
    handshaking: usize,
    /// The number of bytes that the peer has sent before the handshake was over.
    handshake_bytes: usize,
    /// Whether reading may return bytes without new bytes from the socket.
    may_read: bool,
    /// A failure that is reported when the bytes before it are read.
    failure: Option<LayerError>,
}

/// A layer, and the bytes below it.
struct Floor {
    layer: Box<dyn Layer>,
    raw: Raw,
}

impl Stack {
    /// A stack of layers; the one next to the socket is first.
    pub(in crate::net) fn new(layers: Vec<Box<dyn Layer>>) -> Stack {
        let floors = layers.into_iter().map(|layer| Floor { layer, raw: Raw::default() }).collect();
        Stack { floors, handshaking: 0, handshake_bytes: 0, may_read: true, failure: None }
    }

    /// Continues the handshakes, the lowest layer first. Pending: the waiting bytes must be sent, and more bytes from
    /// the peer are needed.
    pub(super) fn handshake(&mut self, origin: &mut Origin) -> Poll<Result<(), LayerError>> {
        while self.handshaking < self.floors.len() {
            if self.handshake_bytes > HANDSHAKE {
                let cause =
                    format!("the peer has sent more than {HANDSHAKE} bytes before its handshake is over");
                return Poll::Ready(Err(LayerError::new(cause)));
            }
            let (below, above) = self.floors.split_at_mut(self.handshaking);
            let Some(Floor { layer, raw }) = above.first_mut() else { break };
            let outcome = loop {
                let outcome = layer.handshake(raw, origin).map_err(|error| error.of(&**layer));
                // A layer below may hold more bytes than it has returned.
                if outcome.is_ready() || raw.input.len() >= INPUT || below.is_empty() || !fill(below, raw)? {
                    break outcome;
                }
            };
            let moved = self.push_down();
            match outcome? {
                Poll::Ready(()) => self.advance(),
                Poll::Pending if self.has_ended() => {
                    let cause = "the peer has closed the connection during its handshake";
                    return Poll::Ready(Err(LayerError::new(cause)));
                }
                Poll::Pending => {
                    return moved.map_or_else(|error| Poll::Ready(Err(error)), |()| Poll::Pending);
                }
            }
            moved?;
        }
        Poll::Ready(Ok(()))
    }

    /// Goes on to the next layer. One that is spent is dropped if another can take its place, with the bytes behind it.
    fn advance(&mut self) {
        let is_spent = self
            .floors
            .get(self.handshaking)
            .is_some_and(|floor| floor.layer.is_spent() && floor.raw.output.is_empty());
        if !is_spent || self.handshaking + 1 == self.floors.len() {
            self.handshaking += 1;
            return;
        }
        let spent = self.floors.remove(self.handshaking);
        if let Some(next) = self.floors.get_mut(self.handshaking) {
            next.raw = spent.raw;
        }
    }

    /// Whether the next step of the handshake takes much of the processor.
    pub(super) fn is_costly(&self) -> bool {
        self.floors.get(self.handshaking).is_some_and(|floor| {
            floor.layer.is_costly() && !self.floors.first().is_none_or(|lowest| lowest.raw.input.is_empty())
        })
    }

    /// Adds bytes from the socket. The caller does so only when reading returns nothing without them.
    pub(super) fn feed(&mut self, bytes: &[u8]) {
        if self.handshaking < self.floors.len() {
            self.handshake_bytes += bytes.len();
        }
        if let Some(lowest) = self.floors.first_mut() {
            lowest.raw.input.append(bytes);
            self.may_read = true;
        }
    }

    /// Ends the input: the socket will have no more bytes.
    pub(super) fn feed_end(&mut self) {
        if let Some(lowest) = self.floors.first_mut() {
            lowest.raw.has_ended = true;
            self.may_read = true;
        }
    }

    /// Whether a layer or the socket has reached the end of what the peer sends.
    fn has_ended(&self) -> bool {
        has_ended(&self.floors)
    }

    /// Whether the peer has closed its side and all its bytes are read.
    pub(super) fn is_over(&self) -> bool {
        self.has_ended() && !self.may_read
    }

    /// Whether reading may return bytes without new bytes from the socket.
    pub(super) fn may_read(&self) -> bool {
        self.may_read
    }

    /// Reads the bytes that the layers hold; returns their number. A short read of a layer does not mean that it is
    /// empty.
    pub(super) fn read(&mut self, room: &mut [u8]) -> Result<usize, LayerError> {
        if let Some(failure) = &self.failure {
            return Err(failure.clone());
        }
        let mut count = 0;
        while let Some(rest) = room.get_mut(count..).filter(|rest| !rest.is_empty()) {
            match read(&mut self.floors, rest) {
                Ok(0) => {
                    self.may_read = false;
                    break;
                }
                Ok(more) => count += more,
                // What comes before a fault is read first, however the bytes were cut.
                Err(failure) if count > 0 => {
                    self.failure = Some(failure);
                    break;
                }
                Err(failure) => return Err(failure),
            }
        }
        Ok(count)
    }

    /// Takes bytes to be carried; returns their number.
    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<usize, LayerError> {
        if self.is_full() {
            return Ok(0);
        }
        let Some(Floor { layer, raw }) = self.floors.last_mut() else {
            return Ok(0);
        };
        layer.write(bytes, raw).map_err(|error| error.of(&**layer))
    }

    /// Moves the bytes that layers keep towards the socket, as far as there is room.
    pub(super) fn push_down(&mut self) -> Result<(), LayerError> {
        for level in (0..self.floors.len()).rev() {
            let (below, above) = self.floors.split_at_mut(level);
            let Some(Floor { layer, raw }) = above.first_mut() else { continue };
            layer.flush(raw).map_err(|error| error.of(&**layer))?;
            let Some(lower) = below.last_mut() else { continue };
            while !raw.output.is_empty() && lower.raw.output.len() < OUTPUT {
                let taken = lower.layer.write(raw.output.bytes(), &mut lower.raw);
                match taken.map_err(|error| error.of(&*lower.layer))? {
                    0 => break,
                    taken => raw.output.consume(taken),
                }
            }
        }
        Ok(())
    }

    /// The bytes to send to the socket, if there are any.
    pub(super) fn output(&mut self) -> Option<&mut Buffer> {
        self.floors.first_mut().map(|lowest| &mut lowest.raw.output).filter(|output| !output.is_empty())
    }

    /// The number of unsent bytes.
    pub(super) fn pending_out(&self) -> usize {
        self.floors.iter().map(|floor| floor.layer.pending_out() + floor.raw.output.len()).sum()
    }

    /// Whether so many bytes are unsent that writing and reading must pause.
    pub(super) fn is_full(&self) -> bool {
        self.pending_out() >= OUTPUT
    }

    /// Ends the writing; the uppermost layer closes first.
    pub(super) fn close(&mut self) -> Result<(), LayerError> {
        for level in (0..self.floors.len()).rev() {
            self.push_down()?;
            if let Some(Floor { layer, raw }) = self.floors.get_mut(level) {
                layer.close(raw);
            }
        }
        self.push_down()
    }

    /// What a layer knows of the peer; TLS comes before what a proxy under it has told.
    pub(super) fn identity(&self) -> Option<Arc<TlsIdentity>> {
        self.floors.iter().rev().find_map(|floor| floor.layer.identity().cloned())
    }

    /// Tells the layers the Client Identifier.
    pub(super) fn identify(&mut self, client_id: &str) {
        self.floors.iter_mut().for_each(|floor| floor.layer.identify(client_id));
    }
}

/// Reads from the uppermost of `floors`.
fn read(floors: &mut [Floor], room: &mut [u8]) -> Result<usize, LayerError> {
    let Some((Floor { layer, raw }, below)) = floors.split_last_mut() else {
        return Ok(0);
    };
    loop {
        let count = layer.read(raw, room).map_err(|error| error.of(&**layer))?;
        if count > 0 {
            return Ok(count);
        }
        if raw.input.len() >= INPUT {
            let cause = format!("the peer has sent {INPUT} bytes without a complete unit");
            return Err(LayerError::new(cause).of(&**layer));
        }
        if below.is_empty() || !fill(below, raw)? {
            return Ok(0);
        }
    }
}

/// Moves a portion from the layers below to the input of the next; returns whether anything has changed.
fn fill(below: &mut [Floor], raw: &mut Raw) -> Result<bool, LayerError> {
    let mut portion = [0; PORTION];
    let count = read(below, &mut portion)?;
    raw.input.append(portion.get(..count).unwrap_or_default());
    let ends = count == 0 && !raw.has_ended && has_ended(below);
    raw.has_ended |= ends;
    Ok(count > 0 || ends)
}

/// Whether nothing will follow what these layers hold. A layer may learn that before the socket is closed.
fn has_ended(floors: &[Floor]) -> bool {
    floors.iter().any(|floor| floor.raw.has_ended)
}
