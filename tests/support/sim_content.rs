//! The content of a file on a simulated disk: what is read, what is durable, and what lies between.
#![allow(dead_code, reason = "each test needs something else")]

use crate::dice::Dice;

/// Bytes that a disk writes as a whole.
pub const SECTOR: u64 = 512;

/// A change of a file that is not synced.
#[derive(Clone)]
pub enum Write {
    Bytes { offset: u64, bytes: Vec<u8> },
    Len(u64),
}

/// A file.
#[derive(Clone, Default)]
pub struct Content {
    /// What is read.
    pub cached: Vec<u8>,
    /// What a crash leaves, without the writes that are not synced.
    pub durable: Vec<u8>,
    pub unsynced: Vec<Write>,
}

fn put(content: &mut Vec<u8>, offset: u64, bytes: &[u8]) {
    let (from, to) = (offset as usize, offset as usize + bytes.len());
    if content.len() < to {
        content.resize(to, 0);
    }
    content[from..to].copy_from_slice(bytes);
}

/// A write in parts that a disk does as a whole.
fn sectors(offset: u64, bytes: &[u8]) -> Vec<(u64, &[u8])> {
    let mut parts = Vec::new();
    let (mut at, mut rest) = (offset, bytes);
    while !rest.is_empty() {
        let len = ((SECTOR - at % SECTOR) as usize).min(rest.len());
        let (part, later) = rest.split_at(len);
        parts.push((at, part));
        (at, rest) = (at + len as u64, later);
    }
    parts
}

/// What a crash leaves of a list of changes.
#[derive(Clone, Copy)]
pub enum Left {
    Nothing,
    All,
    /// The first ones; their number.
    First(usize),
    /// Any, without order.
    Any,
}

impl Left {
    /// One of them, for a list of `len` changes.
    pub fn of(len: usize, dice: &mut Dice) -> Left {
        let first = dice.below(len as u64 + 1) as usize;
        dice.pick(&[Left::Nothing, Left::All, Left::First(first), Left::Any])
    }

    /// Whether the change at `index` is left.
    pub fn keeps(self, index: usize, dice: &mut Dice) -> bool {
        match self {
            Left::Nothing => false,
            Left::All => true,
            Left::First(first) => index < first,
            Left::Any => dice.chance(50),
        }
    }
}

impl Content {
    /// Writes without a sync.
    pub fn write(&mut self, offset: u64, bytes: &[u8]) {
        put(&mut self.cached, offset, bytes);
        self.unsynced.push(Write::Bytes { offset, bytes: bytes.to_vec() });
    }

    /// Changes the length without a sync.
    pub fn set_len(&mut self, len: u64) {
        self.cached.resize(len as usize, 0);
        self.unsynced.push(Write::Len(len));
    }

    /// Makes durable what is not synced, and nothing else: pages that a failed sync has made clean stay lost.
    pub fn settle(&mut self) {
        for write in self.unsynced.drain(..) {
            match write {
                Write::Bytes { offset, bytes } => put(&mut self.durable, offset, &bytes),
                Write::Len(len) => self.durable.resize(len as usize, 0),
            }
        }
    }

    /// What is not synced is lost, or not.
    pub fn crash(&mut self, dice: &mut Dice) {
        let mut parts = Vec::new();
        for write in &self.unsynced {
            match write {
                Write::Bytes { offset, bytes } => {
                    parts.extend(sectors(*offset, bytes).into_iter().map(|(at, part)| (at, Some(part))));
                }
                Write::Len(len) => parts.push((*len, None)),
            }
        }
        let left = Left::of(parts.len(), dice);
        let mut durable = std::mem::take(&mut self.durable);
        for (index, (at, part)) in parts.into_iter().enumerate() {
            let kept = left.keeps(index, dice);
            match part {
                _ if !kept => {}
                Some(part) => put(&mut durable, at, part),
                None => durable.resize(at as usize, 0),
            }
        }
        self.unsynced.clear();
        self.cached.clone_from(&durable);
        self.durable = durable;
    }
}
