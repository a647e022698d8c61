//! What a broker in test mode has beside: its test bed, and the memory of what was published.

use std::sync::Arc;

use crate::config::Settings;
use crate::embed::message::Message;
use crate::embed::testing::capture::Capture;
use crate::engine::access::authority::{Authority, Questions, Ruling};
use crate::engine::access::hooks::{ConnectRequest, Verdict};
use crate::engine::observe::mask::EventMask;
use crate::engine::observe::sink::{EventSink, Moment};
use crate::net::testing::TestNet;
use crate::runtime::Clock;

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

impl EventSink for Bench {
    fn mask(&self) -> EventMask {
        EventMask::PUBLISHED | EventMask::CHANGED
    }

    fn moment(&self, moment: &Moment<'_>) {
        if let Moment::Published(published) = moment {
            self.capture.add(Message::of(published));
        }
        self.bed.beat();
    }
}
