//! The subscriptions to filters with wildcards, and all shared ones: a tree of topic levels.
//!
//! Nodes are in a slab and refer to each other by index. One hash table for the whole tree finds a node's child by the
//! text of a level. The child for `+` is a field of the node. A wildcard at the end of a filter has no node, so most
//! filters with wildcards cost one node. Cache misses dominate matching: a node is half a cache line, and rarely
//! used fields are in slabs of their own.

use std::hash::BuildHasher;
use std::num::NonZeroU32;
use std::sync::Arc;

use hashbrown::DefaultHashBuilder;
use slab::Slab;
use smallvec::SmallVec;

use crate::codec::topic::{TopicFilter, TopicName};
use crate::topics::filter_ends::{FilterEnds, Tail};
use crate::topics::level::{Level, Wanted};
use crate::topics::matches::{Group, Match};
use crate::topics::sharded::{Sharded, give_back};
use crate::topics::slab_growth::SlabGrowth;
use crate::topics::subscriber_set::{Identity, SubscriberSet};

/// The tree.
pub(super) struct Trie<S> {
    hasher: DefaultHashBuilder,
    nodes: Slab<Node>,
    nodes_room: SlabGrowth,
    /// The nodes reached by the text of a level, hashed by parent and text.
    children: Sharded<Id>,
    ends: Slab<NodeSubscribers<S>>,
    ends_room: SlabGrowth,
    /// The filter ends of the nodes that have several.
    several: Slab<FilterEnds>,
    /// The texts that are too long for a node.
    long: Slab<Box<[u8]>>,
}

/// Index + 1 into a slab, so that an `Option` of it is no larger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Id(NonZeroU32);

/// The filters that begin with the same levels; 32 bytes.
struct Node {
    level: Level,
    /// The parent node; the root is its own.
    parent: Id,
    /// The child for a `+` that further levels follow.
    plus: Option<Id>,
    /// The filter that ends here, in `Trie::ends`; if there are several, their index in `Trie::several`.
    ends: Option<Id>,
    /// How filters end here, a bit for each [`Tail`], and the number of children reached by their text.
    tails_and_children: u32,
}

/// One filter (without a share prefix) and its subscribers.
pub(super) struct NodeSubscribers<S> {
    /// The filter, if there are subscriptions to it without a group.
    filter: Option<Arc<str>>,
    subscribers: SubscriberSet<Match<S>>,
    /// The groups that share it.
    groups: Option<Box<SubscriberSet<Arc<Group<S>>>>>,
}

/// Filters that are copied under one hold of the lock.
const FILTERS_PER_LOCK: usize = 1024;

impl<S: Clone + Identity> Trie<S> {
    pub(super) fn new(hasher: DefaultHashBuilder) -> Trie<S> {
        let mut nodes = Slab::new();
        nodes.insert(Node::new(Level::default(), Id::FIRST));
        Trie {
            hasher,
            nodes,
            nodes_room: SlabGrowth::new(),
            children: Sharded::new(),
            ends: Slab::new(),
            ends_room: SlabGrowth::new(),
            several: Slab::new(),
            long: Slab::new(),
        }
    }

    /// Adds a subscription that is not shared; returns the stored filter and the subscription it replaced.
    pub(super) fn put(&mut self, filter: TopicFilter<'_>, entry: Match<S>) -> (Arc<str>, Option<Match<S>>) {
        match self.end_or_new(filter) {
            Some(end) => {
                let stored = end.filter.get_or_insert_with(|| Arc::from(filter.filter()));
                (Arc::clone(stored), end.subscribers.put(entry))
            }
            None => (Arc::from(filter.filter()), None),
        }
    }

    /// Removes a subscription that is not shared and returns it.
    pub(super) fn remove(&mut self, filter: TopicFilter<'_>, identity: usize) -> Option<Match<S>> {
        let (node, id) = self.find(filter)?;
        let end = self.ends.get_mut(id.index())?;
        let removed = end.subscribers.remove(identity)?;
        if end.subscribers.is_empty() {
            end.filter = None;
            self.prune(filter, node, id);
        }
        Some(removed)
    }

    /// Adds a group.
    pub(super) fn put_group(&mut self, filter: TopicFilter<'_>, group: Arc<Group<S>>) {
        if let Some(end) = self.end_or_new(filter) {
            end.groups.get_or_insert_with(|| Box::new(SubscriberSet::Empty)).put(group);
        }
    }

    /// Removes a group.
    pub(super) fn remove_group(&mut self, filter: TopicFilter<'_>, group: &Arc<Group<S>>) {
        let Some((node, id)) = self.find(filter) else { return };
        let Some(end) = self.ends.get_mut(id.index()) else { return };
        if let Some(groups) = &mut end.groups {
            groups.remove(group.identity());
            if groups.is_empty() {
                end.groups = None;
                self.prune(filter, node, id);
            }
        }
    }

