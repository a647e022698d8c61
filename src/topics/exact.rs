//! The subscriptions to filters without wildcards: a hash table from the filter to its subscribers.

use std::hash::BuildHasher;
use std::sync::Arc;

use hashbrown::DefaultHashBuilder;
use hashbrown::hash_table::Entry;

use crate::topics::matches::Match;
use crate::topics::roster::{Identity, Roster};
use crate::topics::sharded::{Sharded, give_back};

/// Filters without wildcards and without a group.
pub(super) struct Exact<S> {
    hasher: DefaultHashBuilder,
    topics: Sharded<Topic<S>>,
}

/// One filter and who subscribed to it; 32 bytes with an `S` of 8.
struct Topic<S> {
    filter: Arc<str>,
    subscribers: Roster<Match<S>>,
}

impl<S: Clone + Identity> Exact<S> {
    pub(super) fn new(hasher: DefaultHashBuilder) -> Exact<S> {
        Exact { hasher, topics: Sharded::new() }
    }

    /// Adds a subscription; returns the stored filter and the subscription it replaced.
    pub(super) fn put(&mut self, filter: &str, entry: Match<S>) -> (Arc<str>, Option<Match<S>>) {
        let hash = self.hasher.hash_one(filter);
        let hasher = &self.hasher;
        let Some(shard) = self.topics.of_mut(hash) else { return (Arc::from(filter), None) };
        match shard.entry(hash, |topic| &*topic.filter == filter, |topic| hasher.hash_one(&*topic.filter)) {
            Entry::Occupied(topic) => {
                let topic = topic.into_mut();
                (Arc::clone(&topic.filter), topic.subscribers.put(entry))
            }
            Entry::Vacant(place) => {
                let filter: Arc<str> = Arc::from(filter);
                place.insert(Topic { filter: Arc::clone(&filter), subscribers: Roster::One(entry) });
                (filter, None)
            }
        }
    }

    /// Removes a subscription and returns it.
    pub(super) fn remove(&mut self, filter: &str, identity: usize) -> Option<Match<S>> {
        let hash = self.hasher.hash_one(filter);
        let hasher = &self.hasher;
        let shard = self.topics.of_mut(hash)?;
        let mut topic = shard.find_entry(hash, |topic| &*topic.filter == filter).ok()?;
        let removed = topic.get_mut().subscribers.remove(identity);
        if topic.get().subscribers.is_empty() {
            topic.remove();
            give_back(shard, |topic| hasher.hash_one(&*topic.filter));
        }
        removed
    }

    /// The subscriptions to `topic`, whose hash is `hash`.
    pub(super) fn get(&self, hash: u64, topic: &str) -> &[Match<S>] {
        self.topics
            .of(hash)
            .and_then(|shard| shard.find(hash, |entry| &*entry.filter == topic))
            .map_or(&[], |entry| entry.subscribers.as_slice())
    }

    /// Copies the subscriptions of one shard to `out`; false if there is no such shard.
    pub(super) fn copy_shard(&self, shard: usize, out: &mut Vec<(Arc<str>, Match<S>)>) -> bool {
        let Some(shard) = self.topics.at(shard) else { return false };
        for topic in shard {
            out.extend(
                topic.subscribers.as_slice().iter().map(|entry| (Arc::clone(&topic.filter), entry.clone())),
            );
        }
        true
    }

    #[cfg(test)]
    pub(super) fn is_bare(&self) -> bool {
        self.topics.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::Topic;

    #[test]
    fn a_filter_takes_32_bytes() {
        assert_eq!(size_of::<Topic<Arc<()>>>(), 32);
    }
}
