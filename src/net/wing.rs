//! What all connections of a broker share: the engine, the clock, the number of connections.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

use parking_lot::{Condvar, Mutex};

use crate::engine::core::Engine;
use crate::net::later::{Flusher, Later};
use crate::net::testing::Testbed;
use crate::runtime::Clock;
use crate::session::notice::Level;
use crate::time::Time;

/// The MQTT wing of one broker.
pub struct Wing {
    engine: Arc<Engine>,
    clock: Clock,
    most: u32,
    open: AtomicU32,
    /// Connections whose clients are to be told of the end before the broker stops.
    attached: Mutex<u32>,
    /// Told when the last of them was.
    idle: Condvar,
    /// Of a broker in test mode.
    testbed: Option<Arc<Testbed>>,
    /// Where writing is put off.
    later: Option<Later>,
}

impl Wing {
    /// The wing of an engine; at most `most` connections at a time.
    pub fn new(engine: Arc<Engine>, clock: Clock, most: Option<u32>) -> Wing {
        let most = most.unwrap_or(u32::MAX);
        Wing {
            engine,
            clock,
            most,
            open: AtomicU32::new(0),
            attached: Mutex::new(0),
            idle: Condvar::new(),
            testbed: None,
            later: None,
        }
    }

    /// The same wing, whose connections all live on one thread; [`Wing::flusher`] is to be run there, too.
    pub fn on_one_thread(self) -> Wing {
        Wing { later: Some(Later::default()), ..self }
    }

    /// The task that writes what connections put off, if they do.
    pub fn flusher(self: &Arc<Self>) -> Option<Flusher> {
        self.later.as_ref().map(|_| Flusher::new(self))
    }

    /// The same wing in test mode.
    pub fn with_testbed(self, testbed: Arc<Testbed>) -> Wing {
        Wing { testbed: Some(testbed), ..self }
    }

    /// Waits until every connection that had a session has written its last packet, at most until `by`. Must not
    /// be called on a thread of the runtime.
    pub fn wait_until_told(&self, by: Instant) {
        let mut attached = self.attached.lock();
        while *attached > 0 {
            if self.idle.wait_until(&mut attached, by).timed_out() {
                return;
            }
        }
    }

    /// Counts a connection that has a session, until the result is dropped.
    pub(super) fn attach(self: &Arc<Self>) -> Attached {
        *self.attached.lock() += 1;
        Attached { wing: Arc::clone(self) }
    }

    /// The engine.
    pub(super) fn engine(&self) -> &Engine {
        &self.engine
    }

    /// The test bed, in test mode.
    pub(super) fn testbed(&self) -> Option<&Arc<Testbed>> {
        self.testbed.as_ref()
    }

    /// Where writing is put off.
    pub(super) fn later(&self) -> Option<&Later> {
        self.later.as_ref()
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
    pub(super) fn turned_away(&self, peer: Option<SocketAddr>, why: &str) {
        let mut turn = self.engine.turn(self.now());
        turn.counts.connections_refused += 1;
        self.engine.log(&mut turn, Level::Warn, None, || match peer {
            Some(peer) => format!("a connection from {peer} is turned away: {why}"),
            None => format!("a connection from this host is turned away: {why}"),
        });
    }

    /// Has a line logged.
    pub(super) fn log(&self, level: Level, text: impl FnOnce() -> String) {
        let mut turn = self.engine.turn(self.now());
        self.engine.log(&mut turn, level, None, text);
    }
}

/// How many connections a listener has and may have.
#[derive(Debug)]
pub struct Limit {
    name: Option<Arc<str>>,
    open: AtomicU32,
    most: u32,
}

impl Limit {
    /// At most so many, of the listener of this name; `None` is no limit, and no listener.
    pub fn new(name: Option<&str>, most: Option<u32>) -> Limit {
        Limit { name: name.map(Into::into), open: AtomicU32::new(0), most: most.unwrap_or(u32::MAX) }
    }

    /// Connections that it has.
    pub fn open(&self) -> u32 {
        self.open.load(Ordering::Acquire)
    }
}

impl Limit {
    /// The listener's name.
    pub(super) fn name(&self) -> &str {
        self.name.as_deref().unwrap_or_default()
    }
}

/// Why a connection is turned away for which there is no place.
pub(super) const FULL: &str = "there are as many connections as may be";

/// One connection's place; given back when it is dropped.
pub(super) struct Permit {
    wing: Arc<Wing>,
    listener: Arc<Limit>,
}

impl Permit {
    /// The name of the listener, if it came by one.
    pub(super) fn listener(&self) -> Option<&Arc<str>> {
        self.listener.name.as_ref()
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.listener.open.fetch_sub(1, Ordering::AcqRel);
        self.wing.open.fetch_sub(1, Ordering::AcqRel);
    }
}

/// A connection that has a session and has not written its last packet.
pub(super) struct Attached {
    wing: Arc<Wing>,
}

impl Drop for Attached {
    fn drop(&mut self) {
        let mut attached = self.wing.attached.lock();
        *attached -= 1;
        if *attached == 0 {
            self.wing.idle.notify_all();
        }
    }
}

fn take(open: &AtomicU32, most: u32) -> bool {
    open.fetch_update(Ordering::AcqRel, Ordering::Acquire, |now| (now < most).then_some(now + 1)).is_ok()
}
