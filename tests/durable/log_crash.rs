//! The log through many lives, each ended by a crash, a kill or an error at a random operation.

use std::panic::{AssertUnwindSafe, catch_unwind};

use midge::storage::durable::log::{Log, LogError, Salt};

use crate::dice::Dice;
use crate::log::{SALT, open};
use crate::sim_disk::{EIO, ENOSPC, Fault, SimDisk};

/// Bytes of each file: a few records.
const SIZE: u64 = 4096 + 16 * 512;

/// A fault of the log or of the disk, which the test must find.
#[derive(Clone, Copy, PartialEq)]
enum Plant {
    None,
    /// Syncs do nothing.
    LyingSync,
    /// The tables say that they have a generation before they do.
    AppliedEarly,
    /// A group counts as acknowledged before it is appended.
    AcknowledgedEarly,
}

/// What must be there.
struct Model {
    /// Acknowledged groups that the tables do not have, with their generations.
    kept: Vec<(u64, Vec<u8>)>,
    /// The generation up to which the tables have everything.
    applied: u64,
    /// The group whose append has not returned well.
    unknown: Option<Vec<u8>>,
    number: u64,
}

/// How often something has happened.
#[derive(Default, Debug)]
struct Seen {
    lives: u64,
    replayed: u64,
    unacknowledged: u64,
    torn: u64,
    full: u64,
    failed: u64,
    rotated: u64,
    refused: u64,
    grown: u64,
}

impl Model {
    fn group(&mut self, dice: &mut Dice) -> Vec<u8> {
        self.number += 1;
        let len = match dice.below(12) {
            0 => 0,
            1 => 464,
            2 => 465,
            3..5 => 3 * 504 + dice.below(2000),
            5 if dice.below(3) == 0 => SIZE + dice.below(3000),
            _ => dice.below(600),
        };
        let mut group = self.number.to_le_bytes().to_vec();
        group.resize(len as usize, self.number as u8);
        group
    }

    /// Compares what was replayed with what must be there.
    fn check(&mut self, replayed: Vec<Vec<u8>>, generation: u64, seen: &mut Seen) {
        let kept = self.kept.len();
        assert!(replayed.len() >= kept, "{kept} groups were acknowledged, {} are there", replayed.len());
        for (index, ((_, group), found)) in self.kept.iter().zip(&replayed).enumerate() {
            assert_eq!(group, found, "group {index}");
        }
        seen.replayed += kept as u64;
        match (&replayed[kept..], self.unknown.take()) {
            ([], _) => {}
            ([found], Some(group)) => {
                assert_eq!(*found, group, "a group that was never appended");
                self.kept.push((generation, group));
                seen.unacknowledged += 1;
            }
            (more, unknown) => panic!("{} groups more than were appended ({unknown:?})", more.len()),
        }
    }
}

/// Uses the log until the disk fails, at the latest after some operations.
fn live(disk: &SimDisk, log: &mut Log, model: &mut Model, dice: &mut Dice, seen: &mut Seen, plant: Plant) {
    for _ in 0..dice.below(60) {
        match dice.below(10) {
            0 => match log.rotate() {
                Ok(_) => seen.rotated += 1,
                Err(LogError::NotApplied { generation }) => assert!(generation > model.applied),
                Err(_) => return,
            },
            1 => {
                // The tables take a generation that has ended, or at times all of them.
                let upto = log.generation() - u64::from(dice.below(4) > 0);
                model.applied = model.applied.max(upto);
                if plant == Plant::AppliedEarly {
                    model.applied = log.generation();
                } else {
                    model.kept.retain(|(generation, _)| *generation > upto);
                }
                if log.applied(model.applied).is_err() {
                    return;
                }
                assert!(log.generation() > model.applied);
            }
            2 if dice.below(6) == 0 => disk.set_space(Some(dice.below(2000))),
            3 if dice.below(3) == 0 => disk.set_space(None),
            _ => {
                let group = model.group(dice);
                if !log.takes(group.len()) {
                    assert!(matches!(log.append(&group), Err(LogError::NoRoom { .. } | LogError::Failed(_))));
                    continue;
                }
                let generation = log.generation();
                if plant == Plant::AcknowledgedEarly {
                    model.kept.push((generation, group.clone()));
                }
                let large = group.len() > log.room();
                let had_failed = log.failed().is_some();
                match log.append(&group) {
                    Ok(()) if plant == Plant::AcknowledgedEarly => {}
                    Ok(()) => {
                        seen.grown += u64::from(large);
                        model.kept.push((generation, group));
                    }
                    Err(LogError::Full(_)) => seen.full += 1,
                    Err(LogError::Failed(_)) => {
                        seen.failed += 1;
                        assert!(log.append(b"").is_err() && log.rotate().is_err());
                        if !had_failed {
                            model.unknown = Some(group);
                        }
                        return;
                    }
                    Err(other) => panic!("{other}"),
                }
            }
        }
    }
}

