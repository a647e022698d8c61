//! What a broker in test mode has beside: its test bed, and the memory of what was published.

use std::sync::Arc;

use crate::config::Settings;
use crate::embed::message::Message;
use crate::embed::testing::capture::Capture;
use crate::engine::access::authority::{Authority, Questions, Ruling};
use crate::engine::access::hooks::{ConnectRequest, Verdict};
use crate::engine::observe::observer::Observer;
use crate::message::Publication;
use crate::net::testing::TestNet;
use crate::runtime::Clock;
use crate::time::Time;

/// A broker's bench.
pub(in crate::embed) struct Bench {
    pub(in crate::embed) clock: Clock,
    pub(in crate::embed) bed: Arc<TestNet>,
    pub(super) capture: Capture,
}

impl Bench {
    /// The bench of a broker that has not started yet.
    pub(in crate::embed) fn new(settings: &Settings) -> Bench {
        let clock = Clock::by_hand();
        let max_bytes = usize::try_from(settings.queue.max_bytes).unwrap_or(usize::MAX);
        Bench {
            bed: Arc::new(TestNet::new(clock.clone())),
            clock,
            capture: Capture::new(settings.queue.capacity, max_bytes),
        }
    }
}

/// Refuses the clients that a test wants refused, before the host is asked.
impl Authority for Bench {
    fn name(&self) -> &str {
        "test kit"
    }

    fn questions(&self) -> Questions {
        Questions { authenticate: true, ..Questions::default() }
    }

    fn authenticate(&self, request: &ConnectRequest<'_>) -> Ruling {
        let is_first = request.auth_step == 0 && !request.reauthenticates;
        let refused = is_first.then(|| self.bed.refuses(request.client_id)).flatten();
        refused.map_or(Ruling::Abstain, |reason| Verdict::DenyWith(reason).into())
    }
}

impl Observer for Bench {
    fn published(&self, now: Time, publication: &Publication<'_>) {
        self.capture.add(Message::of(publication, now));
        self.bed.beat();
    }

    fn changed(&self) {
        self.bed.beat();
    }
}
