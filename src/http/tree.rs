//! The tree of published topics, which exists while it is viewed, bounded in topics and bytes.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use slab::Slab;

use crate::codec::qos::QoS;
use crate::engine::observe::mask::EventMask;
use crate::engine::observe::sink::{EventSink, Moment, Published};
use crate::http::payload::SHOWN;
use crate::locks::Mutex;
use crate::time::Time;

/// The window of a rate, in milliseconds.
const WINDOW: u64 = 5_000;
/// Bytes that a topic counts as between two moves, in addition to its name and payload.
const SLOT: usize = 200;
/// Bytes that a node counts as, in addition to its level and payload: half of the slab may be empty.
const NODE: u64 = 280;
/// Bytes that the first child of a node counts as in addition, for the table of children.
const CHILDREN: u64 = 300;

/// Messages that publishing threads have added and that are not in the tree yet.
pub(super) struct Recent {
    slots: Mutex<Slots>,
    most_topics: usize,
    most_bytes: usize,
}

#[derive(Default)]
struct Slots {
    by_topic: HashMap<Box<str>, Slot>,
    bytes: usize,
    left_out: u64,
}

/// The messages of one topic since the last move.
struct Slot {
    messages: u64,
    last: LastMessage,
}

/// The last message of a topic.
#[derive(Clone)]
pub(super) struct LastMessage {
    /// The beginning of the payload; `None` if the limit left no room for it.
    pub payload: Option<Box<[u8]>>,
    /// The size of the whole payload, in bytes.
    pub bytes: usize,
    pub at: Time,
    pub qos: QoS,
}

impl Recent {
    /// Limits for the messages between two moves.
    pub(super) fn new(most_topics: usize, most_bytes: usize) -> Arc<Recent> {
        Arc::new(Recent { slots: Mutex::default(), most_topics, most_bytes })
    }

    /// Moves everything into the tree.
    pub(super) fn drain_into(&self, tree: &mut Tree) {
        let slots = std::mem::take(&mut *self.slots.lock());
        tree.left_out += slots.left_out;
        for (topic, slot) in slots.by_topic {
            tree.add(&topic, slot.messages, slot.last);
        }
    }
}

impl EventSink for Recent {
    fn mask(&self) -> EventMask {
        EventMask::PUBLISHING
    }

    fn moment(&self, moment: &Moment<'_>) {
        if let Moment::Publishing(seen) = moment {
            self.see(seen);
        }
    }
}

impl Recent {
    fn see(&self, seen: &Published<'_>) {
        let topic = seen.topic_name();
        let shown = seen.payload.get(..SHOWN).unwrap_or(seen.payload);
        let mut slots = self.slots.lock();
        let slots = &mut *slots;
        if !slots.by_topic.contains_key(topic) {
            let bytes = SLOT + topic.len();
            if slots.by_topic.len() >= self.most_topics || slots.bytes + bytes > self.most_bytes {
                slots.left_out += 1;
                return;
            }
            slots.bytes += bytes;
        }
        let fits = slots.bytes + shown.len() <= self.most_bytes;
        let last = LastMessage {
            payload: fits.then(|| shown.into()),
            bytes: seen.payload.len(),
            at: seen.at,
            qos: seen.qos,
        };
        slots.bytes += if fits { shown.len() } else { 0 };
        match slots.by_topic.get_mut(topic) {
            Some(slot) => {
                slot.messages += 1;
                let old = std::mem::replace(&mut slot.last, last);
                slots.bytes -= old.payload.map_or(0, |payload| payload.len());
            }
            None => {
                slots.by_topic.insert(topic.into(), Slot { messages: 1, last });
            }
        }
    }
}

/// The tree. A topic is a node; the levels above it are nodes, too.
pub(super) struct Tree {
    nodes: Slab<Node>,
    roots: BTreeMap<Box<str>, usize>,
    bytes: u64,
    topics: usize,
    most_topics: usize,
    most_bytes: u64,
    /// Messages whose topic did not fit.
    pub left_out: u64,
    /// The time when the tree was started.
    pub since: Time,
}

#[derive(Default)]
struct Node {
    children: BTreeMap<Box<str>, usize>,
    last: Option<Box<LastMessage>>,
    /// Messages of this topic and of those below it.
    messages: u64,
    rate: Rate,
}

/// Messages in the last whole window, and in the current one.
#[derive(Clone, Copy, Default)]
struct Rate {
    window: u64,
    now: u64,
    before: u64,
}

/// A node of a response.
pub(super) struct Branch {
    pub level: String,
    pub topic: String,
    pub children: usize,
    pub messages: u64,
    pub rate: f64,
    pub last: Option<LastMessage>,
}

