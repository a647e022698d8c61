//! Midge: an MQTT broker that lives inside a program.
//!
//! [`Broker::builder`] makes one; `docs/rust.md` shows each thing that it can do, and `docs/embedding.md` what to know of
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
#![cfg_attr(
    not(feature = "internals"),
    warn(missing_debug_implementations, unnameable_types),
    allow(dead_code, unused_imports, reason = "the rest is for the console, the tests and the fuzz targets")
)]

// A floor is private. The feature `internals` shows it to this package's tests, fuzz targets, benches and command.
#[cfg(not(feature = "internals"))]
mod codec;
#[cfg(feature = "internals")]
#[doc(hidden)]
pub mod codec;
#[cfg(not(feature = "internals"))]
mod config;
#[cfg(feature = "internals")]
#[doc(hidden)]
pub mod config;
#[cfg(all(feature = "durable", not(feature = "internals")))]
mod disk;
#[cfg(all(feature = "durable", feature = "internals"))]
#[doc(hidden)]
pub mod disk;
#[cfg(not(feature = "internals"))]
mod embed;
#[cfg(feature = "internals")]
#[doc(hidden)]
pub mod embed;
#[cfg(not(feature = "internals"))]
mod engine;
#[cfg(feature = "internals")]
#[doc(hidden)]
pub mod engine;
mod ffi;
#[cfg(all(feature = "console", not(feature = "internals")))]
mod http;
#[cfg(all(feature = "console", feature = "internals"))]
#[doc(hidden)]
pub mod http;
mod locks;
#[cfg(not(feature = "internals"))]
mod message;
#[cfg(feature = "internals")]
#[doc(hidden)]
pub mod message;
#[cfg(not(feature = "internals"))]
mod net;
#[cfg(feature = "internals")]
#[doc(hidden)]
pub mod net;
#[cfg(not(feature = "internals"))]
mod runtime;
#[cfg(feature = "internals")]
#[doc(hidden)]
pub mod runtime;
#[cfg(not(feature = "internals"))]
mod session;
#[cfg(feature = "internals")]
#[doc(hidden)]
pub mod session;
#[cfg(not(feature = "internals"))]
mod stats;
#[cfg(feature = "internals")]
#[doc(hidden)]
pub mod stats;
#[cfg(not(feature = "internals"))]
mod storage;
#[cfg(feature = "internals")]
#[doc(hidden)]
pub mod storage;
#[cfg(not(feature = "internals"))]
mod time;
#[cfg(feature = "internals")]
#[doc(hidden)]
pub mod time;
#[cfg(all(feature = "tls", not(feature = "internals")))]
mod tls;
#[cfg(all(feature = "tls", feature = "internals"))]
#[doc(hidden)]
pub mod tls;
#[cfg(not(feature = "internals"))]
mod topics;
#[cfg(feature = "internals")]
#[doc(hidden)]
pub mod topics;

pub use codec::qos::QoS;
pub use config::{Config, ConfigError, ListenAddress};
pub use embed::testing;
pub use embed::{
    AdoptOptions, Batch, Broker, BrokerBuilder, CallbackSubscription, Connections, Error, Hooks, Level,
    ListenerState, ListenerView, LogLine, Message, MessageStream, MessageView, Overflow, Polled,
    PublishOptions, Queue, QueueOptions, QueueSubscription, SubscribeOptions, Subscription,
};
pub use engine::view::clients::{ClientView, SubscriptionView};
pub use session::peer::{Credentials, Peer};
pub use stats::{DropReason, Snapshot};
pub use storage::{FLUSH_BOUNDS, FlushTimes, StorageState, StorageStats};
pub use time::Time;

/// What hooks are asked, what they answer, and what they are told.
pub mod hooks {
    pub use crate::embed::{
        AccessRequest, Action, Answer, Arrival, Cause, ConnectRequest, Decision, Deferred, Delivered,
        Departure, Dropped, Edit, EditError, Original, Passage, Subscribed, Unsubscribed, Verdict, defer,
    };
    pub use crate::session::identity::{ClientCertificate, TlsIdentity};
}

/// Words of the MQTT specifications that messages, hooks and lists of clients use.
pub mod protocol {
    pub use crate::codec::error::DecodeError;
    pub use crate::codec::properties::{Properties, Property, PropertyId, PropertyIter, PropertyWriter};
    pub use crate::codec::qos::QoS;
    pub use crate::codec::reason::ReasonCode;
    pub use crate::codec::subscribe::{RetainHandling, SubscriptionOptions};
    pub use crate::codec::topic::TopicError;
    pub use crate::codec::version::Version;
}

/// The values of a [`Config`] with their types, and what can be wrong with one.
pub mod settings {
    pub use crate::config::settings::*;
    pub use crate::config::{
        ClientCertificates, ConfigError, ErrorKind, ListenAddress, ProxyProtocol, Secret, Transport,
    };
}

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
    #[cfg(feature = "durable")]
    #[doc = include_str!("../docs/storage.md")]
    struct Storage;
    #[doc = include_str!("../docs/embedding.md")]
    struct Embedding;
}
