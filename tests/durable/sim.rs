//! The simulated disk itself: it loses what it may lose, and the same seed loses the same.

use std::collections::BTreeSet;
use std::thread;

use midge::storage::durable::disk::Disk;

use crate::sim_disk::{EIO, SimDisk};

/// A file of four sectors, overwritten in two writes without a sync.
fn overwritten(seed: u64) -> Vec<u8> {
    let disk = SimDisk::new(0);
    let file = disk.create("a").unwrap();
    file.write_at(0, &[b'0'; 2048]).unwrap();
    file.sync().unwrap();
    disk.sync().unwrap();
    file.write_at(0, &[b'1'; 1024]).unwrap();
    file.write_at(1024, &[b'2'; 1024]).unwrap();
    let after = disk.crash(seed);
    assert!(file.read_at(0, &mut [0]).is_err(), "a handle of an earlier life");
    after.bytes("a").into_iter().step_by(512).collect()
}

#[test]
fn a_crash_loses_tears_and_reorders_what_was_not_synced() {
    let found: BTreeSet<_> = (0..200).map(overwritten).collect();
    for possible in [b"0000", b"1122", b"1100", b"1000", b"0022", b"0102"] {
        assert!(found.contains(&possible[..]), "{possible:?}");
    }
    assert_eq!(overwritten(17), overwritten(17));
}

#[test]
fn names_that_are_not_synced_may_be_lost() {
    let names: BTreeSet<Vec<String>> = (0..50)
        .map(|seed| {
            let disk = SimDisk::new(0);
            disk.create("a").unwrap();
            disk.sync().unwrap();
            disk.rename("a", "b").unwrap();
            disk.create("c").unwrap();
            disk.crash(seed).names().unwrap()
        })
        .collect();
    assert_eq!(names.len(), 4, "{names:?}");
}

#[test]
fn after_a_failed_sync_pages_are_read_and_a_second_sync_does_not_write_them() {
    let mut lost = 0;
    for seed in 0..20 {
        let disk = SimDisk::new(seed);
        let file = disk.create("a").unwrap();
        disk.sync().unwrap();
        file.write_at(0, &[1; 512]).unwrap();
        disk.fail_syncs(Some(EIO));
        assert!(file.sync().is_err());
        disk.fail_syncs(None);
        file.sync().unwrap();
        assert_eq!(disk.bytes("a"), [1; 512]);
        lost += u64::from(disk.crash(seed).bytes("a").is_empty());
    }
    assert!(lost > 5 && lost < 20, "{lost}");
}

#[test]
fn a_stalled_sync_returns_when_the_stall_is_over() {
    let disk = SimDisk::new(0);
    let file = disk.create("a").unwrap();
    disk.stall_syncs(true);
    thread::scope(|scope| {
        let waiting = scope.spawn(|| file.sync());
        while disk.stalled() == 0 {
            thread::yield_now();
        }
        assert!(!waiting.is_finished());
        disk.stall_syncs(false);
        waiting.join().unwrap().unwrap();
    });
}
