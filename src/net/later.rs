//! Outboxes that are written when every connection that was ready has been read: what several clients have sent to one
//! goes in one write. And what goes to very many is written a few at a time, so that others have their turns in between.
//!
//! Where one thread runs all tasks in the order in which they became ready, the task here is behind all connections that
//! were ready with the one that wakes it. Where several threads do, it would be a detour: there, nothing is put off.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, Waker};

use parking_lot::Mutex;
use tokio::task::yield_now;

use crate::engine::turn::Turn;
use crate::net::wing::Wing;
use crate::session::state::Session;

/// So many sessions are written to before the sockets are looked at again: a tenth of a millisecond or two.
const SLICE: usize = 64;

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
    /// Takes over from a turn what may wait until the other connections have been read. Whether that is so much that
    /// who has caused it is to wait until it is written.
    pub(super) fn take_over(&self, turn: &mut Turn) -> bool {
        let mut state = self.state.lock();
        let were = state.sessions.len();
        turn.put_off(SLICE, &mut state.sessions);
        if were == 0 && !state.sessions.is_empty() {
            state.waker.iter().for_each(Waker::wake_by_ref);
        }
        state.sessions.len() - were > SLICE
    }

    /// Whether more waits to be written than is written at once.
    pub(super) fn is_behind(&self) -> bool {
        self.state.lock().sessions.len() > SLICE
    }
}

/// Lets the others have their turn: the task goes on when they have been polled and the sockets looked at.
pub(super) fn let_others(cx: &mut Context<'_>) {
    // Polled once, it has the task woken at the right time.
    let _later = pin!(yield_now()).poll(cx);
}

/// The task that writes them.
pub struct Flusher {
    wing: Weak<Wing>,
}

impl Flusher {
    /// The task of this wing.
    pub(super) fn new(wing: &Arc<Wing>) -> Flusher {
        Flusher { wing: Arc::downgrade(wing) }
    }
}

/// Writes to a slice of the sessions. Who has caused a panic is left out, and the others are gone on with.
fn write_slice(wing: &Wing, later: &Later) {
    let mut left = SLICE;
    while left > 0 {
        let flushed = catch_unwind(AssertUnwindSafe(|| {
            let mut turn = wing.engine().turn(wing.now());
            while left > 0 {
                let Some(session) = later.state.lock().sessions.pop_front() else {
                    left = 0;
                    return;
                };
                left -= 1;
                wing.engine().flush(&mut turn, &session, false);
            }
        }));
        if flushed.is_ok() {
            return;
        }
    }
}

impl Future for Flusher {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let Some(wing) = self.wing.upgrade() else {
            return Poll::Ready(());
        };
        let Some(later) = wing.later() else {
            return Poll::Ready(());
        };
        write_slice(&wing, later);
        let mut state = later.state.lock();
        if !state.waker.as_ref().is_some_and(|known| known.will_wake(cx.waker())) {
            state.waker = Some(cx.waker().clone());
        }
        if !state.sessions.is_empty() {
            drop(state);
            let_others(cx);
        }
        Poll::Pending
    }
}
