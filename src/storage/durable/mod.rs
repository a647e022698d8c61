//! The durable store: what is committed lies on a disk.

mod checkpoint;
mod decode;
pub mod disk;
mod encode;
mod exclusive;
mod journal;
mod keys;
pub mod log;
mod overlay;
mod reads;
mod recover;
mod rows;
mod set_aside;
mod state;
mod store;
mod tables;
pub mod tools;
mod trouble;
mod wire;

pub use set_aside::set_aside;
pub use store::{DurableOptions, DurableStats, DurableStore};
pub use tables::FILE;
