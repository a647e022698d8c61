//! Messages that did not arrive: how many, and why.

use serde::Serialize;

use crate::http::answer::{Answer, Problem};
use crate::http::console::Console;
use crate::http::service::Asked;
use crate::stats::DropReason;

#[derive(Serialize)]
struct Drops {
    by_reason: Vec<Reason>,
    recent: [(); 0],
}

#[derive(Serialize)]
struct Reason {
    reason: &'static str,
    count: u64,
    help: &'static str,
}

/// `GET /api/v1/drops`
pub(super) fn show(console: &Console, _asked: &Asked) -> Result<Answer, Problem> {
    let snapshot = console.engine.snapshot();
    let by_reason = DropReason::ALL
        .iter()
        .map(|reason| Reason {
            reason: reason.name(),
            count: snapshot.dropped(*reason),
            help: reason.explanation(),
        })
        .collect();
    Answer::json(&Drops { by_reason, recent: [] })
}
