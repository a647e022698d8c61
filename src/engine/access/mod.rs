//! Access control: requests, the authorities that decide them, and packets that wait for a decision.

pub mod authority;
pub mod chain;
pub mod edit;
pub mod hooks;
pub(crate) mod pending_decisions;
