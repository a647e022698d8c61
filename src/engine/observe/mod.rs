//! What happens, as one stream of events: who sees it, and what each wants to see.

pub(crate) mod event_queue;
pub(crate) mod host_sink;
pub mod log;
pub mod mask;
pub mod sink;
pub(crate) mod stream;
