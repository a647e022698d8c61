//! The log: lines for people, told as notices are.

use std::fmt::Write;
use std::time::Duration;

use parking_lot::Mutex;

use crate::engine::core::state::Engine;
use crate::engine::core::timers::Timer;
use crate::engine::core::turn::Turn;
use crate::session::event::{Event, Level, LogLine};
use crate::session::link::Cause;
use crate::stats::{Counts, DropReason};

/// Dropped messages are told of once in this time.
const REST: Duration = Duration::from_secs(10);

/// Messages that were dropped and not told of.
#[derive(Default)]
pub(crate) struct Drops(Mutex<PendingDrops>);

#[derive(Default)]
struct PendingDrops {
    counts: Counts,
    /// Whether a timer runs, which tells of them.
    resting: bool,
}

impl Engine {
    /// Has a line logged at the end of the turn, if lines of its level are wanted; otherwise `text` is not asked for.
    /// `client_id`: the client that it is about.
    pub fn log(&self, turn: &mut Turn, level: Level, client_id: Option<&str>, text: impl FnOnce() -> String) {
        if self.wanted.logs(level) {
            turn.events.push(Event::Logged(LogLine {
                level,
                client_id: client_id.map(Into::into),
                text: text().into(),
            }));
        }
    }

    /// Logs the end of a client's connection.
    pub(crate) fn log_end(&self, turn: &mut Turn, client_id: &str, cause: Cause, why: &str) {
        let level = if matches!(cause, Cause::Refused(_)) { Level::Warn } else { Level::Info };
        self.log(turn, level, Some(client_id), || format!("client {client_id:?}: {}", words(cause, why)));
    }

    /// Notices what the turn has dropped. The first is told of at once, then what comes within a while together.
    pub(crate) fn log_drops(&self, turn: &mut Turn) {
        if DropReason::ALL.iter().all(|reason| turn.counts.dropped(*reason) == 0) {
            return;
        }
        let mut untold = self.drops.0.lock();
        for reason in DropReason::ALL {
            untold.counts.drop(*reason, turn.counts.dropped(*reason));
        }
        if !std::mem::replace(&mut untold.resting, true) {
            let counts = std::mem::take(&mut untold.counts);
            drop(untold);
            self.log_counts(turn, &counts);
            self.timers.insert(turn.now.plus(REST), Timer::Drops);
        }
    }

    /// Tells of what was dropped since the last line; for the timer, and for the end of the broker.
    pub fn log_untold_drops(&self, turn: &mut Turn) {
        let mut untold = self.drops.0.lock();
        let counts = std::mem::take(&mut untold.counts);
        untold.resting = false;
        drop(untold);
        self.log_counts(turn, &counts);
    }

    /// The timer of [`Engine::log_drops`]: it runs on while messages are dropped.
    pub(crate) fn log_more_drops(&self, turn: &mut Turn) {
        let mut untold = self.drops.0.lock();
        let counts = std::mem::take(&mut untold.counts);
        untold.resting = counts != Counts::default();
        drop(untold);
        if counts != Counts::default() {
            self.log_counts(turn, &counts);
            self.timers.insert(turn.now.plus(REST), Timer::Drops);
        }
    }

    fn log_counts(&self, turn: &mut Turn, counts: &Counts) {
        for level in [Level::Warn, Level::Debug] {
            let of_level = || DropReason::ALL.iter().filter(move |reason| level_of(**reason) == level);
            let total: u64 = of_level().map(|reason| counts.dropped(*reason)).sum();
            if total > 0 {
                self.log(turn, level, None, || {
                    let mut text =
                        format!("{total} {} dropped", if total == 1 { "message" } else { "messages" });
                    let mut before = ": ";
                    for reason in of_level().filter(|reason| counts.dropped(**reason) > 0) {
                        let _infallible = write!(text, "{before}{reason} {}", counts.dropped(*reason));
                        before = ", ";
                    }
                    text
                });
            }
        }
    }
}

/// Whether messages dropped for a reason are a loss, or what a broker does every day.
fn level_of(reason: DropReason) -> Level {
    match reason {
        DropReason::QueueFull
        | DropReason::OutboxFull
        | DropReason::PacketTooLarge
        | DropReason::NotAuthorized
        | DropReason::RetainedFull
        | DropReason::LocalQueueFull => Level::Warn,
        DropReason::NoSubscriber
        | DropReason::Offline
        | DropReason::Expired
        | DropReason::SessionEnded
        | DropReason::Host => Level::Debug,
    }
}

/// The end of a connection in words. `why`: what is known beside the cause.
pub(crate) fn words(cause: Cause, why: &str) -> String {
    match cause {
        Cause::Disconnected => "has disconnected".to_owned(),
        Cause::ConnectionLost => "the connection is lost".to_owned(),
        Cause::Refused(reason) if why.is_empty() => format!("disconnected with 0x{:02X}", reason.as_u8()),
        Cause::Refused(reason) => format!("disconnected with 0x{:02X}: {why}", reason.as_u8()),
        Cause::KeepAliveTimeout => format!("disconnected: {why}"),
        Cause::ConnectTimeout => "no CONNECT came in time".to_owned(),
        Cause::SessionTakenOver => format!("taken over: {why}"),
        Cause::Kicked => "kicked by the host".to_owned(),
        Cause::ServerShuttingDown => "disconnected: the broker stops".to_owned(),
    }
}
