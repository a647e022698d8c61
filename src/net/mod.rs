//! Floor 6: the MQTT wing. Listeners, and one task for each connection.

mod connection;
mod input;
mod link;
mod listener;
pub mod testing;
mod wing;

pub use listener::{Bound, Connections, bind};
pub use wing::Wing;
