//! What all connections of a broker share: the engine, the clock, the number of connections.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

use parking_lot::{Condvar, Mutex};

use crate::engine::core::Engine;
use crate::runtime::Clock;
use crate::time::Time;

/// The MQTT wing of one broker.
pub struct Wing {
    engine: Arc<Engine>,
    clock: Clock,
    most: u32,
    open: AtomicU32,
    /// Told when the last connection has ended; the lock guards nothing but the waiting.
    idle: Condvar,
    none: Mutex<()>,
}

impl Wing {
    /// The wing of an engine; at most `most` connections at a time.
    pub fn new(engine: Arc<Engine>, clock: Clock, most: Option<u32>) -> Wing {
        let most = most.unwrap_or(u32::MAX);
        Wing { engine, clock, most, open: AtomicU32::new(0), idle: Condvar::new(), none: Mutex::new(()) }
    }

    /// Waits until no connection is open, at most until `by`. Must not be called on a thread of the runtime.
    pub fn wait_until_idle(&self, by: Instant) {
        let mut none = self.none.lock();
        while self.open.load(Ordering::Acquire) > 0 {
            if self.idle.wait_until(&mut none, by).timed_out() {
                return;
            }
        }
    }

    /// The engine.
    pub(super) fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Now.
    pub(super) fn now(&self) -> Time {
        self.clock.now()
    }

    /// Leave for one more connection; `None` if there are as many as may be, here or at the listener.
    pub(super) fn permit(self: &Arc<Self>, listener: &Arc<Limit>) -> Option<Permit> {
        if !take(&self.open, self.most) {
            return None;
        }
        if !take(&listener.open, listener.most) {
            self.open.fetch_sub(1, Ordering::AcqRel);
            return None;
        }
        Some(Permit { wing: Arc::clone(self), listener: Arc::clone(listener) })
    }

    /// Counts a connection that was turned away.
    pub(super) fn turned_away(&self) {
        let mut turn = self.engine.turn(self.now());
        turn.counts.connections_refused += 1;
    }
}

/// How many connections a listener has and may have.
pub(super) struct Limit {
    open: AtomicU32,
    most: u32,
}

impl Limit {
    pub(super) fn new(most: Option<u32>) -> Limit {
        Limit { open: AtomicU32::new(0), most: most.unwrap_or(u32::MAX) }
    }
}

/// One connection's place; given back when it is dropped.
pub(super) struct Permit {
    wing: Arc<Wing>,
    listener: Arc<Limit>,
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.listener.open.fetch_sub(1, Ordering::AcqRel);
        if self.wing.open.fetch_sub(1, Ordering::AcqRel) == 1 {
            let _none = self.wing.none.lock();
            self.wing.idle.notify_all();
        }
    }
}

fn take(open: &AtomicU32, most: u32) -> bool {
    open.fetch_update(Ordering::AcqRel, Ordering::Acquire, |now| (now < most).then_some(now + 1)).is_ok()
}
