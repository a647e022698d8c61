//! Test mode: faults between the broker and its clients, and time that a test moves by hand.

mod fault;
mod faults;
mod probe;
mod pulse;
mod round;
mod test_line;
mod test_net;

pub use fault::{Fault, PacketKind};
pub(super) use probe::ProbeSlot;
pub(super) use test_line::TestLine;
pub(super) use test_net::TestListener;
pub use test_net::{Beside, TestNet};
