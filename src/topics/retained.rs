//! The retained messages: at most one per topic, found by filter.
//!
//! They are in one ordered map whose key is the topic with each `/` replaced by the byte 0, which no topic holds. So
//! a level sorts before any longer one, and everything below a level is one contiguous range. A lookup walks the
//! range of the filter's leading levels. Where a key does not match, the filter gives the least key that could match
//! next, and the walk jumps there.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::collections::btree_map::Range;
use std::ops::Bound;

use smallvec::SmallVec;

use crate::codec::topic::{TopicFilter, TopicName};
use crate::locks::RwLock;

/// The retained messages of a broker, bounded in number and in bytes. May be used from any thread.
pub struct Retained<V> {
    table: RwLock<Table<V>>,
    max_messages: usize,
    max_bytes: u64,
}

/// Why a message was not retained.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RetainedFull {
    /// The topic is new, and the store holds the maximum number of messages.
    #[error("retained message limit reached (retained.max_messages = {max})")]
    Messages {
        /// The bound.
        max: usize,
    },
    /// With this message the store would hold more than the maximum number of bytes.
    #[error("limit of retained bytes reached (retained.max_bytes = {max})")]
    Bytes {
        /// The bound.
        max: u64,
    },
}

struct Table<V> {
    entries: BTreeMap<Box<[u8]>, Entry<V>>,
    bytes: u64,
}

struct Entry<V> {
    value: V,
    bytes: u64,
}

/// What an entry takes beside key and value: a share of the tree's nodes, and what the system's allocator adds.
const BESIDE: usize = 48;

/// A key on the stack.
type Key = SmallVec<[u8; 128]>;

/// Entries that are read under one hold of the lock.
const ENTRIES_PER_LOCK: usize = 1024;
/// Entries that the walk skips one by one before it jumps; a jump costs about as much.
const SCAN_BEFORE_JUMP: usize = 6;

impl<V: Clone> Retained<V> {
    /// An empty store of at most `max_messages` messages and `max_bytes` bytes.
    pub fn new(max_messages: usize, max_bytes: u64) -> Retained<V> {
        let table = Table { entries: BTreeMap::new(), bytes: 0 };
        Retained { table: RwLock::new(table), max_messages, max_bytes }
    }

    /// The bytes that the entry of a topic takes beside its value.
    pub const fn entry_size(topic: &str) -> usize {
        // The nodes of the tree are half full when topics come in order.
        topic.len() + 2 * (size_of::<Box<[u8]>>() + size_of::<Entry<V>>()) + BESIDE
    }

    /// Stores `value`, which counts as `bytes` bytes and those of its entry, for `topic`; returns the value that it replaced.
    ///
    /// # Errors
    /// The topic is new and the store holds the maximum number of messages, or it would hold more than the maximum
    /// number of bytes. The old value of the topic is removed, because it is out of date [MQTT-3.3.1-5],
    /// [MQTT3-3.3.1-7].
    pub fn store(&self, topic: TopicName<'_>, value: V, bytes: usize) -> Result<Option<V>, RetainedFull> {
        self.store_then(topic, value, bytes, |_| ())
    }

    /// The same; `changed` is told under the lock that the topic has the new value, or, if false, that it has none any more.
    ///
    /// # Errors
    /// As [`Retained::store`].
    pub fn store_then(
        &self,
        topic: TopicName<'_>,
        value: V,
        bytes: usize,
        changed: impl FnOnce(bool),
    ) -> Result<Option<V>, RetainedFull> {
        let key = key_of(topic.as_str());
        let bytes = (bytes + Self::entry_size(topic.as_str())) as u64;
        let mut table = self.table.write();
        let table = &mut *table;
        let count = table.entries.len();
        let present = table.entries.get_mut(&*key);
        let total = table.bytes - present.as_ref().map_or(0, |entry| entry.bytes) + bytes;
        if total > self.max_bytes {
            if table.remove_if(&key, |_| true).is_some() {
                changed(false);
            }
            return Err(RetainedFull::Bytes { max: self.max_bytes });
        }
        let old = match present {
            Some(entry) => Some(std::mem::replace(entry, Entry { value, bytes }).value),
            None if count >= self.max_messages => {
                return Err(RetainedFull::Messages { max: self.max_messages });
            }
            None => {
                table.entries.insert(Box::from(&*key), Entry { value, bytes });
                None
            }
        };
        table.bytes = total;
        changed(true);
        Ok(old)
    }

