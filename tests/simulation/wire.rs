//! The network between clients and the broker: late, in pieces, slow, and cut at any byte.

use std::collections::HashMap;
use std::io::IoSlice;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use midge::codec::frame::{Framing, split};
use midge::codec::version::Version;
use midge::engine::connection::state::Connection;
use midge::session::last_bytes::LastBytes;
use midge::session::link::{Cause, Link, Written};
use midge::storage::Store;
use midge::time::Time;

use crate::line::Line;
use crate::op::Op;
use crate::world::{Conn, Event, World};

/// Bytes of one turn of which the copies, one for each way to subscribe, can fill an outbox of 64 KiB before it is written.
const LARGE_TURN: usize = 16 * 1024;

/// A line that says when the engine touches it.
struct PublishTap {
    conn: usize,
    line: Arc<Line>,
    touched: Arc<Mutex<Vec<usize>>>,
}

impl PublishTap {
    fn touch(&self) {
        self.touched.lock().unwrap().push(self.conn);
    }
}

impl Link for PublishTap {
    fn write(&self, buffers: &[IoSlice<'_>]) -> Written {
        self.touch();
        self.line.write(buffers)
    }

    fn wake(&self) {
        self.touch();
        self.line.wake();
    }

    fn finish(&self, last: LastBytes, cause: Cause) {
        self.touch();
        self.line.finish(last, cause);
    }
}

impl World {
    /// A new connection of a client, which sends these bytes first.
    pub fn open(&mut self, client: usize, version: Version) -> usize {
        let line = Arc::new(Line::default());
        let now = self.time();
        let conn = self.conns.len();
        let touched = Arc::clone(&self.touched);
        let link: Arc<dyn Link> = Arc::new(PublishTap { conn, line: Arc::clone(&line), touched });
        let connection = Connection::new(&self.engine, &mut self.engine.turn(now), link, None);
        let (rough, calm) = (self.rough, self.draining);
        let swift = calm || !self.dice.chance(15);
        if !swift {
            line.allow(self.dice.between(10, 500) as usize);
            self.coverage.slow_readers += 1;
        }
        let mut budget = || (!calm && self.dice.chance(rough)).then(|| self.dice.below(1500) as usize);
        let budgets = [budget(), budget()];
        self.conns.push(Conn {
            client,
            version,
            line,
            connection,
            unread: Vec::new(),
            open: true,
            broken: false,
            swift,
            budgets,
            arrivals: [self.now; 2],
            aliases: HashMap::new(),
            present: None,
            position: 0,
            full_to: None,
            generation: 0,
            heard: self.now,
            keep_alive: 0,
        });
        if !swift {
            self.later(50, Event::Room(conn));
        }
        conn
    }

    /// A client sends bytes.
    pub fn send(&mut self, client: usize, bytes: Vec<u8>) {
        let Some(conn) = self.clients[client].conn.filter(|_| !bytes.is_empty()) else {
            return;
        };
        self.clients[client].last_sent = self.now;
        for segment in self.segments(bytes) {
            let at = self.arrival(conn, 0);
            self.at(at, Event::Up(conn, segment));
        }
    }

    pub fn segments(&mut self, mut bytes: Vec<u8>) -> Vec<Vec<u8>> {
        let mut all = Vec::new();
        while !bytes.is_empty() {
            let cut = match self.dice.chance(30) {
                true => self.dice.between(1, bytes.len() as u64) as usize,
                false => bytes.len(),
            };
            let rest = bytes.split_off(cut);
            all.push(std::mem::replace(&mut bytes, rest));
        }
        all
    }

    /// When bytes that are sent now arrive: behind those that were sent before.
    pub fn arrival(&mut self, conn: usize, direction: usize) -> u64 {
        let delay = match self.dice.below(30) {
            0 if !self.draining => self.dice.between(200, 2500),
            n => n * 3,
        };
        let last = &mut self.conns[conn].arrivals[direction];
        *last = (*last).max(self.now + delay);
        *last
    }

    /// Cuts off what no longer passes; whether the connection breaks with these bytes.
    fn spend(&mut self, conn: usize, direction: usize, bytes: &mut Vec<u8>) -> bool {
        self.coverage.segments += 1;
        let Some(left) = &mut self.conns[conn].budgets[direction] else {
            return false;
        };
        if bytes.len() < *left {
            *left -= bytes.len();
            return false;
        }
        bytes.truncate(*left);
        true
    }

