//! What a host sees of a durable store at one moment.

/// The upper bounds of [`FlushTimes::counts`] in microseconds. The last count is of what took longer.
pub const FLUSH_BOUNDS: [u64; 14] = [
    100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000,
    2_500_000,
];

/// How a durable store works.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StorageState {
    /// It commits.
    #[default]
    Ok,
    /// The disk refuses something; the store tries again by itself.
    Retrying,
    /// It has failed, and commits nothing more until the broker is started again.
    Failed,
    /// The broker has stopped.
    Closed,
}

impl StorageState {
    /// The name: `ok`, `retrying`, `failed` or `closed`.
    pub fn name(self) -> &'static str {
        match self {
            StorageState::Ok => "ok",
            StorageState::Retrying => "retrying",
            StorageState::Failed => "failed",
            StorageState::Closed => "closed",
        }
    }
}

/// How long flushes of the log took; each commit is one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FlushTimes {
    /// The number of flushes by their time: up to the bound at the same place in [`FLUSH_BOUNDS`], and longer than the
    /// bound before.
    pub counts: [u64; FLUSH_BOUNDS.len() + 1],
    /// The time of all flushes together, in microseconds.
    pub total_micros: u64,
    /// The time of the longest flush, in microseconds.
    pub longest_micros: u64,
}

impl FlushTimes {
    /// The number of flushes.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }
}

/// A durable store at one moment. Counters count since the broker was started.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct StorageStats {
    /// The directory, as an absolute path.
    pub path: String,
    /// How the store works.
    pub state: StorageState,
    /// What the disk refuses or why the store has failed, and what to do; `None` if there is nothing to do.
    pub cause: Option<String>,
    /// Why the store was begun anew, and where the damaged one is kept; `None` if it was not damaged.
    pub set_aside: Option<String>,
    /// Groups of changes that were committed, each by one write and one flush.
    pub commits: u64,
    /// Changes in these groups: a queued message, a subscription and an acknowledgement are one each.
    pub committed_changes: u64,
    /// Bytes of these changes.
    pub committed_bytes: u64,
    /// The times of the flushes.
    pub flush_times: FlushTimes,
    /// Checkpoints: the log's changes were written into the tables.
    pub checkpoints: u64,
    /// Milliseconds since the tables were last flushed, or since the store was opened.
    pub checkpoint_age_millis: u64,
    /// Bytes that were written to all files.
    pub written_bytes: u64,
    /// Operations that the disk refused, with attempts that were repeated.
    pub disk_errors: u64,
    /// Acknowledgements, deliveries and calls of the host program that wait for a commit.
    pub waiting_acknowledgements: u64,
    /// Bytes of changes that wait for a commit.
    pub waiting_bytes: u64,
    /// Bytes of committed changes that wait for a checkpoint.
    pub unwritten_bytes: u64,
    /// Bytes of the log's two files.
    pub log_bytes: u64,
    /// Bytes of the file with the tables.
    pub tables_bytes: u64,
    /// Groups that were read from the log when the store was opened, because the tables did not have them.
    pub replayed_groups: u64,
    /// Bytes of these groups.
    pub replayed_bytes: u64,
    /// Milliseconds that the opening of the store took.
    pub opening_millis: u64,
}
