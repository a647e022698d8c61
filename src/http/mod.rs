//! Floor 6: the console. Pages, HTTP API, live events and metrics of one broker; independent of `net`.

mod access;
mod answer;
mod assets;
mod clients;
mod console;
mod drops;
mod events;
mod explain;
mod guard;
mod history;
mod journal;
mod live;
mod live_budget;
mod login;
mod login_throttle;
mod metrics;
mod number;
mod overview;
mod payload;
mod publish;
mod query;
mod random;
mod retained;
mod routes;
mod server;
mod service;
mod settings;
mod shorten;
mod stream;
mod subscriptions;
mod topics;
mod tree;
mod tutorial;

pub use console::{Console, ConsoleParts, ListenerView};
pub use journal::ConsoleJournal;
pub use server::{Bound, Server, bind};
