//! The flush queue: its outboxes are written after every ready connection has been read. So messages of several clients
//! to one client go in one write. A turn that writes to very many sessions is written in slices, so that other tasks
//! run in between.
//!
//! It needs one thread that runs tasks in the order in which they became ready. The flusher then runs after all
//! connections that were ready with the one that wakes it. With several threads there is no flush queue.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, Waker};

use tokio::task::yield_now;

use crate::engine::core::turn::Turn;
use crate::locks::Mutex;
use crate::net::server::Server;
use crate::session::state::Session;

/// Sessions written to before the sockets are polled again, which takes 0.1 to 0.2 milliseconds.
const SLICE: usize = 64;

/// The sessions whose outboxes must still be written.
#[derive(Default)]
pub(super) struct FlushQueue {
    state: Mutex<FlushState>,
}

#[derive(Default)]
struct FlushState {
    /// Sessions of turns that wrote to few: all of them are written at once.
    few: VecDeque<Arc<Session>>,
    /// Sessions of turns that wrote to very many: they are written in slices.
    many: VecDeque<Arc<Session>>,
    /// Those turns: for each, its sessions that are still in `many`, and the most bytes that it has appended to each.
    turns: VecDeque<(usize, u64)>,
    /// The sum of the bytes in `turns`.
    bytes: u64,
    /// The limit of `bytes`: beyond it outboxes could become full, and QoS 0 messages would be dropped.
    most: u64,
    waker: Option<Waker>,
}

impl FlushState {
    fn is_empty(&self) -> bool {
        self.few.is_empty() && self.many.is_empty()
    }

    /// Takes the next session to write to; at most `left` from `many`.
    fn next(&mut self, left: &mut usize) -> Option<Arc<Session>> {
        if let Some(session) = self.few.pop_front() {
            return Some(session);
        }
        *left = left.checked_sub(1)?;
        let session = self.many.pop_front()?;
        if let Some((sessions, bytes)) = self.turns.front_mut() {
            *sessions -= 1;
            if *sessions == 0 {
                self.bytes -= *bytes;
                self.turns.pop_front();
            }
        }
        Some(session)
    }
}

impl FlushQueue {
    /// Takes over a turn's outboxes that may wait until the other connections have been read, unless too much waits
    /// already. Returns whether the connection of the turn must wait until they are written.
    pub(super) fn take_over(&self, turn: &mut Turn) -> bool {
        let is_heavy = turn.concerns_more_than(SLICE);
        let bytes = turn.counts.bytes_received.max(turn.counts.publish_bytes_received);
        let mut state = self.state.lock();
        if is_heavy && state.bytes + bytes > state.most {
            return true; // The turn writes its outboxes itself, with the bytes that already wait in them.
        }
        let was_empty = state.is_empty();
        let were = state.many.len();
        turn.put_off(SLICE, if is_heavy { &mut state.many } else { &mut state.few });
        let more = state.many.len() - were;
        if more > 0 {
            state.turns.push_back((more, bytes));
            state.bytes += bytes;
        }
        if was_empty && !state.is_empty() {
            state.waker.iter().for_each(Waker::wake_by_ref);
        }
        more > 0
    }

    /// Whether more sessions wait than one slice.
    pub(super) fn is_behind(&self) -> bool {
        self.state.lock().many.len() > SLICE
    }
}

/// Lets other tasks run: this task continues after they and the sockets have been polled.
pub(super) fn let_others(cx: &mut Context<'_>) {
    // One poll of the future schedules the task.
    let _later = pin!(yield_now()).poll(cx);
}

/// The task that writes the outboxes of the flush queue.
pub struct Flusher {
    server: Weak<Server>,
}

impl Flusher {
    /// The task of this server.
    pub(super) fn new(server: &Arc<Server>) -> Flusher {
        if let Some(flush_queue) = server.flush_queue() {
            flush_queue.state.lock().most = server.engine().options.limits.outbox_bytes as u64 / 2;
        }
        Flusher { server: Arc::downgrade(server) }
    }
}

