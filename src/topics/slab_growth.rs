//! The capacity of a slab: it grows in small steps, and shrinks when the entries at its end are gone.

use slab::Slab;

/// Growth and shrinking of one slab.
pub(super) struct SlabGrowth {
    /// Entries removed since the last attempt to shrink, which scans the whole slab.
    gone: usize,
}

/// Capacity that is always kept, so that a single entry that comes and goes allocates nothing.
const FEW: usize = 64;

impl SlabGrowth {
    pub(super) fn new() -> SlabGrowth {
        SlabGrowth { gone: 0 }
    }

    /// Reserves capacity for one more entry. It does not double: with a million entries, half would be unused.
    pub(super) fn make<T>(&mut self, slab: &mut Slab<T>) {
        if slab.len() == slab.capacity() {
            slab.reserve_exact(slab.len() / 8 + 4);
        }
    }

    /// Called after a removal: frees the capacity behind the last entry once three quarters of all are unused. Returns
    /// whether it scanned the slab for that.
    pub(super) fn give_back<T>(&mut self, slab: &mut Slab<T>) -> bool {
        self.gone += 1;
        let capacity = slab.capacity();
        let is_worth_it = self.gone >= slab.len() && slab.len() * 4 + FEW < capacity;
        let looks = is_worth_it && slab.get(capacity - 1).is_none();
        if looks {
            slab.shrink_to_fit();
            self.gone = 0;
        }
        looks
    }
}

#[cfg(test)]
mod tests {
    use slab::Slab;

    use super::{FEW, SlabGrowth};

    const COUNT: usize = 10_000;

    /// Removes all but the first three in this order; returns the number of scans and the capacity.
    fn removed(order: impl Iterator<Item = usize>) -> (usize, usize) {
        let (mut slab, mut room) = (Slab::new(), SlabGrowth::new());
        for entry in 0..COUNT {
            room.make(&mut slab);
            slab.insert(entry);
        }
        assert!(slab.capacity() <= COUNT * 9 / 8 + 4, "{}", slab.capacity());
        let mut looked = 0;
        for entry in order.filter(|entry| *entry >= 3) {
            assert_eq!(slab.try_remove(entry), Some(entry));
            looked += usize::from(room.give_back(&mut slab));
        }
        assert_eq!(slab.iter().map(|(_, entry)| *entry).collect::<Vec<_>>(), [0, 1, 2]);
        (looked, slab.capacity())
    }

    #[test]
    fn what_is_gone_takes_no_room_if_what_stays_came_first() {
        let mixed = (0..COUNT).map(|entry| entry * 7919 % COUNT);
        for (looked, capacity) in [removed(0..COUNT), removed((0..COUNT).rev()), removed(mixed)] {
            assert!(looked < 20, "{looked} times");
            assert!(capacity <= 4 * 3 + FEW, "{capacity}");
        }
    }
}
