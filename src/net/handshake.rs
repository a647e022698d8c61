//! A connection before MQTT: accepted, perhaps with layers that are still in their handshakes.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, ready};

use socket2::Socket;

use crate::engine::parts::origin::Origin;
use crate::net::connection::ConnectionTask;
use crate::net::handshake_steps::StepTurn;
use crate::net::link::StreamLink;
use crate::net::places::NewPlace;
use crate::net::server::ConnectionPermit;
use crate::net::testing::{ProbeSlot, TestLine};
use crate::net::transport::{LayerError, Received};
use crate::session::link::{Cause, Link};
use crate::session::peer::Peer;
use crate::time::TimerId;

/// Portions of a peer whose handshake has failed that are discarded in a row before it is closed all the same.
const DISCARDED: usize = 16;

/// A connection that the engine does not know yet.
pub(super) struct Accepted {
    pub(super) link: Arc<StreamLink>,
    pub(super) origin: Origin,
    /// In test mode: the line to the client, and the probe of the task.
    pub(super) tested: Option<Box<(Arc<TestLine>, ProbeSlot)>>,
    pub(super) permit: ConnectionPermit,
    /// Why its handshake is ended, if something ends it.
    ended: Cause,
}

impl Accepted {
    /// A connection over a non-blocking socket. Must be called inside the runtime.
    pub(super) fn new(
        socket: Socket,
        peer: Option<Peer>,
        permit: ConnectionPermit,
        place: NewPlace,
    ) -> io::Result<Accepted> {
        let server = permit.server();
        let mut layers = permit.layers().map(|make| make()).unwrap_or_default();
        let mut tested = None;
        if let Some(test_net) = server.test_net() {
            let (line, slot, layer) = test_net.line();
            layers.push(layer);
            tested = Some(Box::new((line, slot)));
        }
        let link = Arc::new(StreamLink::new(socket, layers, place)?);
        if let Some(tested) = &tested {
            tested.0.connect(&link);
        }
        server.await_connect(&link);
        let origin = server.engine().origin(permit.way().cloned(), peer);
        Ok(Accepted { link, origin, tested, permit, ended: Cause::ConnectTimeout })
    }

    /// Whether it has no layers, so that its first byte belongs to MQTT.
    pub(super) fn is_plain(&self) -> bool {
        self.permit.layers().is_none()
    }

    /// Starts the task of the connection. Must be called inside the runtime.
    pub(super) fn start(self) {
        if self.is_plain() {
            tokio::spawn(self.open());
        } else {
            tokio::spawn(Handshake::run(self));
        }
    }

    /// The task of the connection. From now on the client has `mqtt.connect_timeout` to send CONNECT.
    pub(super) fn open(self) -> ConnectionTask {
        ConnectionTask::new(self)
    }
}

/// The first state of a connection with layers; it uses only a deadline of the engine.
///
/// The handshake may take `mqtt.connect_timeout`, and CONNECT as long again. A stopping broker waits for neither.
pub(super) struct Handshake {
    accepted: Option<Accepted>,
    deadline: TimerId,
    turn: StepTurn,
    /// Between its last costly step and the poll that gives the turn on.
    outcome: Option<Result<(), Option<LayerError>>>,
    /// Whether it has failed: what the peer still sends is discarded.
    failed: bool,
}

impl Handshake {
    /// Runs the handshake, and then begins the task of the connection.
    pub(super) async fn run(accepted: Accepted) {
        if let Some(accepted) = Handshake::new(accepted).await {
            // As a task of its own, so that the room of this one, which is for a handshake, is free again.
            tokio::spawn(accepted.open());
        }
    }

    fn new(accepted: Accepted) -> Handshake {
        let link = Arc::downgrade(&accepted.link);
        let server = accepted.permit.server();
        let deadline = server.engine().connect_deadline(server.now(), link as Weak<dyn Link>);
        let turn = server.step_turn();
        Handshake { accepted: Some(accepted), deadline, turn, outcome: None, failed: false }
    }
}

