//! What is still to be written to connections that have ended, bounded for all of them together.
//!
//! A connection that ends leaves its outbox and its last packet to its link, which may write them for some seconds. One
//! client could end connection after connection, each with a full outbox.

use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::session::chunk::Chunk;

/// The bytes that wait for connections that have ended.
#[derive(Debug)]
pub struct EndingBytes {
    waiting: AtomicUsize,
    most: usize,
}

impl EndingBytes {
    /// None, of at most so many.
    pub fn new(most: usize) -> EndingBytes {
        EndingBytes { waiting: AtomicUsize::new(0), most }
    }

    /// Their number.
    pub fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Counts more, if they fit.
    fn add(&self, bytes: usize) -> bool {
        let sum = |waiting: usize| waiting.checked_add(bytes).filter(|sum| *sum <= self.most);
        self.waiting.fetch_update(Ordering::Relaxed, Ordering::Relaxed, sum).is_ok()
    }
}

/// What is still to be written to a connection that has ended. It counts until it is dropped.
#[derive(Debug, Default)]
pub struct LastBytes {
    bytes: Vec<u8>,
    counted: Option<Counted>,
}

#[derive(Debug)]
struct Counted {
    bytes: usize,
    all: Arc<EndingBytes>,
}

impl LastBytes {
    /// What `drain` returns, `len` bytes, followed by the last packet. `None`, and nothing is drained, if they do not fit.
    pub(super) fn counted(
        all: &Arc<EndingBytes>,
        len: usize,
        packet: &[u8],
        drain: impl FnOnce() -> Vec<u8>,
    ) -> Option<LastBytes> {
        let len = len + packet.len();
        if !all.add(len) {
            return None;
        }
        let counted = Counted { bytes: len, all: Arc::clone(all) };
        let mut bytes = drain();
        bytes.reserve_exact(packet.len());
        bytes.extend_from_slice(packet);
        bytes.shrink_to_fit();
        Some(LastBytes { bytes, counted: Some(counted) })
    }

    /// The same with the rest of a chunk before it. If that does not fit, nothing is left: the bytes would continue a
    /// packet whose middle is missing.
    pub(super) fn after(mut self, rest: Chunk) -> LastBytes {
        let len = rest.len();
        let Some(counted) = self.counted.as_mut().filter(|counted| counted.all.add(len)) else {
            return LastBytes::default();
        };
        counted.bytes += len;
        let mut bytes = rest.into_unwritten();
        bytes.reserve_exact(self.bytes.len());
        bytes.extend_from_slice(&self.bytes);
        bytes.shrink_to_fit();
        self.bytes = bytes;
        self
    }
}

/// A last packet alone, which does not count: it is small, and there is one for each connection.
impl From<Vec<u8>> for LastBytes {
    fn from(bytes: Vec<u8>) -> LastBytes {
        LastBytes { bytes, counted: None }
    }
}

impl Deref for LastBytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.all.waiting.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::{EndingBytes, LastBytes};
    use crate::session::chunk::Chunk;

    fn chunk(bytes: &[u8]) -> Chunk {
        let mut chunk = Chunk::default();
        chunk.bytes.extend_from_slice(bytes);
        chunk
    }

    #[test]
    fn bytes_count_until_they_are_dropped() {
        let all = Arc::new(EndingBytes::new(10));
        let first = LastBytes::counted(&all, 4, b"!", || b"abcd".to_vec()).unwrap();
        assert_eq!((&first[..], all.waiting()), (&b"abcd!"[..], 5));
        assert!(LastBytes::counted(&all, 5, b"!", || panic!("drained")).is_none());
        let first = first.after(chunk(b"12345"));
        assert_eq!((&first[..], all.waiting()), (&b"12345abcd!"[..], 10));
        let first = first.after(chunk(b"6"));
        assert_eq!((&first[..], all.waiting()), (&b""[..], 0));
        assert!(LastBytes::counted(&all, 9, b"!", || vec![0; 9]).is_some());
        assert_eq!(all.waiting(), 0);
    }

    #[test]
    fn a_packet_alone_does_not_count_and_takes_no_rest() {
        let alone = LastBytes::from(b"!".to_vec());
        assert_eq!(&alone[..], b"!");
        assert!(alone.after(chunk(b"rest")).is_empty());
    }
}
