//! Floor 6: the MQTT wing. Listeners, and one task for each connection.

mod adopt;
mod connection;
mod input;
mod later;
mod link;
mod listener;
pub mod testing;
mod wing;

pub use adopt::{Refused, adopt};
pub use listener::{Bound, bind};
pub use wing::{Limit, Wing};
