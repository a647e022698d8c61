//! What is done with a whole store: checked, exported, imported, copied, compacted.

mod backup;
mod builder;
mod check;
mod compact;
mod date;
mod export;
mod fields;
mod import;
mod line;
mod maker;
mod mosquitto;
mod reading;
mod scratch;

pub(in crate::storage::durable) use backup::copy;
pub use backup::{BackupOptions, backup};
pub use builder::{ImportOptions, Imported};
pub use check::{StoreReport, check};
pub use compact::{Compacted, compact};
pub use export::{ExportError, export};
pub use import::{ImportError, import};
pub(in crate::storage::durable) use maker::NewStore;
pub use scratch::Scratch;
