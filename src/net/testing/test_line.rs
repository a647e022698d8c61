//! The line between the broker and one client: a layer that loses, delays or duplicates packets, and the test's access
//! to it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock, Weak};

use crate::codec::frame::{self, Framing, split};
use crate::locks::Mutex;
use crate::net::link::StreamLink;
use crate::net::testing::faults::FaultAction;
use crate::net::testing::probe::{Probe, ProbeSlot};
use crate::net::testing::round::Ticket;
use crate::net::testing::test_net::TestNet;
use crate::net::transport::{Layer, LayerError, Raw};
use crate::session::link::{Link, Written};

/// The test's access to a connection.
pub(in crate::net) struct TestLine {
    net: Arc<TestNet>,
    probe: Arc<Probe>,
    link: OnceLock<Weak<StreamLink>>,
    /// Whether nothing more is sent.
    closed: AtomicBool,
    /// Delayed packets that are due.
    late: Mutex<Vec<u8>>,
}

/// The layer that splits the broker's bytes into packets and applies the faults to them.
pub(super) struct FaultLayer {
    line: Arc<TestLine>,
    /// The beginning of an incomplete packet.
    partial: Vec<u8>,
}

impl TestLine {
    pub(super) fn new(net: Arc<TestNet>) -> (Arc<TestLine>, ProbeSlot, FaultLayer) {
        let probe = Arc::new(Probe::default());
        let slot = ProbeSlot(Arc::clone(&probe));
        let line = Arc::new(TestLine {
            net,
            probe,
            link: OnceLock::new(),
            closed: AtomicBool::new(false),
            late: Mutex::default(),
        });
        let layer = FaultLayer { line: Arc::clone(&line), partial: Vec::new() };
        (line, slot, layer)
    }

    /// Sets the link that has the layer.
    pub(in crate::net) fn connect(&self, link: &Arc<StreamLink>) {
        // A line has only one link.
        let _connected = self.link.set(Arc::downgrade(link));
    }

    fn link(&self) -> Option<Arc<StreamLink>> {
        self.link.get().and_then(Weak::upgrade)
    }

    fn wake(&self) {
        if let Some(link) = self.link() {
            link.wake();
        }
    }

    /// Asks the connection's task to read, handle and write everything.
    pub(in crate::net) fn ask(&self, ticket: Ticket) {
        self.probe.ask(ticket);
        self.wake();
    }

    /// Whether this client is at the other end, and the connection is not ending.
    pub(super) fn is_of(&self, client_id: &str) -> bool {
        self.probe.client_id() == Some(client_id)
            && !self.is_closed()
            && self.link().is_some_and(|link| !link.is_finished())
    }

    /// Ends the connection with a reset.
    pub(super) fn cut(&self, ticket: Ticket) {
        self.closed.store(true, Ordering::Release);
        self.probe.cut();
        self.ask(ticket);
    }

    pub(super) fn pause(&self, pause: bool) {
        self.probe.pause(pause);
        self.wake();
    }

    /// Sends a delayed packet.
    pub(super) fn release(&self, packet: &[u8]) {
        let Some(link) = self.link().filter(|link| !link.is_finished()) else {
            return;
        };
        self.late.lock().extend_from_slice(packet);
        if link.flush() == Written::Blocked {
            // The connection's task waits until it is writable.
            link.wake();
        }
    }

    /// Takes the test's requests.
    pub(in crate::net) fn asked(&self) -> Vec<Ticket> {
        self.probe.take()
    }

    pub(in crate::net) fn is_cut(&self) -> bool {
        self.probe.is_cut()
    }

    pub(in crate::net) fn is_paused(&self) -> bool {
        self.probe.is_paused()
    }

    fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire) || self.net.has_crashed()
    }
}

impl FaultLayer {
    /// Passes on complete packets, subject to the faults.
    fn pass_on(&mut self, raw: &mut Raw) {
        let partial = std::mem::take(&mut self.partial);
        let mut at = 0;
        while let Some(Ok(Framing::Complete(frame))) = partial.get(at..).map(|rest| split(rest, u32::MAX)) {
            let packet = frame.whole;
            at += packet.len();
            let line = &self.line;
            let kind = frame::packet_type(frame.first);
            match line.net.verdict(line.probe.client_id(), kind, packet.len()) {
                FaultAction::Pass => raw.output.append(packet),
                FaultAction::Drop => {}
                FaultAction::Delay(by) => line.net.hold_back(by, Arc::downgrade(line), packet),
                FaultAction::Duplicate => {
                    raw.output.append(packet);
                    raw.output.append(packet);
                }
                FaultAction::Cut(keep) => {
                    raw.output.append(packet.get(..keep).unwrap_or(packet));
                    line.closed.store(true, Ordering::Release);
                    line.probe.cut();
                    line.wake();
                    return;
                }
            }
        }
        self.partial = partial.get(at..).unwrap_or_default().to_vec();
    }
}

impl Layer for FaultLayer {
    fn name(&self) -> &'static str {
        "faults"
    }

    fn read(&mut self, raw: &mut Raw, room: &mut [u8]) -> Result<usize, LayerError> {
        Ok(raw.input.take(room))
    }

    /// Takes everything; bytes on a closed line are lost.
    fn write(&mut self, bytes: &[u8], raw: &mut Raw) -> Result<usize, LayerError> {
        if !self.line.is_closed() {
            self.partial.extend_from_slice(bytes);
            self.pass_on(raw);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self, raw: &mut Raw) -> Result<(), LayerError> {
        let late = std::mem::take(&mut *self.line.late.lock());
        if !self.line.is_closed() {
            raw.output.append(&late);
        }
        Ok(())
    }

    fn pending_out(&self) -> usize {
        self.line.late.lock().len()
    }

    fn identify(&mut self, client_id: &str) {
        self.line.probe.identify(client_id);
    }
}
