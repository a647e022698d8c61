//! The state shared by all connections of a broker: the engine, the clock, the connection limits.

use std::sync::Arc;
use std::time::Instant;

use crate::engine::core::state::Engine;
use crate::engine::parts::origin::{Origin, Way};
use crate::locks::{Condvar, Mutex};
#[cfg(feature = "tls")]
use crate::net::certificates::Certificates;
use crate::net::flush_queue::{FlushQueue, Flusher};
use crate::net::handshake_steps::{HandshakeSteps, StepTurn};
use crate::net::link::StreamLink;
use crate::net::places::{ListenerLimit, NewPlace, Places};
use crate::net::testing::TestNet;
use crate::net::transport::{LayerError, MakeLayers};
use crate::net::waiting::Waiting;
use crate::runtime::Clock;
use crate::session::event::Level;
use crate::session::link::Cause;
use crate::session::peer::Peer;
use crate::time::Time;

/// The MQTT server of one broker.
pub struct Server {
    engine: Arc<Engine>,
    clock: Clock,
    places: Arc<Places>,
    /// Connections that have sent no CONNECT.
    waiting: Waiting,
    /// Connections whose clients are to be told of the end before the broker stops.
    attached: Mutex<u32>,
    /// Notified when `attached` has become 0.
    idle: Condvar,
    /// The test network, in test mode.
    test_net: Option<Arc<TestNet>>,
    /// The flush queue, if all connections run on one thread.
    flush_queue: Option<FlushQueue>,
    steps: HandshakeSteps,
    #[cfg(feature = "tls")]
    certificates: Certificates,
}

impl Server {
    /// The wing of an engine; at most `most` clients at a time, and `most_pending` connections without a CONNECT.
    pub fn new(engine: Arc<Engine>, clock: Clock, most: Option<u32>, most_pending: Option<u32>) -> Server {
        Server {
            engine,
            clock,
            places: Arc::new(Places::new(most, most_pending)),
            waiting: Waiting::default(),
            attached: Mutex::new(0),
            idle: Condvar::new(),
            test_net: None,
            flush_queue: None,
            steps: HandshakeSteps::default(),
            #[cfg(feature = "tls")]
            certificates: Certificates::default(),
        }
    }

    /// The limit of a listener of this name; without one, of connections that come by none.
    pub fn limit(&self, name: Option<&str>, most: Option<u32>) -> Arc<ListenerLimit> {
        Arc::new(ListenerLimit::new(&self.places, name, most))
    }

    /// The same wing, whose connections all live on one thread; [`Server::flusher`] is to be run there, too.
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
            if self.idle.wait_for(&mut attached, by.saturating_duration_since(Instant::now())).timed_out() {
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

    /// The certificates of the listeners.
    #[cfg(feature = "tls")]
    pub(super) fn certificates(&self) -> &Certificates {
        &self.certificates
    }

    #[cfg(not(feature = "tls"))]
    pub(super) fn note_secured(&self, _limit: &ListenerLimit, secured: &std::convert::Infallible) {
        match *secured {}
    }

    /// A new connection's turn for costly steps of its handshake.
    pub(super) fn step_turn(&self) -> StepTurn {
        StepTurn::new(self.test_net.is_none().then(|| self.steps.clone()))
    }

    /// The current time.
    pub(super) fn now(&self) -> Time {
        self.clock.now()
    }

    /// Counts and logs a connection that was refused.
    pub(super) fn turned_away(&self, peer: Option<Peer>, why: &str) {
        let mut turn = self.engine.turn(self.now());
        turn.counts.connections_refused += 1;
        self.engine.log(&mut turn, Level::Warn, None, || match peer {
            Some(peer) => format!("a connection from {peer} is refused: {why}"),
            None => format!("a connection from this host is refused: {why}"),
        });
    }

    /// Notes a connection that is to send its CONNECT.
    pub(super) fn await_connect(&self, link: &Arc<StreamLink>) {
        self.waiting.add(link);
    }

    /// Ends the oldest connection that has sent no CONNECT; `None` if there is none.
    fn end_oldest(&self) -> Option<()> {
        // One whose CONNECT comes just now stays.
        while !self.waiting.take_oldest()?.expire_if(true, Cause::ConnectionLost) {}
        let mut turn = self.engine.turn(self.now());
        turn.counts.connections_refused += 1;
        self.engine.log(&mut turn, Level::Warn, None, || {
            format!("the oldest connection without a CONNECT is closed: {FULL}")
        });
        Some(())
    }

    /// Ends the connections of a listener that is stopped.
    pub(super) fn end_connections_of(&self, limit: &Arc<ListenerLimit>) {
        // First, so that no client of it is let in behind those that are disconnected.
        limit.end();
        for link in self.waiting.of(limit) {
            link.expire_if(true, Cause::Kicked);
        }
        if let Some(name) = limit.name() {
            self.engine.end_clients_of(&mut self.engine.turn(self.now()), name);
        }
    }

    /// Counts a connection that was closed in its handshake. `why`: `None` if that is counted already, and it was ended
    /// for the cause `ended`.
    pub(super) fn closed_in_handshake(
        &self,
        limit: &ListenerLimit,
        origin: &Origin,
        why: Option<&LayerError>,
        ended: Cause,
    ) {
        let ended = match ended {
            Cause::ConnectTimeout => "its handshake was not complete in time (mqtt.connect_timeout)",
            Cause::Kicked => "its listener was stopped",
            _ => "another connection needed its place (mqtt.max_pending_connections)",
        };
        match why {
            Some(why) => limit.tally().fail(&why.to_string()),
            None => limit.tally().fail(ended),
        }
        let mut turn = self.engine.turn(self.now());
        turn.counts.connections_refused += u64::from(why.is_some());
        self.engine.log(&mut turn, Level::Warn, None, || {
            let number = origin.number;
            match why {
                Some(why) => format!("connection {number} {origin} is closed during its handshake: {why}"),
                None => format!("connection {number} {origin} is closed: {ended}"),
            }
        });
    }

    /// Logs a line.
    pub(super) fn log(&self, level: Level, text: impl FnOnce() -> String) {
        let mut turn = self.engine.turn(self.now());
        self.engine.log(&mut turn, level, None, text);
    }
}

/// Why a connection is turned away for which there is no place.
pub(super) const FULL: &str = "too many connections have sent no CONNECT (mqtt.max_pending_connections)";

/// The server and the listener's limit. The connections of a listener share it, so that each holds one pointer.
pub(super) struct ConnectionLimits {
    pub server: Arc<Server>,
    pub limit: Arc<ListenerLimit>,
    /// The layers of its connections; `None` is plain MQTT.
    pub layers: Option<MakeLayers>,
}

impl ConnectionLimits {
    /// A place for one more connection, which may be that of the oldest one without a CONNECT; `None` if the
    /// limit is reached and CONNECT has come from all of them.
    pub(super) fn permit(self: &Arc<Self>) -> Option<(ConnectionPermit, NewPlace)> {
        let place = loop {
            if let Some(place) = NewPlace::take(&self.limit) {
                break place;
            }
            self.server.end_oldest()?;
        };
        Some((ConnectionPermit { limits: Arc::clone(self) }, place))
    }
}

/// One connection's way to what all share.
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

    /// The limit of its listener.
    pub(super) fn limit(&self) -> &ListenerLimit {
        &self.limits.limit
    }

    /// How the connection came, if it was accepted by a listener.
    pub(super) fn way(&self) -> Option<&Arc<Way>> {
        self.limits.limit.way()
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
