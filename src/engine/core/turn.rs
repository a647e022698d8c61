//! One turn: a bundle of packets, handled together and flushed together.

use std::ops::{Deref, DerefMut};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::panicking;

use parking_lot::{MappedMutexGuard, Mutex, MutexGuard};

use crate::engine::core::durability::{Durability, DurabilityWaiter};
use crate::engine::core::state::Engine;
use crate::engine::parts::sink::Local;
use crate::engine::parts::subscriber::Subscriber;
use crate::engine::publish::will::OwedWill;
use crate::message::HostBuffers;
use crate::session::event::Event;
use crate::session::pool::Pool;
use crate::session::state::Session;
use crate::stats::Counts;
use crate::time::Time;
use crate::topics::MatchCache;

/// Topics whose matches a turn remembers.
const CACHED_TOPICS: usize = 1024;
/// Turns that wait for their next use.
pub(crate) const KEPT_TURNS: usize = 16;
/// After so many turns, the remembered matches are looked through for ended sessions.
const SWEEP_EVERY: u64 = 4096;

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
    dirty: Vec<Arc<Session>>,
    woken: Vec<Arc<Local>>,
    /// What the host is told at the end.
    pub(crate) events: Vec<Event>,
    /// Wills that the host is to look at, and that are published at the end.
    pub(crate) wills: Vec<OwedWill>,
    /// Those of the host's code, which is called when everything else is done.
    called: Vec<Arc<Local>>,
    told: Vec<(Arc<dyn DurabilityWaiter>, Durability)>,
    /// Unlike that of every other turn of the process, those that this one was before included.
    number: u64,
}

/// How many turns of this process remember something. Each has as many numbers for itself as it may run.
static TURNS: AtomicU64 = AtomicU64::new(0);
const NUMBERS: u64 = 1 << 40;

impl Turn {
    fn boxed() -> Box<Turn> {
        Box::new(Turn::new())
    }

    fn new() -> Turn {
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

/// A turn that is finished when it is dropped: counters are added to, outboxes written, sinks woken, the host called.
pub struct Running<'e> {
    engine: &'e Engine,
    turn: TurnSlot<'e>,
    /// Whether the turn began while the thread was unwinding from a panic.
    unwinding: bool,
}

/// Where a running turn is.
enum TurnSlot<'e> {
    /// In a place of the engine's, which is there for the next.
    Kept(MappedMutexGuard<'e, Turn>),
    /// All places were in use.
    Own(Box<Turn>),
}

impl Deref for Running<'_> {
    type Target = Turn;
    #[inline]
    fn deref(&self) -> &Turn {
        match &self.turn {
            TurnSlot::Kept(turn) => turn,
            TurnSlot::Own(turn) => turn,
        }
    }
}

impl DerefMut for Running<'_> {
    #[inline]
    fn deref_mut(&mut self) -> &mut Turn {
        match &mut self.turn {
            TurnSlot::Kept(turn) => turn,
            TurnSlot::Own(turn) => turn,
        }
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        let engine = self.engine;
        let panics = panicking() && !self.unwinding;
        let turn = &mut **self;
        if !panics {
            return engine.end_of_turn(turn);
        }
        // A panic in the middle of the turn: whom it has dirtied is written to all the same, but what it has
        // remembered is not used again. A second panic would be the host's end.
        let _written = catch_unwind(AssertUnwindSafe(|| engine.end_of_turn(turn)));
        let _dropped = catch_unwind(AssertUnwindSafe(|| *turn = Turn::new()));
    }
}

impl Engine {
    /// Begins a turn at `now`. It must not be held while another is begun on the same thread.
    pub fn turn(&self, now: Time) -> Running<'_> {
        HostBuffers::turn_begins();
        let mut turn = self.place();
        match &mut turn {
            TurnSlot::Kept(turn) => turn.now = now,
            TurnSlot::Own(turn) => turn.now = now,
        }
        Running { engine: self, turn, unwinding: panicking() }
    }

    fn place(&self) -> TurnSlot<'_> {
        // The first that is free: what it remembers is most likely still true, and in the processor's cache.
        match self.turns.iter().find_map(Mutex::try_lock) {
            Some(place) => {
                TurnSlot::Kept(MutexGuard::map(place, |turn| &mut **turn.get_or_insert_with(Turn::boxed)))
            }
            None => TurnSlot::Own(Turn::boxed()),
        }
    }

    /// Writes what the turn has put into outboxes, and calls whom it concerns. The thread holds no lock.
    pub(crate) fn end_of_turn(&self, turn: &mut Turn) {
        if !turn.wills.is_empty() {
            self.publish_owed_wills(turn);
        }
        if self.wanted.log.is_some() {
            self.log_drops(turn);
        }
        // First, so that a client that has received a message finds it counted.
        self.add_counts(turn);
        // And the host told.
        if !turn.events.is_empty() {
            self.tell(turn);
            self.add_counts(turn);
        }
        // Before a client can have its acknowledgement: what it does next, such as stopping the broker, comes after.
        if !turn.woken.is_empty() {
            turn.woken.drain(..).for_each(|local| local.wake());
        }
        let wrote = !turn.dirty.is_empty();
        if wrote {
            let mut dirty = std::mem::take(&mut turn.dirty);
            for session in dirty.drain(..) {
                self.flush(turn, &session, false);
            }
            turn.dirty = dirty;
        }
        // What was written, and what made room for.
        let logs = self.wanted.log.is_some();
        if logs {
            self.log_drops(turn);
        }
        let told = logs || !turn.events.is_empty();
        if !turn.events.is_empty() {
            self.tell(turn);
        }
        if wrote || told {
            self.add_counts(turn);
        }
        turn.number += 1;
        if turn.number.is_multiple_of(SWEEP_EVERY) {
            turn.cache.forget_stale(&self.router);
        }
        HostBuffers::turn_ends();
        self.call_host(turn);
        self.host_buffers.give_back();
    }

    /// Runs code of the host, which may begin turns of its own.
    fn call_host(&self, turn: &mut Turn) {
        if !turn.called.is_empty() {
            let mut called = std::mem::take(&mut turn.called);
            for local in called.drain(..) {
                local.wake();
            }
            turn.called = called;
        }
        if !turn.told.is_empty() {
            let mut told = std::mem::take(&mut turn.told);
            for (waiter, safe) in told.drain(..) {
                waiter.tell(safe);
            }
            turn.told = told;
        }
    }

    fn add_counts(&self, turn: &mut Turn) {
        self.counters.add(&turn.counts);
        turn.counts = Counts::default();
    }

    /// Whether a session's client is to be read no more until it has taken what waits for it.
    pub fn must_pause(&self, session: &Session) -> bool {
        session.outbound.lock().must_pause(&self.options.limits)
    }

    /// Writes what waits in a session's outbox. `writable`: its connection has just become writable. Whether the
    /// connection took no more of what this call wrote.
    pub fn flush(&self, turn: &mut Turn, session: &Session, writable: bool) -> bool {
        session.flush(&mut self.context(turn, session), writable)
    }
}
