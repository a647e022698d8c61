//! Floor 6: the disk of a durable store, over the system's files.

mod directory;
mod lock;

pub use directory::Directory;
pub use lock::Lock;
