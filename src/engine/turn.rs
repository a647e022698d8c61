//! One turn: a bundle of packets, handled together and flushed together.

use std::ops::{Deref, DerefMut};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::panicking;

use crate::engine::core::Engine;
use crate::engine::local::Local;
use crate::engine::safe::{Safe, Waiter};
use crate::engine::subscriber::Subscriber;
use crate::engine::will::OwedWill;
use crate::message::Lent;
use crate::session::notice::Notice;
use crate::session::pool::Pool;
use crate::session::state::Session;
use crate::stats::Counts;
use crate::time::Time;
use crate::topics::MatchCache;

/// Topics whose matches a turn remembers.
const CACHED_TOPICS: usize = 1024;
/// Turns that wait for their next use.
const KEPT_TURNS: usize = 16;
/// After so many turns, the remembered matches are looked through for ended sessions.
const SWEEP_EVERY: u32 = 4096;

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
    pub(crate) notices: Vec<Notice>,
    /// Wills that the host is to look at, and that are published at the end.
    pub(crate) wills: Vec<OwedWill>,
    /// Those of the host's code, which is called when everything else is done.
    called: Vec<Arc<Local>>,
    told: Vec<(Arc<dyn Waiter>, Safe)>,
    turns: u32,
}

impl Turn {
    fn new() -> Turn {
        Turn {
            now: Time::ZERO,
            counts: Counts::default(),
            scratch: Vec::new(),
            pool: Pool::new(),
            cache: MatchCache::new(CACHED_TOPICS),
            dirty: Vec::new(),
            woken: Vec::new(),
            notices: Vec::new(),
            wills: Vec::new(),
            called: Vec::new(),
            told: Vec::new(),
            turns: 0,
        }
    }

    /// Has a session's outbox flushed at the end of the turn.
    pub(crate) fn flush_later(&mut self, session: &Arc<Session>) {
        self.dirty.push(Arc::clone(session));
    }

    /// Has an in-process subscriber woken at the end of the turn.
    pub(crate) fn wake_later(&mut self, local: &Arc<Local>) {
        let list = if local.is_direct() { &mut self.called } else { &mut self.woken };
        list.push(Arc::clone(local));
    }

    /// Has somebody told at the end of the turn whether a message is safe.
    pub(crate) fn tell_later(&mut self, waiter: Arc<dyn Waiter>, safe: Safe) {
        self.told.push((waiter, safe));
    }
}

/// A turn that is finished when it is dropped: counters are added to, outboxes written, sinks woken, the host called.
pub struct Running<'e> {
    engine: &'e Engine,
    turn: Option<Box<Turn>>,
    /// Whether the turn began while the thread was unwinding from a panic.
    unwinding: bool,
}

impl Deref for Running<'_> {
    type Target = Turn;
    #[allow(clippy::expect_used, reason = "the turn is there until the drop")]
    fn deref(&self) -> &Turn {
        self.turn.as_deref().expect("a running turn")
    }
}

impl DerefMut for Running<'_> {
    #[allow(clippy::expect_used, reason = "the turn is there until the drop")]
    fn deref_mut(&mut self) -> &mut Turn {
        self.turn.as_deref_mut().expect("a running turn")
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        if let Some(mut turn) = self.turn.take() {
            if panicking() && !self.unwinding {
                // A panic in the middle of the turn: whom it has dirtied is written to all the same, but the turn is
                // not used again. A second panic would be the host's end.
                let _written = catch_unwind(AssertUnwindSafe(|| self.engine.end_of_turn(&mut turn)));
                return;
            }
            self.engine.end_of_turn(&mut turn);
            let mut kept = self.engine.turns.lock();
            if kept.len() < KEPT_TURNS {
                kept.push(turn);
            }
        }
    }
}

impl Engine {
    /// Begins a turn at `now`. One may begin inside another on the same thread: a hook publishes.
    pub fn turn(&self, now: Time) -> Running<'_> {
        Lent::turn_begins();
        let kept = self.turns.lock().pop();
        let mut turn = kept.unwrap_or_else(|| Box::new(Turn::new()));
        turn.now = now;
        Running { engine: self, turn: Some(turn), unwinding: panicking() }
    }

    /// Writes what the turn has put into outboxes, and calls whom it concerns. The thread holds no lock.
    pub(crate) fn end_of_turn(&self, turn: &mut Turn) {
        if !turn.wills.is_empty() {
            self.publish_owed_wills(turn);
        }
        // First, so that a client that has received a message finds it counted.
        self.add_counts(turn);
        // And the host told.
        if !turn.notices.is_empty() {
            self.tell(turn);
        }
        let mut dirty = std::mem::take(&mut turn.dirty);
        for session in dirty.drain(..) {
            self.flush(turn, &session, false);
        }
        turn.dirty = dirty;
        let mut woken = std::mem::take(&mut turn.woken);
        for local in woken.drain(..) {
            local.wake();
        }
        turn.woken = woken;
        // What was written, and what made room for.
        if !turn.notices.is_empty() {
            self.tell(turn);
        }
        self.add_counts(turn);
        turn.turns = turn.turns.wrapping_add(1);
        if turn.turns.is_multiple_of(SWEEP_EVERY) {
            turn.cache.forget_stale(&self.router);
        }
        Lent::turn_ends();
        self.call_host(turn);
        self.lent.give_back();
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
        self.counters.add(&std::mem::take(&mut turn.counts));
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