impl Accepted {
    /// Ready when the handshakes are complete or have failed. At the deadline the error is `None`.
    fn poll_handshake(
        &mut self,
        turn: &mut StepTurn,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Option<LayerError>>> {
        self.link.register(cx.waker());
        if self.link.take_woken()
            && let Some(ending) = self.link.take_ending()
        {
            self.ended = ending.cause;
            return Poll::Ready(Err(None));
        }
        let asked = self.tested.as_ref().map(|tested| tested.0.asked()).unwrap_or_default();
        let outcome = self.link.poll_handshake(&mut self.origin, turn, !asked.is_empty(), cx);
        if outcome.is_ready()
            && let Some(tested) = &self.tested
        {
            // The test is answered when the connection's next state has begun, or when the connection is closed.
            asked.into_iter().for_each(|ticket| tested.0.ask(ticket));
        }
        outcome.map_err(Some)
    }
}

impl Future for Handshake {
    type Output = Option<Accepted>;

    /// Ready when the handshake is over: with the connection, or `None` if it is closed.
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Accepted>> {
        let handshake = &mut *self;
        if !handshake.failed {
            match ready!(handshake.poll_outcome(cx)) {
                Ok(()) => {
                    let accepted = handshake.accepted.take();
                    handshake.cancel_deadline(accepted.as_ref());
                    return Poll::Ready(accepted);
                }
                Err(why) => handshake.fail(why.as_ref()),
            }
        }
        ready!(handshake.poll_closed(cx));
        let accepted = handshake.accepted.take();
        handshake.cancel_deadline(accepted.as_ref());
        Poll::Ready(None)
    }
}

impl Handshake {
    fn cancel_deadline(&self, accepted: Option<&Accepted>) {
        if let Some(accepted) = accepted {
            accepted.permit.server().engine().cancel_deadline(self.deadline);
        }
    }

    /// Counts and logs the failure. `why`: `None` at the deadline.
    fn fail(&mut self, why: Option<&LayerError>) {
        self.failed = true;
        let Some(accepted) = &self.accepted else {
            return;
        };
        accepted.permit.server().closed_in_handshake(
            accepted.permit.limit(),
            &accepted.origin,
            why,
            accepted.ended,
        );
        if why.is_none() || accepted.tested.is_some() {
            let accepted = self.accepted.take();
            self.cancel_deadline(accepted.as_ref());
        } else {
            accepted.link.descriptor.shut_down_writing();
        }
    }

    /// Waits for the peer to close, at most until the deadline: to close first, with unread bytes of the peer, would
    /// reset the connection, and the peer might lose what tells it of the failure.
    fn poll_closed(&self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(accepted) = &self.accepted else {
            return Poll::Ready(());
        };
        let link = &accepted.link;
        link.register(cx.waker());
        if link.take_woken() && link.take_ending().is_some() {
            return Poll::Ready(());
        }
        let mut discarded = [0u8; 4096];
        for _ in 0..DISCARDED {
            let Ok(mut guard) = ready!(link.descriptor.poll_readable(cx)) else {
                return Poll::Ready(());
            };
            match link.descriptor.receive(&mut discarded) {
                Received::Bytes { .. } => {}
                Received::Blocked => guard.clear_ready(),
                Received::End => return Poll::Ready(()),
            }
        }
        Poll::Ready(())
    }

    /// Ready when the handshake is over. After a costly step the other tasks that are ready come first.
    fn poll_outcome(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Option<LayerError>>> {
        self.turn.end();
        if let Some(outcome) = self.outcome.take() {
            return Poll::Ready(outcome);
        }
        let Some(accepted) = &mut self.accepted else {
            return Poll::Ready(Err(None));
        };
        let outcome = accepted.poll_handshake(&mut self.turn, cx);
        if !self.turn.is_held() {
            return outcome;
        }
        if let Poll::Ready(outcome) = outcome {
            self.outcome = Some(outcome);
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

/// Cancels the deadline if the broker stops or a layer panics.
impl Drop for Handshake {
    fn drop(&mut self) {
        let Some(accepted) = &self.accepted else {
            return;
        };
        let server = accepted.permit.server();
        server.engine().cancel_deadline(self.deadline);
        if std::thread::panicking() {
            // A second panic during a panic would abort the host program.
            let _told = catch_unwind(AssertUnwindSafe(|| {
                let why = LayerError::new("its task has panicked");
                server.closed_in_handshake(
                    accepted.permit.limit(),
                    &accepted.origin,
                    Some(&why),
                    accepted.ended,
                );
            }));
        }
    }
}
