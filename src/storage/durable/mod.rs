//! The durable store: what is committed lies on a disk.

mod decode;
pub mod disk;
mod encode;
mod journal;
mod keys;
mod overlay;
mod recover;
mod rows;
mod state;
mod tables;
mod wire;
