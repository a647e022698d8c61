//! The durable store: what it has done, and how it works.

use std::ffi::c_char;

use crate::ffi::arguments::{Growing, c_string, fill, slot};
use crate::ffi::broker::{live, midge_broker};
use crate::ffi::guard::guard;
use crate::ffi::status::midge_status;
use crate::storage::{FlushTimes, StorageState, StorageStats};

/// A broker that keeps everything in memory: `storage.path` is not set.
pub const MIDGE_STORAGE_MEMORY: i32 = 0;
/// The durable store commits.
pub const MIDGE_STORAGE_OK: i32 = 1;
/// The disk refuses something; the durable store tries again by itself.
pub const MIDGE_STORAGE_RETRYING: i32 = 2;
/// The durable store has failed, and commits nothing more until the broker is started again.
pub const MIDGE_STORAGE_FAILED: i32 = 3;
/// The broker has stopped.
pub const MIDGE_STORAGE_CLOSED: i32 = 4;

/// The durable store of a broker at one moment. Begin with MIDGE_STORAGE_STATS_INIT. Counters count since the broker was
/// started. Everything is 0 without a durable store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct midge_storage_stats {
    /// Set by MIDGE_STORAGE_STATS_INIT.
    pub struct_size: usize,
    /// Groups of changes that were committed, each by one write and one flush.
    pub commits: u64,
    /// Changes in these groups: a queued message, a subscription and an acknowledgement are one each.
    pub committed_changes: u64,
    /// Bytes of these changes.
    pub committed_bytes: u64,
    /// Checkpoints: the log's changes were written into the tables.
    pub checkpoints: u64,
    /// Milliseconds since the tables were last flushed, or since the store was opened.
    pub checkpoint_age_ms: u64,
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
    pub opening_ms: u64,
    /// Flushes of the log.
    pub flushes: u64,
    /// The time of all flushes together, in microseconds.
    pub flush_total_us: u64,
    /// The time of the longest flush, in microseconds.
    pub flush_longest_us: u64,
    /// Flushes that took at most 100 microseconds.
    pub flushes_to_100us: u64,
    /// Flushes that took at most 250 microseconds, and longer than the bound before; so the following.
    pub flushes_to_250us: u64,
    /// At most 500 microseconds.
    pub flushes_to_500us: u64,
    /// At most 1 millisecond.
    pub flushes_to_1ms: u64,
    /// At most 2.5 milliseconds.
    pub flushes_to_2500us: u64,
    /// At most 5 milliseconds.
    pub flushes_to_5ms: u64,
    /// At most 10 milliseconds.
    pub flushes_to_10ms: u64,
    /// At most 25 milliseconds.
    pub flushes_to_25ms: u64,
    /// At most 50 milliseconds.
    pub flushes_to_50ms: u64,
    /// At most 100 milliseconds.
    pub flushes_to_100ms: u64,
    /// At most 250 milliseconds.
    pub flushes_to_250ms: u64,
    /// At most 500 milliseconds.
    pub flushes_to_500ms: u64,
    /// At most 1 second.
    pub flushes_to_1s: u64,
    /// At most 2.5 seconds.
    pub flushes_to_2500ms: u64,
    /// Longer.
    pub flushes_longer: u64,
    /// How the store works: a MIDGE_STORAGE_... constant.
    pub state: i32,
    /// 1 if the store was damaged and begun anew (`storage.on_damage`), otherwise 0.
    pub set_aside: i32,
}

/// Reads what the durable store of a broker has done. `out->struct_size` must be set, as MIDGE_STORAGE_STATS_INIT does;
/// fields that this version of Midge does not have become 0. It can still be read after the broker was stopped.
///
/// Errors: INVALID_ARGUMENT; FORKED; STATE after a PANIC.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn midge_broker_storage(
    broker: *const midge_broker,
    out: *mut midge_storage_stats,
) -> midge_status {
    guard!({
        let stats = live(broker)?.storage();
        fill(out, &stats.as_ref().map_or(midge_storage_stats::DEFAULT, midge_storage_stats::of))
    }, concerns broker)
}

