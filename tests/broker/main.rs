//! The broker as a host program has it: started and stopped in a living process, with real sockets.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout
)]

#[path = "../support/deadline.rs"]
mod deadline;

#[cfg(feature = "accounts")]
mod access;
mod adopt;
mod asynchronous;
mod bounds;
mod client;
mod connection_end;
mod descriptors;
#[cfg(feature = "durable")]
mod durable;
mod fork;
mod hooks;
mod host;
mod lifecycle;
mod listeners;
mod log;
mod network;
mod panics;
mod process;
mod publishing;
mod queue_fd;
mod refused;
mod rules;
mod stop;
mod takeover;
