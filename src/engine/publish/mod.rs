//! A message comes in and goes to everyone who subscribes to its topic.

pub mod acknowledge;
mod burst;
pub mod deliver;
pub mod receive;
pub(crate) mod will;
