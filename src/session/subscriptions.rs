//! The subscriptions of a client. One needs no allocation; many are indexed by filter, for lookups in constant time.

use std::hash::BuildHasher;
use std::sync::Arc;

use hashbrown::{DefaultHashBuilder, HashTable};

use crate::codec::subscribe::SubscriptionOptions;

/// Up to this many subscriptions are searched one by one.
const UNINDEXED: usize = 16;

/// Bytes that a subscription takes beside its filter, in the session and in the router.
const PLACE: usize = 160;
/// The same of a shared subscription, with its group.
const SHARED_PLACE: usize = 320;

/// A subscription of a session.
#[derive(Clone, Debug)]
pub struct Held {
    /// The Topic Filter, `$share/...` included; the text is shared with the router.
    pub filter: Arc<str>,
    /// The Subscription Options.
    pub options: SubscriptionOptions,
    /// The Subscription Identifier; 0 for none.
    pub identifier: u32,
}

/// The subscriptions of one session, in no particular order.
#[derive(Debug, Default)]
pub enum Subscriptions {
    /// None.
    #[default]
    None,
    /// One.
    One(Held),
    /// Two or more.
    Many(Box<Many>),
}

/// Two subscriptions or more.
#[derive(Debug, Default)]
pub struct Many {
    entries: Vec<Held>,
    /// Indices into `entries` by filter; empty while there are at most [`UNINDEXED`].
    places: HashTable<u32>,
    hasher: DefaultHashBuilder,
    /// The number of shared subscriptions among them.
    shared: usize,
    /// The sum of their [`Held::size_of`].
    bytes: usize,
}

impl Held {
    /// Bytes of memory that a subscription to this filter takes, about, in the session and in the router.
    pub fn size_of(filter: &str) -> usize {
        match is_shared(filter) {
            // The router has the names of groups, too.
            true => 2 * filter.len() + SHARED_PLACE,
            false => filter.len() + PLACE,
        }
    }

    fn is_shared(&self) -> bool {
        is_shared(&self.filter)
    }

    fn size(&self) -> usize {
        Held::size_of(&self.filter)
    }
}

fn is_shared(filter: &str) -> bool {
    filter.starts_with("$share/") || filter.starts_with("$queue/")
}

impl Subscriptions {
    /// All subscriptions.
    pub fn as_slice(&self) -> &[Held] {
        match self {
            Subscriptions::None => &[],
            Subscriptions::One(held) => std::slice::from_ref(held),
            Subscriptions::Many(many) => &many.entries,
        }
    }

    /// The number of subscriptions.
    pub fn len(&self) -> usize {
        self.as_slice().len()
    }

    /// Whether there is no subscription.
    pub fn is_empty(&self) -> bool {
        matches!(self, Subscriptions::None)
    }

    /// Whether there is a subscription to this filter.
    pub fn contains(&self, filter: &str) -> bool {
        match self {
            Subscriptions::Many(many) => many.place(filter).is_some(),
            few => few.as_slice().iter().any(|held| *held.filter == *filter),
        }
    }

    /// The one to this filter.
    pub fn get(&self, filter: &str) -> Option<&Held> {
        match self {
            Subscriptions::Many(many) => many.entries.get(many.place(filter)?),
            few => few.as_slice().iter().find(|held| *held.filter == *filter),
        }
    }

    /// The number of shared subscriptions.
    pub fn shared(&self) -> usize {
        match self {
            Subscriptions::Many(many) => many.shared,
            few => few.as_slice().iter().filter(|held| held.is_shared()).count(),
        }
    }

    /// The bytes of memory that they take, about, in the session and in the router.
    pub fn bytes(&self) -> usize {
        match self {
            Subscriptions::Many(many) => many.bytes,
            few => few.as_slice().iter().map(Held::size).sum(),
        }
    }

    /// Adds a subscription, or replaces the one to the same filter.
    #[inline(always)] // Of its two callers, only one runs after the start.
    pub fn put(&mut self, held: Held) {
        match self {
            Subscriptions::None => *self = Subscriptions::One(held),
            Subscriptions::One(one) if one.filter == held.filter => *one = held,
            Subscriptions::One(_) => {
                if let Subscriptions::One(one) = std::mem::take(self) {
                    let shared = usize::from(one.is_shared()) + usize::from(held.is_shared());
                    let bytes = one.size() + held.size();
                    let many = Many { entries: vec![one, held], shared, bytes, ..Many::default() };
                    *self = Subscriptions::Many(Box::new(many));
                }
            }
            Subscriptions::Many(many) => many.put(held),
        }
    }

    /// Removes the subscription to this filter.
    #[inline(always)] // As `put`.
    pub fn remove(&mut self, filter: &str) -> Option<Held> {
        match self {
            Subscriptions::Many(many) => {
                let removed = many.remove(filter)?;
                if many.entries.len() <= 1 {
                    *self = many.entries.pop().map_or(Subscriptions::None, Subscriptions::One);
                }
                Some(removed)
            }
            Subscriptions::One(one) if *one.filter == *filter => match std::mem::take(self) {
                Subscriptions::One(one) => Some(one),
                _ => None,
            },
            _ => None,
        }
    }
}

