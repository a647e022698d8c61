//! The rules of the log: generations, room, full and failing disks, sentences.

use midge::storage::StoreError;
use midge::storage::durable::disk::Disk;
use midge::storage::durable::log::{Log, LogError, NAMES, Salt, replay};

use crate::sim_disk::{EIO, ENOSPC, Fault, SimDisk};

pub const SALT: Salt = Salt(*b"0123456789abcdef");
const SIZE: u64 = 4096 + 8 * 512;

/// Opens the log; returns what was replayed as well.
pub fn open(disk: &SimDisk, applied: u64) -> Result<(Log, Vec<Vec<u8>>), StoreError> {
    open_salted(disk, SALT, applied)
}

/// Opens the log with this salt.
pub fn open_salted(disk: &SimDisk, salt: Salt, applied: u64) -> Result<(Log, Vec<Vec<u8>>), StoreError> {
    let mut groups = Vec::new();
    let log = Log::open(disk, salt, applied, &mut |group| {
        groups.push(group.to_vec());
        Ok(())
    })?;
    Ok((log, groups))
}

fn new() -> (SimDisk, Log) {
    seeded(0)
}

fn seeded(seed: u64) -> (SimDisk, Log) {
    let disk = SimDisk::new(seed);
    let log = Log::create(&disk, SALT, SIZE).unwrap();
    (disk, log)
}

#[test]
fn groups_come_back_in_order_from_both_files() {
    let (disk, mut log) = new();
    log.append(b"one").unwrap();
    log.append(b"").unwrap();
    assert_eq!(log.rotate(), Ok(2));
    log.append(b"three").unwrap();
    let (log, groups) = open(&disk.crash(1), 0).unwrap();
    assert_eq!(groups, [b"one".to_vec(), Vec::new(), b"three".to_vec()]);
    assert_eq!((log.generation(), log.replayed().groups, log.replayed().bytes), (2, 3, 8));
}

#[test]
fn generations_that_the_tables_have_are_not_replayed() {
    let (disk, mut log) = new();
    log.append(b"one").unwrap();
    log.rotate().unwrap();
    log.append(b"two").unwrap();
    let disk = disk.restart();
    assert_eq!(open(&disk, 1).unwrap().1, [b"two".to_vec()]);
    let (log, groups) = open(&disk, 2).unwrap();
    assert!(groups.is_empty() && log.is_empty());
    assert_eq!(log.generation(), 3);
}

#[test]
fn a_file_is_not_used_again_before_the_tables_have_its_generation() {
    let (_, mut log) = new();
    log.append(b"one").unwrap();
    log.rotate().unwrap();
    assert_eq!(log.rotate(), Ok(2), "an empty generation goes on");
    log.append(b"two").unwrap();
    assert_eq!(log.rotate(), Err(LogError::NotApplied { generation: 1 }));
    log.append(b"three").unwrap();
    log.applied(1).unwrap();
    assert_eq!(log.rotate(), Ok(3));
}

#[test]
fn the_next_generation_begins_when_the_tables_have_the_present_one() {
    let (disk, mut log) = new();
    log.append(b"one").unwrap();
    log.applied(1).unwrap();
    assert_eq!((log.generation(), log.is_empty()), (2, true));
    log.applied(2).unwrap();
    assert_eq!(log.generation(), 3, "also when it is empty");
    log.append(b"two").unwrap();
    assert_eq!(open(&disk.crash(0), 2).unwrap().1, [b"two".to_vec()]);
}

