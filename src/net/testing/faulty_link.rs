//! The line between the broker and one client, on which packets are lost, late or doubled.

use std::io::IoSlice;
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use crate::codec::frame::{self, Framing, split};
use crate::net::link::StreamLink;
use crate::net::testing::faults::FaultAction;
use crate::net::testing::probe::{Probe, ProbeSlot};
use crate::net::testing::round::Ticket;
use crate::net::testing::test_net::TestNet;
use crate::session::link::{Cause, Link, Written};

/// A link that takes everything, cuts it into packets, and passes on what the faults leave of it.
pub(in crate::net) struct FaultyLink {
    me: Weak<FaultyLink>,
    inner: Arc<StreamLink>,
    bed: Arc<TestNet>,
    probe: Arc<Probe>,
    flow: Mutex<Flow>,
}

#[derive(Default)]
struct Flow {
    /// The beginning of a packet, the rest of which has not been written.
    partial: Vec<u8>,
    /// Whole packets to be written, but for what was written of the first.
    ready: Vec<u8>,
    /// Whether a thread has taken what was ready and writes it.
    busy: bool,
    /// Whether nothing more goes through.
    closed: bool,
    /// Why the link ends when the thread that writes has written.
    ending: Option<Cause>,
}

impl FaultyLink {
    pub(super) fn new(inner: Arc<StreamLink>, bed: Arc<TestNet>) -> (Arc<FaultyLink>, ProbeSlot) {
        let probe = Arc::new(Probe::default());
        let seat = ProbeSlot(Arc::clone(&probe));
        let line =
            Arc::new_cyclic(|me| FaultyLink { me: me.clone(), inner, bed, probe, flow: Mutex::default() });
        (line, seat)
    }

    /// Has the connection's task read, handle and write what there is.
    pub(in crate::net) fn ask(&self, ticket: Ticket) {
        self.probe.ask(ticket);
        self.inner.wake();
    }

    /// Whether this client is at the other end, and not on its way out.
    pub(super) fn is_of(&self, client_id: &str) -> bool {
        self.probe.client_id() == Some(client_id) && !self.flow.lock().closed
    }

    /// Ends the connection with a reset.
    pub(super) fn cut(&self, ticket: Ticket) {
        self.flow.lock().closed = true;
        self.probe.cut();
        self.ask(ticket);
    }

    pub(super) fn pause(&self, pause: bool) {
        self.probe.pause(pause);
        self.inner.wake();
    }

    /// Sends a packet that was held back.
    pub(super) fn release(&self, packet: &[u8]) {
        let mut flow = self.flow.lock();
        if !flow.closed {
            flow.ready.extend_from_slice(packet);
            drop(flow);
            // What the socket does not take now, the connection's task writes.
            let _later = self.flush();
        }
    }

    /// What the test has asked for.
    pub(in crate::net) fn asked(&self) -> Vec<Ticket> {
        self.probe.take()
    }

    pub(in crate::net) fn is_cut(&self) -> bool {
        self.probe.is_cut()
    }

    pub(in crate::net) fn is_paused(&self) -> bool {
        self.probe.is_paused()
    }

    /// Whether something waits until the socket is writable.
    pub(in crate::net) fn waits(&self) -> bool {
        let flow = self.flow.lock();
        !flow.busy && !flow.ready.is_empty()
    }

    /// Writes what is ready; what stopped it.
    pub(in crate::net) fn flush(&self) -> Result<(), Written> {
        loop {
            let mut flow = self.flow.lock();
            if flow.busy || flow.ready.is_empty() {
                return Ok(());
            }
            flow.busy = true;
            let mut bytes = std::mem::take(&mut flow.ready);
            drop(flow);
            let outcome = self.write_out(&mut bytes);
            let mut flow = self.flow.lock();
            flow.busy = false;
            match outcome {
                Ok(()) => {}
                Err(Written::Gone) => {
                    flow.closed = true;
                    flow.ready = Vec::new();
                }
                Err(_) => {
                    bytes.append(&mut flow.ready);
                    flow.ready = bytes;
                }
            }
            if let Some(cause) = flow.ending.take() {
                let last = std::mem::take(&mut flow.ready);
                drop(flow);
                self.inner.finish(last, cause);
                return outcome;
            }
            drop(flow);
            if outcome.is_err() {
                // The connection's task waits until it is writable, or finds it broken.
                self.inner.wake();
                return outcome;
            }
        }
    }

    /// Writes until the socket takes no more; what is written is gone from `bytes`.
    fn write_out(&self, bytes: &mut Vec<u8>) -> Result<(), Written> {
        let mut written = 0;
        let outcome = loop {
            let rest = bytes.get(written..).unwrap_or_default();
            if rest.is_empty() {
                break Ok(());
            }
            match self.inner.write(&[IoSlice::new(rest)]) {
                Written::Bytes(0) => break Err(Written::Gone),
                Written::Bytes(count) => written += count,
                stopped => break Err(stopped),
            }
        };
        bytes.drain(..written);
        outcome
    }

    /// Passes whole packets on, or does to them what the faults say; whether the connection is to be cut.
    fn pass_on(&self, flow: &mut Flow) -> bool {
        let partial = std::mem::take(&mut flow.partial);
        let mut at = 0;
        while let Some(Ok(Framing::Complete(frame))) = partial.get(at..).map(|rest| split(rest, u32::MAX)) {
            let packet = frame.whole;
            at += packet.len();
            match self.bed.verdict(self.probe.client_id(), frame::packet_type(frame.first), packet.len()) {
                FaultAction::Pass => flow.ready.extend_from_slice(packet),
                FaultAction::Drop => {}
                FaultAction::Delay(by) => self.bed.hold_back(by, self.me.clone(), packet),
                FaultAction::Duplicate => {
                    flow.ready.extend_from_slice(packet);
                    flow.ready.extend_from_slice(packet);
                }
                FaultAction::Cut(keep) => {
                    flow.ready.extend_from_slice(packet.get(..keep).unwrap_or(packet));
                    flow.closed = true;
                    return true;
                }
            }
        }
        flow.partial = partial.get(at..).unwrap_or_default().to_vec();
        false
    }
}

impl Link for FaultyLink {
    fn write(&self, buffers: &[IoSlice<'_>]) -> Written {
        if let Err(stopped) = self.flush() {
            return stopped;
        }
        let mut flow = self.flow.lock();
        let cut = !flow.closed && {
            buffers.iter().for_each(|buffer| flow.partial.extend_from_slice(buffer));
            self.pass_on(&mut flow)
        };
        drop(flow);
        // What the socket does not take now, the connection's task writes.
        let _later = self.flush();
        if cut {
            self.probe.cut();
            self.inner.wake();
        }
        Written::Bytes(buffers.iter().map(|buffer| buffer.len()).sum())
    }

    fn identify(&self, client_id: &str) {
        self.probe.identify(client_id);
    }

    fn wake(&self) {
        self.inner.wake();
    }

    fn finish(&self, last: Vec<u8>, cause: Cause) {
        let mut flow = self.flow.lock();
        let mut cut = false;
        if !flow.closed {
            flow.partial.extend_from_slice(&last);
            cut = self.pass_on(&mut flow);
            flow.closed = true;
        }
        if cut {
            drop(flow);
            let _lost = self.flush();
            self.probe.cut();
            return self.inner.finish(Vec::new(), cause);
        }
        if flow.busy {
            flow.ending = Some(cause);
            return;
        }
        let last = std::mem::take(&mut flow.ready);
        drop(flow);
        self.inner.finish(last, cause);
    }
}
