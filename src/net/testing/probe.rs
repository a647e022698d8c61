//! What the test says to the task of a connection or of a listener, and how it learns that the task has done so.

use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;

use crate::net::testing::round::Ticket;

/// One task's ear.
#[derive(Default)]
pub(super) struct Probe {
    asked: Mutex<Asked>,
    /// Who the client is, once it has a session.
    client_id: OnceLock<Box<str>>,
    /// The connection is to be cut.
    cut: AtomicBool,
    /// The client is not to be read.
    paused: AtomicBool,
}

#[derive(Default)]
struct Asked {
    tickets: Vec<Ticket>,
    gone: bool,
}

impl Probe {
    /// Has the task do what there is to do at once. Whoever calls wakes the task.
    pub(super) fn ask(&self, ticket: Ticket) {
        let mut asked = self.asked.lock();
        if !asked.gone {
            asked.tickets.push(ticket);
        }
    }

    /// What was asked for; to be dropped when it is done.
    pub(super) fn take(&self) -> Vec<Ticket> {
        std::mem::take(&mut self.asked.lock().tickets)
    }

    pub(super) fn identify(&self, client_id: &str) {
        // A connection has one client in its life.
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

/// Held by the task: when it ends, nobody waits for it any more.
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
