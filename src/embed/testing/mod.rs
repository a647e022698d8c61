//! The test kit: a broker whose time stands still until the test moves it, that fails its clients when the test says
//! so, and that remembers what was published. For the tests of programs that speak MQTT. See `docs/testing.md`.

mod bench;
mod broker;
mod capture;
mod inject;
mod missing;
mod publications;
mod wait;

pub use broker::TestBroker;
pub use inject::FaultId;
pub use missing::Missing;

pub use crate::net::testing::{Fault, PacketKind};

pub(super) use bench::Bench;
