//! What happens, told to those who watch: host events, the console's journal, the log, publish taps, the test kit.

pub(crate) mod event_queue;
pub mod journal;
pub mod log;
pub mod observer;
pub mod publish_taps;
