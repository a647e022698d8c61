//! Floor 6: the disk of a durable store, over the system's files.

mod directory;
mod lock;
mod metered;
mod reading;
mod unsynced;

pub use directory::Directory;
pub use lock::Lock;
pub use metered::{Meter, Metered};
pub use reading::ReadDirectory;
pub use unsynced::Unsynced;
