//! What the broker shows of itself: clients, subscriptions, `$SYS`, and explanations.

pub mod clients;
pub mod explain;
pub mod sys;
