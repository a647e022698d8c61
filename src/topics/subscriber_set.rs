//! A set of entries, unique by identity: inline while there is one, with an index once there are many.

use std::slice;

use hashbrown::HashTable;

/// Identifies a subscriber.
pub trait Identity {
    /// A number that is equal for two values if and only if they are the same subscriber, such as an `Arc`'s address.
    fn identity(&self) -> usize;
}

/// Entries with unique identities, in the order of insertion, except that the last one replaces a removed one.
///
/// Adding, finding and removing take constant amortised time. One entry needs no allocation.
pub(super) enum SubscriberSet<T> {
    Empty,
    One(T),
    Many(Box<Many<T>>),
}

/// Two entries or more.
pub(super) struct Many<T> {
    entries: Vec<T>,
    /// Indices into `entries` by identity; empty while there are at most [`UNINDEXED`].
    positions: HashTable<u32>,
}

/// Up to this many entries are searched one by one.
const UNINDEXED: usize = 16;

impl<T: Identity> SubscriberSet<T> {
    /// All entries.
    pub(super) fn as_slice(&self) -> &[T] {
        match self {
            SubscriberSet::Empty => &[],
            SubscriberSet::One(entry) => slice::from_ref(entry),
            SubscriberSet::Many(many) => &many.entries,
        }
    }

    /// Whether there is no entry.
    pub(super) fn is_empty(&self) -> bool {
        matches!(self, SubscriberSet::Empty)
    }

    /// Adds `entry`; returns the entry with the same identity that it replaced.
    pub(super) fn put(&mut self, entry: T) -> Option<T> {
        match self {
            SubscriberSet::Empty => {
                *self = SubscriberSet::One(entry);
                None
            }
            SubscriberSet::One(present) if present.identity() == entry.identity() => {
                Some(std::mem::replace(present, entry))
            }
            SubscriberSet::One(_) => {
                if let SubscriberSet::One(first) = std::mem::replace(self, SubscriberSet::Empty) {
                    let many = Many { entries: vec![first, entry], positions: HashTable::new() };
                    *self = SubscriberSet::Many(Box::new(many));
                }
                None
            }
            SubscriberSet::Many(many) => many.put(entry),
        }
    }

    /// Removes and returns the entry with `identity`.
    pub(super) fn remove(&mut self, identity: usize) -> Option<T> {
        match self {
            SubscriberSet::Empty => None,
            SubscriberSet::One(present) if present.identity() != identity => None,
            SubscriberSet::One(_) => match std::mem::replace(self, SubscriberSet::Empty) {
                SubscriberSet::One(entry) => Some(entry),
                _ => None,
            },
            SubscriberSet::Many(many) => {
                let removed = many.remove(identity)?;
                if many.entries.len() <= 1 {
                    *self = many.entries.pop().map_or(SubscriberSet::Empty, SubscriberSet::One);
                }
                Some(removed)
            }
        }
    }
}

impl<T: Identity> Many<T> {
    fn put(&mut self, entry: T) -> Option<T> {
        if let Some(index) = self.position(entry.identity())
            && let Some(present) = self.entries.get_mut(index)
        {
            return Some(std::mem::replace(present, entry));
        }
        self.entries.push(entry);
        if !self.positions.is_empty() {
            self.index(self.entries.len() - 1);
        } else if self.entries.len() > UNINDEXED {
            for index in 0..self.entries.len() {
                self.index(index);
            }
        }
        None
    }

    fn remove(&mut self, identity: usize) -> Option<T> {
        let index = self.position(identity)?;
        let last = self.entries.len().checked_sub(1)?;
        if !self.positions.is_empty() {
            self.forget(identity, index);
            if let Some(moved) = self.entries.get(last).filter(|_| last != index) {
                let moved = moved.identity();
                if let Some(position) = self.positions.find_mut(hash(moved), |at| *at as usize == last) {
                    *position = index as u32;
                }
            }
        }
        let removed = self.entries.swap_remove(index);
        self.give_back();
        Some(removed)
    }

