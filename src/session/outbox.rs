//! Bytes on their way to one connection: packets are appended by any thread and written by one.

use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::Bytes;

use crate::session::link::{Link, Written};
use crate::session::pool::Pool;

/// So many bytes do not wait for more: a write of them is no dearer for each than a larger one.
const ENOUGH: usize = 8 * 1024;
/// Slices handed to one write.
const SLICES: usize = 16;

/// Encoded packets in order: copied bytes, with shared payloads inserted at positions among them.
#[derive(Debug, Default)]
pub struct Chunk {
    bytes: Vec<u8>,
    extras: Option<Box<ChunkExtras>>,
}

/// What a chunk of small packets that is written in one go does not have.
#[derive(Debug, Default)]
struct ChunkExtras {
    /// (position in `bytes` before which the payload stands, the payload)
    shared: VecDeque<(usize, Bytes)>,
    /// Bytes of `bytes` that are written.
    written: usize,
    /// Bytes of the first shared payload that are written.
    shared_written: usize,
    /// Bytes of the shared payloads that are not written.
    shared_unwritten: usize,
}

impl Chunk {
    /// Bytes that are not yet written.
    pub fn len(&self) -> usize {
        match &self.extras {
            None => self.bytes.len(),
            Some(extras) => self.bytes.len() - extras.written + extras.shared_unwritten,
        }
    }

    /// Whether all is written.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Writes until the link takes no more; whether all was written, or what stopped it.
    pub fn write_to(&mut self, link: &dyn Link) -> Result<(), Written> {
        while !self.is_empty() {
            let outcome = match &self.extras {
                None => link.write(&[IoSlice::new(&self.bytes)]),
                Some(extras) if extras.shared.is_empty() => {
                    link.write(&[IoSlice::new(self.bytes.get(extras.written..).unwrap_or_default())])
                }
                Some(extras) => self.write_vectored(extras, link),
            };
            match outcome {
                Written::Bytes(0) => return Err(Written::Gone),
                Written::Bytes(count) if count == self.len() => {
                    self.bytes.clear();
                    self.extras = None;
                }
                Written::Bytes(count) => {
                    let extras = self.extras.get_or_insert_default();
                    extras.advance(count);
                }
                stopped => return Err(stopped),
            }
        }
        Ok(())
    }

    /// What is not yet written, in one buffer.
    pub fn into_unwritten(mut self) -> Vec<u8> {
        let Some(extras) = self.extras.take() else {
            return self.bytes;
        };
        if extras.shared.is_empty() {
            self.bytes.drain(..extras.written);
            return self.bytes;
        }
        let mut all = Vec::with_capacity(self.bytes.len() - extras.written + extras.shared_unwritten);
        self.for_each_slice(&extras, usize::MAX, |slice| all.extend_from_slice(slice));
        all
    }

    /// Appends a payload that is shared.
    fn push_shared(&mut self, payload: Bytes) {
        let extras = self.extras.get_or_insert_default();
        extras.shared_unwritten += payload.len();
        extras.shared.push_back((self.bytes.len(), payload));
    }

    fn write_vectored(&self, extras: &ChunkExtras, link: &dyn Link) -> Written {
        let mut slices = [IoSlice::new(&[]); SLICES];
        let mut count = 0;
        self.for_each_slice(extras, SLICES, |slice| {
            if let Some(place) = slices.get_mut(count) {
                *place = IoSlice::new(slice);
                count += 1;
            }
        });
        link.write(slices.get(..count).unwrap_or_default())
    }

    fn for_each_slice<'a>(&'a self, extras: &'a ChunkExtras, most: usize, mut f: impl FnMut(&'a [u8])) {
        let (mut at, mut skip, mut left) = (extras.written, extras.shared_written, most);
        for (position, payload) in &extras.shared {
            if left < 2 {
                return;
            }
            if *position > at {
                f(self.bytes.get(at..*position).unwrap_or_default());
                left -= 1;
                at = *position;
            }
            f(payload.get(skip..).unwrap_or_default());
            left -= 1;
            skip = 0;
        }
        if left > 0 && at < self.bytes.len() {
            f(self.bytes.get(at..).unwrap_or_default());
        }
    }
}

