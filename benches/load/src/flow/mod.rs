//! The steady flows (p2p, fanin, fanout, latency, wild): publishers and
//! subscribers on one thread, every message accounted for.
//!
//! A payload starts with: u64 CLOCK_MONOTONIC ns, u16 publisher, u16 run, u32
//! sequence (little endian). With --rate the timestamp is the time the message was DUE,
//! so waiting in this generator or in a blocked socket counts as latency
//! (no coordinated omission); without, it is the time of the write.

mod pairing;
mod plan;
mod run;

pub use pairing::HEAD;
pub use plan::{Plan, Shape, Topics};
pub use run::run;
