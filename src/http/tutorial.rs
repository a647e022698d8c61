//! The steps of the tutorial, marked as done when the broker sees them.

use std::sync::atomic::{AtomicBool, Ordering};

use serde::Serialize;

use crate::http::answer::{Problem, Reply};
use crate::http::console::Console;
use crate::http::service::ApiRequest;
use crate::stats::Snapshot;

/// Steps that are done; a step stays done.
#[derive(Default)]
pub(super) struct TutorialSteps {
    subscribed: AtomicBool,
}

#[derive(Serialize)]
struct TutorialReply {
    steps: [Step; 4],
}

#[derive(Serialize)]
struct Step {
    id: &'static str,
    done: bool,
}

impl TutorialSteps {
    /// Updates the steps from the statistics.
    pub(super) fn note(&self, snapshot: &Snapshot) {
        if snapshot.subscriptions > 0 {
            self.subscribed.store(true, Ordering::Relaxed);
        }
    }
}

/// `GET /api/v1/tutorial`
pub(super) fn show(console: &Console, _request: &ApiRequest) -> Result<Reply, Problem> {
    let snapshot = console.engine.snapshot();
    console.steps.note(&snapshot);
    let received = snapshot.messages_delivered > 0;
    let steps = [
        // A delivered message implies a subscription, also between two updates.
        Step { id: "subscribe", done: received || console.steps.subscribed.load(Ordering::Relaxed) },
        Step { id: "publish", done: snapshot.publish_received > 0 },
        Step { id: "received", done: received },
        Step { id: "lesson", done: snapshot.messages_dropped_no_subscriber > 0 },
    ];
    Reply::json(&TutorialReply { steps })
}
