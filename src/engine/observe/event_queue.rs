//! A queue of events for the host: told in order, by one thread at a time, with no lock held.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};

use parking_lot::{Mutex, MutexGuard};

use crate::engine::observe::mask::EventMask;
use crate::engine::observe::sink::EventSink;
use crate::message::HostBuffers;
use crate::session::event::{Event, Level, LogLine};
use crate::time::Time;

/// The largest capacity, in events, that an empty queue keeps.
const KEPT: usize = 1024;

/// Events that wait for a sink.
#[derive(Default)]
pub(crate) struct EventQueue(Mutex<QueueState>);

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
}

/// Runs code of the host; `None` if it panics. The panic's payload is leaked, because its drop may panic, too.
pub(crate) fn survive<T>(hook: impl FnOnce() -> T) -> Option<T> {
    catch_unwind(AssertUnwindSafe(hook)).map_err(std::mem::forget).ok()
}

/// The state while a thread tells events; its drop ends that, even during a panic.
struct Telling<'n>(MutexGuard<'n, QueueState>);

impl Drop for Telling<'_> {
    fn drop(&mut self) {
        self.0.telling = false;
    }
}

impl EventQueue {
    /// Adds events, and tells `sink` all events of the queue, unless another thread does so, or this one farther up its
    /// stack. At most `most` events wait.
    pub(crate) fn tell(&self, sink: &dyn EventSink, now: Time, events: &mut Vec<Event>, most: usize) -> Told {
        if events.is_empty() {
            return Told::default();
        }
        let logs_errors = sink.mask().wants(EventMask::log(Level::Error));
        let mut state = self.0.lock();
        let room = most.saturating_sub(state.waiting.len());
        let mut outcome = Told { lost: events.len().saturating_sub(room), failed: 0 };
        state.waiting.extend(events.drain(..).take(room));
        if !std::mem::replace(&mut state.telling, true) {
            let mut telling = Telling(state);
            while let Some(event) = telling.0.waiting.pop_front() {
                let told = MutexGuard::unlocked(&mut telling.0, || {
                    HostBuffers::outside(|| survive(|| sink.event(now, &event)))
                });
                if told.is_none() {
                    outcome.failed += 1;
                    // The line is told next.
                    if let Some(line) = failure(&event).filter(|_| logs_errors) {
                        telling.0.waiting.push_front(line);
                    }
                }
            }
            if telling.0.waiting.capacity() > KEPT {
                telling.0.waiting = VecDeque::new();
            }
        }
        outcome
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
