//! What a broker in test mode has beside: its test bed, and the memory of what was published.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use crate::config::Config;
use crate::embed::hooks::Hooks;
use crate::embed::message::Message;
use crate::embed::testing::capture::Capture;
use crate::embed::testing::directory::TemporaryDirectory;
use crate::embed::testing::disk::DiskControl;
use crate::engine::access::authority::{Authority, Questions, Ruling};
use crate::engine::access::hooks::{ConnectRequest, Verdict};
use crate::engine::observe::mask::EventMask;
use crate::engine::observe::sink::{EventSink, Moment};
use crate::locks::Mutex;
use crate::net::testing::TestNet;
use crate::runtime::{Clock, Reserved};

/// A broker's bench.
pub(in crate::embed) struct Bench {
    pub(in crate::embed) clock: Clock,
    pub(in crate::embed) bed: Arc<TestNet>,
    /// Also of the lives before.
    pub(super) capture: Arc<Capture>,
    /// The disk of a durable broker.
    pub(in crate::embed) disk: Option<Arc<DiskControl>>,
    /// What a restart needs.
    pub(super) origin: Origin,
    pub(super) has_crashed: AtomicBool,
    /// Whether another life has begun.
    pub(super) was_restarted: Mutex<bool>,
    /// Keeps the ports of a broker that is down from others.
    pub(super) reserved: Mutex<Vec<Reserved>>,
}

/// What each life of a broker begins with.
#[derive(Clone)]
pub(super) struct Origin {
    pub(super) config: Config,
    pub(super) hooks: Hooks,
    /// Removed when no life is left.
    pub(super) _directory: Option<Arc<TemporaryDirectory>>,
}

impl Bench {
    /// The bench of a broker that has not started yet.
    pub(super) fn new(origin: Origin) -> Bench {
        let clock = Clock::by_hand();
        let settings = origin.config.settings();
        let max_bytes = usize::try_from(settings.queue.max_bytes).unwrap_or(usize::MAX);
        let capture = Arc::new(Capture::new(settings.queue.capacity, max_bytes));
        Bench::of(Arc::new(TestNet::new(clock.clone())), clock, capture, origin)
    }

    /// The bench of the next life, after this one has ended.
    pub(super) fn next(&self, config: Config) -> Bench {
        self.bed.begin_life();
        let origin = Origin { config, ..self.origin.clone() };
        Bench::of(Arc::clone(&self.bed), self.clock.clone(), Arc::clone(&self.capture), origin)
    }

    fn of(bed: Arc<TestNet>, clock: Clock, capture: Arc<Capture>, origin: Origin) -> Bench {
        let is_durable = !origin.config.settings().storage.path.is_empty();
        Bench {
            disk: is_durable.then(|| Arc::new(DiskControl::new(clock.clone(), Arc::clone(&bed)))),
            bed,
            clock,
            capture,
            origin,
            has_crashed: AtomicBool::new(false),
            was_restarted: Mutex::new(false),
            reserved: Mutex::default(),
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
