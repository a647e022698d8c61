//! The task of a connection.

use std::future::Future;
use std::io;
use std::io::IoSlice;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::{Sleep, sleep};

use crate::engine::connection::state::Connection;
use crate::net::flush_queue::{FlushQueue, let_others};
use crate::net::handshake::Accepted;
use crate::net::input::{Input, Reading};
use crate::net::link::{Ending, StreamLink};
use crate::net::server::{ConnectionPermit, Farewell, Server};
use crate::net::testing::{ProbeSlot, TestLine};
use crate::net::transport::Received;
use crate::session::event::Level;
use crate::session::last_bytes::LastBytes;
use crate::session::link::{Cause, Link, Written};

/// How long an ending connection waits for the peer to take the last packet and to close its side.
const LINGER: Duration = Duration::from_secs(2);
/// The most portions that a task reads at once on a test's request. The rest of an endless sender is read as usual.
const PORTIONS: usize = 256;

/// The task of one connection: reads, handles packets, waits until a full socket is writable, ends.
///
/// With its 152 bytes and the runtime's part it fits into 256; the runtime rounds tasks up to multiples of 128.
pub(super) struct ConnectionTask {
    link: Arc<StreamLink>,
    connection: Connection,
    input: Input,
    /// Whether the socket was full when last written to.
    blocked: bool,
    end: Option<Box<TaskEnd>>,
    /// Held from before the session begins until the last packet is written; the stop of the broker waits for it.
    attached: Farewell,
    permit: ConnectionPermit,
    /// Whether the last portion goes to many sessions, and must be written before more is read.
    heavy: bool,
    /// In test mode: the line to the client, and the probe of this task. It is dropped last, so that a test that waits
    /// for the end of the task finds the socket closed.
    tested: Option<Box<(Arc<TestLine>, ProbeSlot)>>,
}

/// The state of an ending connection.
struct TaskEnd {
    ending: Ending,
    written: usize,
    /// Whether the broker's side is shut down and only the peer's close is awaited.
    shut: bool,
    deadline: Pin<Box<Sleep>>,
}

/// The next step of a connection's task.
///
/// ```text
/// handshake ──> reading <──> paused
///    │          ^  │  │
///    │          │  │  └─────> ending ──> over
///    │   decided│  v            ^
///    │         awaiting ────────┘
///    └──> over
/// ```
///
/// The handshake is a separate future (`net/handshake.rs`); plain connections have none. Every other state may become
/// `Ending`, which sends the engine's last packet, or `Broken`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Waits for bytes from the peer and handles them.
    Reading,
    /// Waits until the peer reads: the socket is full, and the outbox or the queue is beyond its bounds. Or waits until the
    /// store has committed what as many acknowledgements wait for as may wait.
    Paused,
    /// Waits for the host's decision about a packet.
    AwaitingDecision,
    /// The host has decided.
    Decided,
    /// Sends the last packet, and waits for the peer to close.
    Ending,
    /// A layer has failed.
    Broken,
}

impl ConnectionTask {
    /// The task of a connection that has completed its handshake, if it has one.
    pub(super) fn new(accepted: Accepted) -> ConnectionTask {
        let Accepted { link, origin, tested, permit, .. } = accepted;
        let server = permit.server();
        let engine = server.engine();
        let mut turn = engine.turn(server.now());
        let connection = Connection::with_origin(engine, &mut turn, link.clone(), origin);
        turn.finish();
        ConnectionTask {
            link,
            connection,
            input: Input::default(),
            blocked: false,
            end: None,
            attached: Farewell::default(),
            permit,
            heavy: false,
            tested,
        }
    }

    fn server(&self) -> &Server {
        self.permit.server()
    }

    /// Handles requests of other threads, writes what the socket takes, and returns the next step.
    fn next(&mut self, cx: &mut Context<'_>) -> State {
        self.look();
        if self.end.is_some() {
            return State::Ending;
        }
        if self.link.has_failed() {
            return State::Broken;
        }
        let broken = self.poll_write(cx);
        if !broken && self.is_paused() {
            return State::Paused;
        }
        match self.connection.awaits_host() {
            None => State::Reading,
            Some(true) => State::AwaitingDecision,
            Some(false) => State::Decided,
        }
    }

