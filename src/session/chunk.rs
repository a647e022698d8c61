//! Encoded packets to be written to one connection, perhaps partly written.

use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::Bytes;

use crate::session::link::{Link, Written};

/// The most slices of one write.
const SLICES: usize = 16;

/// As many written bytes are worth a move of the others.
const GIVE_BACK_FROM: usize = 64 * 1024;

/// Encoded packets in order: copied bytes, with shared payloads inserted at positions among them.
#[derive(Debug, Default)]
pub struct Chunk {
    pub(super) bytes: Vec<u8>,
    extras: Option<Box<ChunkExtras>>,
}

/// Rarely used state: a chunk of small packets that is written at once has none.
#[derive(Debug, Default)]
struct ChunkExtras {
    /// Each shared payload, with the position in `bytes` where it is inserted.
    shared: VecDeque<(usize, Bytes)>,
    /// The bytes of `bytes` that are written.
    written: usize,
    /// The bytes of the first shared payload that are written.
    shared_written: usize,
    /// The bytes of the shared payloads that are not written.
    shared_unwritten: usize,
    /// Bytes of retained messages for new subscriptions, written or not.
    walked: usize,
}

impl Chunk {
    /// The number of unwritten bytes.
    pub fn len(&self) -> usize {
        match &self.extras {
            None => self.bytes.len(),
            Some(extras) => self.bytes.len() - extras.written + extras.shared_unwritten,
        }
    }

    /// Bytes of retained messages for new subscriptions that it began with.
    pub fn walked(&self) -> usize {
        self.extras.as_ref().map_or(0, |extras| extras.walked)
    }

    /// Counts bytes that were appended as those of a retained message for a new subscription.
    pub(super) fn add_walked(&mut self, bytes: usize) {
        self.extras.get_or_insert_default().walked += bytes;
    }

    /// Whether everything is written.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Writes until everything is written.
    ///
    /// # Errors
    /// The link takes no more, or is gone.
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

    /// The unwritten bytes, in one buffer.
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

    /// Frees the written bytes once they are most of what a large chunk holds: [`Chunk::len`] does not count them.
    pub(super) fn give_back(&mut self) {
        let Some(extras) = self.extras.as_deref_mut() else { return };
        if extras.written < GIVE_BACK_FROM.max(self.bytes.len() / 2) {
            return;
        }
        self.bytes.drain(..extras.written);
        self.bytes.shrink_to_fit();
        for (position, _) in &mut extras.shared {
            *position = position.saturating_sub(extras.written);
        }
        extras.written = 0;
    }

    /// Appends a payload without copying it.
    pub(super) fn push_shared(&mut self, payload: Bytes) {
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
    /// Counts `count` more bytes as written.
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

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::{Chunk, GIVE_BACK_FROM};

    #[test]
    fn written_bytes_are_given_back_and_the_others_stay_in_order() {
        for (written, is_given_back) in [(GIVE_BACK_FROM - 1, false), (GIVE_BACK_FROM, true), (110_000, true)]
        {
            let mut chunk = Chunk::default();
            chunk.bytes.resize(100_000, b'a');
            chunk.push_shared(Bytes::from(vec![b'b'; 10_001]));
            chunk.bytes.extend_from_slice(b"cc");
            chunk.push_shared(Bytes::from_static(b"d"));
            chunk.bytes.push(b'e');
            chunk.extras.as_mut().unwrap().advance(written);
            let left = chunk.len();
            chunk.give_back();
            assert_eq!((chunk.len(), chunk.bytes.capacity() < 100_000), (left, is_given_back));
            let mut all = vec![b'a'; 100_000];
            all.resize(110_001, b'b');
            all.extend_from_slice(b"ccde");
            assert_eq!(chunk.into_unwritten(), all[written..]);
        }
    }
}
