//! Bytes that idle things take, against budgets.toml, counted by the allocator as the system's allocator rounds them.
//!
//! `cargo test --all-features --test memory -- --nocapture` prints them.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test"
)]

use std::sync::{Mutex, MutexGuard};

#[cfg(feature = "tls")]
#[allow(dead_code)]
#[path = "../support/certificates.rs"]
mod certificates;
#[path = "../support/counting.rs"]
mod counting;
#[path = "../support/deadline.rs"]
mod deadline;
#[path = "../support/engine.rs"]
mod engine;
#[path = "../support/packets.rs"]
mod packets;

mod burst;
mod held;
mod idle;
#[cfg(feature = "console")]
mod journal;
mod sinks;
mod sockets;
#[cfg(feature = "tls")]
mod tls;
mod topics;
#[cfg(feature = "console")]
mod tree;
#[cfg(feature = "websocket")]
mod websocket;

/// Makes the filter of that number.
type Form = fn(usize) -> String;

/// Keeps the other tests from allocating meanwhile.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// Compares with the budget of that name.
fn check(name: &str, bytes: isize) {
    println!("{name:28} {bytes:6} bytes");
    let budget = budget(name);
    assert!(
        bytes <= budget,
        "{name}: {bytes} bytes, budget {budget}: make it smaller, or write the new number into \
         tests/budgets/budgets.toml and say in the commit why it is worth it"
    );
}

/// What each of `count` takes that `make` makes.
fn each<T>(count: usize, make: impl FnOnce() -> T) -> (isize, T) {
    let before = counting::in_use();
    let made = make();
    ((counting::in_use() - before) / count as isize, made)
}

fn budget(name: &str) -> isize {
    let budgets = include_str!("../budgets/budgets.toml");
    let line = budgets.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(" = "));
    line.unwrap_or_else(|| panic!("budgets.toml has no {name}")).parse().unwrap()
}
