//! What a broker in test mode has beside: a clock that is moved by hand, and faults between it and its clients.

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
pub use test_net::TestNet;
