//! Floor 2: the state that outlives the broker, stored as a list of changes, and the commit of changes.

mod change;
#[cfg(feature = "durable")]
pub mod durable;
mod error;
mod memory;
mod recorder;
mod stats;
mod store;
mod waiting;

pub use change::{Change, DeliveryRecord, MessageRecord, SessionChange};
pub use error::{LoadError, StoreError};
pub use memory::MemoryStore;
pub use recorder::Recorder;
pub use stats::{FLUSH_BOUNDS, FlushTimes, StorageState, StorageStats};
pub use store::{Position, Store};
pub use waiting::{HeldBytes, QueuedRecord, ReadRequest, StoredDelivery, WaitingMemory};
