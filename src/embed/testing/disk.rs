//! The disk of a durable broker in test mode: what it does at the moment, and who waits for it.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use crate::locks::{Condvar, Mutex};
use crate::net::testing::TestNet;
use crate::runtime::Clock;
use crate::time::Time;

/// What the disk of a durable broker does. A test sets it with [`TestBroker::set_disk`](super::TestBroker::set_disk);
/// after a start or restart it is [`Disk::Well`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Disk {
    /// It works.
    #[default]
    Well,
    /// Each flush of the log takes this long, in the broker's time. What a commit acknowledges waits for it.
    Slow(Duration),
    /// No flush of the log ends until the test sets something else, or stops the broker.
    Held,
    /// There is no space: every write fails with ENOSPC, and works again when the test sets something else.
    ///
    /// A broker accepts 64 MiB of messages before it refuses more. With this it refuses them at once: a QoS 1 or 2
    /// message is answered with 0x97 in MQTT 5, and the connection of an older client is closed, without an answer.
    Full,
    /// Every write fails with EIO. The store has failed then: nothing is acknowledged until the broker is restarted.
    WriteError,
    /// Every flush fails with EIO. The store has failed then: nothing is acknowledged until the broker is restarted.
    FlushError,
}

/// How a broker crashes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Crash {
    /// The process ends at once, as by `kill -9`. The system keeps what was written.
    Kill,
    /// The power fails. What was written and not flushed is lost.
    PowerCut,
}

/// The disk of one life of a broker.
pub(in crate::embed) struct DiskControl {
    clock: Clock,
    net: Arc<TestNet>,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    disk: Disk,
    is_dead: bool,
    /// When the flush that waits began.
    flush_began: Option<Time>,
    /// Up to where the engine was told of commits.
    told: u64,
    /// Takes back what was not flushed.
    undo: Option<Box<dyn FnOnce() + Send>>,
}

impl State {
    /// When the flush that waits is over; [`Time::NEVER`] if only the test ends it.
    fn due(&self) -> Option<Time> {
        let began = self.flush_began?;
        Some(match self.disk {
            Disk::Slow(by) => began.plus(by),
            Disk::Held => Time::NEVER,
            _ => began,
        })
    }

    fn alive(&self) -> io::Result<()> {
        if self.is_dead { Err(eio()) } else { Ok(()) }
    }
}

impl DiskControl {
    pub(super) fn new(clock: Clock, net: Arc<TestNet>) -> DiskControl {
        DiskControl { clock, net, state: Mutex::default(), changed: Condvar::new() }
    }

    pub(super) fn set(&self, disk: Disk) {
        self.state.lock().disk = disk;
        self.wake();
    }

    /// Lets a flush that waits look at the time again, and those who wait for the disk.
    fn wake(&self) {
        // A flush that has just looked at the time waits by then.
        drop(self.state.lock());
        self.changed.notify_all();
        self.net.beat();
    }

    /// Ends every wait: the broker stops.
    pub(in crate::embed) fn end_waits(&self) {
        let mut state = self.state.lock();
        if matches!(state.disk, Disk::Slow(_) | Disk::Held) {
            state.disk = Disk::Well;
        }
        // There is no power cut any more.
        let undo = state.undo.take();
        drop(state);
        drop(undo);
        self.wake();
    }

    /// Does nothing any more.
    pub(super) fn crash(&self, crash: Crash) {
        let undo = {
            let mut state = self.state.lock();
            state.is_dead = true;
            state.undo.take()
        };
        if let (Some(undo), Crash::PowerCut) = (undo, crash) {
            undo();
        }
        self.wake();
    }

    /// Whether the broker has crashed.
    #[cfg(feature = "durable")]
    pub(in crate::embed) fn has_crashed(&self) -> bool {
        self.state.lock().is_dead
    }

    /// `undo` takes back what was not flushed.
    #[cfg(feature = "durable")]
    pub(super) fn on_power_cut(&self, undo: Box<dyn FnOnce() + Send>) {
        self.state.lock().undo = Some(undo);
    }

    /// Whether the disk may be read.
    #[cfg(feature = "durable")]
    pub(super) fn may_read(&self) -> io::Result<()> {
        self.state.lock().alive()
    }

    /// Whether the disk may be written.
    #[cfg(feature = "durable")]
    pub(super) fn may_write(&self) -> io::Result<()> {
        let state = self.state.lock();
        state.alive()?;
        match state.disk {
            Disk::Full => Err(io::Error::from_raw_os_error(ENOSPC)),
            Disk::WriteError => Err(eio()),
            _ => Ok(()),
        }
    }

    /// Returns when a flush may end. One that does not wait is over at once.
    #[cfg(feature = "durable")]
    pub(super) fn flush(&self, waits: bool) -> io::Result<()> {
        let mut state = self.state.lock();
        state.flush_began = waits.then(|| self.clock.now());
        loop {
            let failed = state.disk == Disk::FlushError;
            let is_over = state.due().is_none_or(|due| due <= self.clock.now());
            if state.is_dead || failed || is_over {
                if waits {
                    state.flush_began = None;
                }
                return if state.is_dead || failed { Err(eio()) } else { Ok(()) };
            }
            self.net.beat();
            self.changed.wait(&mut state);
        }
    }

    /// The engine was told of everything up to this position.
    pub(in crate::embed) fn note_told(&self, position: u64) {
        self.state.lock().told = position;
        self.net.beat();
    }

    pub(super) fn next_due(&self) -> Option<Time> {
        self.state.lock().due().filter(|due| *due != Time::NEVER)
    }

    /// Waits until the engine was told of everything up to `position`, or the disk does not let it.
    pub(super) fn wait_for(
        &self,
        position: u64,
        has_ended: impl Fn() -> bool,
        is_troubled: impl Fn() -> bool,
    ) {
        self.wake();
        self.net.wait(None, || {
            let state = self.state.lock();
            let waits = state.due().is_some_and(|due| due > self.clock.now());
            let is_full = state.disk == Disk::Full;
            let is_quiet = state.told >= position || waits || state.is_dead;
            drop(state);
            (is_quiet || has_ended() || (is_full && is_troubled())).then_some(())
        });
    }
}

#[cfg(feature = "durable")]
const ENOSPC: i32 = 28;

fn eio() -> io::Error {
    io::Error::from_raw_os_error(5)
}