    /// Removes the value of `topic` and returns it.
    pub fn remove(&self, topic: TopicName<'_>) -> Option<V> {
        self.remove_if(topic, |_| true)
    }

    /// The same; `removed` is called under the lock if there was something.
    pub fn remove_then(&self, topic: TopicName<'_>, removed: impl FnOnce()) -> Option<V> {
        let mut table = self.table.write();
        let value = table.remove_if(&key_of(topic.as_str()), |_| true)?;
        removed();
        Some(value)
    }

    /// Removes the value of `topic` and returns it, if `is_wanted` returns true for it.
    ///
    /// `is_wanted` is called under the lock and must not use the store.
    pub fn remove_if(&self, topic: TopicName<'_>, is_wanted: impl FnOnce(&V) -> bool) -> Option<V> {
        self.table.write().remove_if(&key_of(topic.as_str()), is_wanted)
    }

    /// The value of `topic`.
    pub fn get(&self, topic: TopicName<'_>) -> Option<V> {
        self.table.read().entries.get(&*key_of(topic.as_str())).map(|entry| entry.value.clone())
    }

    /// Gives the value of `topic` to `see` under the lock, if there is one.
    pub fn look(&self, topic: TopicName<'_>, see: impl FnOnce(&V)) {
        if let Some(entry) = self.table.read().entries.get(&*key_of(topic.as_str())) {
            see(&entry.value);
        }
    }

    /// Appends the values of the topics that match `filter` to `out`, ordered by topic, level by level.
    ///
    /// A long walk releases the lock now and then, so that it is held for a bounded time. A message that is retained
    /// during the whole call is found once.
    pub fn collect(&self, filter: &TopicFilter<'_>, out: &mut Vec<V>) {
        if self.is_empty() {
            return;
        }
        if !filter.has_wildcard() {
            out.extend(
                self.table.read().entries.get(&*key_of(filter.filter())).map(|entry| entry.value.clone()),
            );
            return;
        }
        let pattern = Pattern::new(filter);
        let mut from = Some(pattern.literal());
        while let Some(key) = from {
            let mut entries = ENTRIES_PER_LOCK;
            from = self.table.read().walk(&pattern, key, usize::MAX, &mut entries, out);
        }
    }

    /// Goes on with a walk over the topics that match `filter`: from the position that an earlier step has returned, or
    /// from the first topic. Appends at most `most` values to `out`, ordered by topic, level by level, and looks at no more
    /// than `entries` messages, from which it takes what it has looked at. Returns where to go on; `None` at the end.
    ///
    /// A message that is retained during the whole walk is found once.
    pub fn step(
        &self,
        filter: &TopicFilter<'_>,
        from: Option<&[u8]>,
        most: usize,
        entries: &mut usize,
        out: &mut Vec<V>,
    ) -> Option<Box<[u8]>> {
        if !filter.has_wildcard() {
            *entries = entries.saturating_sub(1);
            out.extend(self.get(TopicName::from_validated(filter.filter())));
            return None;
        }
        let pattern = Pattern::new(filter);
        let from = from.map_or_else(|| pattern.literal(), Key::from_slice);
        let enough = out.len().saturating_add(most);
        self.table.read().walk(&pattern, from, enough, entries, out).map(|key| Box::from(&*key))
    }

    /// The position of a topic for [`Retained::step`]: a walk that goes on there finds it first, if it matches.
    pub fn position(topic: &str) -> Box<[u8]> {
        Box::from(&*key_of(topic))
    }

    /// Removes the values for which `is_kept` returns false; returns their number.
    ///
    /// `is_kept` is called under the lock, which is released now and then, and must not use the store.
    pub fn retain(&self, is_kept: impl FnMut(&V) -> bool) -> usize {
        self.retain_then(is_kept, |_| ())
    }

    /// The same; `removed_one` is told of each under the lock.
    pub fn retain_then(&self, mut is_kept: impl FnMut(&V) -> bool, mut removed_one: impl FnMut(&V)) -> usize {
        let mut removed = 0;
        let mut after: Option<Key> = None;
        loop {
            let mut unwanted: Vec<Key> = Vec::new();
            let table = self.table.read();
            let mut last = None;
            for (key, entry) in table.after(after.as_deref()).take(ENTRIES_PER_LOCK) {
                if !is_kept(&entry.value) {
                    unwanted.push(Key::from_slice(key));
                }
                last = Some(key);
            }
            let Some(last) = last else { return removed };
            after = Some(Key::from_slice(last));
            drop(table);
            // A value that meanwhile replaced an unwanted one is tested again.
            let mut table = self.table.write();
            for key in unwanted {
                if let Some(value) = table.remove_if(&key, |value| !is_kept(value)) {
                    removed_one(&value);
                    removed += 1;
                }
            }
        }
    }

