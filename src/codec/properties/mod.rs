//! Properties of MQTT 5 packets (section 2.2.2).

mod block;
mod property;
#[cfg(test)]
mod tests;
mod writer;

pub use block::{Properties, PropertyIter};
pub use property::{Property, PropertyId};
pub use writer::{MESSAGE_EXPIRY_INTERVAL_LEN, PropertyWriter, TOPIC_ALIAS_LEN, subscription_identifier_len};

pub(crate) use property::place;