impl Tree {
    /// An empty tree.
    pub(super) fn new(most_topics: usize, most_bytes: u64, since: Time) -> Tree {
        let (nodes, roots) = (Slab::new(), BTreeMap::new());
        Tree { nodes, roots, bytes: 0, topics: 0, most_topics, most_bytes, left_out: 0, since }
    }

    /// The number of topics.
    pub(super) fn topics(&self) -> usize {
        self.topics
    }

    /// Adds messages of a topic, of which `last` is the last.
    pub(super) fn add(&mut self, topic: &str, messages: u64, last: LastMessage) {
        let Some(path) = self.path(topic) else {
            self.left_out += messages;
            return;
        };
        for index in &path {
            if let Some(node) = self.nodes.get_mut(*index) {
                node.messages += messages;
                node.rate.add(last.at, messages);
            }
        }
        let Some(node) = path.last().and_then(|index| self.nodes.get_mut(*index)) else {
            return;
        };
        let freed = match node.last.take() {
            None => {
                self.topics += 1;
                0
            }
            Some(old) => old.payload.as_ref().map_or(0, |payload| payload.len() as u64),
        };
        self.bytes = self.bytes.saturating_sub(freed);
        let taken = last.payload.as_ref().map_or(0, |payload| payload.len() as u64);
        let fits = self.bytes + taken <= self.most_bytes;
        let payload = last.payload.filter(|_| fits);
        self.bytes += if fits { taken } else { 0 };
        node.last = Some(Box::new(LastMessage { payload, ..last }));
    }

    /// The nodes of a topic's levels, added if there is room; `None` if there is not.
    fn path(&mut self, topic: &str) -> Option<Vec<usize>> {
        let mut path = Vec::new();
        let mut found = true;
        let mut above = &self.roots;
        for level in topic.split('/') {
            let Some(index) = above.get(level) else {
                found = false;
                break;
            };
            path.push(*index);
            above = &self.nodes.get(*index)?.children;
        }
        if found {
            return Some(path);
        }
        // Each new level counts as a topic.
        let new = topic.split('/').skip(path.len());
        let levels: u64 = new.clone().map(|level| NODE + level.len() as u64).sum();
        // Each new level but the first is the first child of another.
        let tables = new.clone().count() as u64 - u64::from(!above.is_empty());
        let bytes = levels + tables * CHILDREN;
        if self.nodes.len() + new.clone().count() > self.most_topics.saturating_mul(2)
            || self.topics >= self.most_topics
            || self.bytes + bytes > self.most_bytes
        {
            return None;
        }
        self.bytes += bytes;
        for level in new {
            let index = self.nodes.insert(Node::default());
            let above = match path.last() {
                None => &mut self.roots,
                Some(parent) => &mut self.nodes.get_mut(*parent)?.children,
            };
            above.insert(level.into(), index);
            path.push(index);
        }
        Some(path)
    }

    /// The branches directly below `parent` (`None` is the root) after the level `after`, at most `limit`, and whether
    /// there are more.
    pub(super) fn below(
        &self,
        parent: Option<&str>,
        after: Option<&str>,
        limit: usize,
        now: Time,
    ) -> (Vec<Branch>, bool) {
        use std::ops::Bound::{Excluded, Unbounded};
        let Some(children) = self.children_of(parent) else {
            return (Vec::new(), false);
        };
        let from = after.map_or(Unbounded, Excluded);
        let mut rest = children.range::<str, _>((from, Unbounded));
        let branches = rest.by_ref().take(limit);
        let branches =
            branches.filter_map(|(level, index)| self.branch(parent, level, *index, now)).collect();
        (branches, rest.next().is_some())
    }

    /// As [`Tree::below`], starting at index `offset`.
    pub(super) fn part(&self, parent: Option<&str>, offset: usize, limit: usize, now: Time) -> Vec<Branch> {
        let children = self.children_of(parent).into_iter().flatten().skip(offset).take(limit);
        children.filter_map(|(level, index)| self.branch(parent, level, *index, now)).collect()
    }

    /// The number of branches directly below `parent`.
    pub(super) fn width(&self, parent: Option<&str>) -> usize {
        self.children_of(parent).map_or(0, BTreeMap::len)
    }