    /// The first `limit` messages whose topic comes after the topic `after`, level by level.
    pub fn page(&self, after: Option<&str>, limit: usize) -> Vec<V> {
        let after = after.map(key_of);
        self.table.read().after(after.as_deref()).take(limit).map(|(_, entry)| entry.value.clone()).collect()
    }

    /// The number of messages.
    pub fn len(&self) -> usize {
        self.table.read().entries.len()
    }

    /// Whether there is no message.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The sum of the bytes that the messages and their entries count as.
    pub fn bytes(&self) -> u64 {
        self.table.read().bytes
    }
}

impl<V: Clone> Table<V> {
    fn after(&self, key: Option<&[u8]>) -> Range<'_, Box<[u8]>, Entry<V>> {
        let from = key.map_or(Bound::Unbounded, Bound::Excluded);
        self.entries.range::<[u8], _>((from, Bound::Unbounded))
    }

    fn remove_if(&mut self, key: &[u8], is_wanted: impl FnOnce(&V) -> bool) -> Option<V> {
        self.entries.get(key).filter(|entry| is_wanted(&entry.value))?;
        let entry = self.entries.remove(key)?;
        self.bytes -= entry.bytes;
        Some(entry.value)
    }

    /// Appends matches with keys of at least `from` to `out`, until that has `enough` values or `budget` entries were
    /// looked at. If it stops early, it returns the key to continue from.
    fn walk(
        &self,
        pattern: &Pattern<'_>,
        mut from: Key,
        enough: usize,
        budget: &mut usize,
        out: &mut Vec<V>,
    ) -> Option<Key> {
        loop {
            let mut passed = 0;
            let mut is_skipping = false;
            let mut entries = self.entries.range::<[u8], _>((Bound::Included(&*from), Bound::Unbounded));
            loop {
                let (key, entry) = entries.next()?;
                if *budget == 0 || out.len() >= enough {
                    return Some(Key::from_slice(key));
                }
                *budget -= 1;
                if is_skipping && **key < *from {
                    passed += 1;
                    if passed == SCAN_BEFORE_JUMP {
                        break;
                    }
                    continue;
                }
                is_skipping = false;
                match pattern.compare(key) {
                    Comparison::Match => out.push(entry.value.clone()),
                    Comparison::Next => {}
                    Comparison::Skip { kept, then } => {
                        from.clear();
                        from.extend_from_slice(kept);
                        from.extend_from_slice(then);
                        is_skipping = true;
                        passed = 0;
                    }
                    Comparison::End => return None,
                }
            }
        }
    }
}

/// The levels of a filter.
struct Pattern<'f> {
    levels: SmallVec<[&'f [u8]; 16]>,
}

/// The result of comparing a key with a filter.
enum Comparison<'k> {
    Match,
    /// No match; the next key may match.
    Next,
    /// No match, and none before the key `kept` followed by `then`, which is greater than this key.
    Skip {
        kept: &'k [u8],
        then: &'k [u8],
    },
    /// No match, and no greater key matches.
    End,
}

/// A level followed by this sorts after everything below the level: the byte 0 ends a level.
const PAST_LEVEL: &[u8] = &[1];
/// Sorts after every key that begins with `$`.
const PAST_DOLLAR: &[u8] = b"%";

