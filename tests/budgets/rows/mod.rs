//! The rows: what is measured, each in rounds that are all alike.

mod bed;
mod churn;
#[cfg(feature = "durable")]
mod durable;
#[path = "../../support/engine.rs"]
mod engine;
mod flow;
mod host;
#[path = "../../support/packets.rs"]
mod packets;
mod ruled;
mod sockets;
mod table;

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::counting;

/// One row of budgets.toml.
pub struct Row {
    /// Its name there.
    pub name: &'static str,
    /// Messages (deliveries, filters, connections) of one round.
    pub units: u64,
    /// Rounds that are measured; a quarter as many come before.
    pub rounds: usize,
    /// Whether the work is done by threads of the broker's own, and not in [`measured`].
    pub threads: bool,
    /// Makes a broker and who talks to it.
    pub build: fn() -> Box<dyn Work>,
}

/// A broker at work.
pub trait Work {
    /// Does one round's work; what the broker does of it is in [`measured`], or on threads of its own.
    fn round(&mut self);

    /// How many units the broker has had so far, as the broker counts them.
    fn done(&self) -> u64;
}

/// What one row took, apart from instructions and system calls, which other programs count.
pub struct Taken {
    pub units: u64,
    pub allocations: usize,
}

/// Allocations within [`measured`].
static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

/// The rows without sockets, whose work is done in this thread.
pub fn without_sockets() -> Vec<Row> {
    [flow::rows(), ruled::rows(), host::rows(), table::rows(), churn::rows()].into_iter().flatten().collect()
}

/// The rows with a durable store, likewise.
#[cfg(feature = "durable")]
pub fn durable() -> Vec<Row> {
    durable::rows()
}

/// None: the durable store is a feature.
#[cfg(not(feature = "durable"))]
pub fn durable() -> Vec<Row> {
    Vec::new()
}

/// The rows with sockets, whose work is done in the broker's thread.
pub fn with_sockets() -> Vec<Row> {
    sockets::rows()
}

impl Row {
    /// Goes through the rounds. `begins` and `ends` are called around those that count.
    pub fn run(&self, begins: fn(&str), ends: fn(&str)) -> Taken {
        let mut work = (self.build)();
        for _ in 0..self.rounds / 4 {
            work.round();
        }
        let before = work.done();
        ALLOCATIONS.store(0, Ordering::Relaxed);
        let others = counting::others();
        begins(self.name);
        for _ in 0..self.rounds {
            work.round();
        }
        ends(self.name);
        let allocations = match self.threads {
            true => counting::others() - others,
            false => ALLOCATIONS.load(Ordering::Relaxed),
        };
        let units = self.units * self.rounds as u64;
        assert_eq!(work.done() - before, units, "{}: the work was not done", self.name);
        Taken { units, allocations }
    }
}

/// What the broker does: only here instructions and allocations count.
fn broker<T>(mut work: impl FnMut() -> T) -> T {
    let mut result = None;
    let before = counting::own();
    measured(&mut || result = Some(work()));
    ALLOCATIONS.fetch_add(counting::own() - before, Ordering::Relaxed);
    result.unwrap()
}

/// Callgrind knows this function by its name.
#[inline(never)]
fn measured(work: &mut dyn FnMut()) {
    work();
    // The call above must not become a jump.
    std::hint::black_box(());
}
