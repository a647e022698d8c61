//! What is done with a whole store: checked, exported, imported, copied, compacted.

mod maker;
mod scratch;

pub(in crate::storage::durable) use maker::NewStore;
pub use scratch::Scratch;
