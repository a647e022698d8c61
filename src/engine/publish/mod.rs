//! Publishing: a message is received and delivered to the subscribers of its topic.

pub mod acknowledge;
mod burst;
pub mod deliver;
mod hold;
pub mod receive;
mod record;
pub(crate) mod will;
