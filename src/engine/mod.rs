//! Floor 4: the whole broker without I/O, one file per verb. The time is an argument.

pub mod access;
pub mod connection;
pub mod core;
pub mod observe;
pub mod parts;
pub mod publish;
pub mod subscribe;
pub mod view;
