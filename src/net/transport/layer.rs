//! A layer between MQTT and the socket: bytes in, bytes out, and no I/O.

use std::borrow::Cow;
use std::sync::Arc;
use std::task::Poll;

use crate::engine::parts::origin::Origin;
use crate::session::identity::TlsIdentity;

/// One layer of a connection, such as TLS, the frames of WebSocket or the PROXY header.
///
/// A layer sees bytes of two kinds: the bytes of the layer below, in [`Raw`], and the bytes that those carry.
/// It never blocks. The stack calls it when bytes arrive, when bytes are written, and when the socket takes more.
/// All calls are made under the lock of the connection's stack, on any thread.
pub(in crate::net) trait Layer: Send {
    /// Its name in the log, such as `tls`.
    fn name(&self) -> &'static str;

    /// Continues the exchange before the first byte of MQTT. Pending: it has consumed `raw.input` as far as it could,
    /// has written its part to `raw.output`, and needs more bytes from the peer.
    ///
    /// It may correct `origin`, which the engine does not know yet.
    fn handshake(&mut self, _raw: &mut Raw, _origin: &mut Origin) -> Poll<Result<(), LayerError>> {
        Poll::Ready(Ok(()))
    }

    /// Whether it has nothing more to do when its handshake is complete, so that the layer over it may take its place.
    fn is_spent(&self) -> bool {
        false
    }

    /// Consumes `raw.input` and fills `room` with the carried bytes; returns their number. The stack calls it again
    /// until it returns 0: more input is needed, or none will arrive (`raw.has_ended`). Answers to the peer go to
    /// `raw.output`, even before an error.
    fn read(&mut self, raw: &mut Raw, room: &mut [u8]) -> Result<usize, LayerError>;

    /// Takes bytes to be carried; returns their number. It may keep some of them until [`Layer::flush`]. It takes none
    /// while too much waits.
    fn write(&mut self, bytes: &[u8], raw: &mut Raw) -> Result<usize, LayerError>;

    /// Moves kept bytes to `raw.output`, as far as there is room. Called at the end of each write, and when
    /// `raw.output` has become empty.
    fn flush(&mut self, _raw: &mut Raw) -> Result<(), LayerError> {
        Ok(())
    }

    /// The number of kept bytes, which were not sent to the peer.
    fn pending_out(&self) -> usize {
        0
    }

    /// Ends the writing: the layer tells the peer, if its protocol does so.
    fn close(&mut self, _raw: &mut Raw) {}

    /// Whether a step of its handshake takes so much of the processor that other connections come between the steps.
    fn is_costly(&self, _raw: &Raw) -> bool {
        false
    }

    /// What its handshake has shown of the peer.
    fn identity(&self) -> Option<&Arc<TlsIdentity>> {
        None
    }

    /// Tells the layer the Client Identifier, before the answer to CONNECT is written.
    fn identify(&mut self, _client_id: &str) {}
}

/// The bytes between a layer and the one below it, or the socket.
#[derive(Default)]
pub(in crate::net) struct Raw {
    /// Bytes from the peer; the layer consumes them.
    pub(in crate::net) input: Buffer,
    /// Bytes to the peer; the layer appends them.
    pub(in crate::net) output: Buffer,
    /// Whether the peer has closed its side, so that nothing follows `input`.
    pub(in crate::net) has_ended: bool,
}

/// Bytes that are appended at one end and consumed at the other. An empty buffer holds no memory.
#[derive(Default)]
pub(in crate::net) struct Buffer {
    bytes: Vec<u8>,
    consumed: usize,
}

impl Buffer {
    /// The bytes.
    pub(in crate::net) fn bytes(&self) -> &[u8] {
        self.bytes.get(self.consumed..).unwrap_or_default()
    }

    pub(in crate::net) fn len(&self) -> usize {
        self.bytes.len() - self.consumed
    }

