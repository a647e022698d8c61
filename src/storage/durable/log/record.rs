//! One record of the log: a group of changes in sectors of 512 bytes.
//!
//! ```text
//! first sector   check 8 | generation 8 | sequence 8 | length 4 | 0 4 | check of the group 8 | group 464 | tag 8
//! other sectors  group 504 | tag 8
//! ```
//!
//! Numbers are little-endian; the last sector is filled up with zeros. A disk writes a sector as a whole or not at all,
//! so a record begins at a sector. Three things follow from the form:
//!
//! - *A payload is never taken for a record.* Checks are keyed with the store's secret salt. A client that publishes what
//!   looks like a record does not know the check that it would need, nor does it ever see one.
//! - *An older record is never taken for one of this generation,* nor one that the disk has put into a wrong place. The
//!   check covers generation and sequence, and the position, which is not stored.
//! - *A torn record is told from a damaged one.* Tags are made from the check of this very record. If the group's check is
//!   wrong and a tag is missing, the sector was never written. If every tag is there, all was written and has changed.

use std::hash::Hasher;

use siphasher::sip::SipHasher13;

/// Bytes that a disk writes as a whole.
pub const SECTOR: usize = 512;
/// Bytes of a sector before its tag.
const BODY: usize = SECTOR - 8;
/// Bytes of the first sector before the group.
const HEAD: usize = 40;

/// The bytes of one sector.
pub type Sector = [u8; SECTOR];

/// The secret of a store: 16 random bytes, the key of all checks in its log.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Salt(pub [u8; 16]);

/// A secret is not printed.
impl std::fmt::Debug for Salt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Salt(..)")
    }
}

/// What a check is for: one kind never passes for another.
#[derive(Clone, Copy)]
pub enum Kind {
    /// The beginning of a file.
    File = 1,
    /// The fields of a record.
    Fields = 2,
    /// The group of a record.
    Group = 3,
}

impl Salt {
    /// The check of some bytes.
    pub fn check(&self, kind: Kind, bytes: &[u8]) -> u64 {
        let mut hasher = SipHasher13::new_with_key(&self.0);
        hasher.write_u8(kind as u8);
        hasher.write(bytes);
        hasher.finish()
    }
}

/// The fields of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fields {
    /// The generation that the record belongs to.
    pub generation: u64,
    /// One more than that of the record before, also from one generation to the next.
    pub sequence: u64,
    /// Bytes of the group.
    pub length: u32,
    /// The check of the group.
    group_check: u64,
}

/// What the first sector of a record says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Head {
    /// A record begins here.
    Record {
        /// Its fields.
        fields: Fields,
        /// The check of the fields, from which tags are made.
        check: u64,
    },
    /// A record began here, and its fields have changed since.
    Damaged(Fields),
    /// No record begins here. The fields are what stands in their place.
    Nothing(Fields),
}

/// How a group is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// As it was written.
    Whole,
    /// Not all of its sectors were written.
    Torn,
    /// All of its sectors were written, and have changed since.
    Damaged,
}

impl Fields {
    fn encoded(&self) -> [u8; HEAD - 8] {
        let mut bytes = [0; HEAD - 8];
        put(&mut bytes, 0, &self.generation.to_le_bytes());
        put(&mut bytes, 8, &self.sequence.to_le_bytes());
        put(&mut bytes, 16, &self.length.to_le_bytes());
        put(&mut bytes, 24, &self.group_check.to_le_bytes());
        bytes
    }

    fn decoded(bytes: &[u8]) -> Fields {
        Fields {
            generation: u64_at(bytes, 0),
            sequence: u64_at(bytes, 8),
            length: u32_at(bytes, 16),
            group_check: u64_at(bytes, 24),
        }
    }

    /// Bytes of the record with all its sectors.
    pub fn size(&self) -> u64 {
        size(self.length as usize)
    }
}

