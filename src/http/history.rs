//! The statistics of the last fifteen minutes, kept in memory.

use std::collections::VecDeque;

use serde::Serialize;

use crate::http::answer::{Problem, Reply};
use crate::http::console::Console;
use crate::http::service::ApiRequest;
use crate::stats::{Snapshot, table};

/// Milliseconds between two points.
pub(super) const STEP: u64 = 5_000;
/// Points that are kept: fifteen minutes.
const POINTS: usize = 180;

/// Points in time, each with every statistic.
#[derive(Default)]
pub(super) struct History(VecDeque<Box<[u64]>>);

impl History {
    /// Adds a point: milliseconds since 1970, and the statistics.
    pub(super) fn note(&mut self, unix: u64, snapshot: &Snapshot) {
        if self.0.len() >= POINTS {
            self.0.pop_front();
        }
        self.0.push_back(
            std::iter::once(unix).chain(table().iter().map(|stat| (stat.get)(snapshot))).collect(),
        );
    }
}

#[derive(Serialize)]
struct HistoryReply<'h> {
    step_ms: u64,
    names: Vec<&'static str>,
    points: &'h VecDeque<Box<[u64]>>,
}

/// `GET /api/v1/history`
pub(super) fn show(console: &Console, _request: &ApiRequest) -> Result<Reply, Problem> {
    let names = table().iter().map(|stat| stat.name).collect();
    let points = console.history.lock().0.clone();
    Reply::json(&HistoryReply { step_ms: STEP, names, points: &points })
}

#[cfg(test)]
mod tests {
    use super::{History, POINTS};
    use crate::stats::{Snapshot, table};

    #[test]
    fn the_history_is_bounded_and_the_oldest_goes() {
        let mut history = History::default();
        for time in 0..POINTS as u64 + 2 {
            history.note(time, &Snapshot { clients_connected: time, ..Snapshot::default() });
        }
        assert_eq!((history.0.len(), history.0[0][0]), (POINTS, 2));
        let column = 1 + table().iter().position(|stat| stat.name == "clients_connected").unwrap();
        assert_eq!(history.0[5][column], 7);
    }
}
