//! What the fuzz targets do, as plain functions: cargo-fuzz feeds them random bytes, and `tests/engine/corpora.rs` of
//! the library replays the committed corpora without it. Modules name each other by `super::`, for each has another root.

mod acl;
mod codec;
mod config;
mod engine;
mod filter;
#[cfg(feature = "durable")]
mod import;
mod input;
#[cfg(feature = "websocket")]
mod layers;
mod line;
#[cfg(feature = "durable")]
mod log_replay;
mod packets;
#[cfg(feature = "accounts")]
mod passwords;
mod peer;
#[cfg(feature = "websocket")]
mod proxy;
mod session;
#[cfg(feature = "websocket")]
mod websocket;
mod world;

/// A fuzz target: it panics when something is wrong.
pub type Target = fn(&[u8]);

/// Every target by its name, which is that of its corpus.
pub const TARGETS: &[(&str, Target)] = &[
    ("decode", codec::decode_any),
    ("roundtrip", codec::roundtrip),
    ("session", session::session),
    ("engine", engine::engine),
    ("config", config::config),
    ("filter", filter::filter),
    ("acl", acl::acl),
    #[cfg(feature = "accounts")]
    ("passwords", passwords::passwords),
    #[cfg(feature = "durable")]
    ("import", import::import_any),
    #[cfg(feature = "durable")]
    ("log_replay", log_replay::log_replay),
    #[cfg(feature = "websocket")]
    ("proxy", proxy::proxy),
    #[cfg(feature = "websocket")]
    ("websocket", websocket::websocket),
    #[cfg(feature = "websocket")]
    ("auto", layers::auto),
    #[cfg(feature = "websocket")]
    ("layers", layers::layers),
];

/// Runs the target `name` on one input.
pub fn run(name: &str, data: &[u8]) {
    for (target, function) in TARGETS {
        if *target == name {
            function(data);
        }
    }
}
