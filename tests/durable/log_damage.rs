//! Damaged, missing, foreign and forged logs.

use midge::storage::StoreError;
use midge::storage::durable::disk::Disk;
use midge::storage::durable::log::{Log, NAMES, Salt};

use crate::dice::Dice;
use crate::log::{SALT, open, open_salted};
use crate::sim_disk::{EIO, SimDisk};

const SIZE: u64 = 4096 + 12 * 512;

/// Generations 1 to 4, of which the tables have 1 and 2.
fn filled() -> (SimDisk, Vec<Vec<u8>>) {
    let disk = SimDisk::new(0);
    let mut log = Log::create(&disk, SALT, SIZE).unwrap();
    let mut kept = Vec::new();
    for generation in 1..=4_u8 {
        for number in 0..3_u8 {
            let group = vec![generation * 16 + number; 300 * usize::from(number + 1)];
            log.append(&group).unwrap();
            if generation > 2 {
                kept.push(group);
            }
        }
        if generation < 4 {
            log.applied(u64::from(generation - 1)).unwrap();
            log.rotate().unwrap();
        }
    }
    (disk, kept)
}

#[test]
fn a_bit_flipped_anywhere_is_harmless_or_refused_with_the_file_and_the_place() {
    let (disk, kept) = filled();
    let mut refused = 0;
    for name in NAMES {
        let bytes = disk.bytes(name).len() as u64;
        for byte in 0..bytes {
            let bit = byte * 8 + byte % 8;
            disk.flip(name, bit);
            match open(&disk.copy(), 2) {
                Ok((log, groups)) => {
                    assert_eq!(groups, kept, "byte {byte} of {name}");
                    assert_eq!(log.replayed().torn, None, "byte {byte} of {name}");
                }
                Err(StoreError::Damaged { file, offset, .. }) => {
                    refused += 1;
                    assert_eq!(file, format!("/sim/{name}"));
                    assert!(offset <= byte && byte < offset + 2 * 512, "byte {byte} of {name}: {offset}");
                }
                Err(other) => panic!("byte {byte} of {name}: {other}"),
            }
            disk.flip(name, bit);
        }
    }
    assert!(refused > 3000, "{refused}");
}

#[test]
fn any_changed_sector_is_harmless_or_refused_or_takes_the_last_record_alone() {
    let (disk, kept) = filled();
    let mut dice = Dice::new(1);
    for name in NAMES {
        let original = disk.bytes(name);
        for sector in 0..original.len() / 512 {
            for fill in 0..3 {
                disk.change(name, |bytes| {
                    for byte in &mut bytes[sector * 512..][..512] {
                        *byte = if fill == 0 { 0 } else { dice.roll() as u8 };
                    }
                });
                match open(&disk.copy(), 2) {
                    Ok((_, groups)) => {
                        let all_but_last = groups[..] == kept[..kept.len() - 1];
                        assert!(
                            groups == kept || all_but_last && name == NAMES[0],
                            "sector {sector} of {name}"
                        );
                    }
                    Err(StoreError::Damaged { file, .. }) => assert_eq!(file, format!("/sim/{name}")),
                    Err(other) => panic!("{other}"),
                }
                disk.change(name, |bytes| bytes.clone_from(&original));
            }
        }
    }
}

#[test]
fn a_torn_tail_is_cut_and_reported_once() {
    let (disk, kept) = filled();
    // The last record has 900 bytes: its second sector never came.
    let end = disk.bytes(NAMES[0]).chunks(512).rposition(|sector| sector != [0; 512]).unwrap();
    disk.change(NAMES[0], |bytes| bytes[end * 512..].fill(0));
    let (mut log, groups) = open(&disk, 2).unwrap();
    assert_eq!(groups, kept[..kept.len() - 1]);
    let torn = log.replayed().torn.clone().unwrap();
    assert_eq!((torn.file.as_str(), torn.offset), ("/sim/log.0", (end as u64 - 1) * 512));
    log.append(b"instead").unwrap();
    let (log, groups) = open(&disk, 2).unwrap();
    assert_eq!(groups.last().unwrap(), b"instead");
    assert_eq!((groups.len(), &log.replayed().torn), (kept.len(), &None));
}

