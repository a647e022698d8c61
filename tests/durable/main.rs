//! The durable store over simulated disks: what is acknowledged is there after any crash, and damage is found.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

#[path = "../simulation/dice.rs"]
mod dice;
#[path = "../../fuzz/src/import.rs"]
mod import_target;
#[allow(dead_code, reason = "other fuzz targets need the rest")]
#[path = "../../fuzz/src/input.rs"]
mod input;
#[path = "../support/loaded.rs"]
mod loaded;
#[path = "../../fuzz/src/log_replay.rs"]
mod log_replay;
#[path = "../support/sim_disk.rs"]
mod sim_disk;
#[path = "../support/snapshot.rs"]
mod snapshot;

mod damage;
mod directory;
mod import;
mod log;
mod log_crash;
mod log_damage;
mod reading;
mod sim;
mod store_crash;
mod story;
mod tools;
