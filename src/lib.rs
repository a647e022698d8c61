//! Midge: an MQTT broker that lives inside a program.
//!
//! The floors of the house are described in `docs/design.md`; a module imports only from floors below it.

pub mod codec;
pub mod config;
pub mod embed;
pub mod engine;
mod ffi;
pub mod message;
pub mod net;
pub mod runtime;
pub mod session;
pub mod stats;
pub mod storage;
pub mod time;
pub mod topics;

pub use embed::testing;

/// The Rust code of README.md is compiled and run as a test.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