    /// The topics that contain `text`, ignoring case, starting at index `offset`, and their total number. The level of
    /// each is the whole topic.
    pub(super) fn search(&self, text: &str, offset: usize, limit: usize, now: Time) -> (Vec<Branch>, usize) {
        let (text, mut found, mut total) = (text.to_lowercase(), Vec::new(), 0);
        // Nodes still to visit; the next one is last.
        let mut open: Vec<(String, usize)> = Vec::new();
        open.extend(self.roots.iter().rev().map(|(level, index)| (level.to_string(), *index)));
        while let Some((topic, index)) = open.pop() {
            let Some(node) = self.nodes.get(index) else { continue };
            if node.last.is_some() && topic.to_lowercase().contains(&text) {
                if total >= offset && found.len() < limit {
                    found.extend(self.branch(None, &topic, index, now));
                }
                total += 1;
            }
            let below = node.children.iter().rev();
            open.extend(below.map(|(level, index)| (format!("{topic}/{level}"), *index)));
        }
        (found, total)
    }

    fn children_of(&self, parent: Option<&str>) -> Option<&BTreeMap<Box<str>, usize>> {
        let mut children = &self.roots;
        for level in parent.into_iter().flat_map(|parent| parent.split('/')) {
            children = &self.nodes.get(*children.get(level)?)?.children;
        }
        Some(children)
    }

    fn branch(&self, parent: Option<&str>, level: &str, index: usize, now: Time) -> Option<Branch> {
        let node = self.nodes.get(index)?;
        Some(Branch {
            level: level.to_owned(),
            topic: parent.map_or_else(|| level.to_owned(), |parent| format!("{parent}/{level}")),
            children: node.children.len(),
            messages: node.messages,
            rate: node.rate.at(now),
            last: node.last.as_deref().cloned(),
        })
    }
}

impl Rate {
    fn add(&mut self, at: Time, messages: u64) {
        self.turn(at.as_millis() / WINDOW);
        self.now += messages;
    }

    fn turn(&mut self, window: u64) {
        if window > self.window {
            self.before = if window == self.window + 1 { self.now } else { 0 };
            (self.now, self.window) = (0, window);
        }
    }

    /// Messages per second, over the last whole window and the elapsed part of the current one.
    fn at(mut self, now: Time) -> f64 {
        self.turn(now.as_millis() / WINDOW);
        let gone = (now.as_millis() % WINDOW) as f64 / WINDOW as f64;
        let messages = self.now as f64 + self.before as f64 * (1.0 - gone);
        (messages * 1000.0 / WINDOW as f64 * 100.0).round() / 100.0
    }
}

#[cfg(test)]
mod tests {
    use super::{LastMessage, Recent, SLOT, Tree};
    use crate::codec::qos::QoS;
    use crate::engine::observe::sink::Published;
    use crate::time::Time;

    fn last(payload: &[u8], at: u64) -> LastMessage {
        let payload = Some(payload.into());
        LastMessage { bytes: 1, payload, at: Time::from_millis(at), qos: QoS::AtMostOnce }
    }

    fn names(tree: &Tree, parent: Option<&str>) -> Vec<String> {
        tree.below(parent, None, 100, Time::ZERO).0.into_iter().map(|branch| branch.topic).collect()
    }

    #[test]
    fn topics_stand_below_their_levels() {
        let mut tree = Tree::new(100, 1 << 20, Time::ZERO);
        for topic in ["a/b", "a", "a/c/d", "/x", "a/"] {
            tree.add(topic, 1, last(b"1", 0));
        }
        assert_eq!(tree.topics(), 5);
        assert_eq!(names(&tree, None), ["", "a"]);
        assert_eq!(names(&tree, Some("a")), ["a/", "a/b", "a/c"]);
        assert_eq!(names(&tree, Some("")), ["/x"]);
        assert_eq!(names(&tree, Some("nothing")), [""; 0]);
        let (branches, more) = tree.below(None, None, 1, Time::ZERO);
        assert!(more && branches.len() == 1);
        let (branches, more) = tree.below(None, Some(""), 1, Time::ZERO);
        let a = &branches[0];
        assert!(!more && a.children == 3 && a.messages == 4 && a.last.is_some());
        assert!(tree.below(Some("a"), Some("a/b"), 9, Time::ZERO).0.iter().any(|b| b.last.is_none()));
    }

    #[test]
    fn any_part_of_a_level_is_at_hand() {
        let mut tree = Tree::new(100, 1 << 20, Time::ZERO);
        for topic in ["a/1", "a/2", "a/3", "b"] {
            tree.add(topic, 1, last(b"1", 0));
        }
        let part = |offset, limit| {
            let part = tree.part(Some("a"), offset, limit, Time::ZERO);
            part.into_iter().map(|branch| branch.level).collect::<Vec<_>>()
        };
        assert_eq!((tree.width(None), tree.width(Some("a")), tree.width(Some("c"))), (2, 3, 0));
        assert_eq!((part(0, 2), part(2, 2)), (vec!["1".to_owned(), "2".to_owned()], vec!["3".to_owned()]));
        assert!(part(3, 2).is_empty() && tree.part(Some("c"), 0, 9, Time::ZERO).is_empty());
    }

