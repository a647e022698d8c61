//! Who may do what: the questions, the authorities that answer them, and packets that wait for an answer.

pub mod authority;
pub mod chain;
pub mod edit;
pub mod hooks;
pub(crate) mod pending_decisions;