#[test]
fn a_lost_record_before_others_is_refused_wherever_it_is() {
    let (disk, kept) = filled();
    let places: [(&str, u64, &str); 4] = [
        ("log.1", 4096, "no record is here, but a later one"),
        ("log.1", 4096 + 512, "no record is here, but a later one"),
        ("log.1", 4096 + 512 + 2 * 512, "the other file goes on"),
        ("log.0", 4096 + 512, "no record is here, but a later one"),
    ];
    for (name, at, words) in places {
        let disk = disk.copy();
        disk.change(name, |bytes| bytes[at as usize..][..512].fill(0));
        let error = open(&disk, 2).err().unwrap();
        let StoreError::Damaged { file, offset, what } = &error else { panic!("{error}") };
        assert_eq!((file.as_str(), *offset), (format!("/sim/{name}").as_str(), at), "{error}");
        assert!(what.contains(words), "{error}");
    }
    let (_, groups) = open(&disk, 2).unwrap();
    assert_eq!(groups, kept, "the original is sound");
}

#[test]
fn a_generation_that_is_gone_is_refused() {
    let (disk, _) = filled();
    let lost = disk.copy();
    lost.change("log.1", |bytes| bytes[4096..].fill(0));
    let error = open(&lost, 2).err().unwrap().to_string();
    let sentence = "/sim/log.1 is damaged at byte 4096: generation 3 is missing, the other file goes on with 4: \
                    restore the store from a backup, or set it aside";
    assert_eq!(error, sentence);
    let older_tables = open(&disk, 1).err().unwrap().to_string();
    assert!(older_tables.contains("generation 2 is missing, 4 is in its place"), "{older_tables}");
}

#[test]
fn each_wrong_file_has_a_sentence_of_its_own() {
    let (disk, _) = filled();
    let says = |change: &dyn Fn(&SimDisk)| {
        let disk = disk.copy();
        change(&disk);
        open(&disk, 2).err().unwrap().to_string()
    };
    let advice = "restore the store from a backup, or set it aside";
    let missing = says(&|disk| disk.remove("log.1").unwrap());
    assert_eq!(missing, format!("/sim/log.1 is missing: {advice}"));
    let short = says(&|disk| disk.change("log.0", |bytes| bytes.truncate(9000)));
    assert_eq!(
        short,
        format!("/sim/log.0 is damaged at byte 9000: it ends here, but was made with 10240 bytes: {advice}")
    );
    let text = says(&|disk| disk.change("log.0", |bytes| bytes[..4096].fill(b'x')));
    assert_eq!(text, format!("/sim/log.0 is damaged at byte 0: it is no log of Midge: {advice}"));
    let other = disk.bytes("log.1");
    let copy = says(&|disk| disk.change("log.0", |bytes| bytes.clone_from(&other)));
    assert_eq!(
        copy,
        format!("/sim/log.0 is damaged at byte 0: it is a copy of the log's other file: {advice}")
    );
    let foreign = open_salted(&disk, Salt([9; 16]), 2).err().unwrap().to_string();
    assert_eq!(foreign, "/sim/log.0 belongs to another store: put back the file of this store");
}

#[test]
fn a_grown_file_that_was_cut_is_refused() {
    let disk = SimDisk::new(0);
    Log::create(&disk, SALT, SIZE).unwrap().append(&[1; 20_000]).unwrap();
    disk.change("log.1", |bytes| bytes.truncate(SIZE as usize));
    let error = open(&disk, 0).err().unwrap().to_string();
    let sentence = "/sim/log.1 is damaged at byte 10240: the file ends within a record: \
                    restore the store from a backup, or set it aside";
    assert_eq!(error, sentence);
}

