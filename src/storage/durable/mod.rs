//! The durable store: what is committed lies on a disk.

pub mod disk;
pub mod log;