impl<'f> Pattern<'f> {
    fn new(filter: &TopicFilter<'f>) -> Pattern<'f> {
        Pattern { levels: filter.levels().map(str::as_bytes).collect() }
    }

    /// The least key that can match.
    fn literal(&self) -> Key {
        let mut key = Key::new();
        for (index, level) in self.levels.iter().enumerate() {
            if *level == b"#" {
                break; // `a/#` also matches `a`.
            }
            if index > 0 {
                key.push(0);
            }
            if *level == b"+" {
                break;
            }
            key.extend_from_slice(level);
        }
        key
    }

    fn compare<'k>(&self, key: &'k [u8]) -> Comparison<'k>
    where
        'f: 'k,
    {
        if key.first() == Some(&b'$')
            && self.levels.first().is_some_and(|level| *level == b"+" || *level == b"#")
        {
            return Comparison::Skip { kept: &[], then: PAST_DOLLAR }; // [MQTT-4.7.2-1]
        }
        // The key up to the level that the last `+` stands for.
        let mut variable: Option<&[u8]> = None;
        // The start of the key's next level; none if the last one has been compared.
        let mut next = Some(0);
        let mut compared = key;
        for level in &self.levels {
            if *level == b"#" {
                return Comparison::Match; // [MQTT-4.7.1-1]: nothing follows it.
            }
            let Some(start) = next else { return Comparison::Next };
            let (before, rest) = key.split_at_checked(start).unwrap_or((key, &[]));
            let length = rest.iter().position(|byte| *byte == 0);
            next = length.map(|length| start + length + 1);
            let name = rest.get(..length.unwrap_or(rest.len())).unwrap_or(rest);
            compared = key.get(..start + name.len()).unwrap_or(key);
            if *level == b"+" {
                variable = Some(compared);
                continue;
            }
            match name.cmp(level) {
                Ordering::Equal => {}
                Ordering::Less => return Comparison::Skip { kept: before, then: level },
                Ordering::Greater => {
                    return variable
                        .map_or(Comparison::End, |kept| Comparison::Skip { kept, then: PAST_LEVEL });
                }
            }
        }
        match next {
            None => Comparison::Match,
            Some(_) => Comparison::Skip { kept: compared, then: PAST_LEVEL },
        }
    }
}