/// Says what is wrong with the durable store of a broker and what to do: what the disk refuses, why the store has failed,
/// or where a damaged one is kept. `out` gets a text, empty if nothing is wrong, that midge_string_free frees.
///
/// Errors: INVALID_ARGUMENT; FORKED; STATE after a PANIC.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn midge_broker_storage_trouble(
    broker: *const midge_broker,
    out: *mut *mut c_char,
) -> midge_status {
    guard!({
        let out = slot(out, "out")?;
        let stats = live(broker)?.storage().unwrap_or_default();
        let text = stats.cause.or(stats.set_aside).unwrap_or_default();
        Ok(out.put(c_string(&text).into_raw()))
    }, concerns broker)
}

fn state(state: StorageState) -> i32 {
    match state {
        StorageState::Ok => MIDGE_STORAGE_OK,
        StorageState::Retrying => MIDGE_STORAGE_RETRYING,
        StorageState::Failed => MIDGE_STORAGE_FAILED,
        StorageState::Closed => MIDGE_STORAGE_CLOSED,
    }
}

// SAFETY: `repr(C)`, `struct_size` first, then integers only.
unsafe impl Growing for midge_storage_stats {
    const DEFAULT: Self = Self {
        struct_size: size_of::<Self>(),
        commits: 0,
        committed_changes: 0,
        committed_bytes: 0,
        checkpoints: 0,
        checkpoint_age_ms: 0,
        written_bytes: 0,
        disk_errors: 0,
        waiting_acknowledgements: 0,
        waiting_bytes: 0,
        unwritten_bytes: 0,
        log_bytes: 0,
        tables_bytes: 0,
        replayed_groups: 0,
        replayed_bytes: 0,
        opening_ms: 0,
        flushes: 0,
        flush_total_us: 0,
        flush_longest_us: 0,
        flushes_to_100us: 0,
        flushes_to_250us: 0,
        flushes_to_500us: 0,
        flushes_to_1ms: 0,
        flushes_to_2500us: 0,
        flushes_to_5ms: 0,
        flushes_to_10ms: 0,
        flushes_to_25ms: 0,
        flushes_to_50ms: 0,
        flushes_to_100ms: 0,
        flushes_to_250ms: 0,
        flushes_to_500ms: 0,
        flushes_to_1s: 0,
        flushes_to_2500ms: 0,
        flushes_longer: 0,
        state: MIDGE_STORAGE_MEMORY,
        set_aside: 0,
    };
}

impl midge_storage_stats {
    /// Statistics in the shape of C.
    fn of(stats: &StorageStats) -> midge_storage_stats {
        let FlushTimes { counts, total_micros, longest_micros } = stats.flush_times;
        let [
            flushes_to_100us,
            flushes_to_250us,
            flushes_to_500us,
            flushes_to_1ms,
            flushes_to_2500us,
            flushes_to_5ms,
            flushes_to_10ms,
            flushes_to_25ms,
            flushes_to_50ms,
            flushes_to_100ms,
            flushes_to_250ms,
            flushes_to_500ms,
            flushes_to_1s,
            flushes_to_2500ms,
            flushes_longer,
        ] = counts;
        midge_storage_stats {
            struct_size: size_of::<midge_storage_stats>(),
            commits: stats.commits,
            committed_changes: stats.committed_changes,
            committed_bytes: stats.committed_bytes,
            checkpoints: stats.checkpoints,
            checkpoint_age_ms: stats.checkpoint_age_millis,
            written_bytes: stats.written_bytes,
            disk_errors: stats.disk_errors,
            waiting_acknowledgements: stats.waiting_acknowledgements,
            waiting_bytes: stats.waiting_bytes,
            unwritten_bytes: stats.unwritten_bytes,
            log_bytes: stats.log_bytes,
            tables_bytes: stats.tables_bytes,
            replayed_groups: stats.replayed_groups,
            replayed_bytes: stats.replayed_bytes,
            opening_ms: stats.opening_millis,
            flushes: stats.flush_times.count(),
            flush_total_us: total_micros,
            flush_longest_us: longest_micros,
            flushes_to_100us,
            flushes_to_250us,
            flushes_to_500us,
            flushes_to_1ms,
            flushes_to_2500us,
            flushes_to_5ms,
            flushes_to_10ms,
            flushes_to_25ms,
            flushes_to_50ms,
            flushes_to_100ms,
            flushes_to_250ms,
            flushes_to_500ms,
            flushes_to_1s,
            flushes_to_2500ms,
            flushes_longer,
            state: state(stats.state),
            set_aside: stats.set_aside.is_some().into(),
        }
    }
}
