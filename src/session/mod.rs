//! Floor 3: one client's protocol state.

pub mod acknowledged;
pub mod aliases;
pub mod attachment;
pub mod chunk;
pub mod delivery;
pub mod epoch;
pub mod event;
mod flush;
pub mod held_acks;
pub mod identity;
pub mod inbound;
pub mod inflight;
pub mod last_bytes;
pub mod link;
pub mod outbound;
pub mod outbox;
pub mod pending;
pub mod plan;
pub mod pool;
pub mod queue;
pub mod record;
mod restore;
pub mod retained_walks;
pub mod state;
pub mod subscriptions;
mod transmit;
mod upkeep;
