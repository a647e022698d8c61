//! Counters that change with the subscriptions, so that a cache can tell whether its matches are current.

use std::hash::BuildHasher;
use std::sync::atomic::{AtomicU64, Ordering};

use hashbrown::DefaultHashBuilder;

use crate::codec::topic::{TopicFilter, TopicName};

/// The version of the subscriptions that concern one topic. While it is equal, so are the topic's matches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stamp(u64);

/// The counters that change with the subscriptions of one topic.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct VersionSlot {
    name: u16,
    level: u16,
}

/// Three kinds of counters, so that a change invalidates few cached matches. A filter without wildcards concerns one
/// topic, and one that begins with a level concerns the topics below it. Only a filter that begins with a wildcard
/// concerns all topics.
///
/// A counter is raised after the tables have changed, while their write lock is still held. A cache reads the stamp
/// before it computes the matches under the read lock. If change C has raised its counter when the stamp is read,
/// the tables are read after C releases the write lock. So the matches include C. Matches can be newer
/// than their stamp, which costs one needless computation, but never older. Once C has returned, every later stamp
/// includes it and differs from a stamp without it.
pub(super) struct Versions {
    names: Box<[AtomicU64]>,
    levels: Box<[AtomicU64]>,
    all: AtomicU64,
}

const NAMES: u64 = 1024;
const LEVELS: u64 = 256;

impl Versions {
    pub(super) fn new() -> Versions {
        Versions {
            names: (0..NAMES).map(|_| AtomicU64::new(0)).collect(),
            levels: (0..LEVELS).map(|_| AtomicU64::new(0)).collect(),
            all: AtomicU64::new(0),
        }
    }

    /// The counters of a topic whose whole text has the hash `hash`.
    pub(super) fn place(hasher: &DefaultHashBuilder, topic: TopicName<'_>, hash: u64) -> VersionSlot {
        VersionSlot { name: index(hash, NAMES), level: index(hasher.hash_one(topic.first_level()), LEVELS) }
    }

    /// The version now. Each counter only grows, so the sums are equal if and only if each counter is.
    #[inline]
    pub(super) fn stamp(&self, place: VersionSlot) -> Stamp {
        let name = self.names.get(usize::from(place.name)).map_or(0, read);
        let level = self.levels.get(usize::from(place.level)).map_or(0, read);
        Stamp(name.wrapping_add(level).wrapping_add(read(&self.all)))
    }

    /// Records a change to the subscriptions of `filter`; called under the write lock.
    pub(super) fn raise(&self, hasher: &DefaultHashBuilder, filter: TopicFilter<'_>) {
        if !filter.has_wildcard() {
            return self.raise_name(hasher.hash_one(filter.filter()));
        }
        let counter = match filter.first_level() {
            "+" | "#" => Some(&self.all),
            first => self.levels.get(usize::from(index(hasher.hash_one(first), LEVELS))),
        };
        if let Some(counter) = counter {
            counter.fetch_add(1, Ordering::Release);
        }
    }

    /// As [`Versions::raise`], for a filter without wildcards whose text has the hash `hash`.
    pub(super) fn raise_name(&self, hash: u64) {
        if let Some(counter) = self.names.get(usize::from(index(hash, NAMES))) {
            counter.fetch_add(1, Ordering::Release);
        }
    }
}

#[inline]
fn read(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Acquire)
}

/// One of `count` (a power of two) counters for `hash`.
fn index(hash: u64, count: u64) -> u16 {
    ((hash >> 32) & (count - 1)) as u16
}
