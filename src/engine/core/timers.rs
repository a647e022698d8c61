//! The timers of the engine: one wheel, and one alarm for its next deadline.

use std::sync::{Arc, Weak};

use crate::engine::access::hooks::DecisionSlot;
use crate::locks::Mutex;
use crate::session::epoch::Epoch;
use crate::session::held_acks::HoldId;
use crate::session::link::Link;
use crate::session::state::Session;
use crate::time::{Time, TimerId, Wheel};

/// Tells the runtime that the next deadline has become earlier.
pub trait Alarm: Send + Sync {
    /// Asks the runtime to call [`Engine::tick`](crate::engine::core::state::Engine::tick) at `at`, or soon after.
    fn set(&self, at: Time);
}

/// The action of a timer.
#[derive(Clone)]
pub enum Timer {
    /// Closes a connection that has sent no CONNECT. `unread`: bytes that it had sent by its deadline were to be read first.
    ConnectDeadline {
        /// The connection.
        link: Weak<dyn Link>,
        /// Whether this is the second time.
        unread: bool,
    },
    /// Checks the Keep Alive of a client. The number is that of the connection.
    KeepAlive(Weak<Session>, Epoch),
    /// Ends the session of an offline client. The number is that of the last connection.
    SessionExpiry(Weak<Session>, Epoch),
    /// Publishes a delayed will. The number is that of the last connection.
    Will(Weak<Session>, Epoch),
    /// Ends the wait of a publisher's acknowledgements for a subscriber.
    Hold(Weak<Session>, HoldId),
    /// Denies an overdue decision.
    Decision {
        /// What is decided.
        slot: Weak<DecisionSlot>,
        /// When it is overdue. A timer that comes much later was kept by a broker that did not run.
        due: Time,
    },
    /// Publishes the `$SYS` topics.
    Sys,
    /// Removes expired retained messages.
    Sweep,
    /// Logs dropped messages.
    Drops,
}

/// The wheel, and the time that the alarm is set to.
pub struct Timers {
    inner: Mutex<Inner>,
    alarm: Arc<dyn Alarm>,
}

struct Inner {
    wheel: Wheel<Timer>,
    armed: Time,
}

impl Timers {
    /// An empty wheel.
    pub fn new(alarm: Arc<dyn Alarm>) -> Timers {
        Timers { inner: Mutex::new(Inner { wheel: Wheel::new(Time::ZERO), armed: Time::NEVER }), alarm }
    }

    /// An empty wheel with the same alarm, which does not round deadlines.
    pub fn exact(self) -> Timers {
        let inner = Inner { wheel: Wheel::exact(Time::ZERO), armed: Time::NEVER };
        Timers { inner: Mutex::new(inner), alarm: self.alarm }
    }

    /// Adds a timer, due at `at` rounded up to the tick of the wheel.
    pub fn insert(&self, at: Time, timer: Timer) -> TimerId {
        let mut inner = self.inner.lock();
        let id = inner.wheel.insert(at, timer);
        let nearer = at < inner.armed;
        if nearer {
            inner.armed = at;
        }
        drop(inner);
        if nearer {
            self.alarm.set(at);
        }
        id
    }

    /// Asks the runtime to tick at once, although no timer may be due.
    pub fn ring(&self, now: Time) {
        self.alarm.set(now);
    }

    /// Cancels a timer.
    pub fn cancel(&self, id: TimerId) {
        self.inner.lock().wheel.cancel(id);
    }

    /// The number of running timers.
    pub fn len(&self) -> usize {
        self.inner.lock().wheel.len()
    }

    /// Whether no timer runs.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(super) fn due(&self, now: Time) -> Vec<Timer> {
        let mut due = Vec::new();
        self.inner.lock().wheel.advance(now, &mut due);
        due
    }

    pub(super) fn next(&self) -> Option<Time> {
        let mut inner = self.inner.lock();
        let next = inner.wheel.next_deadline();
        inner.armed = next.unwrap_or(Time::NEVER);
        next
    }
}
