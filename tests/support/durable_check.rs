//! The durable store beside a list of changes: what it gives back after a power loss is what the list amounts to.

use std::sync::Arc;

use midge::storage::durable::{DurableOptions, DurableStore};
use midge::storage::{Change, Store};
use midge::time::WallTime;

use crate::dice::Dice;
use crate::loaded::loaded;
use crate::sim_disk::SimDisk;
use crate::snapshot::Snapshot;

/// Appends changes to a durable store in small records, with checkpoints among them, and loses the power.
///
/// # Panics
/// The store does not come back as what the changes amount to.
pub fn comes_back(each: impl Fn(&mut dyn FnMut(WallTime, Change<'_>))) {
    let mut expected = Snapshot::default();
    let mut number = 0;
    each(&mut |at, change| {
        expected.see(at, change);
        number += 1;
    });
    let mut dice = Dice::new(number);
    let disk = SimDisk::new(number);
    let store = open(&disk);
    each(&mut |at, change| {
        store.append(at, change);
        if dice.chance(30) {
            store.commit();
        }
        if dice.chance(2) {
            store.checkpoint();
        }
    });
    store.commit();
    assert_eq!((store.failed(), store.committed()), (None, number));
    let disk = disk.crash(dice.roll());
    let store = open(&disk).with_memory(0);
    let expected = expected.numbered();
    assert_eq!(loaded(&store).unwrap(), expected);
    store.close();
    store.finish().unwrap();
    assert_eq!(loaded(&open(&disk.restart())).unwrap(), expected);
}

fn open(disk: &SimDisk) -> DurableStore {
    let options =
        DurableOptions { salt: [7; 16], log_bytes: 4096, now: WallTime::default(), retry_millis: None };
    DurableStore::open(Arc::new(disk.clone()), options).unwrap()
}
