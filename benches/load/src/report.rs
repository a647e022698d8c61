//! Latency histograms and the result of a run, as JSON or as text.

use hdrhistogram::Histogram;
use serde_json::{Map, Value, json};

pub fn r2(x: f64) -> f64 {
    (x * 100.0).round() / 100.0
}

pub fn r4(x: f64) -> f64 {
    (x * 10_000.0).round() / 10_000.0
}

/// Nanoseconds, from about 0.1 us to 120 s, to three digits.
pub struct Hist(Histogram<u64>);

impl Hist {
    pub fn new() -> Hist {
        Hist(Histogram::new_with_bounds(128, 120_000_000_000, 3).expect("fixed bounds"))
    }

    #[inline]
    pub fn record(&mut self, ns: u64) {
        self.0.saturating_record(ns);
    }

    pub fn reset(&mut self) {
        self.0.reset();
    }

    /// (value, count) pairs, to carry a histogram between processes.
    pub fn pairs(&self) -> Vec<(u64, u64)> {
        self.0.iter_recorded().map(|v| (v.value_iterated_to(), v.count_at_value())).collect()
    }

    pub fn add_pairs(&mut self, pairs: &Value) {
        for p in pairs.as_array().into_iter().flatten() {
            if let (Some(v), Some(n)) = (p[0].as_u64(), p[1].as_u64()) {
                self.0.saturating_record_n(v, n);
            }
        }
    }

    /// Percentiles in microseconds; null when nothing was recorded.
    pub fn json(&self) -> Value {
        let h = &self.0;
        if h.is_empty() {
            return Value::Null;
        }
        let us = |ns: u64| r2(ns as f64 / 1e3);
        json!({
            "p50": us(h.value_at_quantile(0.5)),
            "p90": us(h.value_at_quantile(0.9)),
            "p99": us(h.value_at_quantile(0.99)),
            "p999": us(h.value_at_quantile(0.999)),
            "max": us(h.max()),
            "mean": r2(h.mean() / 1e3),
            "count": h.len(),
        })
    }
}

pub struct Report {
    root: Map<String, Value>,
    phases: Map<String, Value>,
    errors: Vec<String>,
}

impl Report {
    pub fn new(scenario: &str, params: Value) -> Report {
        let mut root = Map::new();
        root.insert("scenario".into(), json!(scenario));
        root.insert("ok".into(), json!(true));
        root.insert("errors".into(), json!([]));
        root.insert("params".into(), params);
        Report { root, phases: Map::new(), errors: Vec::new() }
    }

    pub fn set(&mut self, key: &str, v: impl Into<Value>) {
        self.root.insert(key.into(), v.into());
    }

    pub fn extend(&mut self, v: Value) {
        if let Value::Object(m) = v {
            self.root.extend(m);
        }
    }

    pub fn phase(&mut self, name: &str, v: Value) {
        self.phases.insert(name.into(), v);
    }

    pub fn error(&mut self, e: impl Into<String>) {
        self.errors.push(e.into());
    }

    pub fn check(&mut self, ok: bool, e: impl FnOnce() -> String) {
        if !ok {
            self.error(e());
        }
    }

    /// Prints the result; the exit status is 0 when every check held.
    pub fn finish(mut self, as_json: bool) -> i32 {
        let ok = self.errors.is_empty();
        self.root.insert("ok".into(), json!(ok));
        self.root.insert("errors".into(), json!(self.errors));
        if !self.phases.is_empty() {
            self.root.insert("phases".into(), Value::Object(self.phases));
        }
        if as_json {
            println!("{}", Value::Object(self.root));
        } else {
            for (k, v) in &self.root {
                print_text(k, v, 0);
            }
        }
        if ok { 0 } else { 1 }
    }
}

fn print_text(key: &str, v: &Value, depth: usize) {
    let pad = "  ".repeat(depth);
    match v {
        Value::Object(m) if m.values().any(Value::is_object) => {
            println!("{pad}{key}:");
            m.iter().for_each(|(k, v)| print_text(k, v, depth + 1));
        }
        Value::Object(m) => {
            let fields: Vec<String> = m.iter().map(|(k, v)| format!("{k}={}", plain(v))).collect();
            println!("{pad}{key}:");
            for row in fields.chunks(5) {
                println!("{pad}  {}", row.join("  "));
            }
        }
        _ => println!("{pad}{key}: {}", plain(v)),
    }
}

fn plain(v: &Value) -> String {
    match v {
        Value::String(s) => s.clone(),
        v => v.to_string(),
    }
}
