//! Floor 2: what outlives the broker, as a list of changes, and when a change is safe.

mod change;
mod error;
mod memory;
mod recorder;
mod store;

pub use change::{Change, DeliveryRecord, MessageRecord, SessionChange};
pub use error::{LoadError, StoreError};
pub use memory::MemoryStore;
pub use recorder::Recorder;
pub use store::{Position, Store};
