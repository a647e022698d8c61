//! The stream of events: the sinks, and the kinds that any of them wants.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use crate::engine::observe::event_queue::{EventQueue, Told, survive};
use crate::engine::observe::mask::EventMask;
use crate::engine::observe::sink::{EventSink, Moment};
use crate::locks::Mutex;
use crate::session::event::{Event, Level, LogLine};
use crate::time::Time;

/// Events of others that a thread tells beside its own before another one goes on.
const SLICE: usize = 64;

/// The sinks of a broker, in the order in which they were added.
pub(crate) struct EventStream {
    /// The union of the sinks' masks. Events of other kinds are not made.
    mask: AtomicU32,
    sinks: Mutex<Arc<[Attached]>>,
    /// Whether a queue may have events that nobody tells.
    left: AtomicBool,
    /// [`SLICE`], or without a bound.
    slice: usize,
}

impl Default for EventStream {
    fn default() -> EventStream {
        EventStream {
            mask: AtomicU32::default(),
            sinks: Mutex::default(),
            left: AtomicBool::new(false),
            slice: SLICE,
        }
    }
}

#[derive(Clone)]
struct Attached {
    sink: Arc<dyn EventSink>,
    /// The queue of a sink that is called by one thread at a time; `None` if it is called directly.
    queue: Option<Arc<EventQueue>>,
}

impl EventStream {
    /// Whether some sink wants any of these kinds.
    #[inline]
    pub(crate) fn wants(&self, kinds: EventMask) -> bool {
        EventMask::from_bits(self.mask.load(Ordering::Relaxed)).wants(kinds)
    }

    /// Adds a sink that is called directly, from several threads at once.
    pub(crate) fn add(&self, sink: Arc<dyn EventSink>) {
        self.attach(Attached { sink, queue: None });
    }

    /// Adds a sink that is called by one thread at a time, after those that are called directly. It may call the
    /// engine: the resulting events wait in its queue.
    pub(crate) fn add_queued(&self, sink: Arc<dyn EventSink>) {
        self.attach(Attached { sink, queue: Some(Arc::default()) });
    }

    fn attach(&self, attached: Attached) {
        let mut sinks = self.sinks.lock();
        *sinks = sinks.iter().cloned().chain([attached]).collect();
        self.store_mask(&sinks);
    }

    /// Removes a sink. Events that are being told may still reach it.
    pub(crate) fn remove(&self, sink: &Arc<dyn EventSink>) {
        let mut sinks = self.sinks.lock();
        *sinks = sinks.iter().filter(|known| !Arc::ptr_eq(&known.sink, sink)).cloned().collect();
        self.store_mask(&sinks);
    }

    /// Reads the masks of the sinks again.
    pub(crate) fn refresh(&self) {
        self.store_mask(&self.sinks.lock());
    }

    /// Stores the union of the masks. Called under the lock, so that the newest masks are stored last.
    fn store_mask(&self, sinks: &[Attached]) {
        self.mask.store(union(sinks).bits(), Ordering::Relaxed);
    }

    /// Tells the sinks the events, and empties the list. First each event, in order, goes to all sinks that are called
    /// directly; then the queues are told. At most `most` events wait in a queue.
    pub(crate) fn tell(&self, now: Time, events: &mut Vec<Event>, most: usize) -> Told {
        let sinks = Arc::clone(&self.sinks.lock());
        let mut outcome = Told::default();
        if sinks.iter().any(|attached| attached.queue.is_none()) {
            outcome.failed += self.tell_directly(&sinks, now, events);
            if union(&sinks).bits() != self.mask.load(Ordering::Relaxed) {
                self.refresh();
            }
        }
        let mut queued = queued(&sinks).peekable();
        while let Some((sink, queue)) = queued.next() {
            let mask = sink.mask();
            let is_wanted = |event: &Event| mask.wants(EventMask::of(event));
            outcome.add(match queued.peek() {
                Some(_) => {
                    let mut own = events.iter().filter(|event| is_wanted(event)).cloned().collect();
                    queue.tell(sink, now, &mut own, most, self.slice)
                }
                None => {
                    events.retain(is_wanted);
                    queue.tell(sink, now, events, most, self.slice)
                }
            });
        }
        events.clear();
        if outcome.left {
            self.left.store(true, Ordering::Release);
        }
        outcome
    }

    /// Whether a thread has left events to others.
    pub(crate) fn has_left(&self) -> bool {
        self.left.load(Ordering::Acquire)
    }

    /// Tells some of the events that were left. The thread that calls this is called again while `left` says so.
    #[cold]
    pub(crate) fn tell_left(&self, now: Time) -> Told {
        self.left.store(false, Ordering::Release);
        let sinks = Arc::clone(&self.sinks.lock());
        let mut outcome = Told::default();
        queued(&sinks).for_each(|(sink, queue)| outcome.add(queue.tell_left(sink, now, self.slice)));
        if outcome.left {
            self.left.store(true, Ordering::Release);
        }
        outcome
    }

    /// Tells all events of the queues, after the threads that tell now have ended. Must not be called by a sink.
    #[cold]
    pub(crate) fn tell_all(&self, now: Time) -> Told {
        let sinks = Arc::clone(&self.sinks.lock());
        let mut outcome = Told::default();
        queued(&sinks).for_each(|(sink, queue)| outcome.add(queue.tell_all(sink, now)));
        outcome
    }

    /// The same stream, whose threads leave no events to others: for a broker whose timers nobody ticks.
    pub(crate) fn unsliced(self) -> EventStream {
        EventStream { slice: usize::MAX, ..self }
    }

    /// Tells the sinks that are called directly; returns the number of calls that panicked.
    fn tell_directly(&self, sinks: &[Attached], now: Time, events: &mut Vec<Event>) -> usize {
        let mut failed = 0;
        let mut at = 0;
        while let Some(event) = events.get(at) {
            at += 1;
            let kind = EventMask::of(event);
            let panics = |sink: &dyn EventSink| {
                sink.mask().wants(kind) && survive(|| sink.event(now, event)).is_none()
            };
            let direct = sinks.iter().filter(|attached| attached.queue.is_none());
            let panicked = direct.filter(|attached| panics(&*attached.sink)).count();
            failed += panicked;
            // A sink that panics on a log line is not logged.
            if panicked > 0 && !EventMask::LOG.wants(kind) && self.wants(EventMask::log(Level::Error)) {
                let text = "a sink of events has panicked and missed an event".into();
                events.push(Event::Logged(LogLine { level: Level::Error, client_id: None, text }));
            }
        }
        failed
    }

    /// Shows the sinks a moment; returns the number of calls that panicked.
    #[cold]
    pub(crate) fn show(&self, kind: EventMask, moment: &Moment<'_>) -> usize {
        let sinks = Arc::clone(&self.sinks.lock());
        let panics =
            |sink: &dyn EventSink| sink.mask().wants(kind) && survive(|| sink.moment(moment)).is_none();
        sinks.iter().filter(|attached| panics(&*attached.sink)).count()
    }
}

/// The sinks that have a queue.
fn queued(sinks: &[Attached]) -> impl Iterator<Item = (&dyn EventSink, &EventQueue)> {
    sinks.iter().filter_map(|attached| Some((&*attached.sink, attached.queue.as_deref()?)))
}

fn union(sinks: &[Attached]) -> EventMask {
    sinks.iter().fold(EventMask::NONE, |mask, attached| mask | attached.sink.mask())
}
