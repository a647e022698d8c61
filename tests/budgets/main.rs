//! What a message costs in allocations, against budgets.toml. `tests/budgets/run.sh` counts instructions and system calls.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test")]

#[path = "../support/counting.rs"]
mod counting;
mod rows;

/// One test, because all threads are counted.
#[test]
fn no_row_allocates_more_than_its_budget() {
    let mut wrong = Vec::new();
    for row in rows::without_sockets().into_iter().chain(rows::durable()).chain(rows::with_sockets()) {
        let taken = row.run(|_| (), |_| ());
        let found = taken.allocations as f64 / taken.units as f64;
        let budget = budget(row.name).unwrap_or_else(|| panic!("budgets.toml has no row {}", row.name));
        println!("{:34} {found:8.3}", row.name);
        // Tables are seeded at random, and grow a little earlier or later; but none is none.
        let slack = if budget > 0.0 { 0.005 } else { 0.0 };
        if found > budget * 1.03 + slack {
            wrong.push(format!("{}: {found:.3} allocations each, budget {budget}", row.name));
        }
    }
    assert!(wrong.is_empty(), "edit tests/budgets/budgets.toml if that is worth it:\n{}", wrong.join("\n"));
}

/// The allocations that budgets.toml allows a row, which has a line of its own there.
fn budget(name: &str) -> Option<f64> {
    let row = include_str!("budgets.toml")
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(" = {"))?;
    let number = row.split_once("allocations = ")?.1.split([',', ' ', '}']).next()?;
    Some(number.parse().unwrap())
}
