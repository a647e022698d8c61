//! The durable store: what is committed lies on a disk.

mod checkpoint;
mod decode;
pub mod disk;
mod encode;
mod journal;
mod keys;
pub mod log;
mod overlay;
mod recover;
mod rows;
mod state;
mod store;
mod tables;
mod wire;

pub use store::{DurableOptions, DurableStats, DurableStore};
