//! A broker with TLS, and clients of other makers.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod clients;
#[cfg(feature = "console")]
mod console;
mod files;
mod handshakes;
#[cfg(feature = "certificate")]
mod page;
mod protocols;
mod reload;
mod world;

#[allow(dead_code)]
#[path = "../support/certificates.rs"]
mod certificates;
#[allow(dead_code)]
#[path = "../support/deadline.rs"]
mod deadline;