#[test]
fn room_is_exact_and_a_large_group_makes_the_file_grow_until_it_is_used_again() {
    let (disk, mut log) = new();
    let room = log.room();
    assert_eq!(room, 464 + 7 * 504);
    log.append(&vec![1; room]).unwrap();
    assert_eq!((log.room(), log.used(), log.capacity()), (0, 8 * 512, 8 * 512));
    assert_eq!(log.append(b"x"), Err(LogError::NoRoom { len: 1, room: 0 }));
    assert!(!log.takes(0));
    log.rotate().unwrap();
    assert!(log.takes(room + 1));
    log.append(&vec![2; 3 * room]).unwrap();
    assert!(log.disk_use() > 2 * SIZE);
    let (mut log, groups) = open(&disk.crash(3), 1).unwrap();
    assert_eq!(groups, [vec![2; 3 * room]]);
    log.applied(2).unwrap();
    log.append(b"x").unwrap();
    log.rotate().unwrap();
    assert_eq!((log.generation(), log.disk_use()), (4, 2 * SIZE));
    assert_eq!(disk.bytes(NAMES[0]).len() as u64, SIZE);
}

#[test]
fn one_write_and_one_sync_for_each_group() {
    let (disk, mut log) = new();
    let (before, (syncs, written)) = (disk.operations(), disk.counts());
    for _ in 0..8 {
        log.append(&[7; 400]).unwrap();
    }
    assert_eq!(disk.operations() - before, 16);
    assert_eq!(disk.counts(), (syncs + 8, written + 8 * 512));
}

#[test]
fn a_full_disk_refuses_a_growing_file_and_nothing_of_the_group_is_replayed() {
    let (disk, mut log) = new();
    disk.set_space(Some(700));
    let Err(LogError::Full(error)) = log.append(&[9; 9000]) else { panic!("it is full") };
    let sentence = "/sim/log.1: grow: No space left on device (os error 28): free space on this disk";
    assert_eq!(error.to_string(), sentence);
    assert_eq!(log.disk_use(), 2 * SIZE);
    assert_eq!(disk.bytes(NAMES[1]).len() as u64, SIZE);
    log.append(b"small").unwrap();
    log.rotate().unwrap();
    disk.set_space(None);
    log.append(&[9; 9000]).unwrap();
    assert_eq!(open(&disk.crash(5), 0).unwrap().1, [b"small".to_vec(), vec![9; 9000]]);
}

#[test]
fn a_file_system_that_needs_space_for_an_overwrite_is_full_and_not_broken() {
    let (disk, mut log) = new();
    log.append(b"one").unwrap();
    disk.fault_at(disk.operations(), Fault::Error(ENOSPC));
    assert!(matches!(log.append(&[2; 1500]), Err(LogError::Full(_))));
    log.append(b"three").unwrap();
    assert_eq!(open(&disk.crash(5), 0).unwrap().1, [b"one".to_vec(), b"three".to_vec()]);
}

#[test]
fn after_a_failed_sync_the_log_does_nothing_more() {
    let (disk, mut log) = new();
    log.append(b"one").unwrap();
    disk.fail_syncs(Some(EIO));
    let Err(LogError::Failed(error)) = log.append(b"two") else { panic!("it has failed") };
    disk.fail_syncs(None);
    let sentence = "/sim/log.1: sync: Input/output error (os error 5): \
                    nothing is acknowledged any more: check the disk, then restart the broker";
    assert_eq!(error.to_string(), sentence);
    let operations = disk.operations();
    assert_eq!(log.append(b"three"), Err(LogError::Failed(error.clone())));
    assert_eq!(log.rotate(), Err(LogError::Failed(error.clone())));
    assert_eq!(log.applied(1), Err(LogError::Failed(error.clone())));
    assert_eq!((log.failed(), disk.operations()), (Some(&error), operations), "the disk is left alone");
}

/// A full disk is told from a broken one by the error of a write alone: after a sync nobody knows what is there.
#[test]
fn any_other_error_of_a_write_and_every_error_of_a_sync_is_the_end() {
    for (operation, number) in [(0, EIO), (1, EIO), (1, ENOSPC)] {
        let (disk, mut log) = new();
        disk.fault_at(disk.operations() + operation, Fault::Error(number));
        assert!(matches!(log.append(b"one"), Err(LogError::Failed(_))), "{operation}, {number}");
        assert!(matches!(log.append(b"two"), Err(LogError::Failed(_))), "{operation}, {number}");
    }
    let (disk, mut log) = new();
    disk.fault_at(disk.operations(), Fault::Error(EIO));
    assert!(matches!(log.append(&[1; 9000]), Err(LogError::Failed(_))), "a file that grows");
}