/// Bytes of a record with a group of `length` bytes.
pub fn size(length: usize) -> u64 {
    let others = length.saturating_sub(BODY - HEAD).div_ceil(BODY);
    (1 + others as u64) * SECTOR as u64
}

/// Bytes of the largest group whose record fits into `space` bytes; `None` if no record fits.
pub fn largest(space: u64) -> Option<usize> {
    let others = (space / SECTOR as u64).checked_sub(1)?;
    usize::try_from(others * BODY as u64).ok()?.checked_add(BODY - HEAD)
}

/// The check of the fields of the record at `at`.
fn check_fields(salt: &Salt, at: u64, fields: &[u8; HEAD - 8]) -> u64 {
    let mut bytes = [0; HEAD];
    put(&mut bytes, 0, &at.to_le_bytes());
    put(&mut bytes, 8, fields);
    salt.check(Kind::Fields, &bytes)
}

/// Writes the record for the position `at` to `out`, which has nothing else afterwards.
pub fn encode(
    salt: &Salt,
    at: u64,
    generation: u64,
    sequence: u64,
    group: &[u8],
    length: u32,
    out: &mut Vec<u8>,
) {
    let group_check = salt.check(Kind::Group, group);
    let fields = Fields { generation, sequence, length, group_check }.encoded();
    let check = check_fields(salt, at, &fields);
    out.clear();
    let (mut rest, mut tag) = (group, check);
    let mut from = HEAD;
    out.extend_from_slice(&check.to_le_bytes());
    out.extend_from_slice(&fields);
    loop {
        let (part, later) = rest.split_at_checked(BODY - from).unwrap_or((rest, &[]));
        out.extend_from_slice(part);
        out.resize(out.len() + BODY - from - part.len(), 0);
        out.extend_from_slice(&tag.to_le_bytes());
        if later.is_empty() {
            return;
        }
        (rest, from, tag) = (later, 0, tag.wrapping_add(1));
    }
}

/// Reads what may be the first sector of a record, at the position `at`.
pub fn head(salt: &Salt, at: u64, sector: &Sector) -> Head {
    let (stored, tag) = (u64_at(sector, 0), u64_at(sector, BODY));
    let mut bytes = [0; HEAD - 8];
    put(&mut bytes, 0, sector.get(8..HEAD).unwrap_or_default());
    let fields = Fields::decoded(&bytes);
    let check = check_fields(salt, at, &bytes);
    if check == stored || check == tag {
        return Head::Record { fields, check };
    }
    // Zeros were never written. Elsewhere a client cannot have chosen the last bytes of a sector.
    if stored != tag || stored == 0 {
        return Head::Nothing(fields);
    }
    match repaired(salt, at, bytes, stored) {
        Some(fields) => Head::Record { fields, check: stored },
        None => Head::Damaged(fields),
    }
}

/// The fields that have this check, if one flipped bit is all that is wrong.
fn repaired(salt: &Salt, at: u64, mut bytes: [u8; HEAD - 8], check: u64) -> Option<Fields> {
    for place in 0..bytes.len() {
        for bit in 0..8 {
            let flip = |bytes: &mut [u8]| bytes.get_mut(place).map(|byte| *byte ^= 1 << bit);
            flip(&mut bytes);
            if check_fields(salt, at, &bytes) == check {
                return Some(Fields::decoded(&bytes));
            }
            flip(&mut bytes);
        }
    }
    None
}

/// Takes the group out of the sectors of a record, whose fields and their check are known.
pub fn group(salt: &Salt, fields: &Fields, check: u64, record: &[u8], group: &mut Vec<u8>) -> Condition {
    group.clear();
    let (mut tag, mut complete) = (check, true);
    for (index, sector) in record.chunks(SECTOR).enumerate() {
        let from = if index == 0 { HEAD } else { 0 };
        let left = (fields.length as usize).saturating_sub(group.len());
        let body = sector.get(from..BODY).unwrap_or_default();
        group.extend_from_slice(body.get(..left).unwrap_or(body));
        complete &= u64_at(sector, BODY) == tag;
        tag = tag.wrapping_add(1);
    }
    if salt.check(Kind::Group, group) == fields.group_check {
        Condition::Whole
    } else if complete {
        Condition::Damaged
    } else {
        Condition::Torn
    }
}

