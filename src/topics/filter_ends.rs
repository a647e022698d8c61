//! How filters end at a node of the tree.

use crate::topics::trie::Id;

/// The filters that end at one node.
#[derive(Clone, Copy, Default)]
pub(super) struct FilterEnds {
    pub(super) here: Option<Id>,
    pub(super) one: Option<Id>,
    pub(super) below: Option<Id>,
}

/// Where a filter ends, seen from its last node.
#[derive(Clone, Copy)]
pub(super) enum Tail {
    /// With this level.
    Here,
    /// With `+` after this level.
    One,
    /// With `#` after this level.
    Below,
}

impl Tail {
    pub(super) const ALL: [Tail; 3] = [Tail::Here, Tail::One, Tail::Below];

    /// Its bit in `Node::tails_and_children`.
    pub(super) const fn bit(self) -> u32 {
        1 << (29 + self as u32)
    }
}

impl FilterEnds {
    pub(super) fn get(&self, tail: Tail) -> &Option<Id> {
        match tail {
            Tail::Here => &self.here,
            Tail::One => &self.one,
            Tail::Below => &self.below,
        }
    }

    pub(super) fn get_mut(&mut self, tail: Tail) -> &mut Option<Id> {
        match tail {
            Tail::Here => &mut self.here,
            Tail::One => &mut self.one,
            Tail::Below => &mut self.below,
        }
    }
}
