//! A network connection that keeps what is written to it: it can be full, have limited room, or be cut.

use std::io::IoSlice;
use std::sync::{Mutex, MutexGuard};

use midge::session::last_bytes::LastBytes;
use midge::session::link::{Cause, Link, Written};

#[derive(Default)]
pub struct Line(Mutex<State>);

#[derive(Default)]
struct State {
    bytes: Vec<u8>,
    /// Bytes that are still taken; `None` is any number.
    room: Option<usize>,
    woken: bool,
    finished: Option<Cause>,
}

impl Line {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    /// Takes so many more bytes; `None`: any number.
    pub fn allow(&self, room: Option<usize>) {
        self.state().room = room;
    }

    /// The bytes written since the last call.
    pub fn take(&self) -> Vec<u8> {
        std::mem::take(&mut self.state().bytes)
    }

    /// Whether the line takes any number of bytes.
    pub fn is_free(&self) -> bool {
        self.state().room.is_none()
    }

    /// Whether the line takes bytes.
    pub fn has_room(&self) -> bool {
        let state = self.state();
        state.finished.is_none() && state.room != Some(0)
    }

    /// Whether the broker has asked for the connection's task since the last call.
    pub fn take_wake(&self) -> bool {
        std::mem::take(&mut self.state().woken)
    }

    /// Why the broker has closed the line, if it has.
    pub fn finished(&self) -> Option<Cause> {
        self.state().finished
    }
}

impl Link for Line {
    fn write(&self, buffers: &[IoSlice<'_>]) -> Written {
        let mut state = self.state();
        if state.finished.is_some() {
            return Written::Gone;
        }
        let mut taken = 0;
        for buffer in buffers {
            let count = buffer.len().min(state.room.unwrap_or(usize::MAX));
            state.bytes.extend_from_slice(&buffer[..count]);
            state.room = state.room.map(|room| room - count);
            taken += count;
        }
        if taken == 0 { Written::Blocked } else { Written::Bytes(taken) }
    }

    fn wake(&self) {
        self.state().woken = true;
    }

    fn finish(&self, last: LastBytes, cause: Cause) {
        let mut state = self.state();
        if state.finished.is_none() {
            state.bytes.extend_from_slice(&last);
            state.finished = Some(cause);
        }
    }
}
