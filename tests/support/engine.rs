//! An engine without I/O, and connections on which nothing is heard.
#![allow(dead_code, reason = "each test needs something else")]

use std::io::IoSlice;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use midge::config::Config;
use midge::engine::connection::state::Connection;
use midge::engine::core::state::{Engine, EngineParts};
use midge::engine::core::timers::Alarm;
use midge::session::last_bytes::LastBytes;
use midge::session::link::{Cause, Link, Written};
use midge::storage::{MemoryStore, Store};
use midge::time::Time;

/// A broker with these settings, and `$SYS` off.
pub fn engine(settings: &[(&str, &str)]) -> Engine {
    engine_with(settings, Arc::new(MemoryStore))
}

/// The same with a store.
pub fn engine_with(settings: &[(&str, &str)], store: Arc<dyn Store>) -> Engine {
    let mut config = Config::new();
    for (key, value) in [("sys.interval", "0")].iter().chain(settings) {
        config.set(key, value).unwrap();
    }
    let surroundings = EngineParts { store, alarm: Arc::new(Deaf), seed: 7, started_unix: 1000 };
    Engine::new(config.settings(), surroundings)
}

/// Whoever has the engine calls it when it is time.
struct Deaf;

impl Alarm for Deaf {
    fn set(&self, _at: Time) {}
}

/// Takes everything, or nothing, and forgets it. Any number of connections may share one.
#[derive(Default)]
pub struct Nowhere {
    full: AtomicBool,
}

impl Nowhere {
    /// Whether nothing is taken from now on.
    pub fn set_full(&self, full: bool) {
        self.full.store(full, Ordering::Relaxed);
    }
}

impl Link for Nowhere {
    fn write(&self, buffers: &[IoSlice<'_>]) -> Written {
        match self.full.load(Ordering::Relaxed) {
            true => Written::Blocked,
            false => Written::Bytes(buffers.iter().map(|buffer| buffer.len()).sum()),
        }
    }

    fn wake(&self) {}

    fn finish(&self, _last: LastBytes, _cause: Cause) {}
}

/// A connection that has sent these packets.
pub fn opened(engine: &Engine, now: Time, link: &Arc<Nowhere>, packets: &[u8]) -> Connection {
    let link = Arc::clone(link) as Arc<dyn Link>;
    let mut connection = Connection::new(engine, &mut engine.turn(now), link, None);
    send(engine, now, &mut connection, packets);
    connection
}

/// Sends packets in one portion.
pub fn send(engine: &Engine, now: Time, connection: &mut Connection, packets: &[u8]) {
    let progress = connection.receive(engine, &mut engine.turn(now), packets, None);
    assert_eq!(progress.consumed, packets.len());
}

/// The connection is gone.
pub fn lost(engine: &Engine, now: Time, mut connection: Connection) {
    connection.lost(engine, &mut engine.turn(now), Cause::ConnectionLost);
}
