//! What a broker in test mode has beside: a clock that is moved by hand, and faults between it and its clients.

mod fault;
mod faults;
mod faulty_link;
mod probe;
mod pulse;
mod round;
mod test_net;

pub use fault::{Fault, PacketKind};
pub(super) use faulty_link::FaultyLink;
pub(super) use probe::ProbeSlot;
pub(super) use test_net::TestListener;
pub use test_net::TestNet;
