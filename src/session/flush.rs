//! Writing an outbox: one thread at a time, without the lock. It also writes what others append meanwhile.

use crate::session::delivery::Context;
use crate::session::outbox::Outbox;
use crate::session::state::Session;

/// Chunks that one call writes before it leaves the rest to the connection's own task. Without this bound, others that
/// append could keep the calling thread busy for ever.
const CHUNKS: usize = 64;

impl Session {
    /// Writes the outbox until the connection takes no more, and counts the bytes. The lock is not held during a write.
    ///
    /// `writable` says that the connection has just become writable. Returns whether this call has written to the
    /// connection and found it full; false if another thread is writing.
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
                    Outbox::recycle(cx.pool, chunk);
                    None
                }
                // The connection's own task finds that it is broken; until then its bytes are kept as if it were full.
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

#[cfg(test)]
mod tests {
    use std::io::IoSlice;
    use std::sync::Arc;

    use super::CHUNKS;
    use crate::codec::ping;
    use crate::codec::version::Version;
    use crate::locks::Mutex;
    use crate::session::delivery::{ClientLimits, Context, Limits, ReportedFates};
    use crate::session::epoch::Epoch;
    use crate::session::last_bytes::LastBytes;
    use crate::session::link::{Cause, Link, Written};
    use crate::session::pool::Pool;
    use crate::session::queue::{Bounds, Overflow};
    use crate::session::state::Session;
    use crate::stats::{Counters, Counts};
    use crate::storage::{MemoryStore, Recorder};
    use crate::time::{Time, WallClock};

    fn with_context<T>(act: impl FnOnce(&mut Context<'_>) -> T) -> T {
        let (mut pool, mut counts, gauges) = (Pool::new(), Counts::default(), Counters::default());
        let queue = Bounds { messages: 1, bytes: 1, overflow: Overflow::DropNewest };
        let limits =
            Limits { queue, window_bytes: 1000, outbox_bytes: 1000, queue_qos0: false, holds: false };
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
            outbound.attach(link, Epoch::NONE.next(), client_limits);
            outbound.send(cx, |_, out| ping::encode_pingresp(out));
        });
    }

    /// A full link. While a thread writes to it, another one tries to flush.
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
        fn finish(&self, _last: LastBytes, _cause: Cause) {}
    }

    /// A link that takes everything. At each write another thread appends.
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
        fn finish(&self, _last: LastBytes, _cause: Cause) {}
    }

    /// A link that takes nothing, and does not report that it is full.
    #[derive(Default)]
    struct Broken(Mutex<usize>);

    impl Link for Broken {
        fn write(&self, _buffers: &[IoSlice<'_>]) -> Written {
            *self.0.lock() += 1;
            assert!(*self.0.lock() < 10, "a broken link is written to again and again");
            Written::Bytes(0)
        }
        fn wake(&self) {}
        fn finish(&self, _last: LastBytes, _cause: Cause) {}
    }

    #[test]
    fn a_connection_that_takes_no_byte_is_left_to_its_task() {
        let session = Arc::new(Session::new("a"));
        let link = Arc::new(Broken::default());
        attach(&session, link.clone());
        assert!(with_context(|cx| session.flush(cx, false)));
        assert_eq!(*link.0.lock(), 1);
    }

    #[test]
    fn a_thread_that_writes_for_others_hands_over_in_the_end() {
        let session = Arc::new(Session::new("a"));
        let writes = Mutex::default();
        let link = Arc::new(Endless { session: Arc::clone(&session), writes, woken: Mutex::default() });
        attach(&session, link.clone());
        assert!(!with_context(|cx| session.flush(cx, false)), "the connection is not full");
        assert_eq!((*link.writes.lock(), *link.woken.lock()), (CHUNKS, 1));
        // Acts as the connection's task, each time that it is woken.
        while session.outbound.lock().is_blocked() {
            with_context(|cx| session.flush(cx, true));
        }
        assert_eq!(*link.writes.lock(), 10 * CHUNKS);
    }

    /// Only a flush that has written knows that the connection is full: since another thread's write it may have room
    /// again.
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