    #[test]
    fn topics_are_found_by_a_part_of_them_in_any_case() {
        let mut tree = Tree::new(100, 1 << 20, Time::ZERO);
        for topic in ["Home/Kitchen", "home/hall", "/home", "office"] {
            tree.add(topic, 1, last(b"1", 0));
        }
        let found = |text: &str, offset, limit| {
            let (found, total) = tree.search(text, offset, limit, Time::ZERO);
            (found.into_iter().map(|branch| branch.topic).collect::<Vec<_>>().join(" "), total)
        };
        assert_eq!(found("home", 0, 9), ("/home Home/Kitchen home/hall".to_owned(), 3));
        assert_eq!(found("HOME", 1, 1), ("Home/Kitchen".to_owned(), 3));
        assert_eq!(found("e/k", 0, 9), ("Home/Kitchen".to_owned(), 1));
        assert_eq!(found("nothing", 0, 9), (String::new(), 0));
    }

    #[test]
    fn rates_are_of_the_last_seconds() {
        let mut tree = Tree::new(100, 1 << 20, Time::ZERO);
        tree.add("a", 10, last(b"", 4_999));
        let rate = |tree: &Tree, at| tree.below(None, None, 1, Time::from_millis(at)).0[0].rate;
        assert_eq!((rate(&tree, 5_000), rate(&tree, 7_500), rate(&tree, 10_000)), (2.0, 1.0, 0.0));
        tree.add("a", 5, last(b"", 10_000));
        assert_eq!(rate(&tree, 10_000), 1.0);
    }

    #[test]
    fn the_tree_is_bounded_in_topics_and_in_bytes() {
        let mut tree = Tree::new(2, 1 << 20, Time::ZERO);
        for topic in ["a", "b", "c", "c"] {
            tree.add(topic, 1, last(b"", 0));
        }
        assert_eq!((tree.topics(), tree.left_out), (2, 2));
        // A topic of one letter takes 581 bytes, the next one below the same level 281.
        for (most, held) in [(581, 1), (580, 0)] {
            let mut tree = Tree::new(100, most, Time::ZERO);
            tree.add("a", 1, last(b"", 0));
            assert_eq!((tree.topics(), tree.left_out), (held, 1 - held as u64), "{most}");
        }
        let mut tree = Tree::new(100, 1_110, Time::ZERO);
        tree.add("a", 1, last(&[0; 200], 0));
        tree.add("b", 1, last(&[0; 200], 0));
        let (branches, _) = tree.below(None, None, 9, Time::ZERO);
        assert_eq!(branches.len(), 2);
        let kept: Vec<_> = branches.iter().map(|b| b.last.as_ref().unwrap().payload.is_some()).collect();
        assert_eq!(kept, [true, false]);
        tree.add("a", 1, last(&[0; 10], 0));
        tree.add("b", 1, last(&[0; 20], 0));
        assert!(tree.below(None, None, 9, Time::ZERO).0[1].last.as_ref().unwrap().payload.is_some());
    }

    #[test]
    fn what_is_seen_between_two_looks_is_counted_and_bounded() {
        let recent = Recent::new(2, 2 * (SLOT + 1) + 10);
        let see = |topic: &str, payload: &[u8]| {
            let (qos, topic) = (QoS::AtMostOnce, topic.as_bytes());
            recent.see(&Published {
                client_id: None,
                topic,
                payload,
                properties: &[],
                qos,
                retain: false,
                at: Time::ZERO,
                expiry_interval: None,
            });
        };
        see("a", b"12345");
        see("b", b"12345");
        see("a", b"123456");
        see("c", b"");
        let mut tree = Tree::new(100, 1 << 20, Time::ZERO);
        recent.drain_into(&mut tree);
        let (branches, _) = tree.below(None, None, 9, Time::ZERO);
        let shown: Vec<_> = branches
            .iter()
            .map(|b| (b.topic.as_str(), b.messages, b.last.as_ref().unwrap().payload.is_some()))
            .collect();
        assert_eq!((shown, tree.left_out), (vec![("a", 2, false), ("b", 1, true)], 1));
        recent.drain_into(&mut tree);
        assert_eq!(tree.below(None, None, 9, Time::ZERO).0[0].messages, 2);
        // A topic counts, too.
        let topic = "t".repeat(2 * (SLOT + 6));
        see(&topic, b"");
        see("d", b"");
        recent.drain_into(&mut tree);
        assert_eq!((tree.topics(), tree.left_out), (3, 2));
    }
}
