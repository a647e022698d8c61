//! Matches cached by one thread: a hit costs no lock and no allocation.

use std::sync::Arc;

use crate::codec::topic::TopicName;
use crate::topics::matches::Matches;
use crate::topics::router::Router;
use crate::topics::subscriber_set::Identity;
use crate::topics::versions::{Stamp, VersionSlot};

/// The matches of the topics that a thread recently published to. Each thread has its own cache.
///
/// It keeps the subscribers of its matches alive until they are replaced; see [`MatchCache::forget_stale`].
pub struct MatchCache<S> {
    /// Sets of [`WAYS`] slots; a topic may be in any slot of the set that its hash selects. Allocated at first use.
    slots: Vec<Slot<S>>,
    /// The number of sets, a power of two or 0.
    sets: usize,
    /// The router that computed the matches.
    router: u64,
    /// The total number of subscribers in the cached matches.
    weight: usize,
    /// The slot of a set where the search for one to replace starts.
    hand: usize,
    /// Hash bits of topics that missed and were not cached: the second miss caches a topic. Allocated at first use.
    seen: Vec<u16>,
    /// Matches that were not cached, kept to reuse their memory.
    spare: Option<Arc<Matches<S>>>,
}

/// Matches that are taken out of the cache.
pub struct TakenMatches<S> {
    /// The slot that they came from, and the topic's hash.
    slot: Option<(usize, u64)>,
    /// The matches.
    pub matches: Arc<Matches<S>>,
}

struct Slot<S> {
    hash: u64,
    stamp: Stamp,
    place: VersionSlot,
    /// Whether the slot has been used since it was last considered for replacement.
    is_used: bool,
    topic: String,
    matches: Option<Arc<Matches<S>>>,
}

const WAYS: usize = 4;
/// Misses that are remembered; a power of two.
const SEEN: usize = 4096;
/// Matches with capacity for more subscribers are not kept as spare memory.
const LARGEST_SPARE: usize = 1024;
/// Longer topics, in bytes, are not cached.
const MAX_TOPIC: usize = 256;
/// The largest mean number of subscribers per slot when the cache is full.
const MEAN_WEIGHT: usize = 32;

impl<S: Clone + Identity> MatchCache<S> {
    /// A cache for about `capacity` topics; none if it is 0.
    pub fn new(capacity: usize) -> MatchCache<S> {
        let sets = if capacity == 0 { 0 } else { capacity.div_ceil(WAYS).next_power_of_two() };
        MatchCache { slots: Vec::new(), sets, router: 0, weight: 0, hand: 0, seen: Vec::new(), spare: None }
    }

    /// The subscriptions that match `topic`, as [`Router::matches`] finds them: cached or computed.
    ///
    /// A change to the subscriptions that returned before this call is in the result.
    pub fn find(&mut self, router: &Router<S>, topic: TopicName<'_>) -> Arc<Matches<S>> {
        let taken = self.take(router, topic);
        let matches = Arc::clone(&taken.matches);
        self.give_back(taken);
        matches
    }

    /// As [`MatchCache::find`], without the cost of another reference. The caller gives the matches back before its
    /// next call.
    pub fn take(&mut self, router: &Router<S>, topic: TopicName<'_>) -> TakenMatches<S> {
        if self.router != router.id() {
            self.clear();
            self.router = router.id();
        }
        let hash = router.hash(topic);
        let first = (hash as usize & self.sets.saturating_sub(1)) * WAYS;
        let set = self.slots.get_mut(first..first + WAYS).unwrap_or_default();
        for (way, slot) in set.iter_mut().enumerate() {
            if slot.hash == hash && slot.topic == topic.as_str() && slot.matches.is_some() {
                slot.is_used = true;
                if slot.stamp == router.stamp_at(slot.place)
                    && let Some(matches) = slot.matches.take()
                {
                    return TakenMatches { slot: Some((first + way, hash)), matches };
                }
                break;
            }
        }
        TakenMatches { slot: None, matches: self.compute(router, topic, hash) }
    }

