//! The subscriptions to filters without wildcards: a hash table from the filter to its subscribers.

use std::hash::BuildHasher;
use std::sync::Arc;

use hashbrown::DefaultHashBuilder;

use crate::topics::matches::Match;
use crate::topics::sharded::{Sharded, give_back};
use crate::topics::subscriber_set::{Identity, SubscriberSet};

/// Filters without wildcards and without a group.
///
/// They are stored without gaps beside the hash table, whose free entries are small.
pub(super) struct Exact<S> {
    hasher: DefaultHashBuilder,
    places: Sharded<FilterSlot>,
    topics: Vec<Topic<S>>,
}

/// Room for this many filters is kept when they are removed.
const FEW: usize = 64;

/// The index of a filter, and the bits of its hash that a growing table needs.
struct FilterSlot {
    hash: u32,
    at: u32,
}

/// One filter and its subscribers; 32 bytes with an `S` of 8.
struct Topic<S> {
    filter: Arc<str>,
    subscribers: SubscriberSet<Match<S>>,
}

impl<S: Clone + Identity> Exact<S> {
    pub(super) fn new(hasher: DefaultHashBuilder) -> Exact<S> {
        Exact { hasher, places: Sharded::new(), topics: Vec::new() }
    }

    /// Adds a subscription to the filter whose hash is `hash`; returns the stored filter and the subscription it replaced.
    pub(super) fn put(&mut self, hash: u64, filter: &str, entry: Match<S>) -> (Arc<str>, Option<Match<S>>) {
        if let Some(at) = self.find(hash, filter)
            && let Some(topic) = self.topics.get_mut(at)
        {
            return (Arc::clone(&topic.filter), topic.subscribers.put(entry));
        }
        let filter: Arc<str> = Arc::from(filter);
        // Neither fails while there are fewer than 2^32 filters.
        if let Ok(at) = u32::try_from(self.topics.len())
            && let Some(shard) = self.places.of_mut(hash)
        {
            let place = FilterSlot { hash: hash as u32, at };
            shard.insert_unique(place.spread(), place, FilterSlot::spread);
            // Not to twice the size: with a million filters, half would be unused.
            if self.topics.len() == self.topics.capacity() {
                self.topics.reserve_exact(self.topics.len() / 8 + 4);
            }
            self.topics.push(Topic { filter: Arc::clone(&filter), subscribers: SubscriberSet::One(entry) });
        }
        (filter, None)
    }

    /// Removes a subscription and returns it.
    pub(super) fn remove(&mut self, hash: u64, filter: &str, identity: usize) -> Option<Match<S>> {
        let at = self.find(hash, filter)?;
        let topic = self.topics.get_mut(at)?;
        let removed = topic.subscribers.remove(identity);
        if topic.subscribers.is_empty() {
            self.remove_topic(hash, at);
        }
        removed
    }

    /// The subscriptions to `topic`, whose hash is `hash`.
    pub(super) fn get(&self, hash: u64, topic: &str) -> &[Match<S>] {
        self.find(hash, topic)
            .and_then(|at| self.topics.get(at))
            .map_or(&[], |entry| entry.subscribers.as_slice())
    }

    /// Copies the subscriptions of one shard to `out`; false if there is no such shard.
    pub(super) fn copy_shard(&self, shard: usize, out: &mut Vec<(Arc<str>, Match<S>)>) -> bool {
        let Some(shard) = self.places.at(shard) else { return false };
        for topic in shard.iter().filter_map(|place| self.topics.get(place.at as usize)) {
            out.extend(
                topic.subscribers.as_slice().iter().map(|entry| (Arc::clone(&topic.filter), entry.clone())),
            );
        }
        true
    }

    #[inline]
    fn find(&self, hash: u64, filter: &str) -> Option<usize> {
        let is_wanted = |place: &FilterSlot| {
            place.hash == hash as u32
                && self.topics.get(place.at as usize).is_some_and(|topic| &*topic.filter == filter)
        };
        let place = self.places.of(hash)?.find(spread(hash as u32), is_wanted)?;
        Some(place.at as usize)
    }

    /// Removes a filter; the last one moves to its index.
    fn remove_topic(&mut self, hash: u64, at: usize) {
        if let Some(shard) = self.places.of_mut(hash)
            && let Ok(place) = shard.find_entry(spread(hash as u32), |place| place.at as usize == at)
        {
            place.remove();
            give_back(shard, FilterSlot::spread);
        }
        self.topics.swap_remove(at);
        if let Some(moved) = self.topics.get(at) {
            let (hash, was_at) = (self.hasher.hash_one(&*moved.filter), self.topics.len());
            let place = self
                .places
                .of_mut(hash)
                .and_then(|shard| shard.find_mut(spread(hash as u32), |place| place.at as usize == was_at));
            if let Some(place) = place {
                place.at = at as u32;
            }
        }
        // A single filter that comes and goes allocates nothing.
        if self.topics.len() * 4 + FEW < self.topics.capacity() {
            self.topics.shrink_to(self.topics.len() * 2);
        }
    }

    #[cfg(test)]
    pub(super) fn is_bare(&self) -> bool {
        self.topics.is_empty() && self.places.is_empty()
    }
}

impl FilterSlot {
    fn spread(&self) -> u64 {
        spread(self.hash)
    }
}

/// The hash of a slot within its shard.
fn spread(hash: u32) -> u64 {
    u64::from(hash).wrapping_mul(0x9E37_79B9_7F4A_7C15)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::{FilterSlot, Topic};

    #[test]
    fn a_filter_takes_32_bytes_and_its_place_8() {
        assert_eq!((size_of::<Topic<Arc<()>>>(), size_of::<FilterSlot>()), (32, 8));
    }
}
