//! Floor 1: counters, gauges, and the reasons for which messages are dropped.

pub mod counters;
pub mod drop_reason;
pub mod table;

mod define;

pub use counters::{Counters, Counts, Gauge, Snapshot};
pub use drop_reason::DropReason;
pub use table::{Stat, StatKind, table};
