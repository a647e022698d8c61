//! Floor 3: who hears what. Subscriptions and the answers to "who gets this topic", and the retained messages.

mod cache;
mod ends;
mod exact;
mod generations;
mod level;
mod matches;
#[cfg(test)]
mod proptests;
mod retained;
mod room;
mod roster;
mod router;
mod sharded;
mod trie;

pub use cache::MatchCache;
pub use generations::Stamp;
pub use matches::{Group, Match, Matches, Readiness, SharedMatch};
pub use retained::{Retained, RetainedFull};
pub use roster::Identity;
pub use router::{Router, Subscribed};
