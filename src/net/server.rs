//! The state shared by all connections of a broker: the engine, the clock, the connection limits.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

use parking_lot::{Condvar, Mutex};

use crate::engine::core::state::Engine;
use crate::engine::parts::origin::Origin;
use crate::net::flush_queue::{FlushQueue, Flusher};
use crate::net::testing::TestNet;
use crate::net::transport::{LayerError, MakeLayers};
use crate::runtime::Clock;
use crate::session::event::Level;
use crate::time::Time;

/// The MQTT server of one broker.
pub struct Server {
    engine: Arc<Engine>,
    clock: Clock,
    most: u32,
    open: AtomicU32,
    /// The number of connections that must write a last packet before the broker stops.
    attached: Mutex<u32>,
    /// Notified when `attached` has become 0.
    idle: Condvar,
    /// The test network, in test mode.
    test_net: Option<Arc<TestNet>>,
    /// The flush queue, if all connections run on one thread.
    flush_queue: Option<FlushQueue>,
}

impl Server {
    /// The server of an engine, with at most `most` connections at a time.
    pub fn new(engine: Arc<Engine>, clock: Clock, most: Option<u32>) -> Server {
        let most = most.unwrap_or(u32::MAX);
        Server {
            engine,
            clock,
            most,
            open: AtomicU32::new(0),
            attached: Mutex::new(0),
            idle: Condvar::new(),
            test_net: None,
            flush_queue: None,
        }
    }

    /// The same server, with a flush queue: all connections and [`Server::flusher`] run on one thread.
    pub fn on_one_thread(self) -> Server {
        Server { flush_queue: Some(FlushQueue::default()), ..self }
    }

    /// The task of the flush queue, if there is one.
    pub fn flusher(self: &Arc<Self>) -> Option<Flusher> {
        self.flush_queue.as_ref().map(|_| Flusher::new(self))
    }

    /// The same server in test mode.
    pub fn with_test_net(self, test_net: Arc<TestNet>) -> Server {
        Server { test_net: Some(test_net), ..self }
    }

    /// Waits until every connection with a session has written its last packet, at most until `by`. Must not be called
    /// on a thread of the runtime.
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

    /// The test network, in test mode.
    pub(super) fn test_net(&self) -> Option<&Arc<TestNet>> {
        self.test_net.as_ref()
    }

    /// The flush queue, if all connections run on one thread.
    pub(super) fn flush_queue(&self) -> Option<&FlushQueue> {
        self.flush_queue.as_ref()
    }

    /// The current time.
    pub(super) fn now(&self) -> Time {
        self.clock.now()
    }

    /// Counts and logs a connection that was refused.
    pub(super) fn turned_away(&self, peer: Option<SocketAddr>, why: &str) {
        let mut turn = self.engine.turn(self.now());
        turn.counts.connections_refused += 1;
        self.engine.log(&mut turn, Level::Warn, None, || match peer {
            Some(peer) => format!("a connection from {peer} is refused: {why}"),
            None => format!("a connection from this host is refused: {why}"),
        });
    }

    /// Logs a connection that was closed during its handshake, and counts it. `why` is `None` at the deadline, where it
    /// is counted already.
    pub(super) fn closed_in_handshake(&self, origin: &Origin, why: Option<&LayerError>) {
        let mut turn = self.engine.turn(self.now());
        turn.counts.connections_refused += u64::from(why.is_some());
        self.engine.log(&mut turn, Level::Warn, None, || {
            let number = origin.number;
            match why {
                Some(why) => format!("connection {number} {origin} is closed during its handshake: {why}"),
                None => format!(
                    "connection {number} {origin} is closed: its handshake was not complete in time \
                     (mqtt.connect_timeout)"
                ),
            }
        });
    }

    /// Logs a line.
    pub(super) fn log(&self, level: Level, text: impl FnOnce() -> String) {
        let mut turn = self.engine.turn(self.now());
        self.engine.log(&mut turn, level, None, text);
    }
}

/// The number of a listener's connections, and its limit.
#[derive(Debug)]
pub struct ListenerLimit {
    name: Option<Arc<str>>,
    open: AtomicU32,
    most: u32,
}

impl ListenerLimit {
    /// A limit of `most` connections for the listener `name`; `None` is no limit and no listener.
    pub fn new(name: Option<&str>, most: Option<u32>) -> ListenerLimit {
        ListenerLimit { name: name.map(Into::into), open: AtomicU32::new(0), most: most.unwrap_or(u32::MAX) }
    }

    /// The number of open connections.
    pub fn open(&self) -> u32 {
        self.open.load(Ordering::Acquire)
    }
}

impl ListenerLimit {
    /// The listener's name.
    pub(super) fn name(&self) -> &str {
        self.name.as_deref().unwrap_or_default()
    }
}

/// Why a connection is refused when a connection limit is reached.
pub(super) const FULL: &str = "connection limit reached (mqtt.max_connections or listener.*.max_connections)";

/// The server and the listener's limit. The connections of a listener share it, so that each holds one pointer.
pub(super) struct ConnectionLimits {
    pub server: Arc<Server>,
    pub limit: Arc<ListenerLimit>,
    /// The layers of its connections; `None` is plain MQTT.
    pub layers: Option<MakeLayers>,
}

impl ConnectionLimits {
    /// A permit for one more connection; `None` if the limit of the server or of the listener is reached.
    pub(super) fn permit(self: &Arc<Self>) -> Option<ConnectionPermit> {
        if !take(&self.server.open, self.server.most) {
            return None;
        }
        if !take(&self.limit.open, self.limit.most) {
            self.server.open.fetch_sub(1, Ordering::AcqRel);
            return None;
        }
        Some(ConnectionPermit { limits: Arc::clone(self) })
    }
}

/// The permit of one connection; it is returned when dropped.
pub(super) struct ConnectionPermit {
    limits: Arc<ConnectionLimits>,
}

impl ConnectionPermit {
    /// The server that gave it.
    pub(super) fn server(&self) -> &Arc<Server> {
        &self.limits.server
    }

    /// The layers of the listener's connections, if it has any.
    pub(super) fn layers(&self) -> Option<&MakeLayers> {
        self.limits.layers.as_ref()
    }

    /// The name of the listener, if the connection was accepted by one.
    pub(super) fn listener(&self) -> Option<&Arc<str>> {
        self.limits.limit.name.as_ref()
    }
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        self.limits.limit.open.fetch_sub(1, Ordering::AcqRel);
        self.limits.server.open.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Whether a connection is counted as one that must write a last packet. It holds no pointer to the server, to be
/// small: its owner calls [`Farewell::end`], at the latest when the owner is dropped.
#[derive(Default)]
pub(super) struct Farewell(bool);

impl Farewell {
    /// Counts the connection, if it is not counted yet.
    pub(super) fn begin(&mut self, server: &Server) {
        if !self.0 {
            *server.attached.lock() += 1;
            self.0 = true;
        }
    }

    /// Ends the counting of the connection, if it is counted.
    pub(super) fn end(&mut self, server: &Server) {
        if !std::mem::take(&mut self.0) {
            return;
        }
        let mut attached = server.attached.lock();
        *attached -= 1;
        if *attached == 0 {
            server.idle.notify_all();
        }
    }
}

fn take(open: &AtomicU32, most: u32) -> bool {
    open.fetch_update(Ordering::AcqRel, Ordering::Acquire, |now| (now < most).then_some(now + 1)).is_ok()
}
