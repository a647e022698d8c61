//! Goes through the rows of tests/budgets, for a program that counts instructions or system calls to watch.
//!
//! It prints a line for each: name, units, allocations. `tests/budgets/run.sh` runs it.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, clippy::print_stdout, reason = "a test")]

#[path = "../tests/support/counting.rs"]
mod counting;
#[path = "../tests/budgets/rows/mod.rs"]
mod rows;

fn main() {
    let wanted: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    for row in rows::all() {
        if wanted.is_empty() || wanted.iter().any(|name| name == row.name) {
            let taken = row.run(row_begins, row_ends);
            println!("{} {} {}", row.name, taken.units, taken.allocations);
        }
    }
}

/// Callgrind starts from zero here.
#[inline(never)]
fn row_begins() {
    std::hint::black_box(());
}

/// Callgrind writes down here what it has counted.
#[inline(never)]
fn row_ends() {
    std::hint::black_box(());
}
