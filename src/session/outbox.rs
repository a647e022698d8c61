//! The outbox of one connection: any thread appends packets, and one thread at a time writes them, without the lock.
//!
//! `FlushState` says which thread writes it and when. Its transitions, where "-" changes nothing:
//!
//! | call | `Idle` | `Listed` | `ListedAtOnce` | `Writing` | `Blocked` | `Held` |
//! |---|---|---|---|---|---|---|
//! | `list_for_flush`, little waits | `Listed`, true | - | - | - | - | - |
//! | `list_for_flush`, enough waits | `ListedAtOnce`, true | `ListedAtOnce`, true | - | - | - | - |
//! | `put_off` | - | - | `Listed` | - | - | - |
//! | `take`, something waits | `Writing` | `Writing` | `Writing` | - | `Writing` if writable | - |
//! | `take`, nothing waits | - | `Idle` | `Idle` | - | `Idle` if writable | - |
//! | `written`, all | | | | `Idle` | | |
//! | `written`, not all | | | | `Blocked` | | |
//! | `hand_over`, something waits | `Blocked`, true | `Blocked`, true | `Blocked`, true | - | - | - |
//! | `hold` | `Held` | | | | | |
//! | `release` | - | - | - | - | - | `Idle` |
//! | `drain` | `Idle` | `Idle` | `Idle` | `Idle` | `Idle` | `Idle` |
//!
//! A turn lists an outbox when it appends, and flushes what it has listed at its end, or leaves it to the flush queue
//! (`put_off`). An outbox that is being written is written again by the same thread, which looks for more each time
//! (`session/flush.rs`). A blocked one is written by the connection's own task when the socket is writable. That of a
//! connection that has just got its session may be held, until the store has committed what CONNACK stands for.

use bytes::Bytes;

use crate::session::chunk::Chunk;
use crate::session::pool::Pool;

/// An outbox with this many bytes does not wait for more: a larger write costs no less per byte.
const ENOUGH: usize = 8 * 1024;

/// Which thread writes an outbox, and when.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum FlushState {
    /// None, until something is appended.
    #[default]
    Idle,
    /// A turn or the flush queue has listed it; it may wait for more.
    Listed,
    /// A turn has listed it, and it holds enough bytes to be worth a write.
    ListedAtOnce,
    /// A thread has taken the content and writes it without the lock.
    Writing,
    /// The connection's task writes it when the connection is writable.
    Blocked,
    /// Nobody, until it is released.
    Held,
}

/// The outbox of one connection.
#[derive(Debug, Default)]
pub struct Outbox {
    tail: Chunk,
    /// The rest of a chunk that the connection did not take, older than `tail`.
    head: Option<Box<Chunk>>,
    /// The bytes of the chunk that a thread is writing.
    in_flight: usize,
    state: FlushState,
    /// Of the bytes taken, those of retained messages for new subscriptions.
    in_flight_walked: u32,
}

impl Outbox {
    /// The number of bytes, including those being written.
    pub fn len(&self) -> usize {
        self.tail.len() + self.head.as_ref().map_or(0, |head| head.len()) + self.in_flight
    }

    /// Of the bytes that wait, those of retained messages for new subscriptions; of a chunk that is partly written all that
    /// it began with.
    pub fn walked(&self) -> usize {
        let in_flight = self.in_flight_walked as usize;
        self.tail.walked() + self.head.as_ref().map_or(0, |head| head.walked()) + in_flight
    }

    /// Counts the bytes that were appended last as those of a retained message for a new subscription.
    pub fn add_walked(&mut self, bytes: usize) {
        self.tail.add_walked(bytes);
    }

    /// Whether it holds no bytes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether the connection takes no more until it is writable.
    pub fn is_blocked(&self) -> bool {
        self.state == FlushState::Blocked
    }

    /// Appends the output of `encode`, followed by `payload`.
    pub fn append(&mut self, pool: &mut Pool, payload: Option<Bytes>, encode: impl FnOnce(&mut Vec<u8>)) {
        if self.tail.bytes.capacity() == 0 {
            self.tail.bytes = pool.take();
        }
        encode(&mut self.tail.bytes);
        if let Some(payload) = payload {
            self.tail.push_shared(payload);
        }
    }