/// The number at `at`; 0 beyond the end.
pub fn u64_at(bytes: &[u8], at: usize) -> u64 {
    bytes.get(at..).and_then(|rest| rest.first_chunk()).map_or(0, |chunk| u64::from_le_bytes(*chunk))
}

/// The number at `at`; 0 beyond the end.
pub fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..).and_then(|rest| rest.first_chunk()).map_or(0, |chunk| u32::from_le_bytes(*chunk))
}

/// Copies `bytes` to the place `at`, which is inside.
pub fn put(to: &mut [u8], at: usize, bytes: &[u8]) {
    if let Some(place) = to.get_mut(at..at + bytes.len()) {
        place.copy_from_slice(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::{Condition, Head, SECTOR, Salt, encode, group, head, largest, size};

    const SALT: Salt = Salt([7; 16]);

    fn written(len: usize) -> (Vec<u8>, Vec<u8>) {
        let bytes: Vec<u8> = (0..len).map(|at| at as u8).collect();
        let mut record = Vec::new();
        encode(&SALT, 4096, 3, 9, &bytes, len as u32, &mut record);
        (bytes, record)
    }

    fn read(salt: &Salt, record: &[u8]) -> Option<(Condition, Vec<u8>)> {
        let Head::Record { fields, check } = head(salt, 4096, record[..SECTOR].try_into().unwrap()) else {
            return None;
        };
        let mut found = Vec::new();
        let condition = group(salt, &fields, check, record, &mut found);
        Some((condition, found))
    }

    #[test]
    fn a_group_of_any_length_comes_back_and_room_is_exact() {
        for len in [0, 1, 463, 464, 465, 967, 968, 969, 5000] {
            let (bytes, record) = written(len);
            assert_eq!(record.len() as u64, size(len), "{len}");
            assert_eq!(read(&SALT, &record), Some((Condition::Whole, bytes)), "{len}");
            let largest = largest(size(len)).unwrap();
            assert!(largest >= len && size(largest) == size(len) && size(largest + 1) > size(len), "{len}");
        }
        assert_eq!(largest(SECTOR as u64 - 1), None);
    }

    #[test]
    fn a_record_of_another_salt_is_none() {
        let (_, record) = written(100);
        assert_eq!(read(&Salt([8; 16]), &record), None);
    }

    #[test]
    fn a_record_in_another_place_is_none() {
        let (_, record) = written(100);
        assert!(matches!(head(&SALT, 4608, record[..SECTOR].try_into().unwrap()), Head::Damaged(_)));
    }

    #[test]
    fn a_missing_sector_is_torn_and_a_changed_bit_is_not() {
        let (bytes, record) = written(2000);
        for sector in 1..record.len() / SECTOR {
            let mut torn = record.clone();
            torn[sector * SECTOR..][..SECTOR].fill(0xee);
            assert_eq!(read(&SALT, &torn).unwrap().0, Condition::Torn, "sector {sector}");
        }
        for bit in 0..record.len() * 8 {
            let mut flipped = record.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let (condition, found) = read(&SALT, &flipped).unwrap();
            let harmless = condition == Condition::Whole && found == bytes;
            assert!(harmless || condition == Condition::Damaged, "bit {bit}: {condition:?}");
        }
    }

    #[test]
    fn two_changed_bits_of_the_fields_are_damage() {
        let (_, mut record) = written(100);
        record[9] ^= 1;
        record[17] ^= 1;
        assert!(matches!(head(&SALT, 4096, record[..SECTOR].try_into().unwrap()), Head::Damaged(_)));
    }
}
