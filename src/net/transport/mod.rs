//! The transport between a socket and the engine: one descriptor, and the layers over it.

#[cfg(feature = "websocket")]
mod auto;
#[cfg(feature = "internals")]
mod byte_stack;
mod choose;
mod descriptor;
mod layer;
mod layered;
mod protocol;
mod proxy;
mod stack;
#[cfg(feature = "tls")]
mod tls;
#[cfg(feature = "websocket")]
mod websocket;

use std::sync::Arc;

#[cfg(feature = "internals")]
pub use byte_stack::{ByteStack, ListenerLayers};
pub(super) use choose::{Secured, choose, secure};
pub(super) use descriptor::{Descriptor, Received};
pub(super) use layer::{Layer, LayerError, Raw};
pub(super) use layered::Layered;

/// Makes the layers of a listener's next connection; the one next to the socket is first.
pub(super) type MakeLayers = Arc<dyn Fn() -> Vec<Box<dyn Layer>> + Send + Sync>;

#[cfg(test)]
#[path = "../../../tests/transport/mod.rs"]
pub(super) mod tests;
