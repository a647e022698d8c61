//! A session: the state that belongs to a Client Identifier [MQTT-3.1.3-2], [MQTT3-3.1.3-2].

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use parking_lot::Mutex;

use crate::codec::version::Version;
use crate::message::SharedMessage;
use crate::session::delivery::Context;
use crate::session::inbound::Inbound;
use crate::session::outbound::Outbound;
use crate::session::outbox::Outbox;
use crate::session::pool::Pool;
use crate::session::subscriptions::Subscriptions;
use crate::time::{Time, TimerId};

/// Chunks that one call writes before the connection's own task goes on: others may append for ever meanwhile.
const CHUNKS: usize = 64;

/// A session. Its locks are taken in the order of its fields: `inbound`, `control`, `outbound`.
pub struct Session {
    /// The Client Identifier.
    pub client_id: Box<str>,
    /// The receiving half: held by the connection for the length of a turn.
    pub inbound: Mutex<Inbound>,
    /// Who is connected, what is subscribed, when the session ends.
    pub control: Mutex<Control>,
    /// The sending half: held for a moment by any thread that delivers.
    pub outbound: Mutex<Outbound>,
    /// The number of the attached connection, 0 if there is none; changed under the lock of `control`.
    attached: AtomicU32,
    /// When the client's last packet came, in milliseconds of the broker's time.
    last_received: AtomicU64,
    /// Whether a decision of the host is awaited, and so nothing is read.
    awaits_host: AtomicBool,
    /// Application messages received.
    pub received_messages: AtomicU64,
    /// QoS 1 messages of the attached connection whose PUBACK waits for the store; changed under the lock of
    /// `outbound`.
    pub unacknowledged: AtomicU32,
}

/// Who is connected, what is subscribed, when the session ends.
#[derive(Default)]
pub struct Control {
    /// The number of the current, or the last, connection.
    pub epoch: u32,
    /// The current connection.
    pub connected: Option<Box<Connected>>,
    /// Whether the session has ended and left the table of sessions.
    pub ended: bool,
    /// Whether changes of the session are recorded.
    pub kept: bool,
    /// The Session Expiry Interval in seconds: 0 ends the session with the connection, `u32::MAX` never.
    pub expiry_interval: u32,
    /// The Will Message, until it is published or deleted.
    pub will: Option<Box<Will>>,
    /// What the client subscribed to.
    pub subscriptions: Subscriptions,
    /// The timer of the absent client's will.
    pub will_timer: Option<TimerId>,
    /// The timer of the absent session's end.
    pub expiry_timer: Option<TimerId>,
}

/// A connection as its session knows it.
#[derive(Clone, Debug)]
pub struct Connected {
    /// The number of the connection, which no other connection of this broker has.
    pub number: u64,
    /// The protocol version.
    pub version: Version,
    /// The peer's address, where there is one.
    pub peer: Option<SocketAddr>,
    /// The User Name.
    pub username: Option<Arc<str>>,
    /// Clean Start, or Clean Session.
    pub clean_start: bool,
    /// The Keep Alive in force, in seconds; 0 is none.
    pub keep_alive: u16,
    /// When the CONNECT packet came.
    pub since: Time,
    /// The Session Expiry Interval that CONNECT asked for: DISCONNECT must not raise it from 0.
    pub connect_expiry_interval: u32,
    /// Whether Reason Strings and User Properties may be sent on any packet [MQTT-3.1.2-29].
    pub wants_problem_information: bool,
    /// The timer that looks after the Keep Alive.
    pub keep_alive_timer: Option<crate::time::TimerId>,
}

/// A Will Message.
#[derive(Clone, Debug)]
pub struct Will {
    /// The message.
    pub message: SharedMessage,
    /// Seconds between the end of the connection and the publication.
    pub delay: u32,
    /// The Message Expiry Interval in seconds, which runs from the publication.
    pub expiry: Option<u32>,
}

impl Control {
    /// Forgets the timers; those that were set.
    pub fn take_timers(&mut self) -> impl Iterator<Item = TimerId> {
        [self.will_timer.take(), self.expiry_timer.take()].into_iter().flatten()
    }

