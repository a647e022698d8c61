//! Floor 6: the console. Pages, HTTP API, live events and metrics of one broker; independent of `net`.

mod access;
mod answer;
mod assets;
mod certificates;
mod clients;
mod connections;
mod console;
mod drops;
mod events;
mod explain;
mod guard;
mod history;
mod journal;
mod listeners;
mod live;
mod live_budget;
mod login;
mod login_throttle;
mod metrics;
mod number;
mod origin;
mod overview;
mod payload;
mod publish;
mod query;
mod random;
mod retained;
mod routes;
mod server;
mod service;
mod sessions;
mod settings;
mod shorten;
mod storage;
mod stream;
mod subscriptions;
mod topics;
mod transport;
mod tree;
mod tutorial;

#[cfg(feature = "tls")]
pub use certificates::ConsoleTls;
pub use console::{Console, ConsoleParts};
pub use journal::ConsoleJournal;
pub use listeners::{ListenerControl, ListenerView, Refused};
pub use server::{Bound, Server, bind};
