//! The table of statistics: name, kind, `$SYS` topic, help and value of each.

use crate::stats::counters::{Snapshot, all};

/// How a statistic moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StatKind {
    /// It counts since the broker started, and only grows.
    Counter,
    /// It tells what is there now.
    Gauge,
}

/// One line of the table.
#[derive(Debug)]
pub struct Stat {
    /// The name, in snake case, such as `messages_dropped_no_subscriber`.
    pub name: &'static str,
    /// How it moves.
    pub kind: StatKind,
    /// The topic below `$SYS` that it is published to: mosquitto's where mosquitto has one. `None` if to none.
    pub sys_topic: Option<&'static str>,
    /// What is counted, in which unit.
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
