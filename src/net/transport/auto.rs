//! A port for several protocols: the first byte of a connection chooses its layers.

use std::sync::Arc;
use std::task::Poll;

use crate::engine::parts::origin::Origin;
use crate::net::transport::layer::{Layer, LayerError, Raw};
use crate::net::transport::protocol;
use crate::session::identity::TlsIdentity;

/// Makes the layer of a protocol.
pub(super) type Make = Arc<dyn Fn() -> Box<dyn Layer> + Send + Sync>;

/// The first byte of a handshake of TLS.
const TLS: u8 = 0x16;
/// The first byte of CONNECT.
const CONNECT: u8 = 0x10;

/// A layer that is there for connections of one protocol, and is none for others.
pub(super) struct Auto {
    make: Make,
    kind: Kind,
    /// `None`: the first byte has not come, or the connection is plain.
    chosen: Option<Box<dyn Layer>>,
    is_plain: bool,
}

/// What a layer is for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Whatever is not TLS is for the next layer.
    Tls,
    /// Whatever is not HTTP must be MQTT.
    WebSocket,
}

impl Auto {
    /// TLS, if the client speaks it.
    #[cfg(feature = "tls")]
    pub(super) fn tls(make: Make) -> Auto {
        Auto { make, kind: Kind::Tls, chosen: None, is_plain: false }
    }

    /// WebSocket for a client that speaks HTTP, else plain MQTT.
    #[cfg(feature = "websocket")]
    pub(super) fn websocket(make: Make) -> Auto {
        Auto { make, kind: Kind::WebSocket, chosen: None, is_plain: false }
    }

    /// Chooses by the first byte.
    fn choose(&mut self, bytes: &[u8]) -> Poll<Result<(), LayerError>> {
        let Some(&first) = bytes.first() else {
            return Poll::Pending;
        };
        match (self.kind, first) {
            (Kind::Tls, TLS) => self.chosen = Some((self.make)()),
            (Kind::WebSocket, _) if first.is_ascii_uppercase() => self.chosen = Some((self.make)()),
            (Kind::Tls, _) | (Kind::WebSocket, CONNECT) => self.is_plain = true,
            (Kind::WebSocket, _) => {
                let spoken = protocol::name(bytes);
                let cause = format!("client speaks no protocol of this port: first bytes are {spoken}");
                return Poll::Ready(Err(LayerError::new(cause)));
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl Layer for Auto {
    fn name(&self) -> &'static str {
        self.chosen.as_ref().map_or("auto", |layer| layer.name())
    }

    fn handshake(&mut self, raw: &mut Raw, origin: &mut Origin) -> Poll<Result<(), LayerError>> {
        if self.chosen.is_none() && !self.is_plain {
            std::task::ready!(self.choose(raw.input.bytes()))?;
        }
        self.chosen.as_mut().map_or(Poll::Ready(Ok(())), |layer| layer.handshake(raw, origin))
    }

    fn is_spent(&self) -> bool {
        self.is_plain
    }

    fn read(&mut self, raw: &mut Raw, room: &mut [u8]) -> Result<usize, LayerError> {
        match &mut self.chosen {
            Some(layer) => layer.read(raw, room),
            None => Ok(raw.input.take(room)),
        }
    }

    fn write(&mut self, bytes: &[u8], raw: &mut Raw) -> Result<usize, LayerError> {
        match &mut self.chosen {
            Some(layer) => layer.write(bytes, raw),
            None => {
                raw.output.append(bytes);
                Ok(bytes.len())
            }
        }
    }

    fn flush(&mut self, raw: &mut Raw) -> Result<(), LayerError> {
        self.chosen.as_mut().map_or(Ok(()), |layer| layer.flush(raw))
    }

    fn pending_out(&self) -> usize {
        self.chosen.as_ref().map_or(0, |layer| layer.pending_out())
    }

    fn close(&mut self, raw: &mut Raw) {
        if let Some(layer) = &mut self.chosen {
            layer.close(raw);
        }
    }

    fn is_costly(&self, raw: &Raw) -> bool {
        match &self.chosen {
            Some(layer) => layer.is_costly(raw),
            None => self.kind == Kind::Tls && raw.input.bytes().first() == Some(&TLS),
        }
    }

    fn identity(&self) -> Option<&Arc<TlsIdentity>> {
        self.chosen.as_ref()?.identity()
    }

    fn identify(&mut self, client_id: &str) {
        if let Some(layer) = &mut self.chosen {
            layer.identify(client_id);
        }
    }
}
