//! A hash table in 64 shards, so that growth pauses for a 64th of the entries.

use hashbrown::HashTable;

/// The shards of a hash table whose caller hashes and compares the entries.
pub(super) struct Sharded<T> {
    shards: Box<[HashTable<T>]>,
}

const SHARDS: usize = 64;

impl<T> Sharded<T> {
    pub(super) fn new() -> Sharded<T> {
        Sharded { shards: (0..SHARDS).map(|_| HashTable::new()).collect() }
    }

    /// The shard for entries with `hash`; there always is one. It is selected by the hash bits that the shard itself
    /// uses last.
    #[inline]
    pub(super) fn of(&self, hash: u64) -> Option<&HashTable<T>> {
        self.at((hash >> 48) as usize % SHARDS)
    }

    /// As [`Sharded::of`], mutable.
    #[inline]
    pub(super) fn of_mut(&mut self, hash: u64) -> Option<&mut HashTable<T>> {
        self.shards.get_mut((hash >> 48) as usize % SHARDS)
    }

    /// The shard at `index`; `None` after the last.
    pub(super) fn at(&self, index: usize) -> Option<&HashTable<T>> {
        self.shards.get(index)
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.shards.iter().all(HashTable::is_empty)
    }
}

/// Frees memory of a shard after a removal, once three quarters of it are unused.
pub(super) fn give_back<T>(table: &mut HashTable<T>, hash: impl Fn(&T) -> u64) {
    if table.len() * 4 < table.capacity() {
        table.shrink_to(table.len() * 2, hash);
    }
}
