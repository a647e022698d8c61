//! Observation: one stream of events, the sinks that see it, and the kinds that each sink wants.

pub(crate) mod event_queue;
pub(crate) mod host_sink;
pub mod log;
pub mod mask;
pub mod sink;
pub(crate) mod stream;
