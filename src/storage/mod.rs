//! Floor 3: what an acknowledgement stands for, and when it is safe.

mod memory;
mod store;

pub use memory::MemoryStore;
pub use store::{Record, Store, Ticket};
