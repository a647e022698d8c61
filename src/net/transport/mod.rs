//! What lies between a socket and the engine.

mod descriptor;

pub(super) use descriptor::{Descriptor, Received};
