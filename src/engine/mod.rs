//! Floor 4: the whole broker without I/O, one file per verb. It is told the time and never asks for it.

pub mod access;
pub mod connection;
pub mod core;
pub mod observe;
pub mod parts;
pub mod publish;
pub mod subscribe;
pub mod view;
