//! Clients of an engine without I/O, at the other end of fake lines.

use std::io::IoSlice;
use std::sync::{Arc, Mutex};

use midge::codec::qos::QoS;
use midge::codec::version::Version;
use midge::engine::connection::state::Connection;
use midge::engine::core::state::Engine;
use midge::session::last_bytes::LastBytes;
use midge::session::link::{Cause, Link, Written};
use midge::time::Time;

use crate::rows::{broker, packets};

/// Takes everything, and keeps it if somebody is to answer.
struct Line {
    kept: Option<Mutex<Vec<u8>>>,
}

impl Link for Line {
    fn write(&self, buffers: &[IoSlice<'_>]) -> Written {
        let mut kept = self.kept.as_ref().map(|kept| kept.lock().unwrap());
        let mut taken = 0;
        for buffer in buffers {
            if let Some(kept) = &mut kept {
                kept.extend_from_slice(buffer);
            }
            taken += buffer.len();
        }
        Written::Bytes(taken)
    }

    fn wake(&self) {}

    fn finish(&self, _last: LastBytes, _cause: Cause) {}
}

/// A client.
pub struct Peer {
    version: Version,
    line: Arc<Line>,
    connection: Connection,
    /// What it answers next.
    answers: Vec<u8>,
}

impl Peer {
    /// A client that has connected, and answers if `answers` says so.
    pub fn connected(engine: &Engine, version: Version, client_id: &str, answers: bool) -> Peer {
        let mut peer = Peer::new(engine, version, answers);
        let mut packet = Vec::new();
        packets::connect(version, client_id, &mut packet);
        peer.send(engine, &packet);
        peer
    }

    /// A client of MQTT 5 whose session is kept, and that answers.
    #[cfg(feature = "durable")]
    pub fn lasting(engine: &Engine, client_id: &str) -> Peer {
        let mut peer = Peer::new(engine, Version::V5, true);
        let mut packet = Vec::new();
        packets::connect_for(3600, client_id, &mut packet);
        peer.send(engine, &packet);
        peer
    }

    /// A connection on which nothing was sent.
    pub fn new(engine: &Engine, version: Version, answers: bool) -> Peer {
        let kept = answers.then(|| Mutex::new(Vec::with_capacity(64 * 1024)));
        let line = Arc::new(Line { kept });
        let connection = broker(|| {
            Connection::new(engine, &mut engine.turn(Time::ZERO), line.clone() as Arc<dyn Link>, None)
        });
        Peer { version, line, connection, answers: Vec::new() }
    }

    /// The same, subscribed.
    pub fn subscribed(mut self, engine: &Engine, filters: &[String], qos: QoS) -> Peer {
        for some in filters.chunks(50) {
            let mut packet = Vec::new();
            packets::subscribe(self.version, some, qos, &mut packet);
            self.send(engine, &packet);
        }
        self
    }

    /// Sends one portion of whole packets, which the broker handles in as few turns as it may.
    pub fn send(&mut self, engine: &Engine, portion: &[u8]) {
        let connection = &mut self.connection;
        let mut rest = portion;
        while !rest.is_empty() {
            let consumed =
                broker(|| connection.receive(engine, &mut engine.turn(Time::ZERO), rest, None).consumed);
            assert!(consumed > 0, "the broker takes no more");
            rest = &rest[consumed..];
        }
    }

    /// Sends the answers to what has come, in one portion; false if there are none.
    pub fn answer(&mut self, engine: &Engine) -> bool {
        let mut answers = std::mem::take(&mut self.answers);
        if let Some(kept) = &self.line.kept {
            let mut kept = kept.lock().unwrap();
            packets::answer(self.version, &kept, &mut answers);
            kept.clear();
        }
        let any = !answers.is_empty();
        if any {
            self.send(engine, &answers);
        }
        answers.clear();
        self.answers = answers;
        any
    }

    /// The connection is gone.
    pub fn lost(mut self, engine: &Engine) {
        broker(move || self.connection.lost(engine, &mut engine.turn(Time::ZERO), Cause::ConnectionLost));
    }
}
