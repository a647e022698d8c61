//! A turn that runs, and what is done at its end.

use std::ops::{Deref, DerefMut};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::panicking;

use parking_lot::{MappedMutexGuard, Mutex, MutexGuard};

use crate::engine::core::state::Engine;
use crate::engine::core::turn::Turn;
use crate::message::HostBuffers;
use crate::session::state::Session;
use crate::stats::Counts;
use crate::time::Time;

/// After so many turns, the remembered matches are looked through for ended sessions.
const SWEEP_EVERY: u64 = 4096;

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
        engine.end_groups(turn);
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
            self.flush_dirty(turn);
        }
        while !turn.holds.is_empty() {
            self.await_holds(turn);
            self.flush_dirty(turn);
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

    fn flush_dirty(&self, turn: &mut Turn) {
        let mut dirty = std::mem::take(&mut turn.dirty);
        for session in dirty.drain(..) {
            self.flush(turn, &session, false);
        }
        turn.dirty = dirty;
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
    pub fn flush(&self, turn: &mut Turn, session: &Arc<Session>, writable: bool) -> bool {
        let full = session.flush(&mut self.context(turn, session), writable);
        if self.recorder.is_kept() {
            Engine::note_holds(turn, session, &mut session.outbound.lock());
        }
        full
    }
}
