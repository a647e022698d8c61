//! The order of costly steps of handshakes: other connections' work comes between them.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Costly steps, such as a signature for TLS, between two turns of all other tasks.
///
/// With one worker a ready task waits for that many of them. A flood of handshakes then delays a message by two
/// signatures, and not by as many as clients are in the backlog.
const AT_ONCE: usize = 2;

/// The steps of all connections of a broker.
#[derive(Clone)]
pub(super) struct HandshakeSteps(Arc<Semaphore>);

/// One connection's turn for a costly step.
pub(super) struct StepTurn {
    /// `None` in test mode, in which all steps are made at once.
    steps: Option<HandshakeSteps>,
    state: State,
}

enum State {
    Idle,
    Waiting(Pin<Box<dyn Future<Output = Option<OwnedSemaphorePermit>> + Send>>),
    /// From the step until the task is polled again, which is after all other tasks that are ready.
    Held {
        _permit: Option<OwnedSemaphorePermit>,
    },
}

impl Default for HandshakeSteps {
    fn default() -> HandshakeSteps {
        HandshakeSteps(Arc::new(Semaphore::new(AT_ONCE)))
    }
}

impl StepTurn {
    pub(super) fn new(steps: Option<HandshakeSteps>) -> StepTurn {
        StepTurn { steps, state: State::Idle }
    }

    /// Ready when the step may be made. The turn is held until [`StepTurn::end`].
    pub(super) fn poll_begin(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(HandshakeSteps(steps)) = &self.steps else {
            return Poll::Ready(());
        };
        loop {
            match &mut self.state {
                State::Idle => {
                    let acquired = Arc::clone(steps).acquire_owned();
                    // It fails if the semaphore is closed, which nobody does.
                    self.state = State::Waiting(Box::pin(async { acquired.await.ok() }));
                }
                State::Waiting(acquired) => {
                    let _permit = ready!(acquired.as_mut().poll(cx));
                    self.state = State::Held { _permit };
                }
                State::Held { .. } => return Poll::Ready(()),
            }
        }
    }

    /// Whether a step was made and the turn is not given on yet.
    pub(super) fn is_held(&self) -> bool {
        matches!(self.state, State::Held { .. })
    }

    /// Gives the turn on, if it is held.
    pub(super) fn end(&mut self) {
        if self.is_held() {
            self.state = State::Idle;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::task::{Context, Poll, Waker};

    use super::{AT_ONCE, HandshakeSteps, StepTurn};

    #[test]
    fn so_many_have_their_turn_and_the_next_waits_until_one_gives_it_on() {
        let steps = HandshakeSteps::default();
        let mut cx = Context::from_waker(Waker::noop());
        let mut turns: Vec<_> = (0..=AT_ONCE).map(|_| StepTurn::new(Some(steps.clone()))).collect();
        for turn in &mut turns[..AT_ONCE] {
            assert_eq!(turn.poll_begin(&mut cx), Poll::Ready(()));
            assert!(turn.is_held());
        }
        assert_eq!(turns[AT_ONCE].poll_begin(&mut cx), Poll::Pending);
        turns[0].end();
        assert_eq!(turns[0].poll_begin(&mut cx), Poll::Pending, "it is behind the one that waits");
        assert_eq!(turns[AT_ONCE].poll_begin(&mut cx), Poll::Ready(()));
        // One that is gone while it waits or holds takes no turn with it.
        drop(turns);
        let mut next = StepTurn::new(Some(steps));
        assert_eq!(next.poll_begin(&mut cx), Poll::Ready(()));
    }

    #[test]
    fn in_test_mode_nobody_waits() {
        let mut cx = Context::from_waker(Waker::noop());
        let mut turn = StepTurn::new(None);
        assert_eq!(turn.poll_begin(&mut cx), Poll::Ready(()));
        assert!(!turn.is_held());
    }
}
