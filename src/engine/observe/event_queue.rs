//! A queue of events for the host: told in order, by one thread at a time, with no lock held. A thread tells its own
//! events and a few of others; then another one goes on.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::engine::observe::mask::EventMask;
use crate::engine::observe::sink::EventSink;
use crate::locks::{Condvar, Mutex, MutexGuard};
use crate::message::HostBuffers;
use crate::session::event::{Event, Level, LogLine};
use crate::time::Time;

/// The largest capacity, in events, that an empty queue keeps.
const KEPT: usize = 1024;

/// Events that wait for a sink.
#[derive(Default)]
pub(crate) struct EventQueue {
    state: Mutex<QueueState>,
    /// Notified when a thread ends telling.
    free: Condvar,
}

#[derive(Default)]
struct QueueState {
    waiting: VecDeque<Event>,
    /// Whether a thread tells the events; other threads only add to them.
    telling: bool,
}

/// The result of telling events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Told {
    /// The number of events that found no room in a queue.
    pub lost: usize,
    /// The number of calls that panicked.
    pub failed: usize,
    /// Whether events are left that nobody tells.
    pub left: bool,
}

impl Told {
    /// Adds what another queue brought.
    pub(crate) fn add(&mut self, other: Told) {
        self.lost += other.lost;
        self.failed += other.failed;
        self.left |= other.left;
    }
}

/// Runs code of the host; `None` if it panics. The panic's payload is leaked, because its drop may panic, too.
pub(crate) fn survive<T>(hook: impl FnOnce() -> T) -> Option<T> {
    catch_unwind(AssertUnwindSafe(hook)).map_err(std::mem::forget).ok()
}

/// The state while a thread tells events; its drop ends that, even during a panic.
struct Telling<'n> {
    state: MutexGuard<'n, QueueState>,
    free: &'n Condvar,
}

impl Drop for Telling<'_> {
    fn drop(&mut self) {
        self.state.telling = false;
        self.free.notify_all();
    }
}

impl EventQueue {
    /// Adds events, and tells `sink` those of the queue, unless another thread does so, or this one farther up its
    /// stack. At most `most` events wait. It tells as many as it adds and `slice` more, so that it returns however many
    /// others add.
    pub(crate) fn tell(
        &self,
        sink: &dyn EventSink,
        now: Time,
        events: &mut Vec<Event>,
        most: usize,
        slice: usize,
    ) -> Told {
        if events.is_empty() {
            return Told::default();
        }
        let mut state = self.state.lock();
        let own = events.len().min(most.saturating_sub(state.waiting.len()));
        let mut outcome = Told { lost: events.len() - own, ..Told::default() };
        state.waiting.extend(events.drain(..).take(own));
        if !state.telling {
            self.tell_waiting(state, sink, now, own.saturating_add(slice), &mut outcome);
        }
        outcome
    }

    /// Tells at most `most` of the events that were left, unless another thread tells.
    pub(crate) fn tell_left(&self, sink: &dyn EventSink, now: Time, most: usize) -> Told {
        let mut outcome = Told::default();
        let state = self.state.lock();
        if !state.telling {
            self.tell_waiting(state, sink, now, most, &mut outcome);
        }
        outcome
    }

    /// Tells all events, after the thread that tells now has ended. Must not be called by a sink.
    pub(crate) fn tell_all(&self, sink: &dyn EventSink, now: Time) -> Told {
        let mut outcome = Told::default();
        let mut state = self.state.lock();
        while state.telling {
            self.free.wait(&mut state);
        }
        self.tell_waiting(state, sink, now, usize::MAX, &mut outcome);
        outcome
    }

    fn tell_waiting(
        &self,
        state: MutexGuard<'_, QueueState>,
        sink: &dyn EventSink,
        now: Time,
        most: usize,
        outcome: &mut Told,
    ) {
        let logs_errors = sink.mask().wants(EventMask::log(Level::Error));
        let mut telling = Telling { state, free: &self.free };
        telling.state.telling = true;
        let mut told = 0;
        while told < most
            && let Some(event) = telling.state.waiting.pop_front()
        {
            told += 1;
            let survived = MutexGuard::unlocked(&mut telling.state, || {
                HostBuffers::outside(|| survive(|| sink.event(now, &event)))
            });
            if survived.is_none() {
                outcome.failed += 1;
                // The line is told next.
                if let Some(line) = failure(&event).filter(|_| logs_errors) {
                    telling.state.waiting.push_front(line);
                }
            }
        }
        outcome.left = !telling.state.waiting.is_empty();
        if !outcome.left && telling.state.waiting.capacity() > KEPT {
            telling.state.waiting = VecDeque::new();
        }
    }
}

/// The log line for a hook that has panicked; `None` if it was the log itself.
fn failure(event: &Event) -> Option<Event> {
    let hook = match event {
        Event::Connected(_) => "on_connected",
        Event::Disconnected(_) => "on_disconnected",
        Event::Subscribed(_) => "on_subscribed",
        Event::Unsubscribed(_) => "on_unsubscribed",
        Event::Delivered(_) => "on_delivered",
        Event::Dropped(_) => "on_dropped",
        Event::Refused(_) | Event::Logged(_) => return None,
    };
    let text = format!("the hook {hook} has panicked").into();
    Some(Event::Logged(LogLine { level: Level::Error, client_id: None, text }))
}
