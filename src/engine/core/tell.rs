//! Telling those who watch: what a turn brings to the journal, the host, the log, taps and the test kit.

use std::sync::Arc;
use std::time::Duration;

use crate::engine::core::state::Engine;
use crate::engine::core::timers::Timer;
use crate::engine::core::turn::Turn;
use crate::engine::observe::journal::wants;
use crate::engine::observe::log::{line_of_drops, words};
use crate::engine::observe::publish_taps::PublishTap;
use crate::message::SharedMessage;
use crate::session::delivery::ReportedFates;
use crate::session::event::{Dropped, Event, Level, LogLine};
use crate::session::link::Cause;
use crate::stats::{Counts, DropReason};

/// Dropped messages are told of once in this time.
const REST: Duration = Duration::from_secs(10);

impl Engine {
    /// Tells the journal and the host what has happened in the turn.
    pub(crate) fn tell(&self, turn: &mut Turn) {
        if let Some(journal) = &self.journal {
            turn.events.iter().for_each(|event| journal.note(turn.now, event));
            turn.events.retain(|event| wants(self.host_wanted, event));
            if turn.events.is_empty() {
                return;
            }
        }
        let Some(host) = self.host.as_deref() else {
            return turn.events.clear();
        };
        let (most, logs_errors) = (self.options.hooks_max_waiting, self.notices.logs(Level::Error));
        let told = self.events.tell(host, &mut turn.events, most, logs_errors);
        turn.counts.hooks_failed += told.failed as u64;
        turn.counts.notices_lost += told.lost as u64;
    }

    /// Tells the host of dropped messages that are counted already.
    pub(crate) fn note_dropped<'m>(
        &self,
        turn: &mut Turn,
        client_id: Option<&str>,
        messages: impl Iterator<Item = &'m SharedMessage>,
        reason: DropReason,
    ) {
        if self.notices.dropped && self.notes_drops() {
            turn.events.extend(messages.map(|message| {
                let (client_id, topic) = (client_id.map(Into::into), message.topic().into());
                Event::Dropped(Dropped { client_id, topic, reason })
            }));
        }
    }

    /// Counts a dropped message, and tells the host. `client_id`: the client that does not get it.
    pub(crate) fn dropped(&self, turn: &mut Turn, client_id: Option<&str>, topic: &[u8], reason: DropReason) {
        turn.counts.drop(reason, 1);
        if self.notices.dropped && self.notes_drops() {
            let (client_id, topic) = (client_id.map(Into::into), String::from_utf8_lossy(topic).into());
            turn.events.push(Event::Dropped(Dropped { client_id, topic, reason }));
        }
    }

    /// Of which fates of messages somebody is told at this moment.
    pub(crate) fn reported(&self) -> ReportedFates {
        ReportedFates {
            dropped: self.notices.dropped && self.notes_drops(),
            delivered: self.notices.delivered,
        }
    }

    /// Whether somebody is told of a dropped message, given that somebody may be.
    pub(crate) fn notes_drops(&self) -> bool {
        self.host_wanted.dropped || self.journal.as_ref().is_some_and(|journal| journal.wants_drops())
    }

    /// Tells the observer of clients and subscriptions.
    pub(crate) fn tell_change(&self) {
        if let Some(observer) = &self.observer {
            observer.changed();
        }
    }

    /// `tap` sees every message that is published from now on.
    pub fn watch(&self, tap: Arc<dyn PublishTap>) {
        self.publish_taps.add(tap);
    }

    /// Ends that. A message that is on its way may still be seen.
    pub fn unwatch(&self, tap: &Arc<dyn PublishTap>) {
        self.publish_taps.remove(tap);
    }

    /// Whether somebody watches what is published.
    pub fn is_watched(&self) -> bool {
        self.publish_taps.is_watched()
    }

    /// Logs a line at the end of the turn, if lines of its level are wanted; otherwise `text` is not asked for.
    /// `client_id`: the client that it is about.
    pub fn log(&self, turn: &mut Turn, level: Level, client_id: Option<&str>, text: impl FnOnce() -> String) {
        if self.notices.logs(level) {
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

    /// Logs what the turn has dropped. The first is told of at once, then what comes within a while together.
    pub(crate) fn log_drops(&self, turn: &mut Turn) {
        if DropReason::ALL.iter().all(|reason| turn.counts.dropped(*reason) == 0) {
            return;
        }
        if let Some(counts) = self.drops.add(&turn.counts) {
            self.log_counts(turn, &counts);
            self.timers.insert(turn.now.plus(REST), Timer::Drops);
        }
    }

    /// Logs what was dropped since the last line; for the timer, and for the end of the broker.
    pub fn log_untold_drops(&self, turn: &mut Turn) {
        let counts = self.drops.take();
        self.log_counts(turn, &counts);
    }

    /// The timer of [`Engine::log_drops`]: it runs on while messages are dropped.
    pub(crate) fn log_more_drops(&self, turn: &mut Turn) {
        if let Some(counts) = self.drops.take_more() {
            self.log_counts(turn, &counts);
            self.timers.insert(turn.now.plus(REST), Timer::Drops);
        }
    }

    fn log_counts(&self, turn: &mut Turn, counts: &Counts) {
        for level in [Level::Warn, Level::Debug] {
            if let Some(line) = line_of_drops(counts, level) {
                self.log(turn, level, None, || line);
            }
        }
    }
}
