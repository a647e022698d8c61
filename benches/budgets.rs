//! Goes through the rows of tests/budgets while another program counts: `tests/budgets/run.sh` has it watched.
//!
//! Words of the command line choose rows: `engine`, `durable`, `sockets` or names. It prints a line for each: name, units,
//! allocations, and how often the broker's threads were switched off the processor.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test"
)]

use std::fs;
use std::io::Write;
use std::sync::atomic::{AtomicU64, Ordering};

#[path = "../tests/support/counting.rs"]
mod counting;
#[path = "../tests/budgets/rows/mod.rs"]
mod rows;

fn main() {
    let wanted: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    let wants = |name: &str| wanted.is_empty() || wanted.iter().any(|word| word == name);
    let groups = [
        ("engine", rows::without_sockets()),
        ("durable", rows::durable()),
        ("sockets", rows::with_sockets()),
    ];
    for (group, rows) in groups {
        for row in rows.iter().filter(|row| wants(group) || wants(row.name)) {
            let taken = row.run(row_begins, row_ends);
            let switches = SWITCHES.load(Ordering::Relaxed);
            println!("{} {} {} {switches}", row.name, taken.units, taken.allocations);
        }
    }
}

static SWITCHES: AtomicU64 = AtomicU64::new(0);

/// Callgrind starts from zero here; strace shows what is written.
#[inline(never)]
fn row_begins(name: &str) {
    SWITCHES.store(switches(), Ordering::Relaxed);
    mark(format!("begin {name}\n"));
}

/// Callgrind writes down here what it has counted.
#[inline(never)]
fn row_ends(name: &str) {
    mark(format!("end {name}\n"));
    SWITCHES.store(switches() - SWITCHES.load(Ordering::Relaxed), Ordering::Relaxed);
}

/// One system call.
fn mark(line: String) {
    std::io::stderr().write_all(line.as_bytes()).unwrap();
}

/// Context switches so far of all threads but this one.
fn switches() -> u64 {
    let own = std::process::id().to_string();
    let mut sum = 0;
    for task in fs::read_dir("/proc/self/task").unwrap().flatten().filter(|task| *task.file_name() != *own) {
        let status = fs::read_to_string(task.path().join("status")).unwrap_or_default();
        let counts = status.lines().filter_map(|line| line.split_once("_ctxt_switches:"));
        sum += counts.map(|(_, count)| count.trim().parse::<u64>().unwrap()).sum::<u64>();
    }
    sum
}
