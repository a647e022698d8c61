//! The console over real sockets: access, lists, live streams, publishing, and its end.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    missing_docs
)]

mod access;
mod activity;
#[path = "../broker/client.rs"]
#[allow(dead_code, reason = "other tests use the rest")]
mod client;
mod clock;
mod explain;
mod http;
#[path = "../testing/kit.rs"]
#[allow(dead_code, reason = "other tests use the rest")]
mod kit;
mod limits;
mod listeners;
mod lists;
mod live;
mod orders;
#[cfg(feature = "accounts")]
mod passwords;
mod stop;
mod storage;
