//! What a broker in test mode has beside: a clock that is moved by hand, and faults between it and its clients.

mod bed;
mod fault;
mod faults;
mod line;
mod probe;
mod pulse;
mod round;

pub(super) use bed::Door;
pub use bed::Testbed;
pub use fault::{Fault, PacketKind};
pub(super) use line::Line;
pub(super) use probe::Seat;