    /// Appends the filters that match `topic` to `out`.
    pub(super) fn collect<'t, const N: usize>(
        &'t self,
        topic: TopicName<'_>,
        out: &mut SmallVec<[&'t NodeSubscribers<S>; N]>,
    ) {
        if self.ends.is_empty() {
            return;
        }
        // A topic that begins with $ is not matched by a filter that begins with a wildcard. [MQTT-4.7.2-1]
        let mut wildcards = !topic.starts_with_dollar();
        let mut nodes: SmallVec<[Id; 16]> = SmallVec::new();
        let mut next: SmallVec<[Id; 16]> = SmallVec::new();
        nodes.push(Id::FIRST);
        let mut levels = topic.levels().peekable();
        while let Some(level) = levels.next() {
            let is_last = levels.peek().is_none();
            let level = self.wanted(level);
            for id in nodes.drain(..) {
                let Some(node) = self.node(id) else { continue };
                if wildcards {
                    out.extend(self.end(node, Tail::Below));
                    if is_last {
                        out.extend(self.end(node, Tail::One));
                    }
                    next.extend(node.plus);
                }
                if node.children() != 0 {
                    next.extend(self.child(id, &level));
                }
            }
            std::mem::swap(&mut nodes, &mut next);
            if nodes.is_empty() {
                return;
            }
            wildcards = true;
        }
        for node in nodes.into_iter().filter_map(|id| self.node(id)) {
            out.extend(self.end(node, Tail::Here));
            out.extend(self.end(node, Tail::Below)); // `a/#` also matches `a` (section 4.7.1.2).
        }
    }

    /// Copies the unshared subscriptions of some filters to `out`, starting at index `from`. Returns the index to
    /// continue at, `None` at the end. A filter keeps its index while it has subscriptions.
    pub(super) fn copy_step(&self, from: usize, out: &mut Vec<(Arc<str>, Match<S>)>) -> Option<usize> {
        let to = from.saturating_add(FILTERS_PER_LOCK);
        for end in (from..to).filter_map(|index| self.ends.get(index)) {
            if let Some(filter) = &end.filter {
                let entries = end.subscribers.as_slice().iter();
                out.extend(entries.map(|entry| (Arc::clone(filter), entry.clone())));
            }
        }
        (to < self.ends.capacity()).then_some(to)
    }

    #[cfg(test)]
    pub(super) fn is_bare(&self) -> bool {
        let others = [self.ends.len(), self.several.len(), self.long.len()];
        self.nodes.len() == 1 && self.children.is_empty() && others == [0; 3]
    }

    fn node(&self, id: Id) -> Option<&Node> {
        self.nodes.get(id.index())
    }

    /// The filter that ends with `tail` at a node.
    #[inline]
    fn end(&self, node: &Node, tail: Tail) -> Option<&NodeSubscribers<S>> {
        self.ends.get(self.end_id(node, tail)?.index())
    }

    #[inline]
    fn end_id(&self, node: &Node, tail: Tail) -> Option<Id> {
        if !node.has(tail) {
            return None;
        }
        if node.has_several() { *self.several.get(node.ends?.index())?.get(tail) } else { node.ends }
    }

    /// Sets or removes the filter that ends with `tail` at a node.
    fn set_end(&mut self, id: Id, tail: Tail, end: Option<Id>) -> Option<()> {
        let node = self.nodes.get_mut(id.index())?;
        let mut ends = if node.has_several() {
            self.several.try_remove(node.ends?.index())?
        } else {
            let mut ends = FilterEnds::default();
            if let Some(only) = Tail::ALL.into_iter().find(|tail| node.has(*tail)) {
                *ends.get_mut(only) = node.ends;
            }
            ends
        };
        *ends.get_mut(tail) = end;
        let bits = Tail::ALL.into_iter().filter(|tail| ends.get(*tail).is_some()).map(Tail::bit);
        node.tails_and_children = bits.fold(node.children(), |all, bit| all | bit);
        node.ends = match node.has_several() {
            false => ends.here.or(ends.one).or(ends.below),
            true => Some(Id::new(self.several.insert(ends))?),
        };
        Some(())
    }

