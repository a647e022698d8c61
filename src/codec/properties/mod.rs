//! Properties of MQTT 5 packets (section 2.2.2).

mod block;
mod property;
#[cfg(test)]
mod tests;
mod writer;

pub use block::{Properties, PropertyIter};
pub use property::{Property, PropertyId};
pub use writer::PropertyWriter;

pub(crate) use property::place;