impl ChunkExtras {
    /// So many bytes more are written.
    fn advance(&mut self, mut count: usize) {
        while let Some((position, payload)) = self.shared.front() {
            let before = position.saturating_sub(self.written);
            if count < before {
                break;
            }
            count -= before;
            self.written += before;
            let rest = payload.len().saturating_sub(self.shared_written);
            if count < rest {
                self.shared_written += count;
                self.shared_unwritten -= count;
                return;
            }
            count -= rest;
            self.shared_unwritten -= rest;
            self.shared_written = 0;
            self.shared.pop_front();
        }
        self.written += count;
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum WriteState {
    /// Nobody writes.
    #[default]
    Idle,
    /// A thread has taken the content and writes it, without the lock.
    Writing,
    /// The connection takes no more until it is writable.
    Blocked,
}

/// The outbox of one connection.
#[derive(Debug, Default)]
pub struct Outbox {
    tail: Chunk,
    /// What the connection did not take, older than `tail`.
    head: Option<Box<Chunk>>,
    /// Bytes taken by the writing thread.
    in_flight: usize,
    state: WriteState,
    listed: Listed,
}

/// Whether this outbox is on a list of things to flush.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
enum Listed {
    #[default]
    No,
    /// It may wait for more.
    Yes,
    /// As much waits as is worth a write.
    AtOnce,
}

impl Outbox {
    /// Bytes that wait, those being written included.
    pub fn len(&self) -> usize {
        self.tail.len() + self.head.as_ref().map_or(0, |head| head.len()) + self.in_flight
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether the connection takes no more until it is writable.
    pub fn is_blocked(&self) -> bool {
        self.state == WriteState::Blocked
    }

    /// Appends with `encode`, and `payload` behind what it wrote.
    pub fn append(&mut self, pool: &mut Pool, payload: Option<Bytes>, encode: impl FnOnce(&mut Vec<u8>)) {
        if self.tail.bytes.capacity() == 0 {
            self.tail.bytes = pool.take();
        }
        encode(&mut self.tail.bytes);
        if let Some(payload) = payload {
            self.tail.push_shared(payload);
        }
    }

    /// Whether the caller has to see to it that this outbox is flushed; true once until it is, and once more when
    /// it should wait no longer.
    pub fn list_for_flush(&mut self) -> bool {
        let wanted = if self.tail.len() < ENOUGH { Listed::Yes } else { Listed::AtOnce };
        let must = self.state == WriteState::Idle && self.listed < wanted && !self.tail.is_empty();
        if must {
            self.listed = wanted;
        }
        must
    }

    /// Whether so little waits to be written that it may wait for more.
    pub fn may_wait(&self) -> bool {
        self.listed != Listed::AtOnce
    }

    /// Has much wait as if it were little: who adds to it lists it again.
    pub fn put_off(&mut self) {
        self.listed = self.listed.min(Listed::Yes);
    }

    /// Takes what is to be written next; `None` if another thread writes, the connection is blocked, or
    /// nothing waits. The caller writes it without the lock, then calls [`Outbox::written`].
    pub fn take(&mut self, writable: bool) -> Option<Chunk> {
        self.listed = Listed::No;
        let may = match self.state {
            WriteState::Idle => true,
            WriteState::Blocked => writable,
            WriteState::Writing => false,
        };
        if !may {
            return None;
        }
        let chunk = match self.head.take() {
            Some(head) => *head,
            None => std::mem::take(&mut self.tail),
        };
        if chunk.is_empty() {
            self.state = WriteState::Idle;
            return None;
        }
        self.in_flight = chunk.len();
        self.state = WriteState::Writing;
        Some(chunk)
    }

    /// Says how far the writing of a taken chunk came: `rest` is what the connection did not take.
    pub fn written(&mut self, rest: Option<Chunk>) {
        self.in_flight = 0;
        self.state = match rest {
            Some(rest) => {
                self.head = Some(Box::new(rest));
                WriteState::Blocked
            }
            None => WriteState::Idle,
        };
    }

    /// Has what waits written as if the connection had just taken no more; false if nothing waits or somebody writes.
    pub fn hand_over(&mut self) -> bool {
        let may = self.state == WriteState::Idle && !self.is_empty();
        if may {
            self.state = WriteState::Blocked;
        }
        may
    }

    /// Whether a thread has taken the content and is writing it.
    pub fn is_being_written(&self) -> bool {
        self.state == WriteState::Writing
    }

    /// Empties the outbox and returns what was not yet written, in order. What a thread has taken is not in it.
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
    use super::{Outbox, Pool};
    use crate::session::link::{Cause, Link, Written};
    use bytes::Bytes;
    use parking_lot::Mutex;
    use std::io::IoSlice;

    /// Takes `room` bytes, then is blocked.
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
        fn finish(&self, _last: Vec<u8>, _cause: Cause) {}
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
}
