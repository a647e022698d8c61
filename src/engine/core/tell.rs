//! Telling the sinks: the events of a turn, and lines of the log.

use std::sync::Arc;
use std::time::Duration;

use crate::engine::core::state::Engine;
use crate::engine::core::timers::Timer;
use crate::engine::core::turn::Turn;
use crate::engine::observe::event_queue::Told;
use crate::engine::observe::log::{line_of_drops, words};
use crate::engine::observe::mask::EventMask;
use crate::engine::observe::sink::{EventSink, Moment, Published};
use crate::engine::parts::subscriber::Publisher;
use crate::message::Publication;
use crate::session::delivery::ReportedFates;
use crate::session::event::{Dropped, Event, Level, LogLine};
use crate::session::link::Cause;
use crate::stats::{Counts, DropReason};

/// Dropped messages are logged once in this time.
const REST: Duration = Duration::from_secs(10);

impl Engine {
    /// Tells the sinks the turn's events. Not inlined, because most turns have none.
    #[inline(never)]
    pub(crate) fn tell(&self, turn: &mut Turn) {
        let told = self.events.tell(turn.now, &mut turn.events, self.options.hooks_max_waiting);
        count(turn, told);
        if told.left {
            self.timers.ring(turn.now);
        }
    }

    /// Tells some of the events that threads have left. They are told by the thread that ticks, which lets others run in
    /// between.
    #[cold]
    pub(crate) fn tell_left(&self, turn: &mut Turn) {
        let told = self.events.tell_left(turn.now);
        count(turn, told);
    }

    /// Tells the turn's events and all that wait, after the thread that tells now has ended. Must not be called by code
    /// of the host that the engine calls, nor while the thread holds a lock.
    #[cold]
    pub(crate) fn tell_all(&self, turn: &mut Turn) {
        // First, so that there is room for them.
        let told = self.events.tell_all(turn.now);
        count(turn, told);
        self.tell(turn);
        let told = self.events.tell_all(turn.now);
        count(turn, told);
    }

    /// Adds the events of dropped messages that are counted already.
    pub(crate) fn note_dropped<'m>(
        &self,
        turn: &mut Turn,
        client_id: Option<&str>,
        topics: impl Iterator<Item = &'m str>,
        reason: DropReason,
    ) {
        if self.events.wants(EventMask::DROPPED) {
            turn.events.extend(topics.map(|topic| {
                let (client_id, topic) = (client_id.map(Into::into), topic.into());
                Event::Dropped(Dropped { client_id, topic, reason })
            }));
        }
    }

    /// Counts a dropped message, and adds its event. `client_id`: the client that does not get it.
    pub(crate) fn dropped(&self, turn: &mut Turn, client_id: Option<&str>, topic: &[u8], reason: DropReason) {
        turn.counts.drop(reason, 1);
        if self.events.wants(EventMask::DROPPED) {
            let (client_id, topic) = (client_id.map(Into::into), String::from_utf8_lossy(topic).into());
            turn.events.push(Event::Dropped(Dropped { client_id, topic, reason }));
        }
    }

    /// The fates of messages that a sink wants now.
    pub(crate) fn reported(&self) -> ReportedFates {
        ReportedFates {
            dropped: self.events.wants(EventMask::DROPPED),
            delivered: self.events.wants(EventMask::DELIVERED),
        }
    }

    /// Shows the sinks a published message. `kind`: whether it is shown before or after its delivery.
    #[cold]
    pub(crate) fn show(
        &self,
        turn: &mut Turn,
        kind: EventMask,
        publisher: Publisher<'_>,
        publication: &Publication<'_>,
    ) {
        let client_id = match publisher {
            Publisher::Session(session) => Some(&*session.client_id),
            Publisher::Host | Publisher::Broker => None,
        };
        let published = Published::new(client_id, publication);
        let moment = match kind {
            EventMask::PUBLISHING => Moment::Publishing(published),
            _ => Moment::Published(published),
        };
        turn.counts.hooks_failed += self.events.show(kind, &moment) as u64;
    }

    /// Shows the sinks that clients or subscriptions have changed.
    pub(crate) fn tell_change(&self) {
        if self.events.wants(EventMask::CHANGED) {
            let _panicked = self.events.show(EventMask::CHANGED, &Moment::Changed);
        }
    }

    /// Adds a sink, which is told after those that were added before.
    pub fn watch(&self, sink: Arc<dyn EventSink>) {
        self.events.add(sink);
    }

    /// Removes a sink. A message that is being published may still be shown to it.
    pub fn unwatch(&self, sink: &Arc<dyn EventSink>) {
        self.events.remove(sink);
    }

    /// Reads the masks of the sinks again.
    pub fn refresh_sinks(&self) {
        self.events.refresh();
    }

    /// Whether a sink wants any of these kinds now.
    pub fn wants(&self, kinds: EventMask) -> bool {
        self.events.wants(kinds)
    }

    /// Logs a line at the end of the turn. `text` is called only if lines of this level are wanted. `client_id`: the
    /// client that the line concerns.
    pub fn log(&self, turn: &mut Turn, level: Level, client_id: Option<&str>, text: impl FnOnce() -> String) {
        if self.events.wants(EventMask::log(level)) {
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

    /// Logs the turn's dropped messages: the first at once, later ones together after [`REST`].
    pub(crate) fn log_drops(&self, turn: &mut Turn) {
        if DropReason::ALL.iter().all(|reason| turn.counts.dropped(*reason) == 0) {
            return;
        }
        if let Some(counts) = self.drops.add(&turn.counts) {
            self.log_counts(turn, &counts);
            self.timers.insert(turn.now.plus(REST), Timer::Drops);
        }
    }

    /// Logs the messages dropped since the last line, at the end of the broker.
    pub fn log_untold_drops(&self, turn: &mut Turn) {
        let counts = self.drops.take();
        self.log_counts(turn, &counts);
    }

    /// Handles the timer of [`Engine::log_drops`], which is set again while messages are dropped.
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

fn count(turn: &mut Turn, told: Told) {
    turn.counts.hooks_failed += told.failed as u64;
    turn.counts.notices_lost += told.lost as u64;
}
