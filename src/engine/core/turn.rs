//! A turn: packets that are handled together and flushed together.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::engine::core::durability::{Durability, DurabilityWaiter};
use crate::engine::parts::sink::Local;
use crate::engine::parts::subscriber::Subscriber;
use crate::message::SharedMessage;
use crate::session::epoch::Epoch;
use crate::session::event::Event;
use crate::session::pool::Pool;
use crate::session::state::{Session, Will};
use crate::stats::Counts;
use crate::storage::Position;
use crate::time::Time;
use crate::topics::MatchCache;

/// The number of topics whose matches a turn caches.
const CACHED_TOPICS: usize = 1024;
/// The number of turns that are kept for reuse.
pub(crate) const KEPT_TURNS: usize = 16;
/// The work after which a turn leaves the rest of its packets to the next one. A unit takes 0.1 to 1 microsecond.
pub(crate) const WORK_PER_TURN: usize = 16_384;
/// The state of one turn: the time, counters, buffers, and the subscribers to write to or wake.
pub struct Turn {
    /// The time, fixed for the turn.
    pub now: Time,
    /// The counts that this turn adds to the counters.
    pub counts: Counts,
    /// Scratch space for reading; empty while in use.
    pub scratch: Vec<u8>,
    pub(crate) pool: Pool,
    pub(crate) cache: MatchCache<Subscriber>,
    pub(super) dirty: Vec<Arc<Session>>,
    pub(super) woken: Vec<Arc<Local>>,
    /// Events that the sinks are told at the end.
    pub(crate) events: Vec<Event>,
    /// Wills that the host may change, published at the end.
    pub(crate) wills: Vec<OwedWill>,
    /// Direct subscribers, whose wake calls the host's code after everything else.
    pub(super) called: Vec<Arc<Local>>,
    pub(super) told: Vec<(Arc<dyn DurabilityWaiter>, Durability)>,
    /// Deliveries that have begun to wait for the store.
    pub(super) holds: Vec<Hold>,
    /// Scratch space for retained messages that are found; empty while in use.
    pub(crate) found: Vec<SharedMessage>,
    /// A subscriber that is behind, and has just been given a message of QoS 1 or 2: its acknowledgement waits.
    pub(crate) slow: Option<Arc<Session>>,
    /// The work of this turn that its input does not bound: matches, deliveries, looks at the members of groups and at
    /// retained messages.
    pub(crate) work: usize,
    /// The number of open, nested groups of changes.
    pub(super) groups: u32,
    /// A number that no other turn of the process has had, including earlier uses of this one.
    pub(super) number: u64,
}

/// The number of turns created by this process. Each has a range of [`NUMBERS`] numbers for its uses.
static TURNS: AtomicU64 = AtomicU64::new(0);
const NUMBERS: u64 = 1 << 40;

impl Turn {
    pub(super) fn boxed() -> Box<Turn> {
        Box::new(Turn::new())
    }

    pub(super) fn new() -> Turn {
        Turn {
            now: Time::ZERO,
            counts: Counts::default(),
            scratch: Vec::new(),
            pool: Pool::new(),
            cache: MatchCache::new(CACHED_TOPICS),
            dirty: Vec::new(),
            woken: Vec::new(),
            events: Vec::new(),
            wills: Vec::new(),
            called: Vec::new(),
            told: Vec::new(),
            holds: Vec::new(),
            found: Vec::new(),
            slow: None,
            work: 0,
            groups: 0,
            number: TURNS.fetch_add(1, Ordering::Relaxed).wrapping_mul(NUMBERS) + 1,
        }
    }

    /// Whether the turn has done so much work that other connections are to have their turn.
    #[inline]
    pub(crate) fn has_done_enough(&self) -> bool {
        self.work >= WORK_PER_TURN
    }

    /// Leaves the packets that are not handled to another turn, as if much had been done.
    pub(super) fn leave_the_rest(&mut self) {
        self.work = self.work.max(WORK_PER_TURN);
    }

    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// Lists a session, whose outbox is flushed at the end of the turn.
    pub(crate) fn flush_later(&mut self, session: &Arc<Session>) {
        self.dirty.push(Arc::clone(session));
    }

    /// Whether more than `most` sessions are listed to be flushed.
    pub fn concerns_more_than(&self, most: usize) -> bool {
        self.dirty.len() > most
    }

    /// Moves sessions that need not be flushed at the end of this turn to `later`, because more packets may be added to
    /// them first. If more than `most` are listed, all are moved, so that other tasks do not wait for their writes. The
    /// next turn that appends to a moved session lists it again, which bounds its outbox.
    ///
    /// Nothing is moved if code of the host must be called, because that may take long.
    pub fn put_off(&mut self, most: usize, later: &mut impl Extend<Arc<Session>>) {
        if !self.called.is_empty() || !self.told.is_empty() {
            return;
        }
        match self.concerns_more_than(most) {
            true => later.extend(self.dirty.drain(..).inspect(|session| session.outbound.lock().put_off())),
            false => later.extend(self.dirty.extract_if(.., |session| session.outbound.lock().may_wait())),
        }
    }

    /// Lists an in-process subscriber, which is woken at the end of the turn.
    pub(crate) fn wake_later(&mut self, local: &Arc<Local>) {
        let list = if local.is_direct() { &mut self.called } else { &mut self.woken };
        list.push(Arc::clone(local));
    }

    /// Lists a waiter, which is told at the end of the turn whether a message is safe.
    pub(crate) fn tell_later(&mut self, waiter: Arc<dyn DurabilityWaiter>, safe: Durability) {
        self.told.push((waiter, safe));
    }
}

/// A delivery of the connection `epoch` that waits until the store has committed `position`.
pub(super) struct Hold {
    pub(super) session: Arc<Session>,
    pub(super) epoch: Epoch,
    pub(super) position: Position,
}

/// A will that is published at the end of the turn.
pub(crate) struct OwedWill {
    pub session: Arc<Session>,
    pub will: Box<Will>,
}
