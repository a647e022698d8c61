//! Values by stable index, in blocks: an empty block frees its memory.
//!
//! One slab could not shrink while its last value lives. Here the lowest block with room takes the next value, so that
//! the others empty over time. Growing copies no more than a block.

use slab::Slab;

/// Values per block. With timers of 48 bytes a block has 12 KiB, which one value can keep allocated.
const BLOCK: usize = 256;

/// Values, each with an index from 0 on that is reused only after the value is removed.
pub(super) struct Blocks<T> {
    blocks: Vec<Slab<T>>,
    /// Bit `block` is set while that block has room.
    room: Vec<u64>,
    /// No word of `room` before this one has a bit.
    first: usize,
    /// The last block that became empty. It keeps its memory, so that a single value that comes and goes allocates
    /// nothing.
    emptied: usize,
    len: usize,
}

impl<T> Blocks<T> {
    pub(super) fn new() -> Blocks<T> {
        Blocks { blocks: Vec::new(), room: Vec::new(), first: 0, emptied: 0, len: 0 }
    }

    /// Adds a value; returns its index.
    pub(super) fn insert(&mut self, value: T) -> u32 {
        let number = self.roomy();
        let Some(block) = self.blocks.get_mut(number) else { return u32::MAX };
        let index = block.insert(value);
        if block.len() == BLOCK {
            self.mark(number, false);
        }
        self.len += 1;
        (number * BLOCK + index) as u32
    }

    /// The value at `index`.
    #[inline]
    pub(super) fn get(&self, index: u32) -> Option<&T> {
        let (block, index) = place(index);
        self.blocks.get(block)?.get(index)
    }

    /// As [`Blocks::get`], mutable.
    #[inline]
    pub(super) fn get_mut(&mut self, index: u32) -> Option<&mut T> {
        let (block, index) = place(index);
        self.blocks.get_mut(block)?.get_mut(index)
    }

    /// Removes the value at `index`.
    pub(super) fn remove(&mut self, index: u32) -> Option<T> {
        let (number, index) = place(index);
        let block = self.blocks.get_mut(number)?;
        let removed = block.try_remove(index)?;
        self.len -= 1;
        match block.len() + 1 {
            BLOCK => self.mark(number, true),
            1 => self.give_back(number),
            _ => {}
        }
        Some(removed)
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// The lowest block with room, added if there is none.
    fn roomy(&mut self) -> usize {
        while let Some(word) = self.room.get(self.first) {
            if *word != 0 {
                return self.first * 64 + word.trailing_zeros() as usize;
            }
            self.first += 1;
        }
        let number = self.blocks.len();
        self.blocks.push(Slab::new());
        self.mark(number, true);
        number
    }

    fn mark(&mut self, number: usize, has_room: bool) {
        let (word, bit) = (number / 64, 1 << (number % 64));
        if word >= self.room.len() {
            self.room.resize(word + 1, 0);
        }
        if let Some(bits) = self.room.get_mut(word) {
            if has_room {
                *bits |= bit;
                self.first = self.first.min(word);
            } else {
                *bits &= !bit;
            }
        }
    }

    /// Records block `number` as the last to become empty, and frees the memory of the one before.
    fn give_back(&mut self, number: usize) {
        let before = std::mem::replace(&mut self.emptied, number);
        if before == number {
            return;
        }
        if let Some(block) = self.blocks.get_mut(before)
            && block.is_empty()
        {
            *block = Slab::new();
        }
        while self.blocks.last().is_some_and(|last| last.capacity() == 0) {
            self.blocks.pop();
            self.mark(self.blocks.len(), false);
        }
        if self.blocks.len() * 4 < self.blocks.capacity() {
            self.blocks.shrink_to(self.blocks.len() * 2);
            self.room.truncate(self.blocks.len().div_ceil(64));
            self.room.shrink_to_fit();
        }
    }
}

/// The block of an index, and the position within it.
fn place(index: u32) -> (usize, usize) {
    (index as usize / BLOCK, index as usize % BLOCK)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::collection::vec;
    use proptest::prelude::{any, proptest};

    use super::{BLOCK, Blocks};

    /// The number of values that memory is allocated for.
    fn held(blocks: &Blocks<u32>) -> usize {
        blocks.blocks.iter().map(slab::Slab::capacity).sum()
    }

    #[test]
    fn what_is_gone_takes_no_memory_even_if_the_last_value_stays() {
        let mut blocks = Blocks::new();
        let numbers: Vec<u32> = (0..1000 * BLOCK as u32).map(|value| blocks.insert(value)).collect();
        let (last, others) = numbers.split_last().unwrap();
        for number in others {
            assert_eq!(blocks.remove(*number), Some(*number));
        }
        assert!(held(&blocks) <= 2 * BLOCK);
        assert_eq!((blocks.len(), blocks.get(*last)), (1, Some(last)));
        assert_eq!(blocks.remove(*last), Some(*last));
        let again = blocks.insert(1);
        assert_eq!(blocks.remove(again), Some(1));
        assert!(held(&blocks) <= BLOCK && blocks.blocks.capacity() <= 8);
    }

    #[test]
    fn a_value_that_comes_and_goes_allocates_nothing() {
        for others in [0, BLOCK, 3 * BLOCK] {
            let mut blocks = Blocks::new();
            (0..others as u32).for_each(|value| _ = blocks.insert(value));
            let first = blocks.insert(7);
            let memory = held(&blocks);
            for _ in 0..3 {
                assert_eq!(blocks.remove(first), Some(7));
                assert_eq!(held(&blocks), memory);
                assert_eq!(blocks.insert(7), first);
            }
        }
    }

    #[test]
    fn the_lowest_block_takes_the_next_value() {
        let mut blocks = Blocks::new();
        (0..200 * BLOCK as u32).for_each(|value| _ = blocks.insert(value));
        for number in [190 * BLOCK as u32, 5 * BLOCK as u32 + 3] {
            blocks.remove(number);
        }
        assert_eq!(blocks.insert(1), 5 * BLOCK as u32 + 3);
        assert_eq!(blocks.insert(2), 190 * BLOCK as u32);
        assert_eq!(blocks.insert(3), 200 * BLOCK as u32);
    }

    proptest! {
        #[test]
        fn behaves_like_a_map(steps in vec((any::<u32>(), 1..1500_usize, any::<bool>()), 1..12)) {
            let mut blocks = Blocks::new();
            let mut model = HashMap::new();
            let mut numbers: Vec<u32> = Vec::new();
            for (value, count, grow) in steps {
                for nth in 0..count {
                    if grow {
                        let number = blocks.insert(value);
                        assert_eq!(model.insert(number, value), None);
                        numbers.push(number);
                    } else if !numbers.is_empty() {
                        let number = numbers.swap_remove(value.wrapping_mul(nth as u32) as usize % numbers.len());
                        assert_eq!(blocks.remove(number), model.remove(&number));
                        assert_eq!(blocks.remove(number), None);
                    }
                }
                assert_eq!(blocks.len(), model.len());
                for (number, value) in &model {
                    assert_eq!(blocks.get(*number), Some(value));
                    assert_eq!(blocks.get_mut(*number), Some(&mut value.clone()));
                }
            }
        }
    }
}
