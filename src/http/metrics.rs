//! The statistics for Prometheus.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder, NoLabelSet, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::{Registry, Unit};

use crate::http::answer::{Problem, Reply};
use crate::http::certificates::{Certificate, served};
use crate::http::console::Console;
use crate::http::listeners::ListenerView;
use crate::http::overview::unit;
use crate::http::service::ApiRequest;
use crate::stats::{DropReason, Snapshot, StatKind, table};
use crate::storage::{FLUSH_BOUNDS, FlushTimes, StorageState, StorageStats};

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
    registry.register_collector(Box::new(ListenerStatistics(console.listeners.views())));
    registry.register_collector(Box::new(Refusals(console.engine.refusals())));
    if let Some(storage) = &console.storage {
        registry.register_collector(Box::new(StorageStatistics(storage())));
    }
    let certificates = served(console);
    if !certificates.is_empty() {
        registry.register_collector(Box::new(CertificateDays(certificates)));
    }
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

/// The listeners, each with its name as a label.
#[derive(Debug)]
struct ListenerStatistics(Vec<ListenerView>);

impl Collector for ListenerStatistics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let help = "Clients that are connected by a listener.";
        let kind = gauge(0).metric_type();
        let mut family = encoder.encode_descriptor("listener_connections", help, None, kind)?;
        for one in &self.0 {
            let labels = [("listener", one.name.as_str())];
            gauge(u64::from(one.connections)).encode(family.encode_family(&labels)?)?;
        }
        let kind = ConstCounter::new(0u64).metric_type();
        let help = "Connections that a listener has accepted.";
        let mut family = encoder.encode_descriptor("listener_accepted", help, None, kind)?;
        for one in &self.0 {
            let labels = [("listener", one.name.as_str())];
            ConstCounter::new(one.accepted).encode(family.encode_family(&labels)?)?;
        }
        let help = "Connections of a listener that were refused because a limit was reached.";
        let mut family = encoder.encode_descriptor("listener_refused", help, None, kind)?;
        for one in &self.0 {
            let labels = [("listener", one.name.as_str())];
            ConstCounter::new(one.refused).encode(family.encode_family(&labels)?)?;
        }
        let help =
            "Connections of a listener that were closed before their handshake was complete, by reason.";
        let mut family = encoder.encode_descriptor("listener_handshake_failures", help, None, kind)?;
        for one in &self.0 {
            for (reason, count) in &one.handshake_failures {
                let labels = [("listener", one.name.as_str()), ("reason", reason.as_str())];
                ConstCounter::new(*count).encode(family.encode_family(&labels)?)?;
            }
        }
        Ok(())
    }
}

/// The clients that authorities have refused.
#[derive(Debug)]
struct Refusals(Vec<(String, &'static str, u64)>);

impl Collector for Refusals {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let help = "Clients that an authority has refused, by authority and reason.";
        let kind = ConstCounter::new(0u64).metric_type();
        let mut family = encoder.encode_descriptor("access_refused", help, None, kind)?;
        for (authority, reason, count) in &self.0 {
            let labels = [("authority", authority.as_str()), ("reason", reason)];
            ConstCounter::new(*count).encode(family.encode_family(&labels)?)?;
        }
        Ok(())
    }
}

/// The certificates of listeners and console, if there are any.
#[derive(Debug)]
struct CertificateDays(Vec<Certificate>);

impl Collector for CertificateDays {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let help = "Whole days until a certificate ends; negative afterwards.";
        let days = ConstGauge::new(0i64);
        let mut family =
            encoder.encode_descriptor("certificate_days_left", help, None, days.metric_type())?;
        for certificate in &self.0 {
            let labels = [("settings", certificate.group.as_str()), ("file", certificate.file.as_str())];
            ConstGauge::new(certificate.days_left).encode(family.encode_family(&labels)?)?;
        }
        Ok(())
    }
}

/// The durable store, if there is one.
#[derive(Debug)]
struct StorageStatistics(StorageStats);

impl Collector for StorageStatistics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let stats = &self.0;
        let (to, bytes) = (&mut encoder, || Some(Unit::Bytes));
        let help = "Whether the durable store commits: 0 while the disk refuses something, and when the store has failed.";
        one(to, "storage_up", help, None, &gauge(u64::from(stats.state == StorageState::Ok)))?;
        let counters = [
            (
                "storage_commits",
                "Groups of changes that were committed, each by one flush.",
                None,
                stats.commits,
            ),
            ("storage_changes", "Changes that were committed.", None, stats.committed_changes),
            ("storage_committed", "Bytes of changes that were committed.", bytes(), stats.committed_bytes),
            ("storage_checkpoints", "Checkpoints of the durable store.", None, stats.checkpoints),
            (
                "storage_written",
                "Bytes written to the files of the durable store.",
                bytes(),
                stats.written_bytes,
            ),
            ("storage_disk_errors", "Operations that the disk refused.", None, stats.disk_errors),
        ];
        for (name, help, unit, value) in counters {
            one(to, name, help, unit, &ConstCounter::new(value))?;
        }
        let gauges = [
            (
                "storage_acknowledgements_waiting",
                "Acknowledgements, deliveries and callers that wait for a commit.",
                None,
                stats.waiting_acknowledgements,
            ),
            ("storage_waiting", "Bytes of changes that wait for a commit.", bytes(), stats.waiting_bytes),
            (
                "storage_unwritten",
                "Bytes of changes that wait for a checkpoint.",
                bytes(),
                stats.unwritten_bytes,
            ),
            ("storage_log", "Bytes of the log's files.", bytes(), stats.log_bytes),
            ("storage_tables", "Bytes of the file with the tables.", bytes(), stats.tables_bytes),
        ];
        for (name, help, unit, value) in gauges {
            one(to, name, help, unit, &gauge(value))?;
        }
        let help = "Since the tables were last flushed, or since the store was opened.";
        let age = ConstGauge::new(seconds(stats.checkpoint_age_millis, 1e3));
        one(to, "storage_checkpoint_age", help, Some(Unit::Seconds), &age)?;
        let help = "How long flushes of the log took.";
        one(to, "storage_flush", help, Some(Unit::Seconds), &FlushHistogram(&stats.flush_times))
    }
}

/// A count of `each` to the second, in seconds.
#[allow(clippy::cast_precision_loss, reason = "fractions of a second are exact enough")]
fn seconds(count: u64, each: f64) -> f64 {
    count as f64 / each
}

struct FlushHistogram<'s>(&'s FlushTimes);

impl EncodeMetric for FlushHistogram<'_> {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> Result<(), fmt::Error> {
        let bounds = FLUSH_BOUNDS.into_iter().map(|micros| seconds(micros, 1e6)).chain([f64::INFINITY]);
        let buckets: Vec<(f64, u64)> = bounds.zip(self.0.counts).collect();
        let sum = seconds(self.0.total_micros, 1e6);
        encoder.encode_histogram::<NoLabelSet>(sum, self.0.count(), &buckets, None)
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Histogram
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
