//! The test network of one broker: its lines, listeners, faults and clock.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use crate::codec::reason::ReasonCode;
use crate::engine::core::state::Engine;
use crate::locks::{Condvar, Mutex};
use crate::net::testing::fault::Fault;
use crate::net::testing::faults::{FaultAction, Faults};
use crate::net::testing::probe::{Probe, ProbeSlot};
use crate::net::testing::pulse::Pulse;
use crate::net::testing::round::{Round, Ticket};
use crate::net::testing::test_line::TestLine;
use crate::net::transport::Layer;
use crate::runtime::Clock;
use crate::time::Time;

/// Lines kept before those of ended connections are removed.
const LINES: usize = 64;

/// The test network of a broker.
pub struct TestNet {
    clock: Clock,
    faults: Faults,
    pulse: Pulse,
    lines: Mutex<Vec<Weak<TestLine>>>,
    listeners: Mutex<Vec<Arc<TestListener>>>,
    held_back: Mutex<HeldBack>,
    /// Whether a thread moves the clock; others wait.
    advancing: Mutex<bool>,
    advanced: Condvar,
    /// Whether the broker has crashed: nothing is sent to clients any more.
    crashed: AtomicBool,
}

/// What else happens while the time moves.
pub trait Beside {
    /// The time at which something is due next.
    fn next_due(&self) -> Option<Time>;

    /// Returns when everything is done that can be done at this time.
    fn catch_up(&self);
}

/// Delayed packets, by the time at which they are due.
#[derive(Default)]
struct HeldBack {
    packets: BTreeMap<(Time, u64), (Weak<TestLine>, Vec<u8>)>,
    last: u64,
}

impl TestNet {
    /// A test network with a clock that is moved by hand.
    pub fn new(clock: Clock) -> TestNet {
        TestNet {
            clock,
            faults: Faults::default(),
            pulse: Pulse::default(),
            lines: Mutex::default(),
            listeners: Mutex::default(),
            held_back: Mutex::default(),
            advancing: Mutex::new(false),
            advanced: Condvar::new(),
            crashed: AtomicBool::new(false),
        }
    }

    /// Cuts every connection at once: nothing more is sent, no DISCONNECT either. Returns when the broker has handled
    /// that.
    pub fn crash(&self) {
        self.crashed.store(true, Ordering::Release);
        let lines = self.lines();
        Round::ask(|ticket| lines.into_iter().for_each(|line| line.cut(ticket.clone())));
    }

    /// Begins another life of the broker, after the first has ended with all its connections. Faults stay.
    pub fn begin_life(&self) {
        self.lines.lock().clear();
        self.listeners.lock().clear();
        self.held_back.lock().packets.clear();
        self.crashed.store(false, Ordering::Release);
    }

    pub(super) fn has_crashed(&self) -> bool {
        self.crashed.load(Ordering::Acquire)
    }

    /// Adds a fault; returns its number. `None` if there are too many.
    pub fn inject(&self, fault: Fault) -> Option<u64> {
        self.faults.add(fault)
    }

    /// How often a fault has struck; `None` if there is no fault with this number.
    pub fn hits(&self, fault: u64) -> Option<u64> {
        self.faults.hits(fault)
    }

    /// Removes a fault; returns whether it existed. Delayed packets stay delayed.
    pub fn clear(&self, fault: u64) -> bool {
        let cleared = self.faults.remove(fault);
        self.pulse.beat();
        cleared
    }

    /// Removes all faults, and resumes reading from paused clients.
    pub fn clear_all(&self) {
        self.faults.clear();
        self.lines().iter().for_each(|line| line.pause(false));
        self.pulse.beat();
    }

    /// The reason to refuse a client with, if a fault does.
    pub fn refuses(&self, client_id: &str) -> Option<ReasonCode> {
        let refused = self.faults.refuses(client_id);
        if refused.is_some() {
            self.pulse.beat();
        }
        refused
    }

    /// Resets the client's connection, and waits until the broker has handled that; false if it has none.
    pub fn cut(&self, client_id: &str) -> bool {
        let lines = self.lines_of(client_id);
        let any = !lines.is_empty();
        Round::ask(|ticket| lines.into_iter().for_each(|line| line.cut(ticket.clone())));
        any
    }

    /// Pauses or resumes reading from the client; false if it has no connection.
    pub fn pause(&self, client_id: &str, pause: bool) -> bool {
        let lines = self.lines_of(client_id);
        lines.iter().for_each(|line| line.pause(pause));
        !lines.is_empty()
    }

    /// Reports a change to waiting threads.
    pub fn beat(&self) {
        self.pulse.beat();
    }

    /// Calls `look` now and after each change until it finds something, at most for `timeout` of real time.
    pub fn wait<T>(&self, timeout: Option<Duration>, look: impl FnMut() -> Option<T>) -> Option<T> {
        let by = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        self.pulse.wait(by, look)
    }

