//! The test kit as a developer's tests use it: real sockets, a clock that is moved by hand, faults, what was published.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout
)]

#[path = "../broker/client.rs"]
#[allow(dead_code, reason = "shared with the tests of the broker")]
mod client;
mod clock;
mod documentation;
#[cfg(feature = "durable")]
mod durable;
mod example;
mod faults;
mod hooks;
mod kit;
mod lifecycle;
mod mosquitto;
mod published;