/// The check of a file's beginning, computed as a newer version would.
#[test]
fn a_newer_format_is_named() {
    use std::hash::Hasher;
    let (disk, _) = filled();
    disk.change("log.1", |bytes| {
        bytes[16..20].copy_from_slice(&7_u32.to_le_bytes());
        let mut hasher = siphasher::sip::SipHasher13::new_with_key(&SALT.0);
        hasher.write_u8(1);
        hasher.write(&bytes[8..48]);
        bytes[..8].copy_from_slice(&hasher.finish().to_le_bytes());
    });
    let error = open(&disk, 2).err().unwrap().to_string();
    let sentence =
        "/sim/log.1 has format 7, and this version of Midge knows 1: run the version that wrote it";
    assert_eq!(error, sentence);
}

/// Records of generation 3 with this salt, in sectors.
fn forged(salt: Salt) -> Vec<u8> {
    let disk = SimDisk::new(0);
    let mut log = Log::create(&disk, salt, 4096 + 64 * 512).unwrap();
    log.applied(2).unwrap();
    for number in 0..40 {
        log.append(format!("forged {number}").as_bytes()).unwrap();
    }
    disk.bytes("log.1")[4096..].to_vec()
}

/// A payload that puts forged records where a record could begin: each at its own position, or all of them shifted.
fn payload(forged: &[u8], shift: Option<usize>) -> Vec<u8> {
    let Some(shift) = shift else {
        // The first sector has 464 bytes of the payload, the others have 504.
        let bodies = forged.chunks(512).skip(1).map(|sector| &sector[..504]);
        return [vec![0; 464], bodies.collect::<Vec<_>>().concat()].concat();
    };
    [vec![0; shift], forged.to_vec()].concat()
}

/// A log whose first generation holds forged records. A later and shorter generation lies over them, with a torn tail.
fn attacked(salt: Salt, shift: Option<usize>) -> (SimDisk, Vec<Vec<u8>>) {
    let disk = SimDisk::new(shift.unwrap_or(0) as u64);
    let mut log = Log::create(&disk, SALT, 4096 + 80 * 512).unwrap();
    let mut kept = Vec::new();
    log.append(&payload(&forged(salt), shift)).unwrap();
    log.applied(2).unwrap();
    for number in 0..4 {
        kept.push(vec![number; 400]);
        log.append(kept.last().unwrap()).unwrap();
    }
    disk.fail_syncs(Some(EIO));
    assert!(log.append(&[7; 3000]).is_err());
    (disk, kept)
}

#[test]
fn records_that_a_client_puts_into_payloads_are_never_replayed() {
    for (shift, seed) in (0..512).map(Some).chain([None]).zip(0..) {
        let (disk, kept) = attacked(Salt([3; 16]), shift);
        let (_, groups) = open(&disk.crash(seed), 2).unwrap();
        assert_eq!(groups[..4], kept[..], "shift {shift:?}");
        assert!(groups.len() == 4 || groups[4] == vec![7; 3000], "shift {shift:?}");
    }
}

/// The control: a client that knew the salt would be believed.
#[test]
fn the_salt_is_what_protects() {
    let error = open(&attacked(SALT, None).0.crash(4), 2).err().unwrap().to_string();
    assert!(error.contains("is in its place"), "{error}");
}

/// A record that has no other behind it could be taken for one that was never finished.
#[test]
fn a_bit_flipped_in_the_only_record_does_not_lose_it() {
    for len in [0, 100, 700] {
        let disk = SimDisk::new(0);
        let group = vec![b'x'; len];
        Log::create(&disk, SALT, SIZE).unwrap().append(&group).unwrap();
        for bit in 4096 * 8..(4096 + 1024) * 8 {
            disk.flip("log.1", bit);
            match open(&disk.copy(), 0) {
                Ok((_, groups)) => assert_eq!(groups, [group.as_slice()], "bit {bit}"),
                Err(error) => assert!(matches!(error, StoreError::Damaged { offset: 4096, .. }), "{error}"),
            }
            disk.flip("log.1", bit);
        }
    }
}

/// The fuzz target, with inputs of a seed. `make fuzz` looks for others.
#[test]
fn scripts_of_damage_replay_nothing_but_what_was_appended() {
    let mut dice = Dice::new(3);
    for _ in 0..5000 {
        let len = 40 + dice.below(120);
        let script: Vec<u8> = (0..len).map(|_| dice.roll() as u8).collect();
        crate::log_replay::log_replay(&script);
    }
}