/// Several lives of one store.
fn lives(seed: u64, plant: Plant, seen: &mut Seen) {
    let mut dice = Dice::new(seed);
    let mut disk = SimDisk::new(seed);
    let mut log = Log::create(&disk, SALT, SIZE).unwrap();
    let mut model = Model { kept: Vec::new(), applied: 0, unknown: None, number: 0 };
    for _ in 0..8 {
        let at = disk.operations() + dice.below(40);
        match dice.below(5) {
            0 | 1 => disk.fault_at(at, Fault::Crash),
            2 => disk.fault_at(at, Fault::Error(if dice.below(2) == 0 { EIO } else { ENOSPC })),
            _ => {}
        }
        if plant == Plant::LyingSync {
            disk.lie();
        }
        live(&disk, &mut log, &mut model, &mut dice, seen, plant);
        if dice.below(4) == 0 {
            // A last group that is not synced, whether the process knows or not.
            disk.fail_syncs(Some(EIO));
            live(&disk, &mut log, &mut model, &mut dice, seen, plant);
        }
        disk = if dice.below(3) == 0 { disk.restart() } else { disk.crash(dice.roll()) };
        // Starting may be interrupted as well.
        if dice.below(3) == 0 {
            disk.fault_at(disk.operations() + dice.below(4), Fault::Crash);
            let _ = open(&disk, model.applied);
            disk = disk.crash(dice.roll());
        }
        let (opened, replayed) = open(&disk, model.applied).unwrap_or_else(|error| {
            seen.refused += 1;
            panic!("seed {seed}: refused: {error}")
        });
        log = opened;
        seen.lives += 1;
        seen.torn += u64::from(log.replayed().torn.is_some());
        model.check(replayed, log.generation(), seen);
        // A group of which nobody knows is settled by the first start.
        model.unknown = None;
    }
}

#[test]
fn what_is_acknowledged_is_there_after_every_crash_and_nothing_else() {
    let mut seen = Seen::default();
    for seed in 0..1500 {
        lives(seed, Plant::None, &mut seen);
    }
    println!("{seen:?}");
    let often = [seen.unacknowledged, seen.torn, seen.full, seen.failed, seen.grown];
    assert!(often.iter().all(|times| *times > 100), "something has hardly happened: {seen:?}");
    assert!(seen.lives == 12_000 && seen.rotated > 1000 && seen.replayed > 20_000, "{seen:?}");
}

#[test]
fn planted_faults_are_found() {
    for plant in [Plant::LyingSync, Plant::AppliedEarly, Plant::AcknowledgedEarly] {
        let found = (0..50).any(|seed| {
            let run = || lives(seed, plant, &mut Seen::default());
            catch_unwind(AssertUnwindSafe(run)).is_err()
        });
        assert!(found);
    }
}

#[test]
fn a_crash_at_each_operation_of_making_a_log_leaves_one_that_can_be_made_again() {
    for operation in 0.. {
        for seed in 0..20 {
            let disk = SimDisk::new(seed);
            disk.fault_at(operation, Fault::Crash);
            let made = Log::create(&disk, Salt([1; 16]), SIZE);
            let disk = disk.crash(seed);
            if made.is_ok() {
                let (log, replayed) = crate::log::open_salted(&disk, Salt([1; 16]), 0).unwrap();
                assert!(log.is_empty() && replayed.is_empty());
                if seed == 19 {
                    assert!(operation > 8, "a log is made in {operation} operations");
                    return;
                }
                continue;
            }
            drop(Log::create(&disk, SALT, SIZE).unwrap());
            let disk = disk.crash(seed);
            open(&disk, 0).unwrap();
        }
    }
}
