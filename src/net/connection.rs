//! One connection, one task.

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
use crate::session::link::{Cause, Link, Written};

/// A connection that ends may take so long to take its last packet, and to close its side.
const LINGER: Duration = Duration::from_secs(2);
/// Portions that a test has read at once: somebody who sends for ever is read as ever.
const PORTIONS: usize = 256;

/// The task of one connection: reads, handles what it read, waits until a full socket is writable, ends.
///
/// With 152 bytes it fits into 256 with the runtime's part, which has tasks in steps of 128.
pub(super) struct ConnectionTask {
    link: Arc<StreamLink>,
    connection: Connection,
    input: Input,
    /// Whether the socket was full when last written to.
    blocked: bool,
    end: Option<Box<TaskEnd>>,
    /// Held from before the session's beginning until the last packet is written: a broker that stops waits for it.
    attached: Farewell,
    permit: ConnectionPermit,
    /// Whether what was read last goes to so many that it is to be written before more is read.
    heavy: bool,
    /// In test mode: the line to the client, and the test's way to this task. The last of the fields to be dropped: who
    /// waits for the task's end finds the socket closed.
    tested: Option<Box<(Arc<TestLine>, ProbeSlot)>>,
}

/// A connection in its last moments.
struct TaskEnd {
    ending: Ending,
    written: usize,
    /// Whether our side is shut and only the peer's closing is awaited.
    shut: bool,
    deadline: Pin<Box<Sleep>>,
}

/// What a connection's task does next.
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
/// The handshake is a future of its own (`net/handshake.rs`), which plain connections do not have. Every other state may
/// become `Ending`, when the engine has something to say before the connection closes, or `Broken`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Waits for the peer's bytes, and handles them.
    Reading,
    /// Waits until the peer has taken what it has caused: the socket is full, and what waits is beyond its bounds.
    Paused,
    /// Waits until the host has decided about a packet.
    AwaitingDecision,
    /// The host has decided.
    Decided,
    /// Sends the last packet, and waits for the peer to close.
    Ending,
    /// A layer has failed.
    Broken,
}

impl ConnectionTask {
    /// The task of a connection whose handshake, if it has one, is over.
    pub(super) fn new(accepted: Accepted) -> ConnectionTask {
        let Accepted { link, origin, tested, permit } = accepted;
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

    /// Looks at what has happened, writes what the socket takes, and says what is to be done next.
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

    /// Goes on as far as it can.
    fn go_on(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            match self.next(cx) {
                State::Ending => return self.poll_end(cx),
                // Woken when the socket is writable, or when the host has decided.
                State::Paused | State::AwaitingDecision => return Poll::Pending,
                State::Decided if self.resume() => continue,
                State::Decided | State::Broken => {}
                State::Reading => ready!(self.poll_read(cx)),
            }
            // The engine or the peer has ended it; the last packet, if there is one, is in the link.
            self.look();
            if self.end.is_none() {
                self.log_failure();
                self.write_what_was_put_off();
                return Poll::Ready(());
            }
        }
    }