    /// Puts taken matches back.
    pub fn give_back(&mut self, taken: TakenMatches<S>) {
        let Some((index, hash)) = taken.slot else {
            return self.keep_memory(taken.matches);
        };
        if let Some(slot) = self.slots.get_mut(index)
            && slot.hash == hash
            && slot.matches.is_none()
        {
            slot.matches = Some(taken.matches);
        }
    }

    /// Keeps the memory of matches, not their content.
    fn keep_memory(&mut self, mut spare: Arc<Matches<S>>) {
        if let Some(matches) = Arc::get_mut(&mut spare)
            && matches.direct.capacity() <= LARGEST_SPARE
        {
            matches.clear();
            self.spare = Some(spare);
        }
    }

    /// Drops stale matches, and with them the references that keep ended subscribers alive.
    pub fn forget_stale(&mut self, router: &Router<S>) {
        for slot in &mut self.slots {
            if self.router != router.id() || slot.stamp != router.stamp_at(slot.place) {
                self.weight -= slot.clear();
            }
        }
    }

    /// Drops all matches.
    pub fn clear(&mut self) {
        self.slots.clear();
        self.weight = 0;
    }

    /// The number of cached topics.
    pub fn len(&self) -> usize {
        self.slots.iter().filter(|slot| slot.matches.is_some()).count()
    }

    /// Whether no topic is cached.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether a topic missed before, not very long ago. Caching topics that occur once would evict those that
    /// recur.
    fn comes_again(&mut self, hash: u64) -> bool {
        if self.seen.is_empty() {
            self.seen.resize(SEEN, 0);
        }
        // Bits that select neither the set nor the version counters; 0 means an empty entry.
        let mark = (hash >> 48) as u16 | 1;
        let place = self.seen.get_mut((hash >> 12) as usize % SEEN);
        place.is_some_and(|seen| std::mem::replace(seen, mark) == mark)
    }

    /// Computes the matches, and caches them if the topic recurs and they are not too large.
    #[cold]
    fn compute(&mut self, router: &Router<S>, topic: TopicName<'_>, hash: u64) -> Arc<Matches<S>> {
        if !self.comes_again(hash) {
            return router.matches_in(self.spare.take(), topic, hash);
        }
        let place = router.place(topic, hash);
        let stamp = router.stamp_at(place); // Before the matches are computed: see `Versions`.
        let matches = router.matches_in(None, topic, hash);
        let weight = weight(&matches);
        let bound = self.sets * WAYS * MEAN_WEIGHT;
        if topic.as_str().len() > MAX_TOPIC || weight > bound / 8 {
            return matches;
        }
        if self.weight + weight > bound {
            self.clear();
        }
        if self.slots.is_empty() {
            self.slots.resize_with(self.sets * WAYS, Slot::empty);
        }
        if let Some(slot) = self.slot_for(topic, hash) {
            let freed = slot.clear();
            slot.hash = hash;
            slot.stamp = stamp;
            slot.place = place;
            slot.topic.push_str(topic.as_str());
            slot.matches = Some(Arc::clone(&matches));
            self.weight = self.weight - freed + weight;
        }
        matches
    }

    /// The slot that holds `topic`, else a free one of its set, else one that was not used recently.
    fn slot_for(&mut self, topic: TopicName<'_>, hash: u64) -> Option<&mut Slot<S>> {
        let first = (hash as usize & self.sets.saturating_sub(1)) * WAYS;
        let set = self.slots.get_mut(first..first + WAYS)?;
        let same = set.iter().position(|slot| slot.hash == hash && slot.topic == topic.as_str());
        let mut index = same.or_else(|| set.iter().position(|slot| slot.matches.is_none()));
        while index.is_none() {
            self.hand = (self.hand + 1) % WAYS;
            let slot = set.get_mut(self.hand)?;
            if !std::mem::take(&mut slot.is_used) {
                index = Some(self.hand);
            }
        }
        set.get_mut(index?)
    }
}

