//! The test kit: a broker whose time stands still until the test moves it, that fails its clients when the test says
//! so, and that remembers what was published. For the tests of programs that speak MQTT. See `docs/testing.md`.
//!
//! ```
//! use std::time::Duration;
//!
//! use midge::testing::{Fault, PacketKind, TestBroker};
//! use midge::{Config, PublishOptions};
//!
//! # fn main() -> Result<(), midge::Error> {
//! let broker = TestBroker::start(&Config::new())?;
//! let address = broker.address("tcp"); // where the program under test connects: a free port
//! broker.inject(Fault::drop(PacketKind::Puback).client("sensor"))?; // its next message is not acknowledged
//!
//! let mut options = PublishOptions::default().retained();
//! options.message_expiry_interval = Some(600);
//! broker.publish("news", "rain", &options)?;
//! broker.assert_published("news", "rain");
//! broker.advance(Duration::from_secs(3600))?;
//! assert_eq!(broker.stats().retained_messages, 0);
//! # assert!(address.is_some());
//! # Ok(())
//! # }
//! ```

mod bench;
mod broker;
mod capture;
mod directory;
mod disk;
#[cfg(feature = "durable")]
mod faulty_disk;
mod inject;
mod lives;
mod missing;
mod publications;
mod wait;

pub use broker::TestBroker;
pub use disk::{Crash, Disk};
pub use inject::FaultId;
pub use missing::Missing;

pub use crate::net::testing::{Fault, PacketKind};

pub(super) use bench::Bench;
#[cfg(feature = "durable")]
pub(super) use disk::DiskControl;
#[cfg(feature = "durable")]
pub(super) use faulty_disk::FaultyDisk;
