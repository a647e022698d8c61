//! The texts of log lines, which are told as events. Dropped messages are summed up.

use std::fmt::Write;

use crate::locks::Mutex;
use crate::session::event::Level;
use crate::session::link::Cause;
use crate::stats::{Counts, DropReason};

/// The counts of dropped messages that were not logged yet.
#[derive(Default)]
pub(crate) struct Drops(Mutex<PendingDrops>);

#[derive(Default)]
struct PendingDrops {
    counts: Counts,
    /// Whether a timer runs, which logs them.
    resting: bool,
}

impl Drops {
    /// Adds the counts of dropped messages. If no timer runs, returns the counts to log at once, and the caller sets
    /// the timer.
    pub(crate) fn add(&self, counts: &Counts) -> Option<Counts> {
        let mut pending = self.0.lock();
        for reason in DropReason::ALL {
            pending.counts.drop(*reason, counts.dropped(*reason));
        }
        let rests = std::mem::replace(&mut pending.resting, true);
        (!rests).then(|| std::mem::take(&mut pending.counts))
    }

    /// Takes the counts and ends the use of the timer.
    pub(crate) fn take(&self) -> Counts {
        let mut pending = self.0.lock();
        pending.resting = false;
        std::mem::take(&mut pending.counts)
    }

    /// Takes the counts when the timer is due; the caller sets it again. `None` if nothing was dropped: the timer ends.
    pub(crate) fn take_more(&self) -> Option<Counts> {
        let mut pending = self.0.lock();
        let counts = std::mem::take(&mut pending.counts);
        pending.resting = counts != Counts::default();
        pending.resting.then_some(counts)
    }
}

/// The log line for the dropped messages of one level, if there are any.
pub(crate) fn line_of_drops(counts: &Counts, level: Level) -> Option<String> {
    let of_level = || DropReason::ALL.iter().filter(|reason| level_of(**reason) == level);
    let total: u64 = of_level().map(|reason| counts.dropped(*reason)).sum();
    if total == 0 {
        return None;
    }
    let mut text = format!("{total} {} dropped", if total == 1 { "message" } else { "messages" });
    let mut before = ": ";
    for reason in of_level().filter(|reason| counts.dropped(**reason) > 0) {
        let _infallible = write!(text, "{before}{reason} {}", counts.dropped(*reason));
        before = ", ";
    }
    Some(text)
}

/// The level of dropped messages: a warning for a loss, debug for normal operation.
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
        | DropReason::Host
        | DropReason::Cleared => Level::Debug,
    }
}

/// The end of a connection in words. `why` has details beside the cause.
pub(crate) fn words(cause: Cause, why: &str) -> String {
    match cause {
        Cause::Disconnected => "has disconnected".to_owned(),
        Cause::ConnectionLost => "the connection is lost".to_owned(),
        Cause::Refused(reason) if why.is_empty() => format!("disconnected with 0x{:02X}", reason.as_u8()),
        Cause::Refused(reason) => format!("disconnected with 0x{:02X}: {why}", reason.as_u8()),
        Cause::KeepAliveTimeout => format!("disconnected: {why}"),
        Cause::ConnectTimeout => "no CONNECT in time (mqtt.connect_timeout)".to_owned(),
        Cause::SessionTakenOver => format!("taken over: {why}"),
        Cause::Kicked => "kicked by the host".to_owned(),
        Cause::ServerShuttingDown => "disconnected: the broker stops".to_owned(),
    }
}