    /// Whether the connection with this number is the session's now.
    pub fn is_connected_by(&self, epoch: u32) -> bool {
        self.epoch == epoch && self.connected.is_some()
    }
}

impl Session {
    /// A session without a connection.
    pub fn new(client_id: &str) -> Session {
        Session {
            client_id: client_id.into(),
            inbound: Mutex::default(),
            control: Mutex::default(),
            outbound: Mutex::default(),
            attached: AtomicU32::new(0),
            last_received: AtomicU64::new(0),
            awaits_host: AtomicBool::new(false),
            received_messages: AtomicU64::new(0),
            unacknowledged: AtomicU32::new(0),
        }
    }

    /// Notes which connection is attached: its number, or 0 if none is.
    pub fn set_attached(&self, epoch: u32) {
        self.attached.store(epoch, Ordering::Release);
    }

    /// Whether this connection is attached: the packets of any other are of no account.
    pub fn is_attached(&self, epoch: u32) -> bool {
        self.attached.load(Ordering::Acquire) == epoch
    }

    /// Notes whether a decision of the host is awaited, and so nothing is read from the client.
    pub fn set_awaits_host(&self, awaits: bool) {
        self.awaits_host.store(awaits, Ordering::Relaxed);
    }

    /// Whether a decision of the host is awaited.
    pub fn awaits_host(&self) -> bool {
        self.awaits_host.load(Ordering::Relaxed)
    }

    /// Notes that the client has sent a packet.
    pub fn heard(&self, now: Time) {
        self.last_received.store(now.as_millis(), Ordering::Relaxed);
    }

    /// When the client's last packet came.
    pub fn last_heard(&self) -> Time {
        Time::from_millis(self.last_received.load(Ordering::Relaxed))
    }

    /// Writes what waits in the outbox, as far as the connection takes it, without holding the lock meanwhile.
    /// `writable`: the connection has just become writable. Bytes written are counted. Whether the connection took no
    /// more of what this call wrote; false if another thread writes.
    pub fn flush(&self, cx: &mut Context<'_>, writable: bool) -> bool {
        let mut full = false;
        let mut chunks = 0;
        let mut taken = self.outbound.lock().take_chunk(writable);
        while let Some((epoch, link, mut chunk)) = taken.take() {
            let before = chunk.len();
            let outcome = chunk.write_to(&*link);
            cx.counts.bytes_sent += (before - chunk.len()) as u64;
            let rest = match outcome {
                Ok(()) => {
                    recycle(cx.pool, chunk);
                    None
                }
                // A broken connection is found by its own task; until then its bytes are kept as if it were full.
                Err(_) => Some(chunk),
            };
            let blocked = rest.is_some();
            let mut outbound = self.outbound.lock();
            let mut more = outbound.chunk_written(epoch, rest);
            if !blocked && outbound.can_pump(cx.limits) {
                outbound.pump(cx);
                more = true;
            }
            chunks += 1;
            if more && chunks >= CHUNKS && outbound.outbox.hand_over() {
                outbound.link().into_iter().for_each(|link| link.wake());
            } else if more {
                taken = outbound.take_chunk(false);
            }
            drop(outbound);
            full = blocked;
            if blocked {
                link.wake();
            }
        }
        full
    }
}

