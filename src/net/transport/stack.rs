//! The layers of one connection, one over the other. No I/O either: the socket's bytes are handed in and taken out.

use std::task::Poll;

use crate::engine::parts::origin::Origin;
use crate::net::transport::layer::{Buffer, Layer, LayerError, Raw};

/// Bytes of the peer that may wait below one layer: more than the largest record of TLS.
const INPUT: usize = 32 * 1024;
/// Bytes that may wait below one layer, or in it, before no more are written or read.
const OUTPUT: usize = 64 * 1024;
/// Bytes moved from one layer to the next at once.
const PORTION: usize = 4 * 1024;
/// Bytes that a peer may send before its handshake is over.
const HANDSHAKE: usize = 64 * 1024;

/// The layers, from the socket's on.
pub(in crate::net) struct Stack {
    floors: Vec<Floor>,
    /// The first layer whose handshake is not over.
    handshaking: usize,
    /// Bytes that the peer sent before the handshake was over.
    handshake_bytes: usize,
    /// Whether reading may bring bytes without new ones of the socket.
    may_read: bool,
}

/// A layer, and the bytes below it.
struct Floor {
    layer: Box<dyn Layer>,
    raw: Raw,
}

impl Stack {
    /// The layers, from the socket's on.
    pub(in crate::net) fn new(layers: Vec<Box<dyn Layer>>) -> Stack {
        let floors = layers.into_iter().map(|layer| Floor { layer, raw: Raw::default() }).collect();
        Stack { floors, handshaking: 0, handshake_bytes: 0, may_read: true }
    }

    /// Goes on with the handshakes, that of the lowest layer first. Pending: more bytes of the peer are needed, when what
    /// waits is sent.
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
                // A layer below may hold more than it gave.
                if outcome.is_ready() || raw.input.len() >= INPUT || below.is_empty() || !fill(below, raw)? {
                    break outcome;
                }
            };
            let moved = self.push_down();
            match outcome? {
                Poll::Ready(()) => self.handshaking += 1,
                Poll::Pending if self.has_ended() => {
                    let cause = "the peer has closed the connection in its handshake";
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

    /// Bytes of the socket. To be handed in only when reading brings nothing without them.
    pub(super) fn feed(&mut self, bytes: &[u8]) {
        if self.handshaking < self.floors.len() {
            self.handshake_bytes += bytes.len();
        }
        if let Some(lowest) = self.floors.first_mut() {
            lowest.raw.input.append(bytes);
            self.may_read = true;
        }
    }

    /// The socket has no more bytes, and never will have.
    pub(super) fn feed_end(&mut self) {
        if let Some(lowest) = self.floors.first_mut() {
            lowest.raw.has_ended = true;
            self.may_read = true;
        }
    }

    fn has_ended(&self) -> bool {
        self.floors.first().is_some_and(|lowest| lowest.raw.has_ended)
    }

    /// Whether the peer has closed its side and everything that it had sent is read.
    pub(super) fn is_over(&self) -> bool {
        self.has_ended() && !self.may_read
    }

    /// Whether reading may bring bytes without new ones of the socket.
    pub(super) fn may_read(&self) -> bool {
        self.may_read
    }

    /// Reads what the layers hold; how many bytes. A layer's short read says nothing: only none is none.
    pub(super) fn read(&mut self, room: &mut [u8]) -> Result<usize, LayerError> {
        let mut count = 0;
        while let Some(rest) = room.get_mut(count..).filter(|rest| !rest.is_empty()) {
            match read(&mut self.floors, rest)? {
                0 => {
                    self.may_read = false;
                    break;
                }
                more => count += more,
            }
        }
        Ok(count)
    }

    /// Takes bytes to be carried; how many.
    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<usize, LayerError> {
        if self.is_full() {
            return Ok(0);
        }
        let Some(Floor { layer, raw }) = self.floors.last_mut() else {
            return Ok(0);
        };
        layer.write(bytes, raw).map_err(|error| error.of(&**layer))
    }

    /// Moves what layers keep towards the socket, as far as there is room.
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

    /// What the socket is to take.
    pub(super) fn output(&mut self) -> Option<&mut Buffer> {
        self.floors.first_mut().map(|lowest| &mut lowest.raw.output).filter(|output| !output.is_empty())
    }

    /// Bytes that the peer has not been sent.
    pub(super) fn pending_out(&self) -> usize {
        self.floors.iter().map(|floor| floor.layer.pending_out() + floor.raw.output.len()).sum()
    }

    /// Whether so much waits that nothing more may be caused.
    pub(super) fn is_full(&self) -> bool {
        self.pending_out() >= OUTPUT
    }

    /// Nothing more will be written. The uppermost layer says so first.
    pub(super) fn close(&mut self) -> Result<(), LayerError> {
        for level in (0..self.floors.len()).rev() {
            self.push_down()?;
            if let Some(Floor { layer, raw }) = self.floors.get_mut(level) {
                layer.close(raw);
            }
        }
        self.push_down()
    }

    /// Tells whose connection it is.
    pub(super) fn identify(&mut self, client_id: &str) {
        self.floors.iter_mut().for_each(|floor| floor.layer.identify(client_id));
    }
}

/// Reads from the uppermost of some layers.
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
            let cause = format!("the peer has sent {INPUT} bytes that do not end");
            return Err(LayerError::new(cause).of(&**layer));
        }
        if below.is_empty() || !fill(below, raw)? {
            return Ok(0);
        }
    }
}

/// Moves a portion from the layers below to the input of the next; whether anything has changed.
fn fill(below: &mut [Floor], raw: &mut Raw) -> Result<bool, LayerError> {
    let mut portion = [0; PORTION];
    let count = read(below, &mut portion)?;
    raw.input.append(portion.get(..count).unwrap_or_default());
    let ends = count == 0 && !raw.has_ended && below.first().is_some_and(|lowest| lowest.raw.has_ended);
    raw.has_ended |= ends;
    Ok(count > 0 || ends)
}
