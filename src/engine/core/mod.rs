//! The engine's state, turns, timers, and acknowledgements that wait for a commit.

pub mod commit_wait;
pub mod durability;
pub mod state;
pub mod timers;
pub mod turn;