    /// Runs the connection as far as possible.
    fn go_on(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            match self.next(cx) {
                State::Ending => return self.poll_end(cx),
                // Woken when the socket is writable, when the store has committed, or when the host has decided.
                State::Paused | State::AwaitingDecision => return Poll::Pending,
                State::Decided if self.resume() => continue,
                State::Decided | State::Broken => {}
                State::Reading => ready!(self.poll_read(cx)),
            }
            // The engine or the peer has ended it; the link holds the last packet, if there is one.
            self.look();
            if self.end.is_none() {
                self.log_failure();
                self.write_what_was_put_off();
                return Poll::Ready(());
            }
        }
    }

    /// Ready when the last packet is written and the peer has closed its side.
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(end) = &mut self.end {
            ready!(end.poll_written(&self.link, cx));
            self.attached.end(self.permit.server());
            ready!(end.poll_closed(&self.link, cx));
            self.log_failure();
        }
        Poll::Ready(())
    }

    /// As [`ConnectionTask::go_on`], in test mode: a test may ask to read everything at once, or to cut the connection.
    fn go_on_tested(&mut self, line: &TestLine, cx: &mut Context<'_>) -> Poll<()> {
        let asked = line.asked();
        let mut outcome = match !asked.is_empty() && self.read_all() {
            true => Poll::Ready(()),
            false => self.go_on(cx),
        };
        if line.is_cut() {
            // Sends the bytes before the cut.
            let _sent = self.link.flush();
            self.link.descriptor.reset();
            outcome = Poll::Ready(());
        }
        match outcome {
            // The test is answered when the connection is closed.
            Poll::Ready(()) => asked.into_iter().for_each(|ticket| line.ask(ticket)),
            Poll::Pending => drop(asked),
        }
        outcome
    }

    /// Logs why a layer has failed, if one has.
    fn log_failure(&self) {
        if let Some(failure) = self.link.take_failure() {
            let origin = self.connection.origin();
            let text = || format!("connection {} {origin} is closed: {failure}", origin.number);
            self.server().log(Level::Warn, text);
        }
    }

    /// Reads everything from the socket, even before the runtime reports it; returns whether the connection is over.
    fn read_all(&mut self) -> bool {
        self.look();
        for _ in 0..PORTIONS {
            if self.end.is_some() || self.is_paused() {
                return false;
            }
            let open = match self.connection.awaits_host() {
                // Later packets are handled after the host's decision.
                Some(true) => return false,
                Some(false) => self.resume(),
                None => {
                    let Self { permit, link, connection, input, attached, .. } = self;
                    match read(permit.server(), link, input, connection, attached).0 {
                        Reading::Blocked => return false,
                        Reading::Data { open, .. } => open,
                        Reading::End => false,
                    }
                }
            };
            if !open {
                self.look();
                return self.end.is_none();
            }
        }
        false
    }

    /// Handles the requests of other threads.
    fn look(&mut self) {
        if !self.link.take_woken() {
            return;
        }
        if let Some(session) = self.connection.session() {
            let server = self.permit.server();
            let mut turn = server.engine().turn(server.now());
            server.engine().woken(&mut turn, session);
            self.blocked = session.outbound.lock().is_blocked();
        }
        if let Some(ending) = self.link.take_ending() {
            let deadline = Box::pin(sleep(LINGER));
            self.end = Some(Box::new(TaskEnd { ending, written: 0, shut: false, deadline }));
        }
    }

    /// Writes bytes that the end of this connection would lose: a client that has shut down only its sending may still
    /// read.
    fn write_what_was_put_off(&self) {
        if self.server().flush_queue().is_some()
            && let Some(session) = self.connection.session()
        {
            let mut turn = self.server().engine().turn(self.server().now());
            self.server().engine().flush(&mut turn, session, false);
        }
    }

    /// Handles the bytes that waited for the host's decision; returns whether the connection stays open.
    fn resume(&mut self) -> bool {
        let server = self.permit.server();
        let mut turn = server.engine().turn(server.now());
        self.attached.begin(server);
        let open = self.input.resume(&mut self.connection, server.engine(), &mut turn);
        if open && self.connection.session().is_none() {
            self.attached.end(server);
        }
        open
    }

    /// Reads and handles portions; ready when the connection is over.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            if self.heavy && self.server().flush_queue().is_some_and(FlushQueue::is_behind) {
                let_others(cx);
                return Poll::Pending;
            }
            let Self { permit, link, connection, input, attached, heavy, .. } = self;
            let Ok(mut guard) = ready!(link.poll_readable(cx)) else {
                return Poll::Ready(());
            };
            let reading;
            (reading, *heavy) = read(permit.server(), link, input, connection, attached);
            match reading {
                Reading::Blocked => guard.iter_mut().for_each(|guard| guard.clear_ready()),
                Reading::End => return Poll::Ready(()),
                Reading::Data { drained, open } => {
                    if drained && let Some(guard) = &mut guard {
                        guard.clear_ready();
                    }
                    if !open {
                        return Poll::Ready(());
                    }
                    if self.connection.awaits_host().is_some() {
                        // The decision may have been made already, so the task looks again.
                        cx.waker().wake_by_ref();
                        return Poll::Pending;
                    }
                    if link.waits() {
                        // Bytes that a layer holds are sent when the socket is writable.
                        cx.waker().wake_by_ref();
                        return Poll::Pending;
                    }
                    if !drained {
                        // Other tasks run before the rest is read.
                        let_others(cx);
                        return Poll::Pending;
                    }
                }
            }
        }
    }

    /// Whether the client must read, or the store commit, before more of its packets are read.
    fn is_paused(&self) -> bool {
        let session = self.connection.session();
        let full = session.is_some_and(|session| self.server().engine().must_pause(session, self.blocked));
        full || self.link.is_full() || self.tested.as_ref().is_some_and(|tested| tested.0.is_paused())
    }

    /// Writes once the socket is writable; returns whether the connection is broken, so that reading finds its end.
    fn poll_write(&mut self, cx: &mut Context<'_>) -> bool {
        if self.link.poll_flush(cx) {
            return true;
        }
        while self.blocked {
            let Poll::Ready(Ok(mut guard)) = self.link.descriptor.poll_writable(cx) else {
                return false;
            };
            let server = self.permit.server();
            let engine = server.engine();
            let mut turn = engine.turn(server.now());
            let full = self.connection.writable(engine, &mut turn);
            turn.finish();
            self.blocked =
                self.connection.session().is_some_and(|session| session.outbound.lock().is_blocked());
            if self.blocked && guard.ready().is_write_closed() {
                // A socket closed for writing stays ready for ever.
                return true;
            }
            if self.blocked && !full {
                // Another thread was writing and was blocked. The socket may have become writable since, so its
                // readiness is kept. That thread wakes this task.
                return false;
            }
            if full {
                guard.clear_ready();
            }
        }
        false
    }
}

