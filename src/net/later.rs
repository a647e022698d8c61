//! Outboxes that are written when every connection that was ready has been read: what several clients have sent to one
//! goes in one write.
//!
//! Where one thread runs all tasks in the order in which they became ready, the task here is behind all connections that
//! were ready with the one that wakes it. Where several threads do, it would be a detour: there, nothing is put off.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, Waker};

use parking_lot::Mutex;

use crate::engine::turn::Turn;
use crate::net::wing::Wing;
use crate::session::state::Session;

/// The sessions that are still to be written to.
#[derive(Default)]
pub(super) struct Later {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    sessions: VecDeque<Arc<Session>>,
    waker: Option<Waker>,
}

impl Later {
    /// Takes over from a turn what may wait until the other connections have been read.
    pub(super) fn take_over(&self, turn: &mut Turn) {
        let mut state = self.state.lock();
        let were = state.sessions.len();
        turn.put_off(&mut state.sessions);
        if were == 0 && !state.sessions.is_empty() {
            state.waker.iter().for_each(Waker::wake_by_ref);
        }
    }
}

/// The task that writes them.
pub struct Flusher {
    wing: Weak<Wing>,
    /// Those that are being written to; empty otherwise.
    sessions: VecDeque<Arc<Session>>,
}

impl Flusher {
    /// The task of this wing.
    pub(super) fn new(wing: &Arc<Wing>) -> Flusher {
        Flusher { wing: Arc::downgrade(wing), sessions: VecDeque::new() }
    }

    /// Writes to each; who has caused a panic is left out, and the others are gone on with.
    fn flush(&mut self, wing: &Wing) {
        while !self.sessions.is_empty() {
            let sessions = &mut self.sessions;
            let _flushed = catch_unwind(AssertUnwindSafe(|| {
                let mut turn = wing.engine().turn(wing.now());
                while let Some(session) = sessions.pop_front() {
                    wing.engine().flush(&mut turn, &session, false);
                }
            }));
        }
    }
}

impl Future for Flusher {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let Some(wing) = self.wing.upgrade() else {
            return Poll::Ready(());
        };
        if let Some(later) = wing.later() {
            let mut state = later.state.lock();
            if !state.waker.as_ref().is_some_and(|known| known.will_wake(cx.waker())) {
                state.waker = Some(cx.waker().clone());
            }
            std::mem::swap(&mut state.sessions, &mut self.sessions);
        }
        self.flush(&wing);
        Poll::Pending
    }
}
