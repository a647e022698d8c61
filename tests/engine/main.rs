//! The engine without I/O: simulated clients, simulated time, one module per topic of the specification.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

#[path = "../support/deadline.rs"]
mod deadline;
#[cfg(feature = "durable")]
#[path = "../simulation/dice.rs"]
mod dice;
#[cfg(feature = "durable")]
#[path = "../support/durable_check.rs"]
mod durable_check;
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

mod aliases;
mod auth;
mod authority;
mod bounds;
mod burst;
mod burst_seen;
mod connect;
mod corpora;
mod counters;
mod departed;
mod drop_reasons;
mod ended;
mod expiry;
mod explain;
#[cfg(feature = "durable")]
mod failing_disk;
mod foretold;
mod framing;
mod hold;
mod hooks;
mod inflight;
mod keep_alive;
mod kicks;
mod lent;
mod local;
mod log;
mod manage;
mod memory;
mod outbox;
mod publish;
mod queue;
mod reasons;
mod redelivery;
mod restore;
mod retained;
mod retained_pace;
mod rules;
mod session;
mod shared;
mod sinks;
mod stalled;
mod store;
mod stored;
mod subscribe;
mod sys;
mod threads;
mod together;
mod users;
mod will;
mod work;
mod writes;
