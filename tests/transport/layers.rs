//! Three layers that no product has.

use std::task::Poll;

use crate::engine::parts::origin::Origin;
use crate::net::transport::{Layer, LayerError, Raw};

/// Bytes of a record of [`Scramble`].
pub const BLOCK: usize = 1024;

/// Records of at most [`BLOCK`] bytes: two bytes of length, then the bytes, each changed by its place in the stream.
/// It gives out one record at a time, and keeps what it is given until a block is full or it is told to flush.
#[derive(Default)]
pub struct Scramble {
    received: usize,
    opened: Vec<u8>,
    sent: usize,
    block: Vec<u8>,
}

/// The same both ways; `at` is the place of the first byte in the stream.
pub fn scramble(bytes: &mut [u8], at: usize) {
    for (place, byte) in (at..).zip(bytes) {
        *byte ^= (place % 251) as u8 ^ 0xA5;
    }
}

impl Scramble {
    pub fn boxed() -> Box<dyn Layer> {
        Box::<Scramble>::default()
    }

    fn seal(&mut self, raw: &mut Raw) {
        let mut block = std::mem::take(&mut self.block);
        scramble(&mut block, self.sent);
        self.sent += block.len();
        raw.output.append(&(block.len() as u16).to_be_bytes());
        raw.output.append(&block);
    }
}

impl Layer for Scramble {
    fn name(&self) -> &'static str {
        "scramble"
    }

    fn read(&mut self, raw: &mut Raw, room: &mut [u8]) -> Result<usize, LayerError> {
        if self.opened.is_empty() {
            let &[high, low, ref rest @ ..] = raw.input.bytes() else {
                return match raw.has_ended && !raw.input.is_empty() {
                    true => Err(LayerError::new("the last record has no end")),
                    false => Ok(0),
                };
            };
            let len = usize::from(u16::from_be_bytes([high, low]));
            if len > BLOCK {
                return Err(LayerError::new(format!("a record of {len} bytes")));
            }
            let Some(record) = rest.get(..len) else {
                return Ok(0);
            };
            self.opened = record.to_vec();
            raw.input.consume(2 + len);
            scramble(&mut self.opened, self.received);
            self.received += len;
        }
        let count = self.opened.len().min(room.len());
        room[..count].copy_from_slice(&self.opened[..count]);
        self.opened.drain(..count);
        Ok(count)
    }

    fn write(&mut self, bytes: &[u8], raw: &mut Raw) -> Result<usize, LayerError> {
        let count = bytes.len().min(BLOCK - self.block.len());
        self.block.extend_from_slice(&bytes[..count]);
        if self.block.len() == BLOCK {
            self.seal(raw);
        }
        Ok(count)
    }

    fn flush(&mut self, raw: &mut Raw) -> Result<(), LayerError> {
        if !self.block.is_empty() {
            self.seal(raw);
        }
        Ok(())
    }

    fn pending_out(&self) -> usize {
        self.block.len()
    }
}

/// Questions that a knock has to answer.
pub const ROUNDS: u8 = 3;

/// Says a digit, `ROUNDS` times, and wants the same digit back. What comes behind is not touched.
#[derive(Default)]
pub struct Knock {
    /// Questions asked.
    asked: u8,
    answered: u8,
}

impl Layer for Knock {
    fn name(&self) -> &'static str {
        "knock"
    }

    fn handshake(&mut self, raw: &mut Raw, _origin: &mut Origin) -> Poll<Result<(), LayerError>> {
        loop {
            if self.asked == self.answered {
                if self.asked == ROUNDS {
                    return Poll::Ready(Ok(()));
                }
                raw.output.append(&[b'1' + self.asked]);
                self.asked += 1;
            }
            let Some(answer) = raw.input.bytes().first().copied() else {
                return Poll::Pending;
            };
            if answer != b'0' + self.asked {
                raw.output.append(b"no");
                let cause = format!("the answer to question {} is {answer}", self.asked);
                return Poll::Ready(Err(LayerError::new(cause)));
            }
            raw.input.consume(1);
            self.answered += 1;
        }
    }

    fn read(&mut self, raw: &mut Raw, room: &mut [u8]) -> Result<usize, LayerError> {
        Ok(raw.input.take(room))
    }

    fn write(&mut self, bytes: &[u8], raw: &mut Raw) -> Result<usize, LayerError> {
        raw.output.append(bytes);
        Ok(bytes.len())
    }

    fn close(&mut self, raw: &mut Raw) {
        raw.output.append(b"bye");
    }
}

/// Reads a line `FROM address` that comes before all else, as the PROXY protocol does.
pub struct From;

impl Layer for From {
    fn name(&self) -> &'static str {
        "from"
    }

    fn handshake(&mut self, raw: &mut Raw, origin: &mut Origin) -> Poll<Result<(), LayerError>> {
        let bytes = raw.input.bytes();
        let Some(end) = bytes.iter().position(|byte| *byte == b'\n') else {
            return Poll::Pending;
        };
        let line = std::str::from_utf8(&bytes[..end]).unwrap_or_default();
        let address =
            line.strip_prefix("FROM ").and_then(|address| address.parse::<std::net::SocketAddr>().ok());
        if address.is_none() {
            return Poll::Ready(Err(LayerError::new("the first line names no address")));
        }
        origin.peer = address.map(Into::into);
        raw.input.consume(end + 1);
        Poll::Ready(Ok(()))
    }

    fn read(&mut self, raw: &mut Raw, room: &mut [u8]) -> Result<usize, LayerError> {
        Ok(raw.input.take(room))
    }

    fn write(&mut self, bytes: &[u8], raw: &mut Raw) -> Result<usize, LayerError> {
        raw.output.append(bytes);
        Ok(bytes.len())
    }
}
