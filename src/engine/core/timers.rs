//! Everything that happens at a time: one wheel, and one alarm for its next deadline.

use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use crate::engine::access::hooks::DecisionSlot;
use crate::session::link::Link;
use crate::session::state::Session;
use crate::time::{Time, TimerId, Wheel};

/// Tells the runtime that the next deadline is nearer than it knew.
pub trait Alarm: Send + Sync {
    /// The engine wants [`Engine::tick`] to be called at `at`, or soon after.
    fn set(&self, at: Time);
}

/// What is to happen.
#[derive(Clone)]
pub enum Timer {
    /// A connection that sent no CONNECT is closed. `unread`: what it had sent by its deadline was to be read first.
    ConnectDeadline {
        /// The connection.
        link: Weak<dyn Link>,
        /// Whether this is the second time.
        unread: bool,
    },
    /// A client's silence is measured. The number is the connection's.
    KeepAlive(Weak<Session>, u32),
    /// An absent session ends. The number is the last connection's.
    SessionExpiry(Weak<Session>, u32),
    /// A delayed will is published. The number is the last connection's.
    Will(Weak<Session>, u32),
    /// A decision of the host is overdue.
    Decision(Weak<DecisionSlot>),
    /// `$SYS` topics are published.
    Sys,
    /// Expired retained messages are removed.
    Sweep,
    /// The log tells of dropped messages.
    Drops,
}

/// The wheel, and the time for which the alarm is set.
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

    /// The same without its timers, and with a wheel that rounds no deadline.
    pub fn exact(self) -> Timers {
        let inner = Inner { wheel: Wheel::exact(Time::ZERO), armed: Time::NEVER };
        Timers { inner: Mutex::new(inner), alarm: self.alarm }
    }

    /// Has something happen at `at`, at the wheel's coarseness later.
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

    /// Takes a timer back.
    pub fn cancel(&self, id: TimerId) {
        self.inner.lock().wheel.cancel(id);
    }

    /// Timers that run.
    pub fn len(&self) -> usize {
        self.inner.lock().wheel.len()
    }

    /// Whether none runs.
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
