//! A broker without a network: clients, lines, a clock, a store and a host program, all in one thread's hands.

mod client;
mod connect;
mod dice;
mod inbox;
mod line;
mod network;
mod onlooker;
mod received;
mod store;

pub use client::{Client, Packets, id, version_pairs};
pub use connect::{LastWill, Opts, opts};
pub use dice::Dice;
pub use inbox::{Inbox, Pushed};
pub use line::Line;
pub use network::Network;
pub use onlooker::Onlooker;
pub use received::{Message, Received};
pub use store::{Commit, LateStore};

use midge::codec::qos::QoS;
use midge::codec::version::Version;

pub const V31: Version = Version::V31;
pub const V311: Version = Version::V311;
pub const V5: Version = Version::V5;
/// Every version.
pub const ALL: [Version; 3] = [V31, V311, V5];
/// Every QoS.
pub const QOS: [QoS; 3] = [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce];
pub const Q0: QoS = QoS::AtMostOnce;
pub const Q1: QoS = QoS::AtLeastOnce;
pub const Q2: QoS = QoS::ExactlyOnce;
