//! A running turn, and its end.

use std::ops::{Deref, DerefMut};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::panicking;

use crate::engine::core::other_turns::OtherTurn;
use crate::engine::core::state::Engine;
use crate::engine::core::turn::Turn;
use crate::locks::{MappedMutexGuard, Mutex, MutexGuard};
use crate::message::{HostBuffers, TurnMark};
use crate::session::state::{Mark, Session};
use crate::time::Time;

/// A running turn. [`Running::finish`] runs the stages of `core/finish.rs`.
///
/// Dropping it does the same: most turns are temporaries of one call, and an early return must not lose the contents of
/// outboxes. A drop during a panic also contains further panics.
#[must_use = "a turn that is dropped at once is finished before anything is done in it"]
pub struct Running<'e> {
    turn: TurnSlot<'e>,
    /// Says until the end that this thread may hold locks.
    mark: Option<TurnMark>,
    /// Whether the turn began while the thread was unwinding from a panic.
    unwinding: bool,
    /// Dropped after the turn is given back: what it calls may wait for turns.
    engine: TurnEngine<'e>,
}

/// The engine of a turn. Dropping it returns the buffers of the host that the turn has done with.
struct TurnEngine<'e>(&'e Engine);

impl Drop for TurnEngine<'_> {
    #[inline]
    fn drop(&mut self) {
        self.0.host_buffers.give_back();
    }
}

/// The storage of a running turn.
enum TurnSlot<'e> {
    /// A slot of the engine, which keeps the turn for its next use.
    Kept(MappedMutexGuard<'e, Turn>),
    /// A turn of its own, because all slots were in use.
    Own { turn: Box<Turn>, _runs: OtherTurn<'e> },
}

impl Deref for Running<'_> {
    type Target = Turn;
    #[inline]
    fn deref(&self) -> &Turn {
        match &self.turn {
            TurnSlot::Kept(turn) => turn,
            TurnSlot::Own { turn, .. } => turn,
        }
    }
}

impl DerefMut for Running<'_> {
    #[inline]
    fn deref_mut(&mut self) -> &mut Turn {
        match &mut self.turn {
            TurnSlot::Kept(turn) => turn,
            TurnSlot::Own { turn, .. } => turn,
        }
    }
}

impl Running<'_> {
    /// Ends the turn: tells events, writes outboxes, calls the host. The thread must hold no lock.
    pub fn finish(self) {
        drop(self);
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        let engine = self.engine.0;
        let panics = panicking() && !self.unwinding;
        let mark = self.mark.take();
        let turn = &mut **self;
        if !panics {
            return engine.finish(turn, mark);
        }
        engine.end_groups(turn);
        // After a panic in the middle of the turn its outboxes are still written, but its caches are not used
        // again. A second panic would abort the host program.
        let _written = catch_unwind(AssertUnwindSafe(|| engine.finish(turn, mark)));
        let _dropped = catch_unwind(AssertUnwindSafe(|| *turn = Turn::new()));
    }
}

impl Engine {
    /// Begins a turn at `now`. It must not be held while another turn is begun on the same thread.
    pub fn turn(&self, now: Time) -> Running<'_> {
        self.begin(self.place(), now)
    }

    /// As [`Engine::turn`], for a call of the host; `None` once the broker stops. A stop that has begun by then waits for
    /// the turn, and one that begins later finds it ([`Engine::await_turns`]).
    #[inline(always)] // Publishing passes through it: a turn that is returned once is moved once.
    pub fn host_turn(&self, now: Time) -> Option<Running<'_>> {
        let turn = self.place();
        // With the turn taken: otherwise a stop could come in between.
        if self.is_stopping() {
            return None;
        }
        Some(self.begin(turn, now))
    }

    #[inline(always)] // As `host_turn`.
    fn begin<'e>(&'e self, mut turn: TurnSlot<'e>, now: Time) -> Running<'e> {
        let mark = Some(HostBuffers::turn_begins());
        match &mut turn {
            TurnSlot::Kept(turn) => turn.now = now,
            TurnSlot::Own { turn, .. } => turn.now = now,
        }
        Running { turn, mark, unwinding: panicking(), engine: TurnEngine(self) }
    }

    /// Waits until every turn has ended that runs now, with the calls of the host in it. Must not be called in one.
    pub fn await_turns(&self) {
        self.turns.iter().for_each(|place| drop(place.lock()));
        self.other_turns.wait_for_none();
    }

    #[inline(always)] // As `host_turn`.
    fn place(&self) -> TurnSlot<'_> {
        // The first free slot: its cached matches are most likely current and in the processor's cache.
        match self.turns.iter().find_map(Mutex::try_lock) {
            Some(place) => {
                TurnSlot::Kept(MutexGuard::map(place, |turn| &mut **turn.get_or_insert_with(Turn::boxed)))
            }
            // A turn in a hook of another one of these does not wait for a thread that waits for both.
            None => TurnSlot::Own { turn: Turn::boxed(), _runs: self.other_turns.begin() },
        }
    }

    /// Whether reading from a session's client must pause until it has taken the bytes that wait for it.
    pub fn must_pause(&self, session: &Session) -> bool {
        session.outbound.lock().must_pause(&self.options.limits)
    }

    /// Writes a session's outbox. `writable`: its connection has just become writable. Returns whether this call has
    /// found the connection full.
    #[inline(always)] // As `flush_dirty`.
    pub fn flush(&self, turn: &mut Turn, session: &Arc<Session>, writable: bool) -> bool {
        let full = session.flush(&mut self.context(turn, session), writable);
        if self.recorder.is_kept() {
            Engine::note_holds_of_flush(turn, session);
        }
        match session.is_marked(Mark::WALKS.and(Mark::AWAITED)) {
            true => self.flush_marked(turn, session, full),
            false => full,
        }
    }

    /// Does what the marks of a session say after a flush: lets publishers go on, sends retained messages and writes them,
    /// as long as the connection takes them. `full`: it took no more. Whether it takes no more.
    #[cold]
    #[inline(never)]
    fn flush_marked(&self, turn: &mut Turn, session: &Arc<Session>, mut full: bool) -> bool {
        if session.is_marked(Mark::AWAITED) {
            self.release_publishers(turn, session);
        }
        while !full && session.is_marked(Mark::WALKS) && self.walk_retained(turn, session) {
            full = session.flush(&mut self.context(turn, session), false);
            if self.recorder.is_kept() {
                Engine::note_holds_of_flush(turn, session);
            }
        }
        full
    }

    #[cold]
    #[inline(never)]
    fn note_holds_of_flush(turn: &mut Turn, session: &Arc<Session>) {
        Engine::note_holds(turn, session, &mut session.outbound.lock());
    }
}
