//! Floor 3: subscriptions, the match of a topic to its subscribers, and the retained messages.

mod cache;
mod exact;
mod filter_ends;
mod level;
mod matches;
#[cfg(test)]
mod proptests;
mod retained;
mod router;
mod sharded;
mod slab_growth;
mod subscriber_set;
mod trie;
mod versions;

pub use cache::MatchCache;
pub use matches::{Group, Match, Matches, Readiness, SharedMatch};
pub use retained::{Retained, RetainedFull};
pub use router::{Router, Subscribed};
pub use subscriber_set::Identity;
pub use versions::Stamp;
