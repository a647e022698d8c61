//! The numbers of assigned Client Identifiers: none of them tells another.

use std::sync::atomic::{AtomicU64, Ordering};

/// A counter, hashed by SipHash-2-4 with a secret key: who knows some of the numbers cannot compute one that comes next.
#[derive(Debug)]
pub(crate) struct AssignedIds {
    key: [u64; 2],
    next: AtomicU64,
}

impl AssignedIds {
    /// The numbers of this secret.
    pub(crate) fn new(seed: u128) -> AssignedIds {
        AssignedIds { key: [seed as u64, (seed >> 64) as u64], next: AtomicU64::new(0) }
    }

    /// The next number.
    pub(crate) fn draw(&self) -> u64 {
        sip_hash(self.key, self.next.fetch_add(1, Ordering::Relaxed))
    }
}

/// SipHash-2-4 of the eight bytes of a word, the lowest first.
fn sip_hash([k0, k1]: [u64; 2], word: u64) -> u64 {
    let mut v = [
        k0 ^ 0x736f_6d65_7073_6575,
        k1 ^ 0x646f_7261_6e64_6f6d,
        k0 ^ 0x6c79_6765_6e65_7261,
        k1 ^ 0x7465_6462_7974_6573,
    ];
    // The last block has the number of bytes in its highest byte.
    for block in [word, 8 << 56] {
        let [v0, v1, v2, v3] = v;
        let [v0, v1, v2, v3] = round(round([v0, v1, v2, v3 ^ block]));
        v = [v0 ^ block, v1, v2, v3];
    }
    let [v0, v1, v2, v3] = v;
    let ended = (0..4).fold([v0, v1, v2 ^ 0xff, v3], |v, _| round(v));
    ended.into_iter().fold(0, |hash, v| hash ^ v)
}

fn round([mut v0, mut v1, mut v2, mut v3]: [u64; 4]) -> [u64; 4] {
    v0 = v0.wrapping_add(v1);
    v1 = v1.rotate_left(13) ^ v0;
    v0 = v0.rotate_left(32);
    v2 = v2.wrapping_add(v3);
    v3 = v3.rotate_left(16) ^ v2;
    v0 = v0.wrapping_add(v3);
    v3 = v3.rotate_left(21) ^ v0;
    v2 = v2.wrapping_add(v1);
    v1 = v1.rotate_left(17) ^ v2;
    v2 = v2.rotate_left(32);
    [v0, v1, v2, v3]
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::{AssignedIds, sip_hash};

    /// The vector of the reference implementation for eight bytes.
    #[test]
    fn the_hash_is_that_of_the_reference() {
        let bytes: [u8; 16] = std::array::from_fn(|at| at as u8);
        let ids = AssignedIds::new(u128::from_le_bytes(bytes));
        let word = u64::from_le_bytes([0, 1, 2, 3, 4, 5, 6, 7]);
        let expected = [0x62, 0x24, 0x93, 0x9a, 0x79, 0xf5, 0xf5, 0x93];
        assert_eq!(sip_hash(ids.key, word).to_le_bytes(), expected);
    }

    #[test]
    fn every_bit_of_the_seed_matters_and_no_number_comes_twice() {
        let first: HashSet<u64> = (0..128).map(|bit| AssignedIds::new(1 << bit).draw()).collect();
        assert_eq!(first.len(), 128);
        let ids = AssignedIds::new(0);
        assert_eq!((0..10_000).map(|_| ids.draw()).collect::<HashSet<_>>().len(), 10_000);
    }
}