/// The waker holds the task, and with it the runtime and its descriptors.
impl Drop for Flusher {
    fn drop(&mut self) {
        if let Some(server) = self.server.upgrade() {
            let waker = server.flush_queue().and_then(|flush_queue| flush_queue.state.lock().waker.take());
            drop(waker);
        }
    }
}

/// Writes to all of `few` and to a slice of `many`. A session whose write panics is skipped.
fn write_slice(server: &Server, flush_queue: &FlushQueue) {
    let (mut left, mut done) = (SLICE, false);
    while !done {
        // The panic is reported where it happens.
        let _flushed = catch_unwind(AssertUnwindSafe(|| {
            let mut turn = server.engine().turn(server.now());
            loop {
                let next = flush_queue.state.lock().next(&mut left);
                done = next.is_none();
                let Some(session) = next else { return };
                server.engine().flush(&mut turn, &session, false);
            }
        }));
    }
}

impl Future for Flusher {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let Some(server) = self.server.upgrade() else {
            return Poll::Ready(());
        };
        let Some(flush_queue) = server.flush_queue() else {
            return Poll::Ready(());
        };
        write_slice(&server, flush_queue);
        let mut state = flush_queue.state.lock();
        if !state.waker.as_ref().is_some_and(|known| known.will_wake(cx.waker())) {
            state.waker = Some(cx.waker().clone());
        }
        if !state.is_empty() {
            drop(state);
            let_others(cx);
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use std::io::IoSlice;
    use std::pin::pin;
    use std::sync::Arc;
    use std::task::{Context, Waker};

    use super::SLICE;
    use crate::config::Config;
    use crate::engine::connection::state::Connection;
    use crate::engine::core::state::{Engine, EngineParts};
    use crate::locks::Mutex;
    use crate::net::server::Server;
    use crate::runtime::{Clock, Ticker};
    use crate::session::last_bytes::LastBytes;
    use crate::session::link::{Cause, Link, Written};
    use crate::storage::MemoryStore;

    /// A link that counts the bytes.
    #[derive(Default)]
    struct Tally(Mutex<usize>);

    impl Link for Tally {
        fn write(&self, buffers: &[IoSlice<'_>]) -> Written {
            let bytes = buffers.iter().map(|buffer| buffer.len()).sum();
            *self.0.lock() += bytes;
            Written::Bytes(bytes)
        }
        fn wake(&self) {}
        fn finish(&self, _last: LastBytes, _cause: Cause) {}
    }

    struct Client {
        connection: Connection,
        tally: Arc<Tally>,
    }

    fn server() -> Arc<Server> {
        let surroundings = EngineParts {
            store: Arc::new(MemoryStore),
            alarm: Arc::new(Ticker::default()),
            seed: 7,
            started_unix: 1000,
        };
        let engine = Arc::new(Engine::new(Config::new().settings(), surroundings));
        Arc::new(Server::new(engine, Clock::by_hand(), None, None).on_one_thread())
    }

    impl Client {
        /// A client of MQTT 3.1.1 with a subscription to a topic of one letter.
        fn new(server: &Server, number: u8, topic: u8) -> Client {
            let tally = Arc::new(Tally::default());
            let link = Arc::clone(&tally) as Arc<dyn Link>;
            let connection =
                Connection::new(server.engine(), &mut server.engine().turn(server.now()), link, None);
            let mut client = Client { connection, tally };
            let id = [b'a' + number / 16, b'a' + number % 16];
            client.send(server, &[&b"\x10\x0e\0\x04MQTT\x04\x02\0\0\0\x02"[..], &id].concat());
            client.send(server, &[0x82, 6, 0, 1, 0, 1, topic, 0]);
            client.take();
            client
        }

        /// Sends packets; returns whether this client must wait until the outboxes are written.
        fn send(&mut self, server: &Server, packets: &[u8]) -> bool {
            let mut turn = server.engine().turn(server.now());
            self.connection.receive(server.engine(), &mut turn, packets, None);
            let flush_queue = server.flush_queue().unwrap();
            packets.first() == Some(&0x30) && flush_queue.take_over(&mut turn)
        }

        /// Bytes received since the last call.
        fn take(&self) -> usize {
            std::mem::take(&mut *self.tally.0.lock())
        }
    }

    /// Very many sessions are written to in slices, and a client with another subscription does not wait for them.
    #[test]
    fn few_do_not_wait_behind_very_many() {
        let server = server();
        let mut crowd: Vec<Client> =
            (0..2 * SLICE as u8 + 2).map(|n| Client::new(&server, n, b'm')).collect();
        let mut quiet = Client::new(&server, 200, b'q');
        let written = |crowd: &[Client]| crowd.iter().filter(|client| client.take() > 0).count();
        let mut flusher = pin!(server.flusher().unwrap());
        let mut cx = Context::from_waker(Waker::noop());

        let publisher = &mut crowd[0];
        assert!(publisher.send(&server, &[0x30, 4, 0, 1, b'm', b'1']));
        assert!(!quiet.send(&server, &[0x30, 4, 0, 1, b'q', b'1']));
        assert!(server.flush_queue().unwrap().is_behind());
        assert_eq!((quiet.take(), written(&crowd)), (0, 0));
        assert!(flusher.as_mut().poll(&mut cx).is_pending());
        assert_eq!((quiet.take(), written(&crowd)), (6, SLICE));
        assert!(flusher.as_mut().poll(&mut cx).is_pending());
        assert!(!server.flush_queue().unwrap().is_behind());
        assert!(flusher.as_mut().poll(&mut cx).is_pending());
        assert_eq!(written(&crowd), SLICE + 2);
    }

    /// The bytes that a publisher may have added to outboxes count until the last outbox is written.
    #[test]
    fn what_is_put_off_counts_until_the_last_is_written() {
        let server = server();
        let _flusher = server.flusher().unwrap();
        let mut crowd: Vec<Client> = (0..SLICE as u8 + 2).map(|n| Client::new(&server, n, b'm')).collect();
        assert!(crowd[0].send(&server, &[0x30, 4, 0, 1, b'm', b'1']));
        let mut state = server.flush_queue().unwrap().state.lock();
        let mut waiting = state.many.len();
        assert!(waiting > SLICE);
        while waiting > 0 {
            assert!(state.bytes > 0, "{waiting} wait");
            assert!(state.next(&mut 1).is_some());
            waiting -= 1;
        }
        assert_eq!((state.bytes, state.turns.len()), (0, 0));
    }

    /// Several publishers to very many sessions do not overfill the outboxes of clients that read.
    #[test]
    fn nothing_is_lost_of_what_several_publish_to_very_many() {
        let server = server();
        let mut flusher = pin!(server.flusher().unwrap());
        let mut crowd: Vec<Client> = (0..SLICE as u8 + 2).map(|n| Client::new(&server, n, b'm')).collect();
        let portion = [&[0x30, 0x83, 0x20, 0, 1, b'm'][..], &[b'x'; 4096]].concat().repeat(15);
        let mut quiet = Client::new(&server, 200, b'q');
        for publisher in &mut crowd[..40] {
            assert!(publisher.send(&server, &portion));
        }
        // The same amount to one client neither waits nor is waited for.
        let to_one = [&[0x30, 0x83, 0x20, 0, 1, b'q'][..], &[b'x'; 4096]].concat().repeat(15);
        assert!(!quiet.send(&server, &to_one));
        while server.flush_queue().is_some_and(|flush_queue| !flush_queue.state.lock().is_empty()) {
            assert!(flusher.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        }
        assert!(crowd.iter().all(|client| client.take() == 40 * portion.len()));
        let state = server.flush_queue().unwrap().state.lock();
        assert_eq!((state.bytes, state.turns.len()), (0, 0));
    }
}
