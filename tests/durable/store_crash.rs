//! The whole store over a simulated disk: after a crash at any moment it has what was committed, whole groups, and
//! nothing else.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use midge::storage::durable::{DurableOptions, DurableStore};
use midge::storage::{Store, StoreError};
use midge::time::WallTime;

use crate::dice::Dice;
use crate::sim_disk::{EIO, Fault, SimDisk};
use crate::snapshot::Snapshot;
use crate::story::Story;

fn open(disk: &SimDisk) -> Result<DurableStore, StoreError> {
    let options =
        DurableOptions { salt: [7; 16], log_bytes: 4096, now: WallTime::default(), retry_millis: None };
    DurableStore::open(Arc::new(disk.clone()), options)
}

fn loaded(store: &DurableStore) -> Snapshot {
    crate::loaded::loaded(store).unwrap()
}

/// Random work on a store, with commits and checkpoints, until it fails or the work is done. What the story knew at each
/// end of a group comes back.
fn work(story: &mut Story, store: &DurableStore, random: &mut Dice) -> Vec<Story> {
    let mut stories = vec![story.clone()];
    for _ in 0..random.below(200) {
        story.group(store);
        stories.push(story.clone());
        if random.chance(25) && !store.commit() {
            break;
        }
        if random.chance(2) {
            store.checkpoint();
        }
    }
    stories
}

/// Lives of one store, each of which ends by a crash in the middle of an operation, or between two.
fn lives(seed: u64, lies: bool) -> u64 {
    let mut random = Dice::new(seed);
    let mut story = Story::new(seed);
    let mut disk = SimDisk::new(seed);
    if lies {
        disk.lie();
    }
    let mut committed_groups = 0;
    for life in 0..6 {
        if random.chance(50) {
            let fault = if random.chance(33) { Fault::Error(EIO) } else { Fault::Crash };
            disk.fault_at(disk.operations() + random.below(400), fault);
        }
        let opened = open(&disk);
        let mut stories = vec![story.clone()];
        let mut committed = 0;
        if let Ok(store) = opened {
            assert_eq!(loaded(&store), story.states.last().unwrap().1.clone().numbered(), "{seed} {life}");
            stories = work(&mut story, &store, &mut random);
            committed = store.committed();
            if random.chance(12) {
                store.close();
                let _may_fail = store.finish();
                committed = store.committed();
            }
        }
        disk = disk.crash(random.roll());
        let store = open(&disk).unwrap_or_else(|error| panic!("{seed} {life}: {error}"));
        // One that gives whole queues, or one that reads them again.
        let store = if random.chance(50) { store.with_memory(0) } else { store };
        let found = loaded(&store);
        let then = stories.iter().rev().find(|then| {
            let (position, state) = then.states.last().unwrap();
            *position >= committed && state.clone().numbered() == found
        });
        let then = then.unwrap_or_else(|| panic!("{seed} {life}: committed {committed}, found {found:?}"));
        committed_groups +=
            stories.iter().filter(|then| then.states.last().unwrap().0 <= committed).count() as u64;
        story.resume(then);
        disk = disk.restart();
    }
    committed_groups
}

#[test]
fn what_was_committed_is_there_after_a_crash_at_any_moment() {
    let seeds = std::env::var("DURABLE_SEEDS").map_or(12, |seeds| seeds.parse().unwrap());
    let committed: u64 = (0..seeds).map(|seed| lives(seed, false)).sum();
    println!("{committed} groups in {seeds} stories were committed and found");
    assert!(committed > 30 * seeds, "{committed}");
}

/// The control: a disk that says that it has flushed, and has not.
#[test]
fn a_disk_that_does_not_flush_is_found() {
    let found = (0..50).any(|seed| std::panic::catch_unwind(|| lives(seed, true)).is_err());
    assert!(found);
}

/// A store that may try again, with one fault of the disk while it writes a checkpoint. What was committed before the
/// power is lost comes back.
fn comes_back_after_a_fault_in_a_checkpoint(at: u64, seed: u64) -> bool {
    let options =
        DurableOptions { salt: [7; 16], log_bytes: 4096, now: WallTime::default(), retry_millis: Some(1) };
    let disk = SimDisk::new(seed);
    let store = DurableStore::open(Arc::new(disk.clone()), options).unwrap();
    let mut story = Story::new(seed);
    let mut work = |groups: usize| {
        for _ in 0..groups {
            story.group(&store);
            store.commit();
        }
    };
    let happened = loop {
        work(1);
        let before = disk.operations();
        disk.fault_at(before + at, Fault::Error(EIO));
        store.checkpoint();
        if disk.operations() > before {
            break disk.operations() > before + at;
        }
    };
    assert!(!happened || store.trouble().is_some(), "fault {at} of seed {seed}: it was tried again");
    disk.fault_at(u64::MAX, Fault::Error(EIO));
    // Files of the log are used again, if the tables have what was in them.
    work(60);
    let committed = store.committed();
    let disk = disk.crash(seed);
    let found = loaded(&open(&disk).unwrap_or_else(|error| panic!("fault {at}: {error}")));
    let right = story
        .states
        .iter()
        .any(|(position, state)| *position >= committed && state.clone().numbered() == found);
    assert!(right, "fault {at} of seed {seed}: committed {committed}");
    happened
}

#[test]
fn a_flush_that_has_failed_is_never_tried_again() {
    let mut faults = 0;
    for seed in 0..6 {
        faults += (0..60).take_while(|at| comes_back_after_a_fault_in_a_checkpoint(*at, seed)).count();
    }
    assert!(faults > 30, "{faults}");
}

/// A full disk ends no store that may try again, and costs nothing that was committed.
#[test]
fn a_store_goes_on_when_there_is_space_again() {
    let disk = SimDisk::new(1);
    let options =
        DurableOptions { salt: [7; 16], log_bytes: 4096, now: WallTime::default(), retry_millis: Some(1) };
    let store = Arc::new(DurableStore::open(Arc::new(disk.clone()), options).unwrap());
    let changes = Arc::new(AtomicU64::new(0));
    let told = Arc::clone(&changes);
    store.on_trouble(Box::new(move || _ = told.fetch_add(1, Ordering::SeqCst)));
    disk.set_space(Some(0));
    let mut story = Story::new(1);
    let committing = std::thread::spawn({
        let store = Arc::clone(&store);
        move || while store.wait_and_commit(&|| ()) {}
    });
    while store.trouble().is_none() {
        story.group(&store);
        std::thread::yield_now();
    }
    let trouble = store.trouble().unwrap().to_string();
    assert!(trouble.contains("/sim/") && trouble.contains("No space left on device"), "{trouble}");
    assert_eq!(store.failed(), None);
    let appended = store.appended();
    disk.set_space(None);
    while store.committed() < appended {
        std::thread::yield_now();
    }
    assert_eq!((store.failed(), store.trouble()), (None, None));
    assert_eq!(changes.load(Ordering::SeqCst) % 2, 0, "each trouble has ended");
    assert!(changes.load(Ordering::SeqCst) > 0);
    store.close();
    committing.join().unwrap();
    store.finish().unwrap();
    drop(store);
    let store = open(&disk.restart()).unwrap();
    assert_eq!(loaded(&store), story.states.last().unwrap().1.clone().numbered());
}
