//! All subscriptions of a broker, and their match to topics.

use std::hash::BuildHasher;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use hashbrown::hash_table::Entry;
use hashbrown::{DefaultHashBuilder, HashTable};
use smallvec::SmallVec;

use crate::codec::subscribe::SubscriptionOptions;
use crate::codec::topic::{TopicFilter, TopicName};
use crate::locks::RwLock;
use crate::topics::exact::Exact;
use crate::topics::matches::{Group, Match, Matches, SharedMatch};
use crate::topics::sharded::give_back;
use crate::topics::subscriber_set::Identity;
use crate::topics::trie::{NodeSubscribers, Trie};
use crate::topics::versions::{Stamp, VersionSlot, Versions};

/// The subscriptions of all clients. Any thread may use it; readers do not block each other.
///
/// No foreign code runs while a lock is held, except `S::clone`.
pub struct Router<S> {
    tables: RwLock<Tables<S>>,
    versions: Versions,
    hasher: DefaultHashBuilder,
    /// The number of subscriptions.
    subscriptions: AtomicUsize,
    /// The number of subscriptions whose first level is `$SYS`.
    dollar_sys: AtomicUsize,
    id: u64,
}

/// The result of a subscribe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscribed {
    /// Whether an earlier subscription of the subscriber to this filter was replaced.
    pub replaced: bool,
    /// The whole filter, with its share prefix; the router's own copy.
    pub filter: Arc<str>,
}

struct Tables<S> {
    exact: Exact<S>,
    trie: Trie<S>,
    /// The groups by their whole filter.
    groups: HashTable<Arc<Group<S>>>,
}

/// The next router id of the process.
static ROUTERS: AtomicU64 = AtomicU64::new(1);

impl<S: Clone + Identity> Router<S> {
    /// A router without subscriptions.
    pub fn new() -> Router<S> {
        let hasher = DefaultHashBuilder::default();
        let tables = Tables {
            exact: Exact::new(hasher.clone()),
            trie: Trie::new(hasher.clone()),
            groups: HashTable::new(),
        };
        Router {
            tables: RwLock::new(tables),
            versions: Versions::new(),
            hasher,
            subscriptions: AtomicUsize::new(0),
            dollar_sys: AtomicUsize::new(0),
            id: ROUTERS.fetch_add(1, Ordering::Relaxed),
        }
    }

    /// Adds a subscription, or replaces the subscriber's subscription to the same whole filter.
    ///
    /// `identifier` is the subscription identifier, 0 for none.
    pub fn subscribe(
        &self,
        filter: TopicFilter<'_>,
        subscriber: &S,
        options: SubscriptionOptions,
        identifier: u32,
    ) -> Subscribed {
        let entry = Match { subscriber: subscriber.clone(), options, identifier };
        let hash = self.hash_exact(filter);
        let mut tables = self.tables.write();
        let (stored, old) = if filter.group().is_some() {
            let (group, is_new) = tables.group_or_new(&self.hasher, filter);
            let old = group.put(entry);
            if is_new {
                tables.trie.put_group(filter, Arc::clone(&group));
                self.versions.raise(&self.hasher, filter);
            }
            (Arc::clone(group.filter()), old)
        } else {
            match hash {
                Some(hash) => {
                    let result = tables.exact.put(hash, filter.filter(), entry);
                    self.versions.raise_name(hash);
                    result
                }
                None => {
                    let result = tables.trie.put(filter, entry);
                    self.versions.raise(&self.hasher, filter);
                    result
                }
            }
        };
        if old.is_none() {
            self.subscriptions.fetch_add(1, Ordering::Relaxed);
            self.dollar_sys.fetch_add(usize::from(is_dollar_sys(filter)), Ordering::Relaxed);
        }
        drop(tables);
        Subscribed { replaced: old.is_some(), filter: stored } // `old` is dropped without the lock.
    }

    /// Removes the subscriber's subscription to the whole filter; false if there is none.
    pub fn unsubscribe(&self, filter: TopicFilter<'_>, subscriber: &S) -> bool {
        let identity = subscriber.identity();
        let hash = self.hash_exact(filter);
        let mut tables = self.tables.write();
        let old = if filter.group().is_some() {
            let (old, was_last) = tables.leave(&self.hasher, filter, identity);
            if was_last {
                self.versions.raise(&self.hasher, filter);
            }
            old
        } else {
            match hash {
                Some(hash) => {
                    let old = tables.exact.remove(hash, filter.filter(), identity);
                    old.inspect(|_| self.versions.raise_name(hash))
                }
                None => {
                    let old = tables.trie.remove(filter, identity);
                    old.inspect(|_| self.versions.raise(&self.hasher, filter))
                }
            }
        };
        if old.is_some() {
            self.subscriptions.fetch_sub(1, Ordering::Relaxed);
            self.dollar_sys.fetch_sub(usize::from(is_dollar_sys(filter)), Ordering::Relaxed);
        }
        drop(tables);
        old.is_some() // `old` is dropped without the lock.
    }