    fn position(&self, identity: usize) -> Option<usize> {
        let is_wanted =
            |index: usize| self.entries.get(index).is_some_and(|entry| entry.identity() == identity);
        if self.positions.is_empty() {
            return self.entries.iter().position(|entry| entry.identity() == identity);
        }
        self.positions.find(hash(identity), |index| is_wanted(*index as usize)).map(|index| *index as usize)
    }

    /// Indexes the entry at `index`, which must not be indexed yet.
    fn index(&mut self, index: usize) {
        let hash_at =
            |index: &u32| self.entries.get(*index as usize).map_or(0, |entry| hash(entry.identity()));
        let index = index as u32;
        self.positions.insert_unique(hash_at(&index), index, hash_at);
    }

    fn forget(&mut self, identity: usize, index: usize) {
        if let Ok(position) = self.positions.find_entry(hash(identity), |at| *at as usize == index) {
            position.remove();
        }
    }

    /// Frees memory once three quarters of it are unused.
    fn give_back(&mut self) {
        let wanted = self.entries.len() * 2;
        if self.entries.capacity() < wanted.max(UNINDEXED) * 2 {
            return;
        }
        self.entries.shrink_to(wanted);
        if self.entries.len() <= UNINDEXED {
            self.positions = HashTable::new();
        } else {
            let entries = &self.entries;
            self.positions.shrink_to(wanted, |index| {
                entries.get(*index as usize).map_or(0, |entry| hash(entry.identity()))
            });
        }
    }
}

/// Spreads an address over all bits. No client can choose it.
fn hash(identity: usize) -> u64 {
    let product = (identity as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    product ^ (product >> 32)
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::proptest;

    use super::{Identity, SubscriberSet};

    #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
    struct Entry {
        identity: usize,
        value: u32,
    }

    impl Identity for Entry {
        fn identity(&self) -> usize {
            self.identity
        }
    }

    #[test]
    fn an_entry_replaces_the_one_of_its_identity() {
        let mut roster = SubscriberSet::Empty;
        for identity in 0..100 {
            assert_eq!(roster.put(Entry { identity, value: 1 }), None);
            assert_eq!(roster.put(Entry { identity, value: 2 }), Some(Entry { identity, value: 1 }));
            assert_eq!(roster.as_slice().len(), identity + 1);
        }
    }

    #[test]
    fn a_roster_that_shrinks_gives_memory_back() {
        let mut roster = SubscriberSet::Empty;
        for identity in 0..10_000 {
            roster.put(Entry { identity, value: 0 });
        }
        for identity in 0..9_990 {
            assert!(roster.remove(identity).is_some());
        }
        let SubscriberSet::Many(many) = &roster else { panic!("ten entries are many") };
        assert!(many.entries.capacity() <= 64, "{}", many.entries.capacity());
        assert!(many.positions.capacity() <= 64, "{}", many.positions.capacity());
        for identity in 9_990..9_999 {
            assert!(roster.remove(identity).is_some());
        }
        assert!(matches!(roster, SubscriberSet::One(Entry { identity: 9_999, .. })));
    }

    proptest! {
        #[test]
        fn behaves_like_a_list(steps in vec((0..60_usize, proptest::bool::weighted(0.6)), 0..600)) {
            let mut roster = SubscriberSet::Empty;
            let mut model: Vec<Entry> = Vec::new();
            for (value, (identity, put)) in steps.into_iter().enumerate() {
                let entry = Entry { identity, value: value as u32 };
                let found = model.iter().position(|present| present.identity == identity);
                let old = found.map(|at| model.swap_remove(at));
                if put {
                    assert_eq!(roster.put(entry), old);
                    model.push(entry);
                } else {
                    assert_eq!(roster.remove(identity), old);
                }
                let mut entries = roster.as_slice().to_vec();
                entries.sort_unstable();
                model.sort_unstable();
                assert_eq!(entries, model);
                assert_eq!(roster.is_empty(), model.is_empty());
            }
        }
    }
}
