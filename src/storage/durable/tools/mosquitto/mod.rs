//! The file in which mosquitto keeps its state: `mosquitto.db`, in the version that mosquitto 2 writes.
//!
//! It is a list of chunks: a kind, a length, fields of fixed size, then texts. Lengths and small numbers are in network
//! order, numbers of 64 bits in that of the machine, which is taken to be little-endian.

mod chunk;
mod content;
mod fill;

pub(super) use fill::import;
