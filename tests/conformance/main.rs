//! The specifications, statement by statement: every one that binds a server is obeyed somewhere and has a test, or has
//! a written reason why nothing here can break it. `make conformance` writes docs/CONFORMANCE.md from this.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

#[cfg(feature = "durable")]
#[path = "../simulation/dice.rs"]
mod dice;
#[cfg(feature = "durable")]
#[path = "../support/durable_check.rs"]
mod durable_check;
#[path = "../engine/harness/mod.rs"]
#[allow(dead_code, unused_imports, reason = "the engine's tests use all of it")]
mod harness;
#[cfg(feature = "durable")]
#[path = "../support/loaded.rs"]
mod loaded;
#[path = "../support/log_store.rs"]
mod log_store;
#[cfg(feature = "durable")]
#[path = "../support/sim_disk.rs"]
mod sim_disk;
#[cfg(feature = "durable")]
#[path = "../support/snapshot.rs"]
mod snapshot;

mod bytes;
mod connect;
mod endings;
mod forwarding;
mod old;
mod old_messages;
mod properties;
mod scan;
mod sessions;
mod sizes;
mod statements;
mod table;
