//! The room of a slab: it grows by little, and is given back when what stood at the end is gone.

use slab::Slab;

/// What is known of the room of one slab.
pub(super) struct SlabGrowth {
    /// Entries that went since it was last looked for room to give back, which goes over all of the slab.
    gone: usize,
}

/// So many places are kept in any case: what comes and goes alone allocates nothing.
const FEW: usize = 64;

impl SlabGrowth {
    pub(super) fn new() -> SlabGrowth {
        SlabGrowth { gone: 0 }
    }

    /// Sees to the room for one more, and not for twice as many: of a million, half would be unused.
    pub(super) fn make<T>(&mut self, slab: &mut Slab<T>) {
        if slab.len() == slab.capacity() {
            slab.reserve_exact(slab.len() / 8 + 4);
        }
    }

    /// To be called when an entry has gone: gives back the room behind the last one once three quarters of all are unused.
    /// Whether that was looked for.
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

    /// Removes all but the first three, in this order; how often it was looked for room, and the room.
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