    /// The group of a shared filter, given whole; `None` if it has no member.
    pub fn group(&self, whole: &str) -> Option<Arc<Group<S>>> {
        let hash = self.hasher.hash_one(whole);
        self.tables.read().groups.find(hash, |group| &**group.filter() == whole).map(Arc::clone)
    }

    /// The subscriptions that match `topic`, computed now.
    /// [MQTT-3.3.2-3], [MQTT3-3.3.2-3]
    pub fn matches(&self, topic: TopicName<'_>) -> Arc<Matches<S>> {
        self.matches_in(None, topic, self.hash(topic))
    }

    /// The version of the subscriptions that concern `topic`: while it is equal, so are the [`Router::matches`].
    /// The members of matched groups are always current.
    pub fn stamp(&self, topic: TopicName<'_>) -> Stamp {
        self.stamp_at(self.place(topic, self.hash(topic)))
    }

    /// Whether there is a subscription, perhaps shared, whose first level is `$SYS`.
    pub fn has_dollar_sys(&self) -> bool {
        self.dollar_sys.load(Ordering::Relaxed) != 0
    }

    /// The number of subscriptions; each member of a group counts.
    pub fn len(&self) -> usize {
        self.subscriptions.load(Ordering::Relaxed)
    }

    /// Whether there is no subscription.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Calls `f` with the whole filter, the subscriber, the options and the subscription identifier (0 for none) of
    /// each subscription, in no particular order.
    ///
    /// It copies one part at a time under the read lock: one hash shard of 64, 1024 nodes of the tree, or one group.
    /// `f` is called without the lock, so it may use the router. A subscription that exists during the whole call is
    /// visited once; one that is added or removed meanwhile may be visited.
    pub fn for_each(&self, mut f: impl FnMut(&str, &S, SubscriptionOptions, u32)) {
        let mut copied = Vec::new();
        let mut visit = |copied: &mut Vec<(Arc<str>, Match<S>)>| {
            for (filter, entry) in copied.drain(..) {
                f(&filter, &entry.subscriber, entry.options, entry.identifier);
            }
        };
        let mut shard = 0;
        while self.tables.read().exact.copy_shard(shard, &mut copied) {
            visit(&mut copied);
            shard += 1;
        }
        let mut place = Some(0);
        while let Some(from) = place {
            place = self.tables.read().trie.copy_step(from, &mut copied);
            visit(&mut copied);
        }
        let groups: Vec<Arc<Group<S>>> = self.tables.read().groups.iter().map(Arc::clone).collect();
        for group in groups {
            copied.extend(group.members().into_iter().map(|member| (Arc::clone(group.filter()), member)));
            visit(&mut copied);
        }
    }

    /// A number that no other router of the process has.
    pub(super) fn id(&self) -> u64 {
        self.id
    }

    #[inline]
    pub(super) fn hash(&self, topic: TopicName<'_>) -> u64 {
        self.hasher.hash_one(topic.as_str())
    }

    /// The hash of a filter without wildcards and without a group.
    fn hash_exact(&self, filter: TopicFilter<'_>) -> Option<u64> {
        let is_exact = filter.group().is_none() && !filter.has_wildcard();
        is_exact.then(|| self.hasher.hash_one(filter.filter()))
    }

    pub(super) fn place(&self, topic: TopicName<'_>, hash: u64) -> VersionSlot {
        Versions::place(&self.hasher, topic, hash)
    }

    #[inline]
    pub(super) fn stamp_at(&self, place: VersionSlot) -> Stamp {
        self.versions.stamp(place)
    }

    /// The matches of `topic`, whose hash is `hash`, in the memory of `spare` if it is given.
    pub(super) fn matches_in(
        &self,
        spare: Option<Arc<Matches<S>>>,
        topic: TopicName<'_>,
        hash: u64,
    ) -> Arc<Matches<S>> {
        let mut result = spare.unwrap_or_else(|| Arc::new(Matches::none()));
        if let Some(matches) = Arc::get_mut(&mut result) {
            let lists = self.tables.read().matches(topic, hash, matches);
            if lists > 1 {
                // A message names the identifiers of one subscriber in the same order each time.
                matches.direct.sort_unstable_by_key(|entry| (entry.identity(), entry.identifier));
            }
        }
        result
    }
}