fn key_of(topic: &str) -> Key {
    topic.bytes().map(|byte| if byte == b'/' { 0 } else { byte }).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::collection::vec;
    use proptest::option;
    use proptest::prelude::{Just, Strategy, any, prop_oneof, proptest};
    use proptest::sample::select;

    use super::{ENTRIES_PER_LOCK, Retained, RetainedFull};
    use crate::codec::topic::{TopicFilter, TopicName};

    fn name(text: &str) -> TopicName<'_> {
        TopicName::parse(text).unwrap()
    }

    fn store(topics: &[&'static str]) -> Retained<&'static str> {
        let retained = Retained::new(usize::MAX, u64::MAX);
        for topic in topics {
            assert_eq!(retained.store(name(topic), *topic, 1), Ok(None));
        }
        retained
    }

    fn collect<V: Clone>(retained: &Retained<V>, filter: &str) -> Vec<V> {
        let mut out = Vec::new();
        retained.collect(&TopicFilter::parse(filter).unwrap(), &mut out);
        out
    }

    #[test]
    fn a_filter_finds_its_topics_level_by_level() {
        let retained = store(&["a", "a/b", "a/b/c", "a/c", "a b", "a/", "/a", "b/b", "b/b/c", "$SYS/b"]);
        assert_eq!(collect(&retained, "a/b"), ["a/b"]);
        assert_eq!(collect(&retained, "a/#"), ["a", "a/", "a/b", "a/b/c", "a/c"]);
        assert_eq!(collect(&retained, "a/+"), ["a/", "a/b", "a/c"]);
        assert_eq!(collect(&retained, "+/b"), ["a/b", "b/b"]);
        assert_eq!(collect(&retained, "+/+/c"), ["a/b/c", "b/b/c"]);
        assert_eq!(collect(&retained, "+"), ["a", "a b"]);
        assert_eq!(collect(&retained, "$share/g/+/b"), ["a/b", "b/b"]);
        assert_eq!(collect(&retained, "$SYS/#"), ["$SYS/b"]);
        assert_eq!(collect(&retained, "#").len(), 9); // [MQTT-4.7.2-1]
    }

    #[test]
    fn the_bounds_refuse_what_is_new_or_too_large() {
        let entry = Retained::<u8>::entry_size("a") as u64;
        let max = 10 + 2 * entry;
        let one = Retained::new(1, u64::MAX);
        assert_eq!(one.store(name("a"), 1, 4), Ok(None));
        assert_eq!(one.store(name("c"), 3, 0), Err(RetainedFull::Messages { max: 1 }));
        let retained = Retained::<u8>::new(2, max);
        assert_eq!(retained.store(name("a"), 1, 4), Ok(None));
        assert_eq!(retained.store(name("b"), 2, 7), Err(RetainedFull::Bytes { max }));
        assert_eq!(retained.store(name("bb"), 2, 6), Err(RetainedFull::Bytes { max }));
        assert_eq!(retained.store(name("b"), 2, 6), Ok(None));
        assert_eq!(retained.store(name("a"), 4, 5), Err(RetainedFull::Bytes { max }));
        // The value that could not be replaced is out of date.
        assert_eq!((retained.len(), retained.bytes(), retained.get(name("a"))), (1, entry + 6, None));
        assert_eq!(retained.store(name("a"), 1, 1), Ok(None));
        assert_eq!(retained.store(name("a"), 5, 3), Ok(Some(1)));
        assert_eq!((retained.len(), retained.bytes()), (2, 2 * entry + 9));
        assert_eq!(retained.remove(name("b")), Some(2));
        assert_eq!(retained.remove(name("b")), None);
        assert_eq!((retained.len(), retained.bytes(), retained.get(name("a"))), (1, entry + 3, Some(5)));
    }

    #[test]
    fn what_is_removed_on_a_condition_stays_without_it() {
        let retained = store(&["a"]);
        assert_eq!(retained.remove_if(name("a"), |value| *value == "b"), None);
        assert_eq!(retained.remove_if(name("a"), |value| *value == "a"), Some("a"));
        assert!(retained.is_empty());
    }

    #[test]
    fn more_than_one_step_is_walked_swept_and_paged_to_the_end() {
        let retained = Retained::new(usize::MAX, u64::MAX);
        let count = ENTRIES_PER_LOCK * 5 / 2;
        for number in 0..count {
            retained.store(name(&format!("a/{number:05}")), number, 1).unwrap();
            retained.store(name(&format!("a/{number:05}/deep")), count, 1).unwrap();
        }
        let all: Vec<usize> = (0..count).collect();
        assert_eq!(collect(&retained, "a/+"), all);
        assert_eq!(collect(&retained, "+/+/deep").len(), count);
        assert_eq!(collect(&retained, "#").len(), 2 * count);
        assert_eq!(retained.retain(|value| value % 2 == 0 && *value != count), count + count / 2);
        let each = Retained::<usize>::entry_size("a/00000") + 1;
        assert_eq!((retained.len(), retained.bytes()), (count / 2, (count / 2 * each) as u64));

        let mut paged = Vec::new();
        let mut after: Option<String> = None;
        loop {
            let page = retained.page(after.as_deref(), 7);
            let Some(last) = page.last() else { break };
            after = Some(format!("a/{last:05}"));
            paged.extend(page);
        }
        assert_eq!(paged, all.into_iter().step_by(2).collect::<Vec<usize>>());
    }

    fn level() -> impl Strategy<Value = &'static str> {
        // U+0001 and a space sort between the end of a level and a letter.
        select(&["", "a", "b", "ab", "b\u{1}", " ", "$a", "$", "%", "z"][..])
    }

    fn topic() -> impl Strategy<Value = String> {
        vec(level(), 1..5)
            .prop_map(|levels| levels.join("/"))
            .prop_filter("not empty", |text| !text.is_empty())
    }

    fn filter() -> impl Strategy<Value = String> {
        let level = prop_oneof![2 => level(), 3 => Just("+")];
        (vec(level, 0..4), any::<bool>())
            .prop_map(|(mut levels, below)| {
                if below || levels.is_empty() {
                    levels.push("#");
                }
                levels.join("/")
            })
            .prop_filter("not empty", |text| !text.is_empty())
    }

    proptest! {
        #[test]
        fn agrees_with_a_scan_of_all_topics(
            steps in vec((topic(), option::weighted(0.8, 0..100_usize)), 0..200),
            filters in vec(filter(), 1..20),
        ) {
            let retained = Retained::new(usize::MAX, u64::MAX);
            // The key of the model orders the topics level by level.
            let mut model: BTreeMap<String, (String, usize)> = BTreeMap::new();
            for (topic, bytes) in steps {
                let key = topic.replace('/', "\0");
                match bytes {
                    Some(bytes) => {
                        let old = model.insert(key, (topic.clone(), bytes)).map(|old| old.0);
                        assert_eq!(retained.store(name(&topic), topic.clone(), bytes), Ok(old));
                    }
                    None => assert_eq!(retained.remove(name(&topic)), model.remove(&key).map(|old| old.0)),
                }
            }
            assert_eq!(retained.len(), model.len());
            let size = |(topic, bytes): &(String, usize)| Retained::<String>::entry_size(topic) + bytes;
            assert_eq!(retained.bytes(), model.values().map(size).sum::<usize>() as u64);
            for text in filters {
                let filter = TopicFilter::parse(&text).unwrap();
                let expected: Vec<&String> =
                    model.values().map(|(topic, _)| topic).filter(|topic| filter.matches(&name(topic))).collect();
                assert_eq!(collect(&retained, &text).iter().collect::<Vec<_>>(), expected, "{text}");
            }
        }
    }
}
