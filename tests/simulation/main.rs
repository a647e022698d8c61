//! The engine under virtual time and a bad network: random schedules from a seed, checked against a reference model.
//!
//! `SIM_SEEDS`, `SIM_CLIENTS` and `SIM_EVENTS` say how much is simulated; `SIM_SEED=7` simulates that seed alone, or
//! begins with it if `SIM_SEEDS` is given, too. `SIM_TRACE=1` shows what happens.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "the report")]

mod acts;
mod client;
mod coverage;
mod crash;
mod dice;
#[cfg(feature = "durable")]
#[path = "../support/durable_check.rs"]
mod durable_check;
mod finish;
mod hear;
mod letter;
#[allow(dead_code, reason = "shared with the tests of the engine")]
#[path = "../engine/harness/line.rs"]
mod line;
#[cfg(feature = "durable")]
#[path = "../support/loaded.rs"]
mod loaded;
#[path = "../support/log_store.rs"]
mod log_store;
mod model;
mod op;
mod owed;
#[allow(dead_code, reason = "shared with the tests of the engine")]
#[path = "../engine/harness/received.rs"]
mod received;
#[cfg(feature = "durable")]
#[path = "../support/sim_disk.rs"]
mod sim_disk;
mod sink;
#[cfg(feature = "durable")]
#[path = "../support/snapshot.rs"]
mod snapshot;
mod walks;
mod wire;
mod world;

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::coverage::Coverage;
use crate::world::World;

/// A number from the environment.
fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is no number: {text}")))
}

fn simulate(seed: u64, clients: u64, events: u64, fault: Option<&'static str>) -> Coverage {
    let mut world = World::new(seed, clients as usize, fault);
    world.begin();
    while world.coverage.events < events && world.step() {}
    world.heal();
    world.close();
    world.coverage
}

/// What happens in a simulation, to the last packet and the last change that is recorded.
fn story(seed: u64, crashes: bool) -> Vec<String> {
    let mut world = World::new(seed, 40, None);
    world.restarts = crashes;
    world.story = Some(RefCell::default());
    world.begin();
    while world.coverage.events < 3000 && world.step() {}
    world.heal();
    world.close();
    world.note(|| format!("dice {}", world.dice.clone().roll()));
    let mut story = world.story.take().unwrap().into_inner();
    story.extend(world.store.lines_by_group());
    story
}

/// Nothing but the seed decides what happens: no hash, no thread, and no address but the order of the subscribers of one
/// message.
#[test]
fn a_seed_twice_gives_the_same_story_twice() {
    for seed in 0..number("SIM_TWICE").unwrap_or(6) {
        let crashes = seed % 2 == 0;
        // Another thread has other addresses and other keys of hash tables.
        let (first, second) = std::thread::scope(|scope| {
            let first = scope.spawn(move || story(seed, crashes));
            (scope.spawn(move || story(seed, crashes)).join().unwrap(), first.join().unwrap())
        });
        let differs = first.iter().zip(&second).position(|(a, b)| a != b);
        if let Some(at) = differs {
            panic!("seed {seed}, line {at}:\n{}\n{}", first[at], second[at]);
        }
        assert_eq!(first.len(), second.len(), "seed {seed}");
    }
}

#[test]
fn the_broker_keeps_its_promises() {
    let clients = number("SIM_CLIENTS").unwrap_or(40);
    let events = number("SIM_EVENTS").unwrap_or(6000);
    let seeds = match number("SIM_SEED") {
        Some(seed) => seed..seed + number("SIM_SEEDS").unwrap_or(1),
        None => 0..number("SIM_SEEDS").unwrap_or(50),
    };
    let next = AtomicU64::new(seeds.start);
    let total = Mutex::new(Coverage::default());
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds.end {
                return;
            }
            match catch_unwind(AssertUnwindSafe(|| simulate(seed, clients, events, None))) {
                Ok(coverage) => total.lock().unwrap().add(&coverage),
                Err(panic) => {
                    next.store(u64::MAX / 2, Ordering::Relaxed);
                    eprintln!(
                        "again: SIM_SEED={seed} SIM_CLIENTS={clients} SIM_EVENTS={events} \
                         cargo test --all-features --test simulation"
                    );
                    resume_unwind(panic);
                }
            }
        }
    };
    std::thread::scope(|scope| {
        scope.spawn(work);
        scope.spawn(work);
    });
    let total = total.into_inner().unwrap();
    println!("{}", total.report());
    if seeds.end - seeds.start >= 50 && clients >= 40 && events >= 6000 {
        // A simulation in which something never happens says nothing of it.
        assert_eq!(total.never(), [""; 0]);
    }
}

/// What a store can do wrong: a kind of change that is not recorded, or messages that are recorded in another order. Not
/// `"retained sent"`: the model lets retained messages come again after a crash (tests/engine/restore.rs has that).
const FAULTS: [&str; 18] = [
    "begun",
    "attached",
    "detached",
    "ended",
    "subscribed",
    "unsubscribed",
    "retained due",
    "queued",
    "dropped",
    "sent",
    "confirmed",
    "done",
    "received",
    "released",
    "will",
    "will cleared",
    "retained",
    "cleared",
];

/// Nothing that is recorded could be left out.
#[test]
fn a_change_that_is_not_recorded_is_found() {
    let next = AtomicU64::new(0);
    let found = Mutex::new(Vec::new());
    let all: Vec<&str> = FAULTS.into_iter().chain(["swapped", "ungrouped"]).collect();
    let work = || {
        while let Some(fault) = all.get(next.fetch_add(1, Ordering::Relaxed) as usize) {
            let fails = |seed: &u64| catch_unwind(|| simulate(*seed, 40, 3000, Some(fault))).is_err();
            found.lock().unwrap().push((*fault, (0..40).find(fails)));
        }
    };
    std::thread::scope(|scope| {
        scope.spawn(work);
        scope.spawn(work);
    });
    let found = found.into_inner().unwrap();
    found.iter().for_each(|(fault, seed)| println!("{fault}: found by seed {seed:?}"));
    let missed: Vec<_> = found.iter().filter(|(_, seed)| seed.is_none()).collect();
    assert!(missed.is_empty(), "not found: {missed:?}");
}
