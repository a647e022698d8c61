//! The stages at the end of a turn: its effects become visible, in an order that clients and the host rely on.

use crate::engine::core::state::Engine;
use crate::engine::core::turn::Turn;
use crate::engine::observe::mask::EventMask;
use crate::message::TurnMark;
use crate::stats::Counts;

/// Turns between two removals of ended sessions from the cached matches.
const SWEEP_EVERY: u64 = 4096;

impl Engine {
    /// Finishes a turn. The thread holds no lock. The order of the stages has reasons:
    ///
    /// 1. *Wills* that the host may change are published first: that fills outboxes and adds events and counts.
    /// 2. *The log of drops* reads the turn's counts, so it comes before they are added and cleared. Its lines are told
    ///    with the other events.
    /// 3. *Counters* are added before anything is sent: a client that has a message, and a hook that is told of it, find
    ///    it counted.
    /// 4. *Events* are told before the outboxes are written: when a client has its CONNACK or SUBACK, the host is
    ///    informed.
    /// 5. *In-process consumers* are woken before a client can have its acknowledgement, and so before the client's next
    ///    action, such as stopping the broker.
    /// 6. *Outboxes* are written. Deliveries that wait for the store are sent in between, once it has committed.
    /// 7. *Events of the writing* are told: messages that waited for room are delivered or dropped now.
    /// 8. *The turn is reset* for its next use.
    /// 9. *The host's code* is called: direct callbacks and durability waiters. It comes after everything else, because
    ///    it may take long and may begin turns.
    ///
    /// *Buffers of the host* are returned when the turn has been given back (`core/running.rs`): earlier stages may still
    /// use parts of them.
    pub(crate) fn finish(&self, turn: &mut Turn, mark: Option<TurnMark>) {
        self.publish_wills(turn);
        self.log_drops_if_wanted(turn);
        self.add_counts(turn);
        if self.tell_events(turn) {
            self.add_counts(turn);
        }
        self.wake_consumers(turn);
        let wrote = self.flush_outboxes(turn);
        self.tell_of_writing(turn, wrote);
        self.put_in_order(turn);
        drop(mark);
        self.call_host(turn);
    }

    #[inline]
    fn publish_wills(&self, turn: &mut Turn) {
        if !turn.wills.is_empty() {
            self.publish_owed_wills(turn);
        }
    }

    #[inline]
    fn log_drops_if_wanted(&self, turn: &mut Turn) {
        if self.events.wants(EventMask::LOG) {
            self.log_drops(turn);
        }
    }

    fn add_counts(&self, turn: &mut Turn) {
        self.counters.add(&turn.counts);
        turn.counts = Counts::default();
    }

    /// Tells the turn's events; returns whether there were any.
    #[inline]
    fn tell_events(&self, turn: &mut Turn) -> bool {
        let any = !turn.events.is_empty();
        if any {
            self.tell(turn);
        }
        any
    }

    fn wake_consumers(&self, turn: &mut Turn) {
        if !turn.woken.is_empty() {
            turn.woken.drain(..).for_each(|local| local.wake());
        }
    }

    /// Writes the outboxes; returns whether there were any.
    fn flush_outboxes(&self, turn: &mut Turn) -> bool {
        let any = !turn.dirty.is_empty();
        if any {
            self.flush_dirty(turn);
        }
        if !turn.holds.is_empty() {
            self.flush_held(turn);
        }
        any
    }

    #[cold]
    #[inline(never)]
    fn flush_held(&self, turn: &mut Turn) {
        while !turn.holds.is_empty() {
            self.await_holds(turn);
            self.flush_dirty(turn);
        }
    }

    #[inline(always)] // Every delivery passes through it; `flush_held` runs only with a store that keeps changes.
    fn flush_dirty(&self, turn: &mut Turn) {
        let mut dirty = std::mem::take(&mut turn.dirty);
        for session in dirty.drain(..) {
            self.flush(turn, &session, false);
        }
        turn.dirty = dirty;
    }

    fn tell_of_writing(&self, turn: &mut Turn, wrote: bool) {
        self.log_drops_if_wanted(turn);
        let told = self.tell_events(turn);
        if wrote || told {
            self.add_counts(turn);
        }
    }

    fn put_in_order(&self, turn: &mut Turn) {
        turn.number += 1;
        turn.work = 0;
        turn.slow = None;
        if turn.number.is_multiple_of(SWEEP_EVERY) {
            turn.cache.forget_stale(&self.router);
        }
    }

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
}