    /// Whether the caller must flush this outbox: true once until it is flushed, and once more when it holds enough.
    pub fn list_for_flush(&mut self) -> bool {
        let enough = self.tail.len() >= ENOUGH;
        let next = match self.state {
            FlushState::Idle if enough => FlushState::ListedAtOnce,
            FlushState::Idle => FlushState::Listed,
            FlushState::Listed if enough => FlushState::ListedAtOnce,
            FlushState::Listed
            | FlushState::ListedAtOnce
            | FlushState::Writing
            | FlushState::Blocked
            | FlushState::Held => {
                return false;
            }
        };
        if self.tail.is_empty() {
            return false;
        }
        self.state = next;
        true
    }

    /// Whether the outbox may wait for more bytes before it is written.
    pub fn may_wait(&self) -> bool {
        self.state != FlushState::ListedAtOnce
    }

    /// Lets an outbox that holds enough wait all the same: the next append lists it again.
    pub fn put_off(&mut self) {
        if self.state == FlushState::ListedAtOnce {
            self.state = FlushState::Listed;
        }
    }

    /// Lets nobody write an outbox that is empty and that nobody writes, until [`Outbox::release`].
    pub fn hold(&mut self) {
        self.state = FlushState::Held;
    }

    /// Whether the outbox is held.
    pub fn is_held(&self) -> bool {
        self.state == FlushState::Held
    }

    /// Ends [`Outbox::hold`]. The caller then asks [`Outbox::list_for_flush`].
    pub fn release(&mut self) {
        if self.state == FlushState::Held {
            self.state = FlushState::Idle;
        }
    }

    /// Takes what is to be written next; `None` if another thread writes, the connection is blocked or held, or
    /// nothing waits. The caller writes it without the lock, then calls [`Outbox::written`].
    pub fn take(&mut self, writable: bool) -> Option<Chunk> {
        match self.state {
            FlushState::Idle | FlushState::Listed | FlushState::ListedAtOnce => {}
            FlushState::Blocked if writable => {}
            FlushState::Blocked | FlushState::Writing | FlushState::Held => return None,
        }
        let chunk = match self.head.take() {
            Some(head) => *head,
            None => std::mem::take(&mut self.tail),
        };
        if chunk.is_empty() {
            self.state = FlushState::Idle;
            return None;
        }
        self.in_flight = chunk.len();
        self.in_flight_walked = u32::try_from(chunk.walked()).unwrap_or(u32::MAX);
        self.state = FlushState::Writing;
        Some(chunk)
    }

    /// Reports the result of writing a taken chunk: `rest` is the part that the connection did not take.
    pub fn written(&mut self, rest: Option<Chunk>) {
        self.in_flight = 0;
        self.in_flight_walked = 0;
        self.state = match rest {
            Some(mut rest) => {
                rest.give_back();
                self.head = Some(Box::new(rest));
                FlushState::Blocked
            }
            None => FlushState::Idle,
        };
    }

    /// Leaves the bytes to the connection's task, as if the connection had just become full. False if the outbox is
    /// empty or a thread writes it, or it is blocked already.
    pub fn hand_over(&mut self) -> bool {
        let may = match self.state {
            FlushState::Idle | FlushState::Listed | FlushState::ListedAtOnce => !self.is_empty(),
            FlushState::Writing | FlushState::Blocked | FlushState::Held => false,
        };
        if may {
            self.state = FlushState::Blocked;
        }
        may
    }

    /// Whether a thread has taken a chunk and is writing it.
    pub fn is_being_written(&self) -> bool {
        self.state == FlushState::Writing
    }

    /// The number of bytes that [`Outbox::drain`] returns.
    pub fn undrained(&self) -> usize {
        self.len() - self.in_flight
    }

    /// Whether the connection may have a part of a packet whose rest waits.
    pub fn is_partly_written(&self) -> bool {
        self.head.is_some() || self.is_being_written()
    }

    /// Empties the outbox and returns the unwritten bytes, in order, without those that a thread has taken.
    pub fn drain(&mut self) -> Vec<u8> {
        let old = std::mem::take(self);
        let mut all = old.head.map_or_else(Vec::new, |head| head.into_unwritten());
        if all.is_empty() {
            return old.tail.into_unwritten();
        }
        all.extend_from_slice(&old.tail.into_unwritten());
        all
    }

