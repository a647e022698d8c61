//! Answers kept by one thread: a topic seen since its subscriptions last changed costs no lock and no allocation.

use std::sync::Arc;

use crate::codec::topic::TopicName;
use crate::topics::matches::Matches;
use crate::topics::router::Router;
use crate::topics::subscriber_set::Identity;
use crate::topics::versions::{Stamp, VersionSlot};

/// The answers for the topics that a thread published to of late. Each thread has its own.
///
/// It keeps the subscribers of its answers alive until they are replaced; see [`MatchCache::forget_stale`].
pub struct MatchCache<S> {
    /// Sets of [`WAYS`] slots; a topic may stand in any slot of the set that its hash names. Allocated at first use.
    slots: Vec<Slot<S>>,
    /// The number of sets, a power of two or 0.
    sets: usize,
    /// The router that the answers come from.
    router: u64,
    /// The sum of the lengths of all answers.
    weight: usize,
    /// The slot of a set that is looked at first when one must go.
    hand: usize,
    /// Of topics that were asked for and not kept, a part of the hash: who comes again is kept. Allocated at first use.
    seen: Vec<u16>,
    /// An answer that was not kept, for its memory.
    spare: Option<Arc<Matches<S>>>,
}

/// An answer that is out of its cache.
pub struct Taken<S> {
    /// The slot that it is of, and the topic's hash.
    slot: Option<(usize, u64)>,
    /// The answer.
    pub matches: Arc<Matches<S>>,
}

struct Slot<S> {
    hash: u64,
    stamp: Stamp,
    place: VersionSlot,
    /// Whether the answer has been used since it was last considered for replacement.
    is_used: bool,
    topic: String,
    matches: Option<Arc<Matches<S>>>,
}

const WAYS: usize = 4;
/// Topics that are remembered to have been asked for; a power of two.
const SEEN: usize = 4096;
/// An answer with room for more subscribers is not kept for its memory.
const LARGEST_SPARE: usize = 1024;
/// Longer topics are not kept.
const MAX_TOPIC: usize = 256;
/// The answers of a full cache may have so many subscribers on average.
const MEAN_WEIGHT: usize = 32;

impl<S: Clone + Identity> MatchCache<S> {
    /// A cache for about `capacity` topics; none if it is 0.
    pub fn new(capacity: usize) -> MatchCache<S> {
        let sets = if capacity == 0 { 0 } else { capacity.div_ceil(WAYS).next_power_of_two() };
        MatchCache { slots: Vec::new(), sets, router: 0, weight: 0, hand: 0, seen: Vec::new(), spare: None }
    }

    /// Who hears `topic`: the answer of [`Router::matches`], kept or computed.
    ///
    /// A change to the subscriptions that returned before this call is in the answer.
    pub fn find(&mut self, router: &Router<S>, topic: TopicName<'_>) -> Arc<Matches<S>> {
        let taken = self.take(router, topic);
        let matches = Arc::clone(&taken.matches);
        self.give_back(taken);
        matches
    }

    /// As [`MatchCache::find`], without counting a further owner: the answer is to be given back before anything else
    /// is asked for.
    pub fn take(&mut self, router: &Router<S>, topic: TopicName<'_>) -> Taken<S> {
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
                    return Taken { slot: Some((first + way, hash)), matches };
                }
                break;
            }
        }
        Taken { slot: None, matches: self.compute(router, topic, hash) }
    }

    /// Puts a taken answer back.
    pub fn give_back(&mut self, taken: Taken<S>) {
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

    /// Keeps what an answer is in, not the answer.
    fn keep_memory(&mut self, mut answer: Arc<Matches<S>>) {
        if let Some(matches) = Arc::get_mut(&mut answer)
            && matches.direct.capacity() <= LARGEST_SPARE
        {
            matches.clear();
            self.spare = Some(answer);
        }
    }

    /// Drops the answers that no longer hold, and with them what keeps ended subscribers alive.
    pub fn forget_stale(&mut self, router: &Router<S>) {
        for slot in &mut self.slots {
            if self.router != router.id() || slot.stamp != router.stamp_at(slot.place) {
                self.weight -= slot.clear();
            }
        }
    }

    /// Drops all answers.
    pub fn clear(&mut self) {
        self.slots.clear();
        self.weight = 0;
    }

    /// The number of answers.
    pub fn len(&self) -> usize {
        self.slots.iter().filter(|slot| slot.matches.is_some()).count()
    }

    /// Whether there is no answer.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether a topic was asked for before, and not very long ago. Topics that come once would drive out those
    /// that come again.
    fn comes_again(&mut self, hash: u64) -> bool {
        if self.seen.is_empty() {
            self.seen.resize(SEEN, 0);
        }
        // Bits that choose neither the set nor the counters; 0 stands for none.
        let mark = (hash >> 48) as u16 | 1;
        let place = self.seen.get_mut((hash >> 12) as usize % SEEN);
        place.is_some_and(|seen| std::mem::replace(seen, mark) == mark)
    }

    /// Computes an answer, and keeps it if its topic comes again and it is not too large.
    #[cold]
    fn compute(&mut self, router: &Router<S>, topic: TopicName<'_>, hash: u64) -> Arc<Matches<S>> {
        if !self.comes_again(hash) {
            return router.matches_in(self.spare.take(), topic, hash);
        }
        let place = router.place(topic, hash);
        let stamp = router.stamp_at(place); // Before the answer is computed: see `Generations`.
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

    /// The slot that holds `topic`, else a free one of its set, else one not used of late.
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

    /// Drops the answer; returns its weight.
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

    /// Asks twice: who comes again is kept.
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
        // Once in 256 times the hashes, which differ from router to router, have both share a counter.
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

    type Deed = Box<dyn FnOnce()>;

    /// A subscriber that can do something when it is asked who it is.
    #[derive(Clone)]
    struct Meddler {
        number: usize,
        deed: Rc<Cell<Option<Deed>>>,
    }

    impl Identity for Meddler {
        fn identity(&self) -> usize {
            if let Some(deed) = self.deed.take() {
                deed();
            }
            self.number
        }
    }

    /// Answers of several filters are sorted by subscriber after the lock is released: a change at that moment must
    /// not make the answer pass for one that knows of it.
    #[test]
    fn an_answer_that_changed_while_it_was_computed_is_not_kept_as_new() {
        let router = Rc::new(Router::new());
        let deed = Rc::new(Cell::default());
        let [first, second] = [1, 2].map(|number| Meddler { number, deed: Rc::clone(&deed) });
        router.subscribe(TopicFilter::parse("a").unwrap(), &first, SubscriptionOptions::default(), 0);
        router.subscribe(TopicFilter::parse("#").unwrap(), &second, SubscriptionOptions::default(), 0);
        let mut cache = MatchCache::new(64);
        cache.find(&router, name("a"));
        let meddled = Rc::clone(&router);
        deed.set(Some(Box::new(move || {
            assert!(meddled.unsubscribe(TopicFilter::parse("a").unwrap(), &first));
        })));
        assert_eq!(cache.find(&router, name("a")).direct.len(), 2);
        assert!(deed.take().is_none(), "the change was not made");
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