/// Reads and handles one portion, if there is one. The resulting packets are written when this returns; with a flush
/// queue, after the connections that are ready now have been read. Returns true beside the reading if they go to many
/// sessions, and must be written before more is read.
fn read(
    server: &Server,
    link: &StreamLink,
    input: &mut Input,
    connection: &mut Connection,
    attached: &mut Farewell,
) -> (Reading, bool) {
    let engine = server.engine();
    let mut turn = engine.turn(server.now());
    // Counted before a session can begin, so that a stop right after it waits for the last packet.
    attached.begin(server);
    let reading = input.read(link, connection, engine, &mut turn);
    let over = matches!(reading, Reading::Data { open: false, .. });
    if !over && connection.session().is_none() {
        attached.end(server);
        if connection.has_connect() {
            link.place().heard();
        }
    }
    let heavy = server.flush_queue().is_some_and(|flush_queue| flush_queue.take_over(&mut turn));
    (reading, heavy)
}

/// Tells the session that the connection is gone, whether the task ends by itself, with the runtime or by a panic.
impl Drop for ConnectionTask {
    fn drop(&mut self) {
        let cause = self.end.as_ref().map_or(Cause::ConnectionLost, |end| end.ending.cause);
        let broken = std::thread::panicking();
        // A second panic during a panic would abort the host program.
        let _told = catch_unwind(AssertUnwindSafe(|| {
            let server = self.permit.server();
            let engine = server.engine();
            let mut turn = engine.turn(server.now());
            if broken {
                let text = || "a connection is closed because its task has panicked".to_owned();
                engine.log(&mut turn, Level::Error, None, text);
            }
            self.connection.lost(engine, &mut turn, cause);
        }));
        self.attached.end(self.permit.server());
    }
}

