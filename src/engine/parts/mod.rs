//! Parts of the engine that do not depend on it: limits, the table of sessions, subscribers.

pub mod admission;
pub(crate) mod assigned_ids;
pub(crate) mod attached;
pub(crate) mod granted;
pub mod options;
pub mod origin;
pub(crate) mod read_messages;
pub mod sessions;
pub mod sink;
pub mod subscriber;
pub mod topic_order;
pub mod unrecorded;
