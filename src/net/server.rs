//! What all connections of a broker share: the engine, the clock, the number of connections.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

use parking_lot::{Condvar, Mutex};

use crate::engine::core::state::Engine;
use crate::net::flush_queue::{Flusher, Later};
use crate::net::testing::Testbed;
use crate::runtime::Clock;
use crate::session::event::Level;
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

/// Where connections come in: the wing, and the limit of the listener. They share it, so that each holds one pointer.
pub(super) struct Gate {
    pub wing: Arc<Wing>,
    pub limit: Arc<Limit>,
}

impl Gate {
    /// Leave for one more connection; `None` if there are as many as may be, here or at the listener.
    pub(super) fn permit(self: &Arc<Self>) -> Option<Permit> {
        if !take(&self.wing.open, self.wing.most) {
            return None;
        }
        if !take(&self.limit.open, self.limit.most) {
            self.wing.open.fetch_sub(1, Ordering::AcqRel);
            return None;
        }
        Some(Permit { gate: Arc::clone(self) })
    }
}

/// One connection's place; given back when it is dropped.
pub(super) struct Permit {
    gate: Arc<Gate>,
}

impl Permit {
    /// The wing that gave it.
    pub(super) fn wing(&self) -> &Arc<Wing> {
        &self.gate.wing
    }

    /// The name of the listener, if it came by one.
    pub(super) fn listener(&self) -> Option<&Arc<str>> {
        self.gate.limit.name.as_ref()
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.gate.limit.open.fetch_sub(1, Ordering::AcqRel);
        self.gate.wing.open.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Whether a connection is counted as one that has a session and has not written its last packet. It names no wing, to be
/// small: who has it ends it, at last when it is dropped itself.
#[derive(Default)]
pub(super) struct Attached(bool);

impl Attached {
    /// Counts the connection, if it is not counted.
    pub(super) fn begin(&mut self, wing: &Wing) {
        if !self.0 {
            *wing.attached.lock() += 1;
            self.0 = true;
        }
    }

    /// Counts it no longer, if it is counted.
    pub(super) fn end(&mut self, wing: &Wing) {
        if !std::mem::take(&mut self.0) {
            return;
        }
        let mut attached = wing.attached.lock();
        *attached -= 1;
        if *attached == 0 {
            wing.idle.notify_all();
        }
    }
}

fn take(open: &AtomicU32, most: u32) -> bool {
    open.fetch_update(Ordering::AcqRel, Ordering::Acquire, |now| (now < most).then_some(now + 1)).is_ok()
}
