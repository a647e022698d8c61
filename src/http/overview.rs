//! The overview of the broker, its health, and the OpenAPI document.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::http::answer::{Problem, Reply};
use crate::http::assets;
use crate::http::console::Console;
use crate::http::service::ApiRequest;
use crate::stats::{Snapshot, StatKind, table};
use crate::time::Time;

#[derive(Serialize)]
struct Overview {
    version: &'static str,
    started: u64,
    uptime_ms: u64,
    stats: BTreeMap<&'static str, u64>,
    statistics: Vec<Statistic>,
}

#[derive(Serialize)]
struct Statistic {
    name: &'static str,
    kind: &'static str,
    help: &'static str,
    unit: &'static str,
}

/// `GET /api/v1/overview`
pub(super) fn show(console: &Console, _request: &ApiRequest) -> Result<Reply, Problem> {
    let statistics = table()
        .iter()
        .map(|stat| Statistic {
            name: stat.name,
            kind: match stat.kind {
                StatKind::Counter => "counter",
                StatKind::Gauge => "gauge",
            },
            help: stat.help,
            unit: unit(stat.name),
        })
        .collect();
    Reply::json(&Overview {
        version: env!("CARGO_PKG_VERSION"),
        started: console.unix(Time::ZERO),
        uptime_ms: console.now().as_millis(),
        stats: values(&console.engine.snapshot()),
        statistics,
    })
}

/// Every statistic by its name.
pub(super) fn values(snapshot: &Snapshot) -> BTreeMap<&'static str, u64> {
    table().iter().map(|stat| (stat.name, (stat.get)(snapshot))).collect()
}

/// The unit of a statistic, derived from its name.
pub(super) fn unit(name: &str) -> &'static str {
    if name.contains("bytes") { "bytes" } else { "" }
}

/// `GET /health`
pub(super) fn health(_console: &Console, _request: &ApiRequest) -> Result<Reply, Problem> {
    Ok(Reply::new(r#"{"status":"ok"}"#, "application/json"))
}

/// `GET /api/v1/openapi.json`
pub(super) fn openapi(_console: &Console, _request: &ApiRequest) -> Result<Reply, Problem> {
    Ok(Reply::new(assets::openapi()?, "application/json"))
}