impl<S> Slot<S> {
    fn empty() -> Slot<S> {
        Slot {
            hash: 0,
            stamp: Stamp::default(),
            place: VersionSlot::default(),
            is_used: false,
            topic: String::new(),
            matches: None,
        }
    }

    /// Drops the matches; returns their weight.
    fn clear(&mut self) -> usize {
        self.topic.clear();
        self.is_used = false;
        self.matches.take().map_or(0, |matches| weight(&matches))
    }
}

fn weight<S>(matches: &Matches<S>) -> usize {
    matches.direct.len() + matches.shared.len()
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::rc::Rc;
    use std::sync::Arc;

    use super::{MatchCache, Slot};
    use crate::codec::subscribe::SubscriptionOptions;
    use crate::codec::topic::{TopicFilter, TopicName};
    use crate::topics::matches::Matches;
    use crate::topics::router::Router;
    use crate::topics::subscriber_set::Identity;

    type Client = Arc<u32>;

    fn router(filters: &[&str]) -> (Router<Client>, Client) {
        let (router, client) = (Router::new(), Arc::new(0));
        for text in filters {
            router.subscribe(TopicFilter::parse(text).unwrap(), &client, SubscriptionOptions::default(), 0);
        }
        (router, client)
    }

    fn name(text: &str) -> TopicName<'_> {
        TopicName::parse(text).unwrap()
    }

    /// Looks a topic up twice, so that it is cached.
    fn learn<S: Clone + Identity>(
        cache: &mut MatchCache<S>,
        router: &Router<S>,
        topic: TopicName<'_>,
    ) -> Arc<Matches<S>> {
        cache.find(router, topic);
        cache.find(router, topic)
    }

    #[test]
    fn a_topic_that_comes_once_is_not_kept_and_costs_no_allocation() {
        let (router, client) = router(&["a/+"]);
        let mut cache = MatchCache::new(64);
        let memory = Arc::as_ptr(&cache.find(&router, name("a/1")));
        for number in 2..50 {
            let found = cache.find(&router, name(&format!("a/{number}")));
            assert_eq!((found.direct.len(), Arc::as_ptr(&found)), (1, memory));
        }
        assert!(cache.is_empty());
        assert_eq!(Arc::strong_count(&client), 2);
        let kept = learn(&mut cache, &router, name("a/1"));
        assert!(Arc::ptr_eq(&kept, &cache.find(&router, name("a/1"))));
        assert_eq!(cache.len(), 1);
    }

    #[test]
    fn an_answer_is_kept_until_its_subscriptions_change() {
        let (router, client) = router(&["a/+"]);
        let mut cache = MatchCache::new(64);
        let first = learn(&mut cache, &router, name("a/b"));
        assert!(Arc::ptr_eq(&first, &cache.find(&router, name("a/b"))));
        assert!(router.unsubscribe(TopicFilter::parse("a/+").unwrap(), &client));
        assert!(cache.find(&router, name("a/b")).is_empty());
        assert_eq!(cache.len(), 1);
    }

    #[test]
    fn an_answer_is_empty_only_without_subscribers_and_without_groups() {
        for (filters, is_empty) in
            [(&["a"][..], false), (&["$share/g/a"], false), (&["a", "$share/g/a"], false), (&["b"], true)]
        {
            let (router, _client) = router(filters);
            assert_eq!(MatchCache::new(64).find(&router, name("a")).is_empty(), is_empty, "{filters:?}");
        }
    }

    #[test]
    fn forgetting_stale_answers_frees_their_subscribers() {
        // The hash differs from router to router: once in 256 times, both topics share a counter.
        loop {
            let (router, client) = router(&["a", "b/+"]);
            let stamp = || router.stamp_at(router.place(name("a"), router.hash(name("a"))));
            let before = stamp();
            let mut cache = MatchCache::new(64);
            learn(&mut cache, &router, name("a"));
            learn(&mut cache, &router, name("b/b"));
            assert_eq!(cache.len(), 2);
            router.unsubscribe(TopicFilter::parse("b/+").unwrap(), &client);
            assert_eq!(Arc::strong_count(&client), 4);
            cache.forget_stale(&router);
            if stamp() == before {
                break assert_eq!((cache.len(), cache.weight, Arc::strong_count(&client)), (1, 1, 3));
            }
        }
    }

    #[test]
    fn the_cache_stays_within_its_bounds() {
        let (router, _) = router(&["#"]);
        let mut cache = MatchCache::new(64);
        for number in 0..1000 {
            learn(&mut cache, &router, name(&format!("topic/{number}")));
        }
        assert_eq!((cache.len(), cache.slots.len()), (64, 64));
        cache.clear();
        learn(&mut cache, &router, name(&"x".repeat(super::MAX_TOPIC + 1)));
        assert!(cache.is_empty());

        let crowd: Vec<Client> = (0..200).map(Arc::new).collect();
        for client in &crowd {
            router.subscribe(TopicFilter::parse("a/#").unwrap(), client, SubscriptionOptions::default(), 0);
        }
        for number in 0..100 {
            learn(&mut cache, &router, name(&format!("a/{number}")));
            assert!(cache.weight <= 64 * super::MEAN_WEIGHT);
            assert_eq!(cache.weight, cache.len() * 201);
        }
    }

    #[test]
    fn a_used_answer_outlives_many_that_are_not_used_again() {
        let (router, _) = router(&["#"]);
        let mut cache = MatchCache::new(64);
        let mut hot = learn(&mut cache, &router, name("hot"));
        for number in 0..10_000 {
            learn(&mut cache, &router, name(&format!("cold/{number}")));
            let found = cache.find(&router, name("hot"));
            assert!(Arc::ptr_eq(&hot, &found), "replaced after {number}");
            hot = found;
        }
    }

    #[test]
    fn another_router_starts_an_empty_cache() {
        let (first, _) = router(&["a"]);
        let (second, _) = router(&[]);
        let mut cache = MatchCache::new(64);
        assert_eq!(cache.find(&first, name("a")).direct.len(), 1);
        assert!(cache.find(&second, name("a")).is_empty());
        assert_eq!(cache.find(&first, name("a")).direct.len(), 1);
    }

    type Action = Box<dyn FnOnce()>;

    /// A subscriber that runs an action when its identity is read.
    #[derive(Clone)]
    struct ActingSubscriber {
        number: usize,
        action: Rc<Cell<Option<Action>>>,
    }

    impl Identity for ActingSubscriber {
        fn identity(&self) -> usize {
            if let Some(action) = self.action.take() {
                action();
            }
            self.number
        }
    }

    /// Matches of several filters are sorted by subscriber after the lock is released. Matches that a change at that
    /// moment makes stale must not be cached as current.
    #[test]
    fn an_answer_that_changed_while_it_was_computed_is_not_kept_as_new() {
        let router = Rc::new(Router::new());
        let action = Rc::new(Cell::default());
        let [first, second] = [1, 2].map(|number| ActingSubscriber { number, action: Rc::clone(&action) });
        router.subscribe(TopicFilter::parse("a").unwrap(), &first, SubscriptionOptions::default(), 0);
        router.subscribe(TopicFilter::parse("#").unwrap(), &second, SubscriptionOptions::default(), 0);
        let mut cache = MatchCache::new(64);
        cache.find(&router, name("a"));
        let changed = Rc::clone(&router);
        action.set(Some(Box::new(move || {
            assert!(changed.unsubscribe(TopicFilter::parse("a").unwrap(), &first));
        })));
        assert_eq!(cache.find(&router, name("a")).direct.len(), 2);
        assert!(action.take().is_none(), "the change was not made");
        assert_eq!(cache.find(&router, name("a")).direct.len(), 1);
    }

    #[test]
    fn no_capacity_is_no_cache() {
        let (router, _) = router(&["a"]);
        let mut cache = MatchCache::new(0);
        assert_eq!(learn(&mut cache, &router, name("a")).direct.len(), 1);
        assert!(cache.is_empty());
    }

    #[test]
    fn a_slot_takes_64_bytes() {
        assert!(size_of::<Slot<Client>>() <= 64);
    }
}
