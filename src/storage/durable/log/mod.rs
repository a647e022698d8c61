//! The group-commit log: two files in turn, one record for each group of changes, one write and one sync for each record.
//!
//! A *generation* is what one file holds between two changes of file; generation g lies in file g mod 2. A generation may
//! be forgotten, and its file used again, when the store's tables have all of it.

mod error;
mod file;
mod record;
mod replay;
mod writer;

pub use error::LogError;
pub(super) use error::is_full;
pub use file::{DEFAULT_SIZE, NAMES};
pub use record::Salt;
pub use replay::{Replayed, TornTail, replay};
pub use writer::Log;