    pub fn up(&mut self, at: usize, mut bytes: Vec<u8>) {
        if !self.conns[at].open || self.conns[at].broken {
            return;
        }
        let breaks = self.spend(at, 0, &mut bytes);
        let conn = &mut self.conns[at];
        conn.unread.extend(bytes);
        while self.take_some(at) {}
        let attached = self.attached(at);
        let rest = split(&self.conns[at].unread, u32::MAX).unwrap();
        assert!(!attached || matches!(rest, Framing::Partial { .. }), "the broker has left a packet alone");
        if breaks {
            self.coverage.cuts_up += 1;
            self.break_off(at);
        }
    }

    /// Has the engine handle what has arrived: all of it, or one packet, so that the model knows what is committed with it.
    /// Whether there is more.
    fn take_some(&mut self, at: usize) -> bool {
        self.before = self.store.appended();
        let conn = &mut self.conns[at];
        let mut input = conn.unread.clone();
        if (self.restarts || self.late)
            && let Framing::Complete(frame) = split(&conn.unread, u32::MAX).unwrap()
        {
            input.truncate(frame.whole.len());
        }
        let owner = self.dice.chance(40).then(|| Bytes::from(input.clone()));
        let mut turn = self.engine.turn(Time::from_millis(self.now - self.began));
        let slice = owner.as_deref().unwrap_or(&input);
        let progress = conn.connection.receive(&self.engine, &mut turn, slice, owner.as_ref());
        turn.finish();
        conn.unread.drain(..progress.consumed);
        conn.heard = self.now;
        self.model_packets(at, &input[..progress.consumed]);
        if progress.consumed >= LARGE_TURN {
            let batch = self.model.batch;
            self.conns.iter_mut().flat_map(|conn| &mut conn.full_to).for_each(|full_to| *full_to = batch);
        }
        progress.open && progress.consumed > 0 && !self.conns[at].unread.is_empty()
    }

    pub fn down(&mut self, at: usize, mut bytes: Vec<u8>, committed: u64) {
        let client = self.conns[at].client;
        if self.conns[at].broken || self.clients[client].conn != Some(at) {
            return;
        }
        let breaks = self.spend(at, 1, &mut bytes);
        self.clients[client].arrived.extend(bytes);
        self.listen(at, committed);
        if breaks {
            self.coverage.cuts_down += 1;
            self.break_off(at);
        }
    }

    /// The connection breaks: nothing passes any more, and both ends learn of it some time, or not.
    pub fn break_off(&mut self, conn: usize) {
        self.note(|| format!("connection {conn} breaks"));
        self.conns[conn].broken = true;
        if self.dice.chance(50) {
            self.conns[conn].line.cut();
        }
        if self.dice.chance(80) {
            let delay = self.dice.between(1, 3000);
            self.later(delay, Event::ServerLost(conn));
        }
        let delay = self.dice.between(1, 3000);
        self.later(delay, Event::ClientLost(conn));
    }

    pub fn server_lost(&mut self, at: usize) {
        if !self.conns[at].open {
            return;
        }
        self.note(|| format!("connection {at} is lost"));
        let attached = self.attached(at);
        let conn = &mut self.conns[at];
        conn.open = false;
        let mut turn = self.engine.turn(Time::from_millis(self.now - self.began));
        conn.connection.lost(&self.engine, &mut turn, Cause::ConnectionLost);
        turn.finish();
        if attached {
            let client = self.conns[at].client;
            self.change(Op::Detach { client, with_will: true });
        }
    }

    pub fn room(&mut self, at: usize) {
        let conn = &self.conns[at];
        if conn.open {
            self.coverage.stalls += u64::from(!conn.line.has_room());
            match self.draining {
                true => conn.line.open(),
                false => conn.line.allow(self.dice.between(1, 400) as usize),
            }
            conn.connection
                .writable(&self.engine, &mut self.engine.turn(Time::from_millis(self.now - self.began)));
            if !self.draining {
                let pause = self.dice.between(5, 300);
                self.later(pause, Event::Room(at));
            }
        }
    }
}
