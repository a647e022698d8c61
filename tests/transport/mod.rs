//! Layers over sockets, made for these tests. They are unit tests of `src/net/transport`, which includes this file: no
//! setting puts these layers over a listener.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::cell::RefCell;
use std::sync::Arc;

use crate::config::ListenAddress;
use crate::net::transport::{Layer, MakeLayers};

mod answers;
#[cfg(feature = "websocket")]
mod auto;
mod handshakes;
mod layers;
mod peer;
mod pieces;
mod pieces_of_layers;
mod proxy;
mod scrambled;
#[cfg(feature = "tls")]
mod tls;
#[cfg(feature = "tls")]
mod tls_edges;
#[cfg(feature = "websocket")]
mod websocket;

#[cfg(feature = "tls")]
#[allow(dead_code)]
#[path = "../support/certificates.rs"]
mod certificates;
#[allow(dead_code)]
#[path = "../broker/client.rs"]
mod client;
#[path = "../support/deadline.rs"]
mod deadline;

/// What listeners that a test binds are to have.
#[derive(Clone, Default)]
struct Dress {
    layers: Option<MakeLayers>,
    /// Whether clients that know nothing of [`layers::Scramble`] are to find a relay.
    relay: bool,
}

thread_local! {
    static DRESS: RefCell<Dress> = RefCell::default();
}

/// The layers of listeners that this thread binds from now on.
fn over(make: impl Fn() -> Vec<Box<dyn Layer>> + Send + Sync + 'static) {
    DRESS.set(Dress { layers: Some(Arc::new(make)), relay: false });
}

/// The layers of a listener that is at `address` and has `layers` by its settings, and the address that clients find it at.
pub(in crate::net) fn dress(
    layers: Option<MakeLayers>,
    address: ListenAddress,
) -> (Option<MakeLayers>, ListenAddress) {
    let dress = DRESS.with_borrow(Dress::clone);
    let address = match address {
        ListenAddress::Tcp(address) if dress.relay => peer::unscrambled(address).into(),
        address => address,
    };
    (dress.layers.or(layers), address)
}
