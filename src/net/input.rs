//! Reading packets: buffers the beginning of an incomplete packet. An idle connection holds no memory.

use bytes::Bytes;

use crate::engine::connection::state::Connection;
use crate::engine::connection::state::Progress;
use crate::engine::core::state::Engine;
use crate::engine::core::turn::Turn;
use crate::net::link::StreamLink;
use crate::net::transport::Received;

/// Bytes read at once. A task reads one such portion, then other tasks run.
const SCRATCH: usize = 64 * 1024;
/// A packet of at least this size is read into a separate buffer, which becomes the memory of its payload.
const OWN_BUFFER_FROM: usize = 32 * 1024;

/// The beginning of an incomplete packet, if there is one.
#[derive(Debug, Default)]
pub(super) struct Input {
    unfinished: Option<Box<Unfinished>>,
}

#[derive(Debug, Default)]
struct Unfinished {
    tail: Vec<u8>,
    /// The total length of the packet, as far as it is known.
    need: usize,
}

/// The result of one read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reading {
    /// Bytes were read. `drained`: the connection has no more for now; `open`: more packets are accepted.
    Data { drained: bool, open: bool },
    /// There is nothing to read now.
    Blocked,
    /// The peer has closed the connection, or it is broken.
    End,
}

impl Input {
    /// Reads one portion from the link and passes it to the connection.
    pub(super) fn read(
        &mut self,
        link: &StreamLink,
        connection: &mut Connection,
        engine: &Engine,
        turn: &mut Turn,
    ) -> Reading {
        if let Some(large) = self.unfinished.take_if(|unfinished| unfinished.need >= OWN_BUFFER_FROM) {
            return self.read_large(large, link, connection, engine, turn);
        }
        let mut scratch = std::mem::take(&mut turn.scratch);
        if scratch.len() < SCRATCH {
            scratch.resize(SCRATCH, 0);
        }
        let outcome = self.read_small(link, connection, engine, turn, &mut scratch);
        turn.scratch = scratch;
        outcome
    }

    /// Passes the bytes that waited for the host's decision to the connection; returns whether it accepts more packets.
    pub(super) fn resume(&mut self, connection: &mut Connection, engine: &Engine, turn: &mut Turn) -> bool {
        let waited = self.unfinished.take().unwrap_or_default();
        // A large packet is alone in its buffer, which may become the memory of its payload.
        let alone = waited.need >= OWN_BUFFER_FROM && waited.need == waited.tail.len();
        let waited = Bytes::from(waited.tail);
        let progress = connection.receive(engine, turn, &waited, alone.then_some(&waited));
        self.keep(waited.get(progress.consumed..).unwrap_or_default(), progress);
        progress.open
    }

    fn read_small(
        &mut self,
        link: &StreamLink,
        connection: &mut Connection,
        engine: &Engine,
        turn: &mut Turn,
        scratch: &mut [u8],
    ) -> Reading {
        let tail = self.unfinished.as_ref().map_or(&[][..], |unfinished| &unfinished.tail);
        let kept = tail.len();
        let Some((front, room)) = scratch.split_at_mut_checked(kept) else {
            return Reading::End;
        };
        front.copy_from_slice(tail);
        let (count, drained) = match link.receive(room) {
            Received::Bytes { count, drained } => (count, drained),
            Received::Blocked => return Reading::Blocked,
            Received::End => return Reading::End,
        };
        let input = scratch.get(..kept + count).unwrap_or_default();
        let progress = connection.receive(engine, turn, input, None);
        self.keep(input.get(progress.consumed..).unwrap_or_default(), progress);
        Reading::Data { drained, open: progress.open }
    }

    /// Reads no further than the end of the packet, so that the buffer holds nothing else.
    fn read_large(
        &mut self,
        mut large: Box<Unfinished>,
        link: &StreamLink,
        connection: &mut Connection,
        engine: &Engine,
        turn: &mut Turn,
    ) -> Reading {
        let kept = large.tail.len();
        // The buffer grows with the bytes received, not with the length announced.
        let room = large.need.saturating_sub(kept).min(kept.max(SCRATCH));
        large.tail.reserve_exact(room);
        large.tail.resize(kept + room, 0);
        let outcome = link.receive(large.tail.get_mut(kept..).unwrap_or_default());
        let Received::Bytes { count, drained } = outcome else {
            large.tail.truncate(kept);
            self.unfinished = Some(large);
            return if outcome == Received::Blocked { Reading::Blocked } else { Reading::End };
        };
        large.tail.truncate(kept + count);
        if large.tail.len() < large.need {
            self.unfinished = Some(large);
            connection.heard(turn);
            return Reading::Data { drained, open: true };
        }
        let packet = Bytes::from(large.tail);
        let progress = connection.receive(engine, turn, &packet, Some(&packet));
        self.keep(packet.get(progress.consumed..).unwrap_or_default(), progress);
        Reading::Data { drained, open: progress.open }
    }

    fn keep(&mut self, rest: &[u8], progress: Progress) {
        if rest.is_empty() {
            self.unfinished = None;
            return;
        }
        let unfinished = self.unfinished.get_or_insert_default();
        unfinished.need = progress.need;
        unfinished.tail.clear();
        unfinished.tail.extend_from_slice(rest);
    }
}
