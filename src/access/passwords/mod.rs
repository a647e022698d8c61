//! The password file: users and hashes of their passwords, in mosquitto's format.

pub mod authority;
pub mod file;
pub mod hash;
mod pool;
mod throttle;