    /// Advances the broker's time. Everything due in between happens in order and at its time. When this returns, all
    /// packets that clients had sent are handled, and all packets to them are written, as far as they take them. A
    /// broker that stops goes no farther. Must not be called on a thread of the broker.
    pub fn advance(&self, engine: &Engine, by: Duration, beside: &dyn Beside) {
        let _turn = self.take_turn();
        self.settle(beside);
        let target = self.clock.now().plus(by);
        let next = || self.next(engine).into_iter().chain(beside.next_due()).min();
        while let Some(at) = next().filter(|at| *at <= target && !engine.is_stopping()) {
            self.clock.move_to(at);
            let now = self.clock.now();
            engine.tick(now);
            self.release_due(now);
            beside.catch_up();
        }
        self.clock.move_to(target);
        self.settle(beside);
    }

    /// Moves the time on while there is no broker.
    pub fn pass(&self, by: Duration) {
        let _turn = self.take_turn();
        self.clock.move_to(self.clock.now().plus(by));
    }

    /// Waits until no thread moves the clock. One that begins later finds that the broker stops.
    pub fn await_advance(&self) {
        drop(self.take_turn());
    }

    /// Waits until every connection of a client is accepted and everything that clients have sent is handled. Must not
    /// be called on a thread of the broker.
    pub fn settle(&self, beside: &dyn Beside) {
        let listeners = self.listeners.lock().clone();
        Round::ask(|ticket| listeners.iter().for_each(|listener| listener.ask(ticket.clone())));
        Round::ask(|ticket| self.lines().iter().for_each(|line| line.ask(ticket.clone())));
        beside.catch_up();
    }

    /// A line for a new connection, the slot of its task, and the layer with its faults.
    pub(in crate::net) fn line(self: &Arc<Self>) -> (Arc<TestLine>, ProbeSlot, Box<dyn Layer>) {
        let (line, slot, layer) = TestLine::new(Arc::clone(self));
        let mut lines = self.lines.lock();
        if lines.len() >= LINES && lines.len() == lines.capacity() {
            lines.retain(|line| line.strong_count() > 0);
        }
        lines.push(Arc::downgrade(&line));
        (line, slot, Box::new(layer))
    }

    /// The test's access to a listener, and the slot of its task.
    pub(in crate::net) fn listener(&self) -> (Arc<TestListener>, ProbeSlot) {
        let probe = Arc::new(Probe::default());
        let listener = Arc::new(TestListener { probe: Arc::clone(&probe), requested: Notify::new() });
        self.listeners.lock().push(Arc::clone(&listener));
        (listener, ProbeSlot(probe))
    }

    /// What happens to a packet to a client.
    pub(super) fn verdict(&self, client_id: Option<&str>, kind: u8, len: usize) -> FaultAction {
        let verdict = self.faults.verdict(client_id, kind, len);
        if verdict != FaultAction::Pass {
            self.pulse.beat();
        }
        verdict
    }

    /// Delays a packet.
    pub(super) fn hold_back(&self, by: Duration, line: Weak<TestLine>, packet: &[u8]) {
        let mut held_back = self.held_back.lock();
        held_back.last += 1;
        let place = (self.clock.now().plus(by), held_back.last);
        held_back.packets.insert(place, (line, packet.to_vec()));
    }

    /// Sends the packets that are due.
    fn release_due(&self, now: Time) {
        while let Some((line, packet)) = self.first_before(now) {
            if let Some(line) = line.upgrade() {
                line.release(&packet);
            }
        }
    }

    fn first_before(&self, now: Time) -> Option<(Weak<TestLine>, Vec<u8>)> {
        let mut held_back = self.held_back.lock();
        let first = held_back.packets.first_entry()?;
        (first.key().0 <= now).then(|| first.remove())
    }

    /// The time at which something is due next.
    fn next(&self, engine: &Engine) -> Option<Time> {
        let late = self.held_back.lock().packets.first_key_value().map(|((at, _), _)| *at);
        engine.next_tick().into_iter().chain(late).min()
    }

    fn lines(&self) -> Vec<Arc<TestLine>> {
        self.lines.lock().iter().filter_map(Weak::upgrade).collect()
    }

    fn lines_of(&self, client_id: &str) -> Vec<Arc<TestLine>> {
        self.lines().into_iter().filter(|line| line.is_of(client_id)).collect()
    }

    fn take_turn(&self) -> Advancing<'_> {
        let mut advancing = self.advancing.lock();
        while *advancing {
            self.advanced.wait(&mut advancing);
        }
        *advancing = true;
        Advancing(self)
    }
}

/// The right to move the clock.
struct Advancing<'b>(&'b TestNet);

impl Drop for Advancing<'_> {
    fn drop(&mut self) {
        *self.0.advancing.lock() = false;
        self.0.advanced.notify_one();
    }
}

/// A test's access to a listener: it may ask it to accept all waiting connections.
pub(in crate::net) struct TestListener {
    probe: Arc<Probe>,
    requested: Notify,
}

impl TestListener {
    fn ask(&self, ticket: Ticket) {
        self.probe.ask(ticket);
        self.requested.notify_one();
    }

    /// Waits until a test asks.
    pub(in crate::net) fn requested(&self) -> impl Future<Output = ()> {
        self.requested.notified()
    }

    /// Takes the test's requests.
    pub(in crate::net) fn asked(&self) -> Vec<Ticket> {
        self.probe.take()
    }
}
