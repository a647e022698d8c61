//! Who may do what: the questions, who answers them, and packets that wait for an answer.

pub mod edit;
pub mod hooks;
pub(crate) mod pending_decisions;
