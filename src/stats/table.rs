//! The table of statistics: name, kind, `$SYS` topic, help and value of each.

use crate::stats::counters::{Snapshot, all};

/// Whether a statistic only grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StatKind {
    /// Counts since the broker started, and only grows.
    Counter,
    /// The current value, which rises and falls.
    Gauge,
}

/// One line of the table.
#[derive(Debug)]
pub struct Stat {
    /// The name, in snake case, such as `messages_dropped_no_subscriber`.
    pub name: &'static str,
    /// Counter or gauge.
    pub kind: StatKind,
    /// The `$SYS` topic that it is published to, mosquitto's where it has one; `None` if it is not published.
    pub sys_topic: Option<&'static str>,
    /// What it counts, and in which unit.
    pub help: &'static str,
    /// Its value in a snapshot.
    pub get: fn(&Snapshot) -> u64,
}

/// Every statistic, in the order of documents.
pub fn table() -> &'static [Stat] {
    all()
}

/// The statistic of this name.
pub fn find(name: &str) -> Option<&'static Stat> {
    table().iter().find(|stat| stat.name == name)
}