    /// Gives a written chunk's buffer back to the pool.
    pub fn recycle(pool: &mut Pool, chunk: Chunk) {
        pool.put(chunk.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::{Chunk, ENOUGH, FlushState, Outbox, Pool};
    use crate::locks::Mutex;
    use crate::session::last_bytes::LastBytes;
    use crate::session::link::{Cause, Link, Written};
    use bytes::Bytes;
    use std::io::IoSlice;

    /// A link that takes `room` bytes, then is blocked.
    struct Pipe {
        room: Mutex<usize>,
        taken: Mutex<Vec<u8>>,
    }

    impl Pipe {
        fn new(room: usize) -> Pipe {
            Pipe { room: Mutex::new(room), taken: Mutex::default() }
        }
    }

    impl Link for Pipe {
        fn write(&self, buffers: &[IoSlice<'_>]) -> Written {
            let (mut room, mut taken) = (self.room.lock(), self.taken.lock());
            let before = taken.len();
            for buffer in buffers {
                let count = buffer.len().min(*room);
                taken.extend_from_slice(&buffer[..count]);
                *room -= count;
            }
            if taken.len() == before { Written::Blocked } else { Written::Bytes(taken.len() - before) }
        }
        fn wake(&self) {}
        fn finish(&self, _last: LastBytes, _cause: Cause) {}
    }

    fn fill(outbox: &mut Outbox, pool: &mut Pool) -> Vec<u8> {
        let mut all = Vec::new();
        for round in 0..20u8 {
            let text = [round; 3];
            let payload = (round % 3 == 0).then(|| Bytes::from(vec![100 + round; 5]));
            outbox.append(pool, payload.clone(), |out| out.extend_from_slice(&text));
            all.extend_from_slice(&text);
            all.extend_from_slice(&payload.unwrap_or_default());
        }
        all
    }

    #[test]
    fn bytes_leave_in_order_wherever_the_connection_stops() {
        let mut pool = Pool::new();
        for room in 0..90 {
            let (mut outbox, pipe) = (Outbox::default(), Pipe::new(room));
            let expected = fill(&mut outbox, &mut pool);
            assert_eq!(outbox.len(), expected.len());
            let mut chunk = outbox.take(false).unwrap();
            let blocked = chunk.write_to(&pipe) == Err(Written::Blocked);
            assert_eq!(outbox.len(), expected.len());
            outbox.written(blocked.then_some(chunk));
            assert_eq!(outbox.is_blocked(), blocked);
            outbox.append(&mut pool, None, |out| out.push(7));
            let rest = outbox.drain();
            let mut all = pipe.taken.lock().clone();
            all.extend_from_slice(&rest);
            assert_eq!(all[..all.len() - 1], expected[..], "room {room}");
            assert!(outbox.is_empty());
        }
    }

    #[test]
    fn one_thread_writes_at_a_time_and_a_blocked_outbox_waits_until_writable() {
        let (mut outbox, mut pool) = (Outbox::default(), Pool::new());
        outbox.append(&mut pool, None, |out| out.extend_from_slice(b"abc"));
        assert!(outbox.list_for_flush());
        assert!(!outbox.list_for_flush());
        let chunk = outbox.take(false).unwrap();
        outbox.append(&mut pool, None, |out| out.extend_from_slice(b"def"));
        assert!(!outbox.list_for_flush());
        assert!(outbox.take(true).is_none());
        outbox.written(Some(chunk));
        assert!(outbox.take(false).is_none());
        assert_eq!(outbox.take(true).unwrap().into_unwritten(), b"abc");
        outbox.written(None);
        assert_eq!(outbox.take(false).unwrap().into_unwritten(), b"def");
    }

    /// How much waits in an outbox.
    #[derive(Clone, Copy, Debug, PartialEq)]
    enum Waits {
        Nothing,
        Little,
        Enough,
    }

    /// An outbox in the given state, and the chunk that a thread writes.
    fn outbox_in(state: FlushState, waits: Waits) -> (Outbox, Option<Chunk>) {
        let (mut outbox, mut pool) = (Outbox::default(), Pool::new());
        let append = |outbox: &mut Outbox, pool: &mut Pool, count: usize| {
            outbox.append(pool, None, |out| out.resize(out.len() + count, 1));
        };
        let mut chunk = None;
        if matches!(state, FlushState::Writing | FlushState::Blocked) {
            append(&mut outbox, &mut pool, 1);
            chunk = outbox.take(false);
            if state == FlushState::Blocked {
                outbox.written(chunk.take());
                // Nothing waits: the head is written.
                if waits == Waits::Nothing {
                    outbox.head = None;
                }
            }
        }
        match waits {
            Waits::Nothing => {}
            Waits::Little => append(&mut outbox, &mut pool, 3),
            Waits::Enough => append(&mut outbox, &mut pool, ENOUGH),
        }
        if matches!(state, FlushState::Listed | FlushState::ListedAtOnce | FlushState::Held) {
            outbox.state = state;
        }
        assert_eq!(outbox.state, state);
        (outbox, chunk)
    }

    /// Tests the table at the head of this file, line by line.
    #[test]
    fn the_states_follow_each_other_as_the_table_says() {
        use FlushState::{Blocked, Held, Idle, Listed, ListedAtOnce, Writing};
        use Waits::{Enough, Little, Nothing};
        let states = [Idle, Listed, ListedAtOnce, Writing, Blocked, Held];
        // What a call does to an outbox in each of the states, and whether it answers yes.
        let check =
            |name: &str, waits: Waits, call: fn(&mut Outbox) -> bool, expected: [(FlushState, bool); 6]| {
                for (state, expected) in states.into_iter().zip(expected) {
                    let (mut outbox, _chunk) = outbox_in(state, waits);
                    let answer = call(&mut outbox);
                    assert_eq!((outbox.state, answer), expected, "{name} in {state:?}, {waits:?} waits");
                }
            };
        let no = |state| (state, false);
        let yes = |state| (state, true);
        let unchanged = states.map(no);
        let list = Outbox::list_for_flush;
        check("list_for_flush", Nothing, list, unchanged);
        check(
            "list_for_flush",
            Little,
            list,
            [yes(Listed), no(Listed), no(ListedAtOnce), no(Writing), no(Blocked), no(Held)],
        );
        let at_once =
            [yes(ListedAtOnce), yes(ListedAtOnce), no(ListedAtOnce), no(Writing), no(Blocked), no(Held)];
        check("list_for_flush", Enough, list, at_once);
        fn put_off(outbox: &mut Outbox) -> bool {
            outbox.put_off();
            false
        }
        let put = [no(Idle), no(Listed), no(Listed), no(Writing), no(Blocked), no(Held)];
        check("put_off", Enough, put_off, put);
        let may_wait = [yes(Idle), yes(Listed), no(ListedAtOnce), yes(Writing), yes(Blocked), yes(Held)];
        check("may_wait", Enough, |outbox| outbox.may_wait(), may_wait);
        let taken = [yes(Writing), yes(Writing), yes(Writing), no(Writing), no(Blocked), no(Held)];
        check("take", Little, |outbox| outbox.take(false).is_some(), taken);
        let taken = [yes(Writing), yes(Writing), yes(Writing), no(Writing), yes(Writing), no(Held)];
        check("take when writable", Little, |outbox| outbox.take(true).is_some(), taken);
        let nothing = [no(Idle), no(Idle), no(Idle), no(Writing), no(Blocked), no(Held)];
        check("take", Nothing, |outbox| outbox.take(false).is_some(), nothing);
        let nothing = [no(Idle), no(Idle), no(Idle), no(Writing), no(Idle), no(Held)];
        check("take when writable", Nothing, |outbox| outbox.take(true).is_some(), nothing);
        let handed = [yes(Blocked), yes(Blocked), yes(Blocked), no(Writing), no(Blocked), no(Held)];
        check("hand_over", Little, Outbox::hand_over, handed);
        check("hand_over", Nothing, Outbox::hand_over, unchanged);
        fn release(outbox: &mut Outbox) -> bool {
            outbox.release();
            false
        }
        let released = [no(Idle), no(Listed), no(ListedAtOnce), no(Writing), no(Blocked), no(Idle)];
        check("release", Little, release, released);
        let mut outbox = Outbox::default();
        outbox.hold();
        assert_eq!(outbox.state, Held);
        check("drain", Little, |outbox| outbox.drain().is_empty(), states.map(|_| no(Idle)));
        let (mut outbox, chunk) = outbox_in(Writing, Little);
        outbox.written(chunk);
        assert_eq!((outbox.state, outbox.len()), (Blocked, 4));
        let (mut outbox, _chunk) = outbox_in(Writing, Little);
        outbox.written(None);
        assert_eq!((outbox.state, outbox.len()), (Idle, 3));
    }
}
