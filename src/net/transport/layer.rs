//! A layer between MQTT and the socket: bytes in, bytes out, and no I/O.

use std::borrow::Cow;
use std::task::Poll;

use crate::engine::parts::origin::Origin;

/// One layer of a connection, such as TLS, the frames of WebSocket or the PROXY header.
///
/// A layer sees bytes of two kinds: those of the layer below it, which are in [`Raw`], and those that they carry.
/// It never waits and never blocks; the stack calls it when bytes come, when bytes go, and when the socket takes more.
/// All calls are made under the lock of the connection's stack, on any thread.
pub(in crate::net) trait Layer: Send {
    /// What the log calls it, such as `tls`.
    fn name(&self) -> &'static str;

    /// Goes on with what comes before the first byte of MQTT. Pending: it has consumed what it could of `raw.input`,
    /// has written what it had to say to `raw.output`, and needs more bytes of the peer.
    ///
    /// It may correct `origin`, of which nobody else knows yet.
    fn handshake(&mut self, _raw: &mut Raw, _origin: &mut Origin) -> Poll<Result<(), LayerError>> {
        Poll::Ready(Ok(()))
    }

    /// Consumes `raw.input` and fills `room` with what it carries; how many bytes. Fewer than `room` says nothing: the
    /// stack asks again until it gets none, which means that more input is needed, or that none will come
    /// (`raw.has_ended`). Answers to the peer go to `raw.output`, before an error too.
    fn read(&mut self, raw: &mut Raw, room: &mut [u8]) -> Result<usize, LayerError>;

    /// Takes bytes to be carried; how many. It may keep some of them until [`Layer::flush`]. None are taken while too
    /// much waits.
    fn write(&mut self, bytes: &[u8], raw: &mut Raw) -> Result<usize, LayerError>;

    /// Moves what it keeps to `raw.output`, as far as there is room. Called at the end of each write, and when
    /// `raw.output` has become empty.
    fn flush(&mut self, _raw: &mut Raw) -> Result<(), LayerError> {
        Ok(())
    }

    /// Bytes that it keeps, which the peer has not been sent.
    fn pending_out(&self) -> usize {
        0
    }

    /// Nothing more will be written: it says so to the peer, if its protocol does.
    fn close(&mut self, _raw: &mut Raw) {}

    /// Tells whose connection it is, before the first packet that follows from it is written.
    fn identify(&mut self, _client_id: &str) {}
}

/// The bytes between a layer and the one below it, or the socket.
#[derive(Default)]
pub(in crate::net) struct Raw {
    /// From the peer; the layer consumes them.
    pub(in crate::net) input: Buffer,
    /// To the peer; the layer appends them.
    pub(in crate::net) output: Buffer,
    /// Whether nothing follows `input`: the peer has closed its side.
    pub(in crate::net) has_ended: bool,
}

/// Bytes that are appended at one end and consumed at the other. An empty one holds no memory.
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

    pub(in crate::net) fn append(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Forgets the first `count` bytes.
    pub(in crate::net) fn consume(&mut self, count: usize) {
        self.consumed += count.min(self.len());
        if self.is_empty() {
            *self = Buffer::default();
        }
    }

    /// Moves as many bytes as fit to `room`; how many.
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

/// Why a layer cannot go on. The log says it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{cause}")]
pub(in crate::net) struct LayerError {
    cause: Cow<'static, str>,
}

impl LayerError {
    pub(in crate::net) fn new(cause: impl Into<Cow<'static, str>>) -> LayerError {
        LayerError { cause: cause.into() }
    }

    /// The same, with the layer's name.
    pub(super) fn of(self, layer: &dyn Layer) -> LayerError {
        LayerError::new(format!("{}: {}", layer.name(), self.cause))
    }
}