    /// The text of a level, prepared for a lookup.
    fn wanted<'t>(&self, level: &'t str) -> Wanted<'t> {
        Wanted::new(level.as_bytes(), self.hasher.hash_one(level.as_bytes()))
    }

    /// The child of `parent` for a level.
    #[inline]
    fn child(&self, parent: Id, level: &Wanted<'_>) -> Option<Id> {
        let is_wanted = |id: &Id| {
            self.node(*id).is_some_and(|node| node.parent == parent && level.is(&node.level, &self.long))
        };
        let hash = edge_hash(parent, level.hash);
        self.children.of(hash)?.find(hash, is_wanted).copied()
    }

    /// The last node of `filter` and its end.
    fn find(&self, filter: TopicFilter<'_>) -> Option<(Id, Id)> {
        let (path, tail) = split_tail(filter);
        let mut at = Id::FIRST;
        for level in levels(path) {
            at = match level {
                "+" => self.node(at)?.plus?,
                _ => self.child(at, &self.wanted(level))?,
            };
        }
        Some((at, self.end_id(self.node(at)?, tail)?))
    }

    /// The end of `filter`; missing nodes are added. `None` cannot happen with fewer than 2^29 nodes.
    fn end_or_new(&mut self, filter: TopicFilter<'_>) -> Option<&mut NodeSubscribers<S>> {
        let (path, tail) = split_tail(filter);
        let mut at = Id::FIRST;
        for level in levels(path) {
            at = self.child_or_new(at, level)?;
        }
        let id = match self.end_id(self.node(at)?, tail) {
            Some(id) => id,
            None => {
                let end = NodeSubscribers { filter: None, subscribers: SubscriberSet::Empty, groups: None };
                self.ends_room.make(&mut self.ends);
                let id = Id::new(self.ends.insert(end))?;
                self.set_end(at, tail, Some(id))?;
                id
            }
        };
        self.ends.get_mut(id.index())
    }

    fn child_or_new(&mut self, parent: Id, level: &str) -> Option<Id> {
        let wanted = self.wanted(level);
        let present = if level == "+" { self.node(parent)?.plus } else { self.child(parent, &wanted) };
        if present.is_some() {
            return present;
        }
        if level != "+" && self.node(parent)?.children() == Node::MOST {
            return None;
        }
        let node = Node::new(wanted.store(&mut self.long), parent);
        self.nodes_room.make(&mut self.nodes);
        let id = Id::new(self.nodes.insert(node))?;
        if level == "+" {
            self.nodes.get_mut(parent.index())?.plus = Some(id);
        } else {
            self.nodes.get_mut(parent.index())?.tails_and_children += 1;
            let (nodes, long, hasher) = (&self.nodes, &self.long, &self.hasher);
            let hash = edge_hash(parent, wanted.hash);
            self.children.of_mut(hash)?.insert_unique(hash, id, |id| rehash(nodes, long, hasher, *id));
        }
        Some(id)
    }

    /// Removes an unused end, and the nodes that lead only to it.
    fn prune(&mut self, filter: TopicFilter<'_>, last: Id, end: Id) {
        if self.ends.get(end.index()).is_none_or(|end| !end.is_unused()) {
            return;
        }
        self.ends.try_remove(end.index());
        self.set_end(last, split_tail(filter).1, None);
        let mut at = last;
        while at != Id::FIRST && self.node(at).is_some_and(Node::is_unused) {
            let hash = rehash(&self.nodes, &self.long, &self.hasher, at);
            let Some(node) = self.nodes.try_remove(at.index()) else { return };
            node.level.forget(&mut self.long);
            self.detach(node.parent, at, hash);
            at = node.parent;
        }
        self.ends_room.give_back(&mut self.ends);
        if self.nodes_room.give_back(&mut self.nodes) {
            self.several.shrink_to_fit();
            self.long.shrink_to_fit();
        }
    }

    /// Removes a deleted child from `parent` and from the table, where its hash is `hash`.
    fn detach(&mut self, parent: Id, child: Id, hash: u64) {
        let Some(node) = self.nodes.get_mut(parent.index()) else { return };
        if node.plus == Some(child) {
            node.plus = None;
            return;
        }
        node.tails_and_children -= 1;
        let (nodes, long, hasher) = (&self.nodes, &self.long, &self.hasher);
        if let Some(children) = self.children.of_mut(hash)
            && let Ok(place) = children.find_entry(hash, |id| *id == child)
        {
            place.remove();
            give_back(children, |id| rehash(nodes, long, hasher, *id));
        }
    }
}

impl<S: Clone + Identity> NodeSubscribers<S> {
    /// The subscriptions that are not shared.
    pub(super) fn subscribers(&self) -> &[Match<S>] {
        self.subscribers.as_slice()
    }

    /// The groups.
    pub(super) fn groups(&self) -> &[Arc<Group<S>>] {
        self.groups.as_ref().map_or(&[], |groups| groups.as_slice())
    }