impl Many {
    fn place(&self, filter: &str) -> Option<usize> {
        if self.places.is_empty() {
            return self.entries.iter().position(|held| *held.filter == *filter);
        }
        let is_wanted = |at: &u32| self.entries.get(*at as usize).is_some_and(|held| *held.filter == *filter);
        self.places.find(self.hasher.hash_one(filter), is_wanted).map(|at| *at as usize)
    }

    fn put(&mut self, held: Held) {
        if let Some(old) = self.place(&held.filter).and_then(|at| self.entries.get_mut(at)) {
            *old = held;
            return;
        }
        // Does not double the capacity: with a million subscriptions, half would be unused.
        if self.entries.len() == self.entries.capacity() {
            self.entries.reserve_exact(self.entries.len() / 8 + 2);
        }
        self.shared += usize::from(held.is_shared());
        self.bytes += held.size();
        self.entries.push(held);
        if !self.places.is_empty() {
            self.index(self.entries.len() - 1);
        } else if self.entries.len() > UNINDEXED {
            (0..self.entries.len()).for_each(|at| self.index(at));
        }
    }

    fn remove(&mut self, filter: &str) -> Option<Held> {
        let at = self.place(filter)?;
        let last = self.entries.len().checked_sub(1)?;
        if !self.places.is_empty() {
            let hash = |filter: &str| self.hasher.hash_one(filter);
            if let Ok(place) = self.places.find_entry(hash(filter), |place| *place as usize == at) {
                place.remove();
            }
            if let Some(moved) = self.entries.get(last).filter(|_| last != at)
                && let Some(place) =
                    self.places.find_mut(hash(&moved.filter), |place| *place as usize == last)
            {
                *place = at as u32;
            }
        }
        let removed = self.entries.swap_remove(at);
        self.shared -= usize::from(removed.is_shared());
        self.bytes -= removed.size();
        self.give_back();
        Some(removed)
    }

    /// Indexes the entry at this position, which must not be indexed yet.
    fn index(&mut self, at: usize) {
        let Many { entries, places, hasher, .. } = self;
        let hash_at = |at: &u32| entries.get(*at as usize).map_or(0, |held| hasher.hash_one(&*held.filter));
        let at = at as u32;
        places.insert_unique(hash_at(&at), at, hash_at);
    }

    /// Frees memory once three quarters of it are unused.
    fn give_back(&mut self) {
        let wanted = self.entries.len() * 2;
        if self.entries.capacity() < wanted.max(UNINDEXED) * 2 {
            return;
        }
        self.entries.shrink_to(wanted);
        let Many { entries, places, hasher, .. } = self;
        match entries.len() <= UNINDEXED {
            true => *places = HashTable::new(),
            false => places.shrink_to(wanted, |at| {
                entries.get(*at as usize).map_or(0, |held| hasher.hash_one(&*held.filter))
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::proptest;

    use super::{Held, Subscriptions};
    use crate::codec::subscribe::SubscriptionOptions;

    fn held(filter: &str, identifier: u32) -> Held {
        Held { filter: filter.into(), options: SubscriptionOptions::default(), identifier }
    }

    #[test]
    fn a_session_without_or_with_one_subscription_needs_24_bytes() {
        assert_eq!(size_of::<Subscriptions>(), 24);
    }

    #[test]
    fn what_many_occupied_is_given_back() {
        let mut all = Subscriptions::default();
        (0..10_000).for_each(|n| all.put(held(&n.to_string(), 1)));
        (0..9_990).for_each(|n| assert!(all.remove(&n.to_string()).is_some()));
        let Subscriptions::Many(many) = &all else { panic!("ten are many") };
        assert!(many.entries.capacity() <= 64 && many.places.capacity() <= 64);
        (9_990..9_999).for_each(|n| assert!(all.remove(&n.to_string()).is_some()));
        assert!(matches!(all, Subscriptions::One(_)));
    }

    proptest! {
        #[test]
        fn behaves_like_a_list(steps in vec((0..60_u8, proptest::bool::weighted(0.6)), 0..600)) {
            let mut all = Subscriptions::default();
            let mut model: Vec<(String, u32)> = Vec::new();
            for (value, (filter, put)) in steps.into_iter().enumerate() {
                let (filter, value) = (filter.to_string(), value as u32);
                let found = model.iter().position(|(present, _)| *present == filter);
                let old = found.map(|at| model.swap_remove(at));
                assert_eq!(all.contains(&filter), old.is_some());
                if put {
                    all.put(held(&filter, value));
                    model.push((filter, value));
                } else {
                    let removed = all.remove(&filter).map(|held| (held.filter.to_string(), held.identifier));
                    assert_eq!(removed, old);
                }
                let pairs = all.as_slice().iter().map(|held| (held.filter.to_string(), held.identifier));
                let mut pairs: Vec<_> = pairs.collect();
                pairs.sort_unstable();
                model.sort_unstable();
                assert_eq!(pairs, model);
                assert_eq!((all.len(), all.is_empty()), (model.len(), model.is_empty()));
                assert_eq!(all.bytes(), model.iter().map(|(filter, _)| Held::size_of(filter)).sum::<usize>());
            }
        }
    }
}