    /// Ready when the last packet is written and the peer has closed.
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(end) = &mut self.end {
            ready!(end.poll_written(&self.link, cx));
            self.attached.end(self.permit.server());
            ready!(end.poll_closed(&self.link, cx));
            self.log_failure();
        }
        Poll::Ready(())
    }

    /// The same, under a test that may want it to do at once what there is to do, or to cut the connection.
    fn go_on_tested(&mut self, line: &TestLine, cx: &mut Context<'_>) -> Poll<()> {
        let asked = line.asked();
        let mut outcome = match !asked.is_empty() && self.read_all() {
            true => Poll::Ready(()),
            false => self.go_on(cx),
        };
        if line.is_cut() {
            // What goes through before the cut.
            let _sent = self.link.flush();
            self.link.descriptor.reset();
            outcome = Poll::Ready(());
        }
        match outcome {
            // Who has asked is answered when the connection is closed.
            Poll::Ready(()) => asked.into_iter().for_each(|ticket| line.ask(ticket)),
            Poll::Pending => drop(asked),
        }
        outcome
    }

    /// Logs why a layer has ended the connection, if one has.
    fn log_failure(&self) {
        if let Some(failure) = self.link.take_failure() {
            let origin = self.connection.origin();
            let text = || format!("connection {} {origin} is closed: {failure}", origin.number);
            self.server().log(Level::Warn, text);
        }
    }

    /// Reads all that there is, also what the runtime has not yet been told of; whether the connection is over.
    fn read_all(&mut self) -> bool {
        self.look();
        for _ in 0..PORTIONS {
            if self.end.is_some() || self.is_paused() {
                return false;
            }
            let open = match self.connection.awaits_host() {
                // What comes behind is handled when the host has decided.
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

    /// Looks at what other threads have asked for.
    fn look(&mut self) {
        if !self.link.take_woken() {
            return;
        }
        if let Some(session) = self.connection.session() {
            let server = self.permit.server();
            let mut turn = server.engine().turn(server.now());
            server.engine().end_if_doomed(&mut turn, session);
            self.blocked = session.outbound.lock().is_blocked();
        }
        if let Some(ending) = self.link.take_ending() {
            let deadline = Box::pin(sleep(LINGER));
            self.end = Some(Box::new(TaskEnd { ending, written: 0, shut: false, deadline }));
        }
    }

    /// Writes what this connection's end would lose: a client that has shut its side only may still read.
    fn write_what_was_put_off(&self) {
        if self.server().flush_queue().is_some()
            && let Some(session) = self.connection.session()
        {
            let mut turn = self.server().engine().turn(self.server().now());
            self.server().engine().flush(&mut turn, session, false);
        }
    }

    /// Handles what waited for a decision of the host; whether the connection goes on.
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

    /// Reads and handles one portion; ready when the connection is over.
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
                        // Woken when the decision is made, which may have been already.
                        cx.waker().wake_by_ref();
                        return Poll::Pending;
                    }
                    if link.waits() {
                        // What a layer answers, or could not send, is sent when the socket is writable.
                        cx.waker().wake_by_ref();
                        return Poll::Pending;
                    }
                    if !drained {
                        // Others have their turn before the rest is read.
                        let_others(cx);
                        return Poll::Pending;
                    }
                }
            }
        }
    }

    /// Whether the client must take what it has caused before more of it is read.
    fn is_paused(&self) -> bool {
        let full = self.blocked
            && self.connection.session().is_some_and(|session| self.server().engine().must_pause(session));
        full || self.link.is_full() || self.tested.as_ref().is_some_and(|tested| tested.0.is_paused())
    }

    /// Writes again once the socket is writable; whether the connection is broken: then reading brings its end.
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
                // It stays ready for ever.
                return true;
            }
            if self.blocked && !full {
                // Another thread was writing and has been stopped. The socket may have become writable since: it is
                // not to be forgotten that it is. That thread wakes this task.
                return false;
            }
            if full {
                guard.clear_ready();
            }
        }
        false
    }
}

/// Reads and handles one portion, if there is one. What it has caused is written when this returns, or, where that is put
/// off, when the connections that are ready now have been read; true if it goes to so many that no more is to be read
/// before.
fn read(
    server: &Server,
    link: &StreamLink,
    input: &mut Input,
    connection: &mut Connection,
    attached: &mut Farewell,
) -> (Reading, bool) {
    let engine = server.engine();
    let mut turn = engine.turn(server.now());
    // Before a session can begin: a stop that comes right behind it waits for the last packet.
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

/// However the task ends, by itself, with the runtime or by a panic: its session learns that the connection is gone.
impl Drop for ConnectionTask {
    fn drop(&mut self) {
        let cause = self.end.as_ref().map_or(Cause::ConnectionLost, |end| end.ending.cause);
        let broken = std::thread::panicking();
        // During a panic a second one would end the host program.
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
    /// Whether the peer is gone, or does not care.
    fn is_plain(&self) -> bool {
        matches!(self.ending.cause, Cause::ConnectionLost | Cause::Disconnected | Cause::ConnectTimeout)
    }

    /// Writes the last packet. Ready when it is written or cannot be, or at the deadline.
    fn poll_written(&mut self, link: &StreamLink, cx: &mut Context<'_>) -> Poll<()> {
        if self.is_plain() {
            // Nothing is waited for. The answers to what came together with DISCONNECT are still owed
            // [MQTT-3.1.4-5]; whether there is room for them, or anybody, makes no difference.
            let _written = self.poll_last(link, cx);
            return Poll::Ready(());
        }
        if self.shut || self.deadline.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        if ready!(self.poll_last(link, cx)).is_ok() {
            link.descriptor.shut_down_writing();
            self.shut = true;
        }
        Poll::Ready(())
    }

    /// Waits for the peer to close: closing first, while bytes of the peer are unread, would reset the connection, and
    /// the peer might lose the last packet. Ready when the peer has closed, or at the deadline. A broker that stops
    /// waits for no peer; it only takes what has come.
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

    /// tokio's task has 104 bytes of its own, and is a multiple of 128.
    #[test]
    fn a_connection_and_the_runtimes_part_of_it_take_256_bytes() {
        assert!(size_of::<ConnectionTask>() <= 152, "{}", size_of::<ConnectionTask>());
    }
}
