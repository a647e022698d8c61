//! A test's requests to the task of a connection or a listener, and their completion.

use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::locks::Mutex;
use crate::net::testing::round::Ticket;

/// A test's access to one task.
#[derive(Default)]
pub(super) struct Probe {
    asked: Mutex<Asked>,
    /// The Client Identifier, once the client has a session.
    client_id: OnceLock<Box<str>>,
    /// Whether the connection must be cut.
    cut: AtomicBool,
    /// Whether reading from the client is paused.
    paused: AtomicBool,
}

#[derive(Default)]
struct Asked {
    tickets: Vec<Ticket>,
    gone: bool,
}

impl Probe {
    /// Asks the task to do all pending work at once. The caller wakes the task.
    pub(super) fn ask(&self, ticket: Ticket) {
        let mut asked = self.asked.lock();
        if !asked.gone {
            asked.tickets.push(ticket);
        }
    }

    /// Takes the tickets of the requests; they are dropped when the work is done.
    pub(super) fn take(&self) -> Vec<Ticket> {
        std::mem::take(&mut self.asked.lock().tickets)
    }

    pub(super) fn identify(&self, client_id: &str) {
        // A connection has only one client.
        let _known = self.client_id.set(client_id.into());
    }

    pub(super) fn client_id(&self) -> Option<&str> {
        self.client_id.get().map(|id| &**id)
    }

    pub(super) fn cut(&self) {
        self.cut.store(true, Ordering::Release);
    }

    pub(super) fn is_cut(&self) -> bool {
        self.cut.load(Ordering::Acquire)
    }

    pub(super) fn pause(&self, pause: bool) {
        self.paused.store(pause, Ordering::Release);
    }

    pub(super) fn is_paused(&self) -> bool {
        self.paused.load(Ordering::Acquire)
    }
}

/// Held by the task: its drop answers all requests.
pub(in crate::net) struct ProbeSlot(pub(super) Arc<Probe>);

impl Drop for ProbeSlot {
    fn drop(&mut self) {
        let mut asked = self.0.asked.lock();
        asked.gone = true;
        let tickets = std::mem::take(&mut asked.tickets);
        drop(asked);
        drop(tickets);
    }
}
