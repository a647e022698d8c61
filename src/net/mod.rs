//! Floor 6: the MQTT server. Listeners, and one task for each connection.

mod adopt;
#[cfg(feature = "tls")]
mod certificates;
mod connection;
mod flush_queue;
mod gate;
mod handshake;
mod handshake_steps;
mod input;
mod link;
mod listener;
mod listeners;
mod passed;
mod places;
mod server;
mod tally;
pub mod testing;
mod transport;
mod unix;
mod waiting;

pub use adopt::{AdoptError, adopt};
pub use gate::ListenerState;
pub use listener::{BindError, Bound, bind};
pub use listeners::{Connections, Layers, ListenerError, ListenerView, Listeners};
pub use places::ListenerLimit;
pub use server::Server;
#[cfg(feature = "internals")]
pub use transport::{ByteStack, ListenerLayers};
