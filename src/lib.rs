//! Midge: an MQTT broker that lives inside a program.
//!
//! [`Broker::start`] starts one; `docs/rust.md` shows each thing that it can do, and `docs/embedding.md` what to know of
//! threads, signals, `fork` and memory.
//!
//! ```
//! use midge::{Broker, Config, PublishOptions, SubscribeOptions};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let mut config = Config::new();
//! config.set("listener.tcp.bind", "127.0.0.1:0")?;
//! let broker = Broker::start(&config)?;
//! let mut messages = broker.subscribe("rooms/#", &SubscribeOptions::default())?;
//! broker.publish("rooms/1", "warm", &PublishOptions::default())?;
//! println!("{:?}", messages.next());
//! broker.stop(None)?;
//! # Ok(()) }
//! ```
//!
//! The floors of the house are described in `docs/design.md`; a module imports only from floors below it.

pub mod codec;
pub mod config;
pub mod embed;
pub mod engine;
mod ffi;
#[cfg(feature = "console")]
pub mod http;
pub mod message;
pub mod net;
pub mod runtime;
pub mod session;
pub mod stats;
pub mod storage;
pub mod time;
pub mod topics;

pub use codec::qos::QoS;
pub use config::Config;
pub use embed::testing;
pub use embed::{
    Answer, Batch, Broker, BrokerBuilder, CallbackSubscription, Decision, Edit, Error, Hooks, Level, LogLine, Message,
    MessageStream, MessageView, Overflow, Passage, Polled, PublishOptions, Queue, QueueOptions,
    QueueSubscription, SubscribeOptions, Subscription, Verdict, defer,
};

/// Tests of the library may name it as those outside do.
#[cfg(test)]
extern crate self as midge;

/// The Rust code of the pages is compiled and run as a test.
#[cfg(doctest)]
mod pages {
    #[doc = include_str!("../README.md")]
    struct Readme;
    #[doc = include_str!("../docs/rust.md")]
    struct Rust;
    #[doc = include_str!("../docs/embedding.md")]
    struct Embedding;
}