impl<S: Clone + Identity> Tables<S> {
    /// Adds the matches of `topic`, whose hash is `hash`, to `out` in no order. Returns the number of lists that they
    /// come from; one list names a subscriber once.
    fn matches(&self, topic: TopicName<'_>, hash: u64, out: &mut Matches<S>) -> usize {
        let exact = self.exact.get(hash, topic.as_str());
        let mut ends: SmallVec<[&NodeSubscribers<S>; 8]> = SmallVec::new();
        self.trie.collect(topic, &mut ends);
        out.direct.reserve_exact(exact.len() + ends.iter().map(|end| end.subscribers().len()).sum::<usize>());
        out.direct.extend(exact.iter().cloned());
        let mut lists = usize::from(!exact.is_empty());
        for end in &ends {
            lists += usize::from(!end.subscribers().is_empty());
            out.direct.extend(end.subscribers().iter().cloned());
            out.shared.extend(end.groups().iter().map(|group| SharedMatch { group: Arc::clone(group) }));
        }
        lists
    }

    /// The group of a shared filter, and whether it is new; a new group is not in the tree yet.
    fn group_or_new(
        &mut self,
        hasher: &DefaultHashBuilder,
        filter: TopicFilter<'_>,
    ) -> (Arc<Group<S>>, bool) {
        let whole = filter.as_str();
        let hash = hasher.hash_one(whole);
        match self.groups.entry(hash, |group| &**group.filter() == whole, |group| hash_of(hasher, group)) {
            Entry::Occupied(group) => (Arc::clone(group.get()), false),
            Entry::Vacant(place) => {
                let group = Arc::new(Group::new(Arc::from(whole)));
                place.insert(Arc::clone(&group));
                (group, true)
            }
        }
    }

    /// Removes a member of a group, and the group with its last one; returns the member and whether it was the last.
    fn leave(
        &mut self,
        hasher: &DefaultHashBuilder,
        filter: TopicFilter<'_>,
        identity: usize,
    ) -> (Option<Match<S>>, bool) {
        let whole = filter.as_str();
        let Ok(place) = self.groups.find_entry(hasher.hash_one(whole), |group| &**group.filter() == whole)
        else {
            return (None, false);
        };
        let old = place.get().remove(identity);
        if !place.get().is_empty() {
            return (old, false);
        }
        let (group, _) = place.remove();
        self.trie.remove_group(filter, &group);
        give_back(&mut self.groups, |group| hash_of(hasher, group));
        (old, true)
    }
}

#[cfg(test)]
impl<S: Clone + Identity> Router<S> {
    /// Whether the tables are empty.
    pub(super) fn is_bare(&self) -> bool {
        let tables = self.tables.read();
        tables.exact.is_bare() && tables.trie.is_bare() && tables.groups.is_empty()
    }
}

impl<S: Clone + Identity> Default for Router<S> {
    fn default() -> Router<S> {
        Router::new()
    }
}

fn hash_of<S: Clone + Identity>(hasher: &DefaultHashBuilder, group: &Arc<Group<S>>) -> u64 {
    hasher.hash_one(&**group.filter())
}

