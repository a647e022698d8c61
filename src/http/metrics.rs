//! The statistics for Prometheus.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, text};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::{Registry, Unit};

use crate::http::answer::{Problem, Reply};
use crate::http::console::Console;
use crate::http::overview::unit;
use crate::http::service::ApiRequest;
use crate::stats::{DropReason, Snapshot, StatKind, table};

/// The content type of the response.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// `GET /metrics`
pub(super) fn show(console: &Console, _request: &ApiRequest) -> Result<Reply, Problem> {
    let mut registry = Registry::with_prefix("midge");
    let uptime = console.now().as_millis() / 1000;
    let started = console.engine.started_unix();
    registry.register_collector(Box::new(Statistics {
        snapshot: console.engine.snapshot(),
        uptime,
        started,
    }));
    let mut body = String::new();
    text::encode(&mut body, &registry).map_err(|error| Problem::internal(error.to_string()))?;
    Ok(Reply::new(body, OPEN_METRICS))
}

#[derive(Debug)]
struct Statistics {
    snapshot: Snapshot,
    uptime: u64,
    started: u64,
}

impl Collector for Statistics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        for stat in table() {
            // The reasons are one metric with a label; Prometheus computes their sum.
            if stat.name.starts_with("messages_dropped") {
                continue;
            }
            let value = (stat.get)(&self.snapshot);
            let (name, unit) = name_and_unit(stat.name);
            match stat.kind {
                StatKind::Counter => one(&mut encoder, &name, stat.help, unit, &ConstCounter::new(value))?,
                StatKind::Gauge => one(&mut encoder, &name, stat.help, unit, &gauge(value))?,
            }
        }
        let help = "Messages dropped, one for each receiver that did not get one, by reason.";
        let dropped = ConstCounter::new(0u64);
        let mut family = encoder.encode_descriptor("messages_dropped", help, None, dropped.metric_type())?;
        for reason in DropReason::ALL {
            let labels = [("reason", reason.name())];
            ConstCounter::new(self.snapshot.dropped(*reason)).encode(family.encode_family(&labels)?)?;
        }
        let help = "When the broker started, in seconds since 1970.";
        one(&mut encoder, "start_time", help, Some(Unit::Seconds), &gauge(self.started))?;
        let help = "How long the broker has been running.";
        one(&mut encoder, "uptime", help, Some(Unit::Seconds), &gauge(self.uptime))
    }
}

/// The name without its unit, which the library appends: `bytes_received` becomes `midge_received_bytes_total`.
fn name_and_unit(name: &str) -> (String, Option<Unit>) {
    if unit(name) != "bytes" {
        return (name.to_owned(), None);
    }
    let parts: Vec<&str> = name.split('_').filter(|part| *part != "bytes").collect();
    (parts.join("_"), Some(Unit::Bytes))
}

fn gauge(value: u64) -> ConstGauge<i64> {
    ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX))
}

fn one(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    unit: Option<Unit>,
    metric: &impl EncodeMetric,
) -> Result<(), fmt::Error> {
    metric.encode(encoder.encode_descriptor(name, help, unit.as_ref(), metric.metric_type())?)
}
