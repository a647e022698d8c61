//! A line that keeps what is written to it: it can be full, have limited room, or be cut.

use std::io::IoSlice;
use std::sync::{Arc, Mutex};

use midge::session::last_bytes::LastBytes;
use midge::session::link::{Admission, Cause, Link, Written};

/// The fake network connection of one client.
#[derive(Default)]
pub struct Line(Mutex<State>);

#[derive(Default)]
struct State {
    bytes: Vec<u8>,
    /// Bytes that are still taken; `None` is any number.
    room: Option<usize>,
    cut: bool,
    unread: bool,
    /// Whether the client was let in.
    admitted: bool,
    woken: bool,
    finished: Option<Cause>,
    /// Called in each write.
    probe: Option<Arc<dyn Fn() + Send + Sync>>,
}

impl Line {
    /// Takes no more bytes until [`Line::open`].
    pub fn block(&self) {
        self.allow(0);
    }

    /// Takes so many more bytes.
    pub fn allow(&self, bytes: usize) {
        self.0.lock().unwrap().room = Some(bytes);
    }

    /// Takes any number of bytes.
    pub fn open(&self) {
        self.0.lock().unwrap().room = None;
    }

    /// Calls this in each write.
    pub fn probe(&self, probe: impl Fn() + Send + Sync + 'static) {
        self.0.lock().unwrap().probe = Some(Arc::new(probe));
    }

    /// Holds bytes of the client that the broker has not read, or none.
    pub fn set_unread(&self, unread: bool) {
        self.0.lock().unwrap().unread = unread;
    }

    /// Breaks: nothing is taken any more.
    pub fn cut(&self) {
        self.0.lock().unwrap().cut = true;
    }

    /// The bytes written since the last call.
    pub fn take(&self) -> Vec<u8> {
        std::mem::take(&mut self.0.lock().unwrap().bytes)
    }

    /// Puts back what was taken too early, in front of what has been written since.
    pub fn put_back(&self, rest: &[u8]) {
        self.0.lock().unwrap().bytes.splice(0..0, rest.iter().copied());
    }

    /// Whether the line takes bytes.
    pub fn has_room(&self) -> bool {
        let state = self.0.lock().unwrap();
        !state.cut && state.finished.is_none() && state.room != Some(0)
    }

    /// Whether the broker has asked for the connection's task since the last call.
    pub fn take_wake(&self) -> bool {
        std::mem::take(&mut self.0.lock().unwrap().woken)
    }

    /// Why the broker has closed the line, if it has.
    pub fn finished(&self) -> Option<Cause> {
        self.0.lock().unwrap().finished
    }
}

impl Link for Line {
    fn write(&self, buffers: &[IoSlice<'_>]) -> Written {
        let probe = self.0.lock().unwrap().probe.clone();
        if let Some(probe) = probe {
            probe();
        }
        let mut state = self.0.lock().unwrap();
        if state.cut || state.finished.is_some() {
            return Written::Gone;
        }
        let mut taken = 0;
        for buffer in buffers {
            let room = state.room.unwrap_or(usize::MAX);
            let count = buffer.len().min(room);
            state.bytes.extend_from_slice(&buffer[..count]);
            state.room = state.room.map(|room| room - count);
            taken += count;
        }
        if taken == 0 { Written::Blocked } else { Written::Bytes(taken) }
    }

    fn has_unread(&self) -> bool {
        self.0.lock().unwrap().unread
    }

    fn admit(&self, _takes_over: bool) -> Admission {
        let mut state = self.0.lock().unwrap();
        state.admitted |= state.finished.is_none();
        if state.admitted { Admission::Admitted } else { Admission::Over }
    }

    fn expire(&self, cause: Cause) -> bool {
        let mut state = self.0.lock().unwrap();
        let expires = !state.admitted && state.finished.is_none();
        if expires {
            state.finished = Some(cause);
        }
        expires
    }

    fn is_over(&self) -> bool {
        self.finished().is_some()
    }

    fn wake(&self) {
        self.0.lock().unwrap().woken = true;
    }

    fn finish(&self, last: LastBytes, cause: Cause) {
        let mut state = self.0.lock().unwrap();
        if state.finished.is_none() {
            if !state.cut {
                state.bytes.extend_from_slice(&last);
            }
            state.finished = Some(cause);
        }
    }
}
