//! Checking, exporting, importing and copying a store.

use std::sync::Arc;
use std::thread;

use midge::storage::durable::disk::Disk;
use midge::storage::durable::tools::{
    BackupOptions, ImportError, ImportOptions, Imported, Scratch, StoreReport, backup, check, export, import,
};
use midge::storage::durable::{DurableOptions, DurableStore};
use midge::storage::{Change, MessageRecord, Store, StoreError};
use midge::time::WallTime;

use crate::dice::Dice;
use crate::sim_disk::{Fault, SimDisk};
use crate::snapshot::Snapshot;
use crate::story::Story;

const NOW: u64 = 1_796_071_153_000;
const LOG_BYTES: u64 = 8192;
const BACKUP: BackupOptions = BackupOptions { salt: [8; 16], log_bytes: LOG_BYTES };

pub fn open(disk: &SimDisk) -> Result<DurableStore, StoreError> {
    let options =
        DurableOptions { salt: [7; 16], log_bytes: LOG_BYTES, now: WallTime::default(), retry_millis: None };
    DurableStore::open(Arc::new(disk.clone()), options)
}

pub fn loaded(disk: &SimDisk) -> Snapshot {
    let mut loaded = Snapshot::default();
    let load = open(&disk.copy()).unwrap().load(&mut |at, change| {
        loaded.see(at, change);
        Ok(())
    });
    load.unwrap();
    loaded.numbered()
}

pub fn exported(disk: &SimDisk) -> String {
    let mut text = Vec::new();
    export(Arc::new(disk.clone()), &mut text).unwrap();
    String::from_utf8(text).unwrap()
}

pub fn imported(disk: &SimDisk, mut file: &[u8]) -> Result<Imported, ImportError> {
    let options = ImportOptions { salt: [9; 16], log_bytes: LOG_BYTES, now: WallTime::from_millis(NOW) };
    import(disk, &mut file, &options)
}

pub fn checked(disk: &SimDisk) -> Result<StoreReport, StoreError> {
    check(Arc::new(disk.clone()))
}

/// The names and bytes of all files.
fn files(disk: &SimDisk) -> Vec<(String, Vec<u8>)> {
    let mut names = disk.names().unwrap();
    names.sort_unstable();
    names.into_iter().map(|name| (name.clone(), disk.bytes(&name))).collect()
}

/// A store after random work, with records in its log.
fn storied(seed: u64) -> SimDisk {
    let disk = SimDisk::new(1);
    let store = open(&disk).unwrap();
    let (mut story, mut random) = (Story::new(seed), Dice::new(seed));
    for _ in 0..150 {
        story.group(&store);
        if random.chance(33) {
            store.commit();
        }
        if random.chance(3) {
            store.checkpoint();
        }
    }
    while store.commit() {}
    disk
}

#[test]
fn a_store_is_exported_imported_and_copied_as_it_is_and_its_files_stay_what_they_are() {
    for seed in 0..20 {
        let disk = storied(seed);
        let before = files(&disk);
        let text = exported(&disk);
        let report = checked(&disk).unwrap();
        let copy = SimDisk::new(1);
        backup(Arc::new(disk.clone()), &copy, &BACKUP).unwrap();
        assert_eq!(files(&disk), before, "seed {seed}");
        let again = SimDisk::new(1);
        let counts = imported(&again, text.as_bytes()).unwrap();
        for other in [&again, &copy] {
            assert_eq!(loaded(other), loaded(&disk), "seed {seed}");
            assert_eq!(exported(other), text, "seed {seed}");
            let same = StoreReport {
                log_records: 0,
                log_bytes: 0,
                files: checked(other).unwrap().files,
                ..report.clone()
            };
            assert_eq!(checked(other).unwrap(), same, "seed {seed}");
        }
        assert_eq!(counts.retained, report.retained);
        assert_eq!(counts.sessions, report.sessions);
        assert_eq!(counts.deliveries, report.queued + report.in_flight);
    }
}

#[test]
fn a_check_tells_what_the_log_has_and_where_it_is_torn() {
    let disk = storied(3);
    let report = checked(&disk).unwrap();
    assert!(report.log_records > 0 && report.log_bytes > 0);
    assert_eq!(report.torn, None);
    let names: Vec<_> = report.files.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["log.0", "log.1", "midge.redb"]);
    // The first record of a store, cut in its middle.
    let disk = SimDisk::new(1);
    let store = open(&disk).unwrap();
    store.append(WallTime::from_millis(1), Change::Retained(message(&[5; 2000])));
    store.commit();
    assert_eq!(checked(&disk).unwrap().retained, 1);
    disk.change("log.1", |bytes| bytes[5120..6144].fill(0));
    let report = checked(&disk).unwrap();
    assert_eq!((report.retained, report.log_records), (0, 0));
    assert_eq!(report.torn.map(|torn| (torn.file, torn.offset)), Some((disk.describe("log.1"), 4096)));
}