fn recycle(pool: &mut Pool, chunk: crate::session::outbox::Chunk) {
    Outbox::recycle(pool, chunk);
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").field("client_id", &self.client_id).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::io::IoSlice;
    use std::sync::Arc;

    use parking_lot::Mutex;

    use super::{CHUNKS, Session};
    use crate::codec::ping;
    use crate::codec::version::Version;
    use crate::session::delivery::{ClientLimits, Context, Limits, ReportedFates};
    use crate::session::link::{Cause, Link, Written};
    use crate::session::pool::Pool;
    use crate::session::queue::{Bounds, Overflow};
    use crate::stats::{Counters, Counts};
    use crate::storage::{MemoryStore, Recorder};
    use crate::time::{Time, WallClock};

    fn with_context<T>(act: impl FnOnce(&mut Context<'_>) -> T) -> T {
        let (mut pool, mut counts, gauges) = (Pool::new(), Counts::default(), Counters::default());
        let queue = Bounds { messages: 1, bytes: 1, overflow: Overflow::DropNewest };
        let limits = Limits { queue, outbox_bytes: 1000, queue_qos0: false };
        let (pool, counts, gauges, limits) = (&mut pool, &mut counts, &gauges, &limits);
        let (events, reported) = (&mut Vec::new(), ReportedFates::default());
        let recorder = &Recorder::new(Arc::new(MemoryStore), WallClock::started_at(0));
        let now = Time::ZERO;
        act(&mut Context { now, pool, counts, gauges, limits, client_id: "a", events, reported, recorder })
    }

    /// Attaches a connection with one packet to be written.
    fn attach(session: &Session, link: Arc<dyn Link>) {
        let client_limits = ClientLimits {
            version: Version::V5,
            receive_maximum: 1,
            maximum_packet_size: u32::MAX,
            topic_alias_maximum: 0,
            kept: false,
        };
        with_context(|cx| {
            let mut outbound = session.outbound.lock();
            outbound.attach(link, 1, client_limits, None);
            outbound.send(cx, |_, out| ping::encode_pingresp(out));
        });
    }

    /// Is full; while a thread writes to it, another tries to.
    struct Full {
        session: Arc<Session>,
        others: Mutex<Vec<bool>>,
    }

    impl Link for Full {
        fn write(&self, _buffers: &[IoSlice<'_>]) -> Written {
            self.others.lock().push(with_context(|cx| self.session.flush(cx, true)));
            Written::Blocked
        }
        fn wake(&self) {}
        fn finish(&self, _last: Vec<u8>, _cause: Cause) {}
    }

    /// Takes everything; whenever it is written to, another thread appends.
    struct Endless {
        session: Arc<Session>,
        writes: Mutex<usize>,
        woken: Mutex<usize>,
    }

    impl Link for Endless {
        fn write(&self, buffers: &[IoSlice<'_>]) -> Written {
            let mut writes = self.writes.lock();
            *writes += 1;
            if *writes < 10 * CHUNKS {
                with_context(|cx| self.session.outbound.lock().send(cx, |_, out| ping::encode_pingresp(out)));
            }
            Written::Bytes(buffers.iter().map(|buffer| buffer.len()).sum())
        }
        fn wake(&self) {
            *self.woken.lock() += 1;
        }
        fn finish(&self, _last: Vec<u8>, _cause: Cause) {}
    }

    #[test]
    fn a_thread_that_writes_for_others_hands_over_in_the_end() {
        let session = Arc::new(Session::new("a"));
        let writes = Mutex::default();
        let link = Arc::new(Endless { session: Arc::clone(&session), writes, woken: Mutex::default() });
        attach(&session, link.clone());
        assert!(!with_context(|cx| session.flush(cx, false)), "the connection is not full");
        assert_eq!((*link.writes.lock(), *link.woken.lock()), (CHUNKS, 1));
        // The connection's task, each time that it is woken.
        while session.outbound.lock().is_blocked() {
            with_context(|cx| session.flush(cx, true));
        }
        assert_eq!(*link.writes.lock(), 10 * CHUNKS);
    }

    /// Only who has written to it knows that a connection is full: it may have room again since another has.
    #[test]
    fn a_flush_says_that_the_connection_is_full_only_if_it_has_tried() {
        let session = Arc::new(Session::new("a"));
        let link = Arc::new(Full { session: Arc::clone(&session), others: Mutex::default() });
        attach(&session, link.clone());
        assert!(with_context(|cx| session.flush(cx, false)));
        assert_eq!(*link.others.lock(), [false]);
        assert!(!with_context(|cx| session.flush(cx, false)), "it waits until the connection is writable");
        assert!(with_context(|cx| session.flush(cx, true)));
    }
}