    pub(in crate::net) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The bytes, to be decoded in place.
    #[cfg(any(feature = "tls", feature = "websocket"))]
    pub(in crate::net) fn bytes_mut(&mut self) -> &mut [u8] {
        self.bytes.get_mut(self.consumed..).unwrap_or_default()
    }

    pub(in crate::net) fn append(&mut self, bytes: &[u8]) {
        self.compact();
        self.bytes.extend_from_slice(bytes);
    }

    /// Appends what `write` writes to the room of this size that it gets; returns an error of `write`, and then
    /// appends nothing.
    #[cfg(feature = "tls")]
    pub(in crate::net) fn append_with<E>(
        &mut self,
        size: usize,
        write: impl FnOnce(&mut [u8]) -> Result<usize, E>,
    ) -> Result<(), E> {
        self.compact();
        let before = self.bytes.len();
        self.bytes.resize(before + size, 0);
        let written = write(self.bytes.get_mut(before..).unwrap_or_default());
        self.bytes.truncate(before + *written.as_ref().unwrap_or(&0));
        if self.is_empty() {
            *self = Buffer::default();
        }
        written.map(|_| ())
    }

    /// Removes the consumed bytes if they are the larger part: a buffer that never becomes empty must not grow for ever.
    fn compact(&mut self) {
        if self.consumed > self.bytes.len() / 2 {
            self.bytes.drain(..self.consumed);
            self.consumed = 0;
        }
    }

    /// Removes the first `count` bytes.
    pub(in crate::net) fn consume(&mut self, count: usize) {
        self.consumed += count.min(self.len());
        if self.is_empty() {
            *self = Buffer::default();
        }
    }

    /// Moves as many bytes as fit to `room`; returns their number.
    pub(in crate::net) fn take(&mut self, room: &mut [u8]) -> usize {
        let bytes = self.bytes();
        let count = bytes.len().min(room.len());
        if let (Some(room), Some(bytes)) = (room.get_mut(..count), bytes.get(..count)) {
            room.copy_from_slice(bytes);
        }
        self.consume(count);
        count
    }
}

/// Why a layer has failed, for the log.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{cause}")]
pub(in crate::net) struct LayerError {
    cause: Cow<'static, str>,
}

impl LayerError {
    pub(in crate::net) fn new(cause: impl Into<Cow<'static, str>>) -> LayerError {
        LayerError { cause: cause.into() }
    }

    /// The same error with the layer's name.
    pub(super) fn of(self, layer: &dyn Layer) -> LayerError {
        LayerError::new(format!("{}: {}", layer.name(), self.cause))
    }
}

#[cfg(test)]
mod tests {
    use super::Buffer;

    /// A stream whose records never end where a portion ends leaves a rest for ever.
    #[test]
    fn a_buffer_that_never_becomes_empty_does_not_grow() {
        let mut buffer = Buffer::default();
        buffer.append(b"x");
        for _ in 0..10_000 {
            buffer.append(&[b'x'; 100]);
            buffer.consume(100);
        }
        assert_eq!(buffer.bytes(), b"x");
        assert!(buffer.bytes.capacity() < 1000, "{}", buffer.bytes.capacity());
    }

    #[cfg(feature = "tls")]
    #[test]
    fn what_is_written_in_place_is_appended_and_an_error_appends_nothing() {
        let mut buffer = Buffer::default();
        buffer.append(b"ab");
        let written = buffer.append_with(10, |room| {
            room[..3].copy_from_slice(b"cde");
            Ok::<_, ()>(3)
        });
        assert_eq!((written, buffer.bytes()), (Ok(()), &b"abcde"[..]));
        assert_eq!(buffer.append_with(10, |_| Err(7)), Err(7));
        assert_eq!(buffer.bytes(), b"abcde");
        let mut empty = Buffer::default();
        assert_eq!(empty.append_with(10, |_| Err(7)), Err(7));
        assert_eq!(empty.bytes.capacity(), 0);
    }
}
