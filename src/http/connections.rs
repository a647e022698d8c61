//! The open connections of the console and their limit. At the limit, an idle connection without a login gives way.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use crate::locks::{Condvar, Mutex};
use tokio::sync::Notify;

/// The open connections.
pub(super) struct OpenConnections {
    state: Mutex<Open>,
    most: usize,
    none: Condvar,
}

#[derive(Default)]
struct Open {
    /// Connections that hold a place, in the order in which they were accepted.
    held: BTreeMap<u64, Arc<ConnectionState>>,
    next: u64,
    /// Connections that have not ended, also those that gave way.
    running: usize,
}

/// What a connection's place depends on.
#[derive(Default)]
pub(super) struct ConnectionState {
    /// Whether a request had valid credentials.
    has_login: AtomicBool,
    /// Whether a request is being answered.
    is_busy: AtomicBool,
    gives_way: Notify,
}

impl ConnectionState {
    /// Records valid credentials.
    pub(super) fn logged_in(&self) {
        self.has_login.store(true, Ordering::Relaxed);
    }

    /// Records whether a request is being answered.
    pub(super) fn set_busy(&self, is_busy: bool) {
        self.is_busy.store(is_busy, Ordering::Relaxed);
    }

    /// Waits until the connection must give way to another.
    pub(super) async fn given_way(&self) {
        self.gives_way.notified().await;
    }

    fn may_give_way(&self) -> bool {
        !self.has_login.load(Ordering::Relaxed) && !self.is_busy.load(Ordering::Relaxed)
    }
}

/// One connection's share of `console.max_connections`; dropping it frees the share.
pub(super) struct ConnectionSlot {
    open: Arc<OpenConnections>,
    number: u64,
    /// The state of the connection.
    pub state: Arc<ConnectionState>,
}

impl OpenConnections {
    /// None, and at most `most`.
    pub(super) fn new(most: usize) -> Arc<OpenConnections> {
        Arc::new(OpenConnections { state: Mutex::default(), most, none: Condvar::new() })
    }

    /// Waits until every connection has ended, at most until `by`.
    pub(super) fn wait_for_none(&self, by: Instant) {
        let mut open = self.state.lock();
        while open.running > 0 {
            if self.none.wait_for(&mut open, by.saturating_duration_since(Instant::now())).timed_out() {
                return;
            }
        }
    }
}

impl ConnectionSlot {
    /// A place for a new connection, perhaps that of the oldest idle one without a login.
    pub(super) fn take(connections: &Arc<OpenConnections>) -> Option<ConnectionSlot> {
        let mut open = connections.state.lock();
        if open.held.len() >= connections.most {
            let idle = open.held.iter().find(|(_, state)| state.may_give_way()).map(|(number, _)| *number);
            open.held.remove(&idle?)?.gives_way.notify_one();
        }
        let (number, state) = (open.next, Arc::new(ConnectionState::default()));
        open.next += 1;
        open.running += 1;
        open.held.insert(number, Arc::clone(&state));
        Some(ConnectionSlot { open: Arc::clone(connections), number, state })
    }
}

impl Drop for ConnectionSlot {
    fn drop(&mut self) {
        let mut open = self.open.state.lock();
        open.held.remove(&self.number);
        open.running -= 1;
        if open.running == 0 {
            self.open.none.notify_all();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{ConnectionSlot, OpenConnections};

    #[test]
    fn the_oldest_idle_connection_without_a_login_gives_way() {
        let open = OpenConnections::new(3);
        let take = || ConnectionSlot::take(&open);
        let slots: Vec<_> = (0..3).map(|_| take().unwrap()).collect();
        slots[0].state.logged_in();
        slots[1].state.set_busy(true);
        let fourth = take().unwrap();
        let numbers = || open.state.lock().held.keys().copied().collect::<Vec<_>>();
        assert_eq!((numbers(), open.state.lock().running), (vec![0, 1, 3], 4));
        fourth.state.logged_in();
        assert!(take().is_none());
        slots[1].state.set_busy(false);
        let _fifth = take().unwrap();
        assert_eq!(numbers(), [0, 3, 4]);
        drop(slots);
        assert_eq!((numbers(), open.state.lock().running), (vec![3, 4], 2));
    }
}
