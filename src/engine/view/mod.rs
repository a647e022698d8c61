//! Views of the broker's state: clients, subscriptions, `$SYS`, and explanations.

pub mod clients;
pub mod explain;
pub mod sys;
