//! What a message costs in allocations, against budgets.toml. `tests/budgets/run.sh` has instructions and system calls.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test")]

#[path = "../support/counting.rs"]
mod counting;
mod rows;

#[test]
fn rows_allocate() {
    for row in rows::all() {
        let taken = row.run(|| (), || ());
        println!("{:34} {:8.3}", row.name, taken.allocations as f64 / taken.units as f64);
    }
}
