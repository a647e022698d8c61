//! The net changes of the tables since their last checkpoint.

use hashbrown::HashMap;

use crate::storage::durable::keys::Key;

/// What a checkpoint has to do with a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Net {
    /// The row is put. The tables have had no row of this key since the last checkpoint.
    New(Box<[u8]>),
    /// The row is put; an older one may be in the tables.
    Put(Box<[u8]>),
    /// The row is removed.
    Removed,
}

/// About what a row takes beside its key and value.
const PLACE: usize = 64;

/// Rows that have changed since the last checkpoint. What was put and removed since then leaves no trace.
#[derive(Debug, Default)]
pub(super) struct Overlay {
    rows: HashMap<Key, Net>,
    bytes: usize,
}

impl Overlay {
    /// Bytes of keys and values.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// About how much memory it takes: most of a row that is removed is its place.
    pub(super) fn memory(&self) -> usize {
        self.bytes + self.rows.len() * PLACE
    }

    /// What has become of a row, if it has changed.
    pub(super) fn get(&self, key: &[u8]) -> Option<&Net> {
        self.rows.get(key)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Puts a row whose key was never used before.
    pub(super) fn put_new(&mut self, key: Key, value: Vec<u8>) {
        self.set(key, Net::New(value.into()));
    }

    /// Puts a row, in place of an older one of its key.
    pub(super) fn put(&mut self, key: Key, value: Vec<u8>) {
        let is_new = matches!(self.rows.get(&key), Some(Net::New(_)));
        let value = value.into();
        self.set(key, if is_new { Net::New(value) } else { Net::Put(value) });
    }

    /// Removes a row.
    pub(super) fn remove(&mut self, key: Key) {
        match self.rows.get(&key) {
            Some(Net::New(value)) => {
                self.bytes -= key.len() + value.len();
                self.rows.remove(&key);
            }
            _ => self.set(key, Net::Removed),
        }
    }

    fn set(&mut self, key: Key, net: Net) {
        self.bytes += key.len() + size(&net);
        let key_len = key.len();
        if let Some(old) = self.rows.insert(key, net) {
            self.bytes -= key_len + size(&old);
        }
    }

    /// The rows in the order of their keys.
    pub(super) fn into_sorted(self) -> Vec<(Key, Net)> {
        let mut rows: Vec<_> = self.rows.into_iter().collect();
        rows.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        rows
    }
}

fn size(net: &Net) -> usize {
    match net {
        Net::New(value) | Net::Put(value) => value.len(),
        Net::Removed => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::{Net, Overlay};
    use crate::storage::durable::keys::{Kind, numbered};

    fn key(number: u64) -> super::Key {
        numbered(Kind::Message, number)
    }

    #[test]
    fn what_came_and_went_leaves_nothing() {
        let mut overlay = Overlay::default();
        overlay.put_new(key(1), vec![1; 10]);
        overlay.put(key(1), vec![2; 20]);
        overlay.remove(key(1));
        assert!(overlay.is_empty());
        assert_eq!(overlay.bytes(), 0);
    }

    #[test]
    fn what_the_tables_may_have_is_removed_there() {
        let mut overlay = Overlay::default();
        overlay.put(key(2), vec![1]);
        overlay.remove(key(2));
        overlay.remove(key(1));
        overlay.put(key(3), vec![1]);
        overlay.put(key(3), vec![1, 2]);
        assert_eq!(overlay.bytes(), 3 * key(1).len() + 2);
        let rows = overlay.into_sorted();
        let put = Net::Put([1, 2].into());
        assert_eq!(rows, [(key(1), Net::Removed), (key(2), Net::Removed), (key(3), put)]);
    }
}
