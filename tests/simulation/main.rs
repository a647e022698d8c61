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
mod finish;
mod hear;
mod letter;
#[allow(dead_code, reason = "shared with the tests of the engine")]
#[path = "../engine/harness/line.rs"]
mod line;
#[path = "../support/log_store.rs"]
mod log_store;
mod model;
mod op;
mod owed;
#[allow(dead_code, reason = "shared with the tests of the engine")]
#[path = "../engine/harness/received.rs"]
mod received;
mod sink;
mod wire;
mod world;

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
        let mut never = total.never();
        if std::env::var_os("SIM_CRASHES").is_none() {
            assert_eq!(total.crashes, 0);
            never.retain(|name| !NEEDS_CRASHES.contains(name));
        }
        assert_eq!(never, [""; 0]);
    }
}

/// What only happens when the broker crashes.
const NEEDS_CRASHES: [&str; 4] = [
    "crashes of the broker",
    "changes that were restored after them",
    "changes that were not committed, and lost",
    "sessions that expired before a crash",
];

/// What a store can do wrong: a kind of change that is not recorded, or messages that are recorded in another order.
const FAULTS: [&str; 17] = [
    "begun",
    "attached",
    "detached",
    "ended",
    "subscribed",
    "unsubscribed",
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
