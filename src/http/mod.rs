//! Floor 6: the console wing. Pages, HTTP API, live events and metrics of one broker; it knows nothing of the MQTT wing.

mod access;
mod answer;
mod assets;
mod brute;
mod clients;
mod console;
mod guard;
mod history;
mod login;
mod metrics;
mod overview;
mod payload;
mod query;
mod random;
mod routes;
mod server;
mod service;
mod settings;
mod stream;
mod subscriptions;

pub use console::{Console, ListenerView, Surroundings};
pub use server::{Bound, Server, bind};
