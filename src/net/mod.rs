//! Floor 6: the MQTT server. Listeners, and one task for each connection.

mod adopt;
#[cfg(feature = "tls")]
mod certificates;
mod connection;
mod flush_queue;
mod handshake;
mod handshake_steps;
mod input;
mod link;
mod listener;
mod places;
mod server;
pub mod testing;
mod transport;
mod unix;
mod waiting;

pub use adopt::{AdoptError, adopt};
pub use listener::{BindError, Bound, bind};
pub use places::ListenerLimit;
pub use server::Server;
