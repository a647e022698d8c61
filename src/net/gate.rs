//! What a listener's task is to do: accept, pause, or end.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll, Waker};

use crate::locks::{Condvar, Mutex};

/// The state of a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ListenerState {
    /// It accepts connections.
    Accepting,
    /// New connections wait with the system until it accepts again.
    Paused,
    /// It is closed.
    Stopped,
}

impl ListenerState {
    /// The state in one word.
    pub fn name(self) -> &'static str {
        match self {
            ListenerState::Accepting => "accepting",
            ListenerState::Paused => "paused",
            ListenerState::Stopped => "stopped",
        }
    }
}

/// The wanted state of a listener, which its task looks at.
#[derive(Debug, Default)]
pub(super) struct Gate {
    state: AtomicU8,
    waker: Mutex<Option<Waker>>,
    is_closed: Mutex<bool>,
    closed: Condvar,
}

/// Says that the socket is closed when this is dropped, also by a panic.
#[derive(Debug)]
pub(super) struct Closing(pub Arc<Gate>);

impl Drop for Closing {
    fn drop(&mut self) {
        *self.0.is_closed.lock() = true;
        self.0.closed.notify_all();
    }
}

const ACCEPTING: u8 = 0;
const PAUSED: u8 = 1;
const STOPPED: u8 = 2;

impl Gate {
    pub(super) fn state(&self) -> ListenerState {
        match self.state.load(Ordering::Acquire) {
            ACCEPTING => ListenerState::Accepting,
            PAUSED => ListenerState::Paused,
            _ => ListenerState::Stopped,
        }
    }

    /// Changes the state. One that is stopped stays so.
    pub(super) fn set(&self, state: ListenerState) {
        let next = match state {
            ListenerState::Accepting => ACCEPTING,
            ListenerState::Paused => PAUSED,
            ListenerState::Stopped => STOPPED,
        };
        let changes = |now| (now != STOPPED).then_some(next);
        let _stopped = self.state.fetch_update(Ordering::AcqRel, Ordering::Acquire, changes);
        let waker = self.waker.lock().take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Lets go of the waker of a task that has ended: it keeps the runtime's descriptors.
    pub(super) fn forget_task(&self) {
        self.waker.lock().take();
    }

    /// Ready when the listener is stopped. The task is woken when the state changes.
    pub(super) fn poll_stopped(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut registered = self.waker.lock();
        if !registered.as_ref().is_some_and(|known| known.will_wake(cx.waker())) {
            *registered = Some(cx.waker().clone());
        }
        drop(registered);
        // After the registration, so that no change is missed.
        match self.state() {
            ListenerState::Stopped => Poll::Ready(()),
            _ => Poll::Pending,
        }
    }

    /// Waits until the socket is closed. A channel of the standard library would leave a handle of the host's thread.
    pub(super) fn wait_closed(&self) {
        let mut is_closed = self.is_closed.lock();
        while !*is_closed {
            self.closed.wait(&mut is_closed);
        }
    }

    pub(super) fn is_accepting(&self) -> bool {
        self.state() == ListenerState::Accepting
    }
}