fn is_dollar_sys(filter: TopicFilter<'_>) -> bool {
    filter.first_level() == "$SYS"
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::sync::Arc;

    use super::Router;
    use crate::codec::subscribe::SubscriptionOptions;
    use crate::codec::topic::{TopicFilter, TopicName};

    type Client = Arc<u32>;

    fn filter(text: &str) -> TopicFilter<'_> {
        TopicFilter::parse(text).unwrap()
    }

    fn name(text: &str) -> TopicName<'_> {
        TopicName::parse(text).unwrap()
    }

    fn router(filters: &[&str]) -> (Router<Client>, Client) {
        let (router, client) = (Router::new(), Arc::new(0));
        for (index, text) in filters.iter().enumerate() {
            router.subscribe(filter(text), &client, SubscriptionOptions::default(), index as u32);
        }
        (router, client)
    }

    /// The identifiers of the matches, which are the indices of the filters.
    fn heard(router: &Router<Client>, topic: &str) -> Vec<u32> {
        let mut heard: Vec<u32> =
            router.matches(name(topic)).direct.iter().map(|entry| entry.identifier).collect();
        heard.sort_unstable();
        heard
    }

    #[test]
    fn mqtt_4_7_1_2_a_hash_matches_the_parent_and_any_level_below() {
        let (router, _) = router(&["sport/tennis/#", "sport/#", "#"]);
        assert_eq!(heard(&router, "sport/tennis"), [0, 1, 2]);
        assert_eq!(heard(&router, "sport/tennis/player1/ranking"), [0, 1, 2]);
        assert_eq!(heard(&router, "sport"), [1, 2]);
        assert_eq!(heard(&router, "sports"), [2]);
    }

    #[test]
    fn mqtt_4_7_1_3_a_plus_matches_one_level_even_an_empty_one() {
        let (router, _) = router(&["+/+", "/+", "+", "sport/+", "sport/+/x"]);
        assert_eq!(heard(&router, "/finance"), [0, 1]);
        assert_eq!(heard(&router, "sport"), [2]);
        assert_eq!(heard(&router, "sport/"), [0, 3]);
        assert_eq!(heard(&router, "sport//x"), [4]);
    }

    /// [MQTT-4.7.2-1], [MQTT3-4.7.2-1]
    #[test]
    fn mqtt_4_7_2_1_a_leading_wildcard_does_not_match_a_dollar_topic() {
        let (router, client) = router(&["#", "+/a", "+/#", "$SYS/#", "$SYS/+"]);
        assert_eq!(heard(&router, "$SYS/a"), [3, 4]);
        router.subscribe(filter("$share/g/#"), &client, SubscriptionOptions::default(), 9);
        assert!(router.matches(name("$SYS/a")).shared.is_empty());
        assert_eq!(router.matches(name("a/$SYS")).shared.len(), 1);
    }

    #[test]
    fn a_plain_and_a_shared_subscription_to_one_filter_are_two() {
        let (router, client) = router(&["a/b", "$share/g/a/b", "$share/h/a/b", "$queue/a/b"]);
        let matches = router.matches(name("a/b"));
        assert_eq!((router.len(), matches.direct.len(), matches.shared.len()), (4, 1, 3));
        assert!(router.unsubscribe(filter("$share/g/a/b"), &client));
        assert!(!router.unsubscribe(filter("$share/g/a/b"), &client));
        let matches = router.matches(name("a/b"));
        assert_eq!((router.len(), matches.direct.len(), matches.shared.len()), (3, 1, 2));
    }

    #[test]
    fn a_stamp_changes_with_the_answer_and_not_with_another_filter() {
        let (router, client) = router(&["a/b"]);
        let other = Arc::new(1);
        let mut stamp = router.stamp(name("a/b"));
        for text in ["a/b", "a/+", "#", "+/b", "$share/g/a/b"] {
            router.subscribe(filter(text), &other, SubscriptionOptions::default(), 0);
            assert_ne!(router.stamp(name("a/b")), stamp, "{text}");
            stamp = router.stamp(name("a/b"));
        }
        // A new member of a group is seen through the group.
        router.subscribe(filter("$share/g/a/b"), &client, SubscriptionOptions::default(), 0);
        assert_eq!(router.stamp(name("a/b")), stamp);
        router.unsubscribe(filter("a/b/c"), &other);
        assert_eq!(router.stamp(name("a/b")), stamp);
        router.unsubscribe(filter("a/b"), &other);
        assert_ne!(router.stamp(name("a/b")), stamp);
        // A filter without wildcards concerns one topic: most others keep their stamp.
        let names: Vec<String> = (0..100).map(|number| format!("a/{number}")).collect();
        let before: Vec<_> = names.iter().map(|text| router.stamp(name(text))).collect();
        router.subscribe(filter("a/x"), &client, SubscriptionOptions::default(), 0);
        let changed =
            names.iter().zip(before).filter(|(text, stamp)| router.stamp(name(text)) != *stamp).count();
        assert!(changed < 10, "{changed} of 100 changed");
    }

    #[test]
    fn a_topic_of_thirty_thousand_levels_does_not_exhaust_the_stack() {
        let deep = vec!["+"; 30_000].join("/");
        let (router, client) = router(&[&deep]);
        assert_eq!(heard(&router, &"/".repeat(29_999)), [0]);
        assert!(heard(&router, &"/".repeat(30_000)).is_empty());
        assert!(router.unsubscribe(filter(&deep), &client));
        assert!(router.is_bare());
    }

    #[test]
    fn a_filter_of_many_subscribers_is_left_one_by_one() {
        let router = Router::new();
        let clients: Vec<Client> = (0..50_000).map(Arc::new).collect();
        for client in &clients {
            router.subscribe(filter("all"), client, SubscriptionOptions::default(), 0);
            router.subscribe(filter("all/#"), client, SubscriptionOptions::default(), 0);
        }
        let matches = router.matches(name("all"));
        assert_eq!(matches.direct.len(), 100_000);
        assert!(matches.direct.chunks(2).all(|pair| Arc::ptr_eq(&pair[0].subscriber, &pair[1].subscriber)));
        for client in &clients {
            assert!(router.unsubscribe(filter("all"), client));
            assert!(router.unsubscribe(filter("all/#"), client));
        }
        assert!(router.is_bare());
    }

    #[test]
    fn a_snapshot_may_use_the_router() {
        let (router, client) = router(&["a", "a/+", "$share/g/a"]);
        let seen = RefCell::new(Vec::new());
        router.for_each(|text, who, _, identifier| {
            assert!(router.unsubscribe(filter(text), who));
            seen.borrow_mut().push(identifier);
        });
        seen.borrow_mut().sort_unstable();
        assert_eq!(*seen.borrow(), [0, 1, 2]);
        assert!(router.is_bare() && Arc::strong_count(&client) == 1);
    }
}
