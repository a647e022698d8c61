//! The broker's network tests again, with every connection in scrambled records.

#[path = "../broker/network.rs"]
mod network;

use super::deadline;

/// What the network tests know of clients and brokers; their listeners are dressed.
mod client {
    use std::sync::Arc;

    use midge::config::Config;
    use midge::embed::Broker;

    pub use super::super::client::{Client, PATIENCE, address};
    use super::super::layers::Scramble;
    use super::super::{DRESS, Dress};

    pub fn config() -> Config {
        DRESS.set(Dress { layers: Some(Arc::new(|| vec![Scramble::boxed()])), relay: true });
        super::super::client::config()
    }

    pub fn broker() -> Broker {
        Broker::start(&config()).unwrap()
    }

    pub fn broker_with_workers(workers: &str) -> Broker {
        let mut config = config();
        config.set("runtime.worker_threads", workers).unwrap();
        Broker::start(&config).unwrap()
    }
}