fn message(payload: &[u8]) -> MessageRecord<'_> {
    MessageRecord {
        topic: "t",
        properties: &[],
        payload,
        qos: midge::QoS::AtLeastOnce,
        retain: true,
        received_at: WallTime::from_millis(1),
        expires_at: WallTime::NEVER,
    }
}

#[test]
fn a_flipped_bit_is_named_by_its_file_or_harmless() {
    let disk = storied(5);
    let text = exported(&disk);
    let mut random = Dice::new(5);
    let mut found = 0;
    for _ in 0..60 {
        let damaged = disk.copy();
        damaged.flip("midge.redb", random.below(disk.bytes("midge.redb").len() as u64 * 8));
        match checked(&damaged) {
            Ok(_) => assert_eq!(exported(&damaged), text),
            Err(error) => {
                assert!(error.to_string().contains("midge.redb"), "{error}");
                found += 1;
            }
        }
    }
    assert!(found > 5, "{found}");
}

/// Nothing but the checksum of its page says that a payload is another one.
#[test]
fn a_payload_that_has_changed_is_found() {
    let disk = SimDisk::new(1);
    let store = open(&disk).unwrap();
    store.append(WallTime::from_millis(1), Change::Retained(message(&[0x5a; 3000])));
    store.commit();
    store.close();
    store.finish().unwrap();
    checked(&disk).unwrap();
    let bytes = disk.bytes("midge.redb");
    let at = bytes.windows(3000).position(|window| window == [0x5a; 3000]).unwrap() + 1500;
    disk.flip("midge.redb", at as u64 * 8);
    match checked(&disk) {
        Err(StoreError::Unreadable { file, .. }) => assert_eq!(file, disk.describe("midge.redb")),
        other => panic!("{other:?}"),
    }
}

#[test]
fn where_there_is_no_store_the_sentence_says_so() {
    let disk = SimDisk::new(1);
    let sentence = checked(&disk).unwrap_err().to_string();
    assert!(sentence.ends_with(": there is no store here: name the directory of the setting storage.path"));
    let disk = storied(1);
    disk.remove("midge.redb").unwrap();
    let error = checked(&disk).unwrap_err();
    assert_eq!(error, StoreError::Missing { file: disk.describe("midge.redb") });
    let error = imported(&disk, b"").unwrap_err().to_string();
    assert!(error.contains("midge.redb is missing"), "a part of a store is not overwritten: {error}");
    let disk = storied(1);
    let error = imported(&disk, b"").unwrap_err().to_string();
    assert!(error.contains("there is a store here"), "{error}");
    let error = backup(Arc::new(storied(2)), &disk, &BACKUP).unwrap_err().to_string();
    assert!(error.contains("there is a store here"), "{error}");
}

#[test]
fn an_import_that_crashes_leaves_the_whole_store_or_none() {
    let text = exported(&storied(7));
    let disk = SimDisk::new(1);
    imported(&disk, text.as_bytes()).unwrap();
    let (mut none, mut whole) = (0, 0);
    for operation in 0..disk.operations() {
        let disk = SimDisk::new(1);
        disk.fault_at(operation, Fault::Crash);
        let _ = imported(&disk, text.as_bytes());
        let disk = disk.crash(operation);
        if checked(&disk).is_ok() {
            whole += 1;
        } else {
            none += 1;
            // And what is left is in nobody's way.
            imported(&disk, text.as_bytes()).unwrap();
        }
        assert_eq!(exported(&disk), text, "operation {operation}");
    }
    assert!(none > 10 && whole > 0, "{none} {whole}");
}

#[test]
fn an_import_that_fails_leaves_nothing() {
    let text = exported(&storied(7)).replacen("\"qos\":1", "\"qos\":3", 1);
    let disk = SimDisk::new(1);
    assert!(matches!(imported(&disk, text.as_bytes()), Err(ImportError::Line { .. })));
    assert_eq!(disk.names().unwrap(), Vec::<String>::new());
}

#[test]
fn commits_go_on_while_a_backup_waits_for_its_disk() {
    let (disk, copy) = (SimDisk::new(1), SimDisk::new(1));
    let store = open(&disk).unwrap();
    let mut story = Story::new(11);
    for _ in 0..50 {
        story.group(&store);
        store.commit();
    }
    let then = loaded(&disk);
    copy.stall_syncs(true);
    thread::scope(|scope| {
        let backup = scope.spawn(|| store.backup(&copy, &BACKUP));
        while copy.stalled() == 0 {
            assert!(!backup.is_finished());
            thread::yield_now();
        }
        for _ in 0..50 {
            story.group(&store);
            assert!(store.commit());
        }
        copy.stall_syncs(false);
        backup.join().unwrap().unwrap();
    });
    assert_eq!(loaded(&copy), then);
    assert_ne!(loaded(&disk), then);
}