    fn is_unused(&self) -> bool {
        self.subscribers.is_empty() && self.groups.is_none()
    }
}

impl Node {
    /// The bits of the tails in `tails_and_children`.
    const TAILS: u32 = Tail::Here.bit() | Tail::One.bit() | Tail::Below.bit();
    /// The largest number of children reached by their text that can be counted.
    const MOST: u32 = !Node::TAILS;

    fn new(level: Level, parent: Id) -> Node {
        Node { level, parent, plus: None, ends: None, tails_and_children: 0 }
    }

    fn has(&self, tail: Tail) -> bool {
        self.tails_and_children & tail.bit() != 0
    }

    fn has_several(&self) -> bool {
        (self.tails_and_children & Node::TAILS).count_ones() > 1
    }

    fn children(&self) -> u32 {
        self.tails_and_children & !Node::TAILS
    }

    fn is_unused(&self) -> bool {
        self.tails_and_children == 0 && self.plus.is_none()
    }
}

impl Id {
    /// The first index of a slab; among nodes, the root.
    const FIRST: Id = Id(NonZeroU32::MIN);

    fn new(index: usize) -> Option<Id> {
        u32::try_from(index + 1).ok().and_then(NonZeroU32::new).map(Id)
    }

    fn index(self) -> usize {
        self.0.get() as usize - 1
    }
}

/// The levels of a filter that have nodes, and its tail after them.
fn split_tail(filter: TopicFilter<'_>) -> (Option<&str>, Tail) {
    let text = filter.filter();
    let (rest, tail) = if let Some(rest) = text.strip_suffix('+') {
        (rest, Tail::One)
    } else if let Some(rest) = text.strip_suffix('#') {
        (rest, Tail::Below)
    } else {
        return (Some(text), Tail::Here);
    };
    (rest.strip_suffix('/'), tail) // Without a slash the wildcard is the whole filter.
}

fn levels(path: Option<&str>) -> impl Iterator<Item = &str> {
    path.into_iter().flat_map(|path| path.split('/'))
}

/// The hash of a child in the table, from its parent and the hash of its level's text.
fn edge_hash(parent: Id, level_hash: u64) -> u64 {
    let mixed = (level_hash ^ u64::from(parent.0.get())).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    mixed ^ (mixed >> 32)
}

fn rehash(nodes: &Slab<Node>, long: &Slab<Box<[u8]>>, hasher: &DefaultHashBuilder, id: Id) -> u64 {
    nodes.get(id.index()).map_or(0, |node| edge_hash(node.parent, hasher.hash_one(node.level.text(long))))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use hashbrown::DefaultHashBuilder;

    use super::{Node, NodeSubscribers, Trie};
    use crate::codec::subscribe::SubscriptionOptions;
    use crate::codec::topic::TopicFilter;
    use crate::topics::matches::Match;
    use crate::topics::subscriber_set::Identity;

    #[test]
    fn a_node_takes_32_bytes_and_an_end_40() {
        assert_eq!(size_of::<Node>(), 32);
        assert_eq!(size_of::<NodeSubscribers<Arc<()>>>(), 40);
    }

    /// The count of children never overflows into the bits of the tails.
    #[test]
    fn a_node_that_cannot_count_another_child_takes_none() {
        let hasher = DefaultHashBuilder::default();
        let mut trie: Trie<Arc<u32>> = Trie::new(hasher);
        trie.nodes[0].tails_and_children = Node::MOST;
        let entry = Match { subscriber: Arc::new(1), options: SubscriptionOptions::default(), identifier: 0 };
        trie.put(TopicFilter::parse("a/+").unwrap(), entry);
        assert_eq!((trie.nodes[0].tails_and_children, trie.nodes.len()), (Node::MOST, 1));
    }

    #[test]
    fn filters_that_are_gone_take_no_memory_though_an_older_one_stays() {
        let mut trie: Trie<Arc<u32>> = Trie::new(DefaultHashBuilder::default());
        let client = Arc::new(1);
        let entry =
            || Match { subscriber: client.clone(), options: SubscriptionOptions::default(), identifier: 0 };
        let texts: Vec<String> = (0..10_000).map(|n| format!("a level that is long {n}/#")).collect();
        let filters = || texts.iter().map(|text| TopicFilter::parse(text).unwrap());
        trie.put(TopicFilter::parse("#").unwrap(), entry());
        filters().for_each(|filter| _ = trie.put(filter, entry()));
        filters().for_each(|filter| assert!(trie.remove(filter, client.identity()).is_some()));
        let rooms = [trie.nodes.capacity(), trie.ends.capacity(), trie.long.capacity()];
        assert!(rooms.iter().all(|room| *room <= 100), "{rooms:?}");
    }
}
