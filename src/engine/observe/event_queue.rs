//! Telling the host: one notice after the other, with no lock held.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};

use parking_lot::{Mutex, MutexGuard};

use crate::engine::core::state::Engine;
use crate::engine::core::turn::Turn;
use crate::engine::observe::journal::wants;
use crate::message::SharedMessage;
use crate::session::event::{Dropped, Event, Level, LogLine};
use crate::stats::DropReason;

/// Room for so many notices is kept.
const KEPT: usize = 1024;

/// Notices that wait for the host.
#[derive(Default)]
pub(crate) struct EventQueue(Mutex<QueueState>);

#[derive(Default)]
struct QueueState {
    waiting: VecDeque<Event>,
    /// Whether a thread tells what waits: others only add to it.
    telling: bool,
}

/// Runs what belongs to the host; `None` if it panics. What it has panicked with is leaked: dropping it may be a panic,
/// too.
pub(crate) fn survive<T>(hook: impl FnOnce() -> T) -> Option<T> {
    catch_unwind(AssertUnwindSafe(hook)).map_err(std::mem::forget).ok()
}

/// Whoever tells, has told when it is dropped, also by a panic.
struct Telling<'n>(MutexGuard<'n, QueueState>);

impl Drop for Telling<'_> {
    fn drop(&mut self) {
        self.0.telling = false;
    }
}

impl Engine {
    /// Tells the journal and the host what the turn has noticed, the host unless another thread does, or this one
    /// farther up its stack.
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
        let mut state = self.events.0.lock();
        let room = self.options.hooks_max_waiting.saturating_sub(state.waiting.len());
        let lost = turn.events.len().saturating_sub(room);
        state.waiting.extend(turn.events.drain(..).take(room));
        if !std::mem::replace(&mut state.telling, true) {
            let mut telling = Telling(state);
            while let Some(event) = telling.0.waiting.pop_front() {
                let told = MutexGuard::unlocked(&mut telling.0, || survive(|| host.tell(&event)));
                if told.is_none() {
                    turn.counts.hooks_failed += 1;
                    self.log_failure(&mut telling.0.waiting, &event);
                }
            }
            if telling.0.waiting.capacity() > KEPT {
                telling.0.waiting = VecDeque::new();
            }
        }
        turn.counts.notices_lost += lost as u64;
    }

    /// Has the host's log told next that it has panicked, unless it was the log.
    fn log_failure(&self, waiting: &mut VecDeque<Event>, event: &Event) {
        let hook = match event {
            Event::Connected(_) => "on_connected",
            Event::Disconnected(_) => "on_disconnected",
            Event::Subscribed(_) => "on_subscribed",
            Event::Unsubscribed(_) => "on_unsubscribed",
            Event::Delivered(_) => "on_delivered",
            Event::Dropped(_) => "on_dropped",
            Event::Logged(_) => return,
        };
        if self.wanted.logs(Level::Error) {
            let text = format!("the hook {hook} has panicked").into();
            waiting.push_front(Event::Logged(LogLine { level: Level::Error, client_id: None, text }));
        }
    }

    /// Has the host told of dropped messages that are counted already.
    pub(crate) fn note_dropped<'m>(
        &self,
        turn: &mut Turn,
        client_id: Option<&str>,
        messages: impl Iterator<Item = &'m SharedMessage>,
        reason: DropReason,
    ) {
        if self.wanted.dropped && self.notes_drops() {
            turn.events.extend(messages.map(|message| {
                let (client_id, topic) = (client_id.map(Into::into), message.topic().into());
                Event::Dropped(Dropped { client_id, topic, reason })
            }));
        }
    }

    /// Counts a dropped message, and has the host told. `client_id`: who does not get it.
    pub(crate) fn dropped(&self, turn: &mut Turn, client_id: Option<&str>, topic: &[u8], reason: DropReason) {
        turn.counts.drop(reason, 1);
        if self.wanted.dropped && self.notes_drops() {
            let (client_id, topic) = (client_id.map(Into::into), String::from_utf8_lossy(topic).into());
            turn.events.push(Event::Dropped(Dropped { client_id, topic, reason }));
        }
    }
}