#[test]
fn a_backup_has_whole_groups_and_all_that_was_committed() {
    for seed in 0..12 {
        let disk = SimDisk::new(1);
        let store = open(&disk).unwrap();
        let mut story = Story::new(seed);
        for _ in 0..60 {
            story.group(&store);
            store.commit();
        }
        let committed = store.committed();
        let copy = SimDisk::new(1);
        thread::scope(|scope| {
            let backup = scope.spawn(|| store.backup(&copy, &BACKUP));
            while !backup.is_finished() {
                story.group(&store);
                store.commit();
                store.checkpoint();
            }
            backup.join().unwrap().unwrap();
        });
        let copied = loaded(&copy);
        let mut states = story.states.iter().filter(|(position, _)| *position >= committed);
        assert!(states.any(|(_, state)| state.clone().numbered() == copied), "seed {seed}");
        // The copy is a store of its own, which goes on.
        let store = open(&copy).unwrap();
        store.append(WallTime::from_millis(1), Change::Retained(message(b"more")));
        assert!(store.commit());
    }
}

#[test]
fn a_disk_that_refuses_fails_the_backup_and_not_the_store() {
    let disk = SimDisk::new(1);
    let store = open(&disk).unwrap();
    let mut story = Story::new(13);
    for _ in 0..20 {
        story.group(&store);
        store.commit();
    }
    let full = SimDisk::new(1);
    full.set_space(Some(3000));
    store.backup(&full, &BACKUP).unwrap_err();
    assert_eq!(full.names().unwrap(), Vec::<String>::new(), "what was begun is removed");
    story.group(&store);
    assert!(store.commit());
    let copy = SimDisk::new(1);
    store.backup(&copy, &BACKUP).unwrap();
    assert_eq!(loaded(&copy), loaded(&disk));
    store.close();
    store.finish().unwrap();
    store.backup(&SimDisk::new(1), &BACKUP).unwrap_err();
}

/// The same random reads and writes of a scratch disk and of one that is written.
#[test]
fn a_scratch_disk_reads_what_was_written_and_changes_nothing_below() {
    for seed in 0..200 {
        let mut random = Dice::new(seed);
        let below = SimDisk::new(1);
        let plain = SimDisk::new(1);
        let size = random.below(20_000);
        let bytes: Vec<u8> = (0..size).map(|_| random.roll() as u8).collect();
        for disk in [&below, &plain] {
            disk.create("a").unwrap().write_at(0, &bytes).unwrap();
        }
        let scratch = Scratch::over(Arc::new(below.clone()));
        let (over, plain_file) = (scratch.open("a").unwrap().unwrap(), plain.open("a").unwrap().unwrap());
        for _ in 0..60 {
            let at = random.below(30_000);
            match random.below(4) {
                0 => {
                    let bytes: Vec<u8> = (0..random.below(9000)).map(|_| random.roll() as u8).collect();
                    over.write_at(at, &bytes).unwrap();
                    plain_file.write_at(at, &bytes).unwrap();
                }
                1 => {
                    over.set_len(at).unwrap();
                    plain_file.set_len(at).unwrap();
                }
                _ => {
                    let mut read = [vec![1; random.below(9000) as usize], Vec::new()];
                    read[1] = read[0].clone();
                    let found = over.read_at(at, &mut read[0]).is_ok();
                    assert_eq!(found, plain_file.read_at(at, &mut read[1]).is_ok(), "seed {seed}");
                    assert!(!found || read[0] == read[1], "seed {seed}");
                }
            }
            assert_eq!(over.len().unwrap(), plain_file.len().unwrap());
        }
        assert_eq!(below.bytes("a"), bytes);
    }
}

#[test]
fn the_names_of_a_scratch_disk_are_its_own() {
    let below = SimDisk::new(1);
    below.create("a").unwrap();
    below.create("b").unwrap();
    let scratch = Scratch::over(Arc::new(below.clone()));
    scratch.rename("a", "c").unwrap();
    scratch.remove("b").unwrap();
    scratch.create("d").unwrap();
    assert!(scratch.create("c").is_err() && scratch.open("a").unwrap().is_none());
    assert!(scratch.rename("a", "e").is_err() && scratch.remove("b").is_err());
    let mut names = scratch.names().unwrap();
    names.sort_unstable();
    assert_eq!(names, ["c", "d"]);
    let mut names = below.names().unwrap();
    names.sort_unstable();
    assert_eq!(names, ["a", "b"]);
}
