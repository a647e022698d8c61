//! One turn: a bundle of packets, handled together and flushed together.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::engine::core::durability::{Durability, DurabilityWaiter};
use crate::engine::parts::sink::Local;
use crate::engine::parts::subscriber::Subscriber;
use crate::session::epoch::Epoch;
use crate::session::event::Event;
use crate::session::pool::Pool;
use crate::session::state::{Session, Will};
use crate::stats::Counts;
use crate::storage::Position;
use crate::time::Time;
use crate::topics::MatchCache;

/// Topics whose matches a turn remembers.
const CACHED_TOPICS: usize = 1024;
/// Turns that wait for their next use.
pub(crate) const KEPT_TURNS: usize = 16;
/// What one bundle of packets needs and leaves behind: the time, counters, buffers, and the subscribers that
/// have something to be written.
pub struct Turn {
    /// Now, for the length of the turn.
    pub now: Time,
    /// What this turn adds to the counters.
    pub counts: Counts,
    /// Scratch space for reading; empty while in use.
    pub scratch: Vec<u8>,
    pub(crate) pool: Pool,
    pub(crate) cache: MatchCache<Subscriber>,
    pub(super) dirty: Vec<Arc<Session>>,
    pub(super) woken: Vec<Arc<Local>>,
    /// What the host is told at the end.
    pub(crate) events: Vec<Event>,
    /// Wills that the host is to look at, and that are published at the end.
    pub(crate) wills: Vec<OwedWill>,
    /// Those of the host's code, which is called when everything else is done.
    pub(super) called: Vec<Arc<Local>>,
    pub(super) told: Vec<(Arc<dyn DurabilityWaiter>, Durability)>,
    /// Deliveries that began to wait for the store.
    pub(super) holds: Vec<Hold>,
    /// Groups of changes that are open, one in the other.
    pub(super) groups: u32,
    /// Unlike that of every other turn of the process, those that this one was before included.
    pub(super) number: u64,
}

/// How many turns of this process remember something. Each has as many numbers for itself as it may run.
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
            groups: 0,
            number: TURNS.fetch_add(1, Ordering::Relaxed).wrapping_mul(NUMBERS) + 1,
        }
    }

    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// Has a session's outbox flushed at the end of the turn.
    pub(crate) fn flush_later(&mut self, session: &Arc<Session>) {
        self.dirty.push(Arc::clone(session));
    }

    /// Whether more sessions than so many are to be flushed at the end of this turn.
    pub fn concerns_more_than(&self, most: usize) -> bool {
        self.dirty.len() > most
    }

    /// Moves to `later` the sessions that need not be flushed at the end of this turn: more may come for them first. If
    /// there are more than `most`, all of them: others are not to wait until so many are written to. Whoever adds to one
    /// of these has it on the list again, so that what it holds stays within what it may hold.
    ///
    /// None if code of the host is to be called, for it may take its time.
    pub fn put_off(&mut self, most: usize, later: &mut impl Extend<Arc<Session>>) {
        if !self.called.is_empty() || !self.told.is_empty() {
            return;
        }
        match self.concerns_more_than(most) {
            true => later.extend(self.dirty.drain(..).inspect(|session| session.outbound.lock().put_off())),
            false => later.extend(self.dirty.extract_if(.., |session| session.outbound.lock().may_wait())),
        }
    }

    /// Has an in-process subscriber woken at the end of the turn.
    pub(crate) fn wake_later(&mut self, local: &Arc<Local>) {
        let list = if local.is_direct() { &mut self.called } else { &mut self.woken };
        list.push(Arc::clone(local));
    }

    /// Has somebody told at the end of the turn whether a message is safe.
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
