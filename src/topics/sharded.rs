//! A hash table in 64 parts, so that the pause while one grows is a 64th of that for all entries.

use hashbrown::HashTable;

/// Entries that whoever uses the table hashes and compares.
pub(super) struct Sharded<T> {
    shards: Box<[HashTable<T>]>,
}

const SHARDS: usize = 64;

impl<T> Sharded<T> {
    pub(super) fn new() -> Sharded<T> {
        Sharded { shards: (0..SHARDS).map(|_| HashTable::new()).collect() }
    }

    /// The part for entries of that hash; there always is one. Chosen by bits that the part itself looks at last.
    #[inline]
    pub(super) fn of(&self, hash: u64) -> Option<&HashTable<T>> {
        self.at((hash >> 48) as usize % SHARDS)
    }

    /// As [`Sharded::of`], to change it.
    #[inline]
    pub(super) fn of_mut(&mut self, hash: u64) -> Option<&mut HashTable<T>> {
        self.shards.get_mut((hash >> 48) as usize % SHARDS)
    }

    /// Part `index` from 0 on; `None` after the last.
    pub(super) fn at(&self, index: usize) -> Option<&HashTable<T>> {
        self.shards.get(index)
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.shards.iter().all(HashTable::is_empty)
    }
}

/// Returns memory of a part after a removal, once three quarters of it are unused.
pub(super) fn give_back<T>(table: &mut HashTable<T>, hash: impl Fn(&T) -> u64) {
    if table.len() * 4 < table.capacity() {
        table.shrink_to(table.len() * 2, hash);
    }
}
