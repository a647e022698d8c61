//! Messages of queues that sessions need back, until a thread reads them.

use std::collections::VecDeque;

use crate::locks::{Condvar, Mutex};
use crate::storage::ReadRequest;

/// Requests in their order. A session has one at a time.
#[derive(Debug, Default)]
pub(super) struct Reads {
    state: Mutex<Requests>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Requests {
    requests: VecDeque<ReadRequest>,
    /// Numbers below this one are committed.
    committed: u64,
    closed: bool,
}

impl Requests {
    /// Takes the first request of which everything is committed.
    fn take(&mut self) -> Option<ReadRequest> {
        let is_ready = |request: &ReadRequest| request.numbers.iter().all(|number| *number < self.committed);
        let place = self.requests.iter().position(is_ready)?;
        self.requests.remove(place)
    }
}

impl Reads {
    /// Adds a request.
    pub(super) fn put(&self, request: ReadRequest) {
        self.state.lock().requests.push_back(request);
        self.changed.notify_all();
    }

    /// Numbers below `to` are committed now.
    pub(super) fn committed(&self, to: u64) {
        let mut state = self.state.lock();
        state.committed = to;
        let waits = !state.requests.is_empty();
        drop(state);
        if waits {
            self.changed.notify_all();
        }
    }

    /// Takes a request that can be read now.
    pub(super) fn take(&self) -> Option<ReadRequest> {
        self.state.lock().take()
    }

    /// Waits for a request that can be read; `None` at the end.
    pub(super) fn wait(&self) -> Option<ReadRequest> {
        let mut state = self.state.lock();
        while !state.closed {
            if let Some(request) = state.take() {
                return Some(request);
            }
            self.changed.wait(&mut state);
        }
        None
    }

    /// Nothing is read any more.
    pub(super) fn close(&self) {
        self.state.lock().closed = true;
        self.changed.notify_all();
    }
}
