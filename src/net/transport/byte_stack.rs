//! The layers of a listener's connections without a socket, for fuzz targets and test suites.

use std::net::SocketAddr;
use std::task::Poll;

use crate::config::{ConfigError, Listener};
use crate::engine::parts::origin::Origin;
use crate::net::transport::MakeLayers;
use crate::net::transport::choose::{choose, secure};
use crate::net::transport::layer::LayerError;
use crate::net::transport::stack::Stack;

/// The layers that a listener's settings choose.
pub struct ListenerLayers {
    make: Option<MakeLayers>,
}

impl ListenerLayers {
    /// # Errors
    /// A setting does not fit the transport.
    pub fn new(listener: &Listener) -> Result<ListenerLayers, ConfigError> {
        let secured = secure(listener.transport, listener)?;
        Ok(ListenerLayers { make: choose(listener.transport, listener, secured.as_ref())? })
    }

    /// The layers of a connection from this address.
    pub fn connect(&self, peer: SocketAddr) -> ByteStack {
        let stack = Stack::new(self.make.as_ref().map(|make| make()).unwrap_or_default());
        let origin = Origin { peer: Some(peer.into()), ..Origin::default() };
        ByteStack { stack, origin, is_open: false }
    }
}

/// The layers of one connection: bytes of the peer in, bytes to the peer out.
pub struct ByteStack {
    stack: Stack,
    origin: Origin,
    is_open: bool,
}

impl ByteStack {
    /// Adds bytes of the peer.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.stack.feed(bytes);
    }

    /// Ends the peer's bytes.
    pub fn feed_end(&mut self) {
        self.stack.feed_end();
    }

    /// Continues the handshakes, then fills `room` with what the peer's bytes carry; returns their number. 0: more of
    /// the peer is needed.
    ///
    /// # Errors
    /// A layer has failed. The line of the log says why.
    pub fn read(&mut self, room: &mut [u8]) -> Result<usize, String> {
        if !self.is_open {
            match self.stack.handshake(&mut self.origin, true) {
                Poll::Pending => return Ok(0),
                Poll::Ready(outcome) => outcome.map_err(told)?,
            }
            self.is_open = true;
        }
        self.stack.read(room).map_err(told)
    }

    /// Takes bytes to be carried to the peer; returns their number.
    ///
    /// # Errors
    /// A layer has failed.
    pub fn write(&mut self, bytes: &[u8]) -> Result<usize, String> {
        self.stack.write(bytes).map_err(told)
    }

    /// Ends the writing.
    ///
    /// # Errors
    /// A layer has failed.
    pub fn close(&mut self) -> Result<(), String> {
        self.stack.close().map_err(told)
    }

    /// Takes the bytes for the peer.
    ///
    /// # Errors
    /// A layer has failed.
    pub fn take_output(&mut self) -> Result<Vec<u8>, String> {
        let mut sent = Vec::new();
        loop {
            self.stack.push_down().map_err(told)?;
            let Some(output) = self.stack.output() else {
                return Ok(sent);
            };
            sent.extend_from_slice(output.bytes());
            output.consume(output.len());
        }
    }

    /// Whether the handshakes are over.
    pub fn is_open(&self) -> bool {
        self.is_open
    }

    /// Whether the peer has closed its side and all its bytes are read.
    pub fn is_over(&self) -> bool {
        self.stack.is_over()
    }

    /// What the handshakes have shown of the peer.
    pub fn origin(&self) -> &Origin {
        &self.origin
    }
}

fn told(error: LayerError) -> String {
    error.to_string()
}
