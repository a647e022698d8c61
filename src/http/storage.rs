//! The durable store: its state and its numbers.

use serde::Serialize;

use crate::http::answer::{Problem, Reply};
use crate::http::console::Console;
use crate::http::service::ApiRequest;
use crate::storage::{FLUSH_BOUNDS, StorageStats};

#[derive(Serialize)]
struct StorageReply {
    /// `memory` without a durable store.
    state: &'static str,
    store: Option<StoreReply>,
}

#[derive(Serialize)]
struct StoreReply {
    path: String,
    sync: String,
    cause: Option<String>,
    set_aside: Option<String>,
    commits: u64,
    committed_changes: u64,
    committed_bytes: u64,
    flushes: Flushes,
    checkpoints: u64,
    checkpoint_age_ms: u64,
    written_bytes: u64,
    disk_errors: u64,
    waiting_acknowledgements: u64,
    waiting_bytes: u64,
    unwritten_bytes: u64,
    log_bytes: u64,
    tables_bytes: u64,
    replayed_groups: u64,
    replayed_bytes: u64,
    opening_ms: u64,
}

#[derive(Serialize)]
struct Flushes {
    count: u64,
    total_us: u64,
    longest_us: u64,
    histogram: Vec<Bucket>,
}

/// Flushes that took at most `up_to_us` and longer than the bucket before; the last one has no bound.
#[derive(Serialize)]
struct Bucket {
    up_to_us: Option<u64>,
    count: u64,
}

/// `GET /api/v1/storage`
pub(super) fn show(console: &Console, _request: &ApiRequest) -> Result<Reply, Problem> {
    let Some(stats) = console.storage.as_ref().map(|storage| storage()) else {
        return Reply::json(&StorageReply { state: "memory", store: None });
    };
    let sync = console.config.get("storage.sync").unwrap_or_default();
    Reply::json(&StorageReply { state: stats.state.name(), store: Some(reply(stats, sync)) })
}

fn reply(stats: StorageStats, sync: String) -> StoreReply {
    let bounds = FLUSH_BOUNDS.into_iter().map(Some).chain([None]);
    let times = &stats.flush_times;
    let histogram = bounds.zip(times.counts).map(|(up_to_us, count)| Bucket { up_to_us, count }).collect();
    StoreReply {
        sync,
        flushes: Flushes {
            count: times.count(),
            total_us: times.total_micros,
            longest_us: times.longest_micros,
            histogram,
        },
        path: stats.path,
        cause: stats.cause,
        set_aside: stats.set_aside,
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
    }
}