/// The system shows pages that a failed sync has lost. A start that believes them must write them again.
#[test]
fn what_a_failed_sync_has_lost_is_written_again_by_the_next_start() {
    for seed in 0..20 {
        let (disk, mut log) = seeded(seed);
        disk.fail_syncs(Some(EIO));
        assert!(log.append(b"lost").is_err());
        let disk = disk.restart();
        let (mut log, groups) = open(&disk, 0).unwrap();
        assert_eq!(groups, [b"lost".to_vec()]);
        log.append(b"next").unwrap();
        let (_, groups) = open(&disk.crash(seed), 0).unwrap();
        assert_eq!(groups, [b"lost".to_vec(), b"next".to_vec()], "seed {seed}");
    }
}

#[test]
fn an_error_at_each_operation_is_a_sentence_and_loses_nothing() {
    for operation in 0..12 {
        let (disk, mut log) = new();
        disk.fault_at(disk.operations() + operation, Fault::Error(EIO));
        let mut acknowledged = Vec::new();
        for number in 0..6_u8 {
            match log.append(&[number; 700]) {
                Ok(()) => acknowledged.push(vec![number; 700]),
                Err(LogError::NoRoom { .. }) => drop(log.rotate()),
                Err(error) => assert!(error.to_string().starts_with("/sim/log."), "{error}"),
            }
        }
        let (_, groups) = open(&disk.crash(operation), 0).unwrap();
        assert!(groups.starts_with(&acknowledged), "operation {operation}");
        assert!(groups.len() <= acknowledged.len() + 1);
    }
}

#[test]
fn a_replay_that_is_refused_ends_the_start_and_changes_nothing() {
    let (disk, mut log) = new();
    log.append(b"one").unwrap();
    let operations = disk.operations();
    let refusal = StoreError::Failed { cause: "no".to_owned() };
    let opened = Log::open(&disk, SALT, 0, &mut |_| Err(refusal.clone()));
    assert_eq!(opened.err(), Some(refusal));
    let mut groups = 0;
    replay(&disk, &SALT, 0, &mut |_| {
        groups += 1;
        Ok(())
    })
    .unwrap();
    assert_eq!((groups, disk.operations()), (1, operations), "a look writes nothing");
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let (disk, mut log) = new();
    log.append(b"one").unwrap();
    disk.fail_reads(Some(EIO));
    let error = open(&disk, 0).err().unwrap().to_string();
    let sentence =
        "/sim/log.0: read: Input/output error (os error 5): check the disk and the rights of the file";
    assert_eq!(error, sentence);
}

#[test]
fn a_log_with_records_is_not_made_again() {
    let (disk, mut log) = new();
    log.append(b"one").unwrap();
    let error = Log::create(&disk, SALT, SIZE).err().unwrap();
    assert!(matches!(error, StoreError::Damaged { offset: 4096, .. }), "{error}");
    let bytes = disk.bytes(NAMES[0]);
    assert!(Log::create(&disk, Salt([1; 16]), SIZE).is_err());
    assert_eq!(disk.bytes(NAMES[0]), bytes, "neither is the file that has none");
    let own = SimDisk::new(0);
    own.create(NAMES[0]).unwrap().write_at(0, b"a text of the user's").unwrap();
    assert!(Log::create(&own, SALT, SIZE).is_err());
    assert_eq!(own.bytes(NAMES[0]), b"a text of the user's");
}

#[test]
fn a_full_disk_leaves_nothing_of_a_log_that_cannot_be_made() {
    let disk = SimDisk::new(0);
    disk.set_space(Some(SIZE + 100));
    assert!(matches!(Log::create(&disk, SALT, SIZE).err(), Some(StoreError::Full { .. })));
    assert!(disk.names().unwrap().is_empty());
    disk.set_space(None);
    Log::create(&disk, SALT, SIZE).unwrap();
}
