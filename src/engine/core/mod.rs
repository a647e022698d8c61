//! The engine's state, turns, timers, and acknowledgements that wait for a commit.

mod ask;
mod commit;
pub(crate) mod commit_wait;
pub mod durability;
mod finish;
mod other_turns;
pub mod running;
pub mod state;
pub mod stored;
mod tell;
mod tick;
pub mod timers;
pub mod turn;