impl Future for ConnectionTask {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let task = &mut *self;
        task.link.register(cx.waker());
        match &task.tested {
            None => task.go_on(cx),
            Some(tested) => {
                let line = Arc::clone(&tested.0);
                task.go_on_tested(&line, cx)
            }
        }
    }
}

impl TaskEnd {
    /// Whether the last packet is sent without waiting: the peer is gone, or expects no more.
    fn is_plain(&self) -> bool {
        matches!(self.ending.cause, Cause::ConnectionLost | Cause::Disconnected | Cause::ConnectTimeout)
    }

    /// Writes the last packet. Ready when it is written or cannot be written, or at the deadline.
    fn poll_written(&mut self, link: &StreamLink, cx: &mut Context<'_>) -> Poll<()> {
        if self.is_plain() {
            // Nothing is waited for. Packets that arrived together with DISCONNECT are still answered
            // [MQTT-3.1.4-5], if the socket takes the answers.
            let _written = self.poll_last(link, cx);
            return Poll::Ready(());
        }
        if self.shut || self.deadline.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        if ready!(self.poll_last(link, cx)).is_ok() {
            link.descriptor.shut_down_writing();
            self.shut = true;
            // They need not wait for the peer to close.
            self.ending.last = LastBytes::default();
        }
        Poll::Ready(())
    }

    /// Waits for the peer to close. Ready when it has, or at the deadline.
    ///
    /// To close first, with unread bytes of the peer, would reset the connection, and the peer might lose the last
    /// packet. A stopping broker does not wait; it only discards the bytes that have arrived.
    fn poll_closed(&mut self, link: &StreamLink, cx: &mut Context<'_>) -> Poll<()> {
        if !self.shut || self.deadline.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        let waits = self.ending.cause != Cause::ServerShuttingDown;
        let mut discarded = [0u8; 4096];
        loop {
            let mut guard = match link.descriptor.poll_readable(cx) {
                Poll::Pending if waits => return Poll::Pending,
                Poll::Ready(Ok(guard)) => guard,
                Poll::Pending | Poll::Ready(Err(_)) => return Poll::Ready(()),
            };
            match link.descriptor.receive(&mut discarded) {
                Received::Bytes { .. } => {}
                Received::Blocked if waits => guard.clear_ready(),
                Received::Blocked | Received::End => return Poll::Ready(()),
            }
        }
    }

    fn poll_last(&mut self, link: &StreamLink, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            let rest = self.ending.last.get(self.written..).unwrap_or_default();
            if rest.is_empty() && link.close() != Written::Blocked {
                return Poll::Ready(Ok(()));
            }
            let mut guard = ready!(link.descriptor.poll_writable(cx))?;
            if rest.is_empty() {
                if link.close() == Written::Blocked {
                    guard.clear_ready();
                }
                continue;
            }
            match link.write(&[IoSlice::new(rest)]) {
                Written::Bytes(count) if count > 0 => self.written += count,
                Written::Blocked => guard.clear_ready(),
                Written::Bytes(_) | Written::Gone => {
                    return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::ConnectionTask;

    /// tokio adds 104 bytes to a task, and rounds up to a multiple of 128.
    #[test]
    fn a_connection_and_the_runtimes_part_of_it_take_256_bytes() {
        assert!(size_of::<ConnectionTask>() <= 152, "{}", size_of::<ConnectionTask>());
    }
}
