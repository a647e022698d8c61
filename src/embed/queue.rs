//! Pull queues: the broker puts messages in, a thread of the host takes them out in batches.

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{self, Context};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use crate::embed::arena::{Arena, Batch};
use crate::embed::broker::{Broker, Shared};
use crate::embed::error::Error;
use crate::embed::options::SubscribeOptions;
use crate::embed::tasks::{Tasks, Woken};
use crate::engine::local::{Local, LocalMessage, Sink};
use crate::runtime::Event;

/// What happens to a message for which a queue has no room.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Overflow {
    /// The new message is dropped and counted.
    #[default]
    DropNewest,
    /// The oldest waiting message is dropped and counted.
    DropOldest,
}

/// The bounds of a queue. The default is what the settings `queue.capacity` and `queue.max_bytes` say.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct QueueOptions {
    /// Messages that wait at most.
    pub capacity: Option<usize>,
    /// Bytes that they occupy at most.
    pub max_bytes: Option<usize>,
    /// What happens to a message for which there is no room.
    pub overflow: Overflow,
}

/// What polling a queue brought.
#[derive(Clone, Debug)]
pub enum Poll {
    /// At least one message.
    Messages(Batch),
    /// The time ran out.
    TimedOut,
    /// The broker has stopped and every message was taken.
    Closed,
}

/// A bounded queue of messages for the host. Clones are the same queue.
///
/// It may have any number of subscriptions, and may be polled by any number of threads: each message goes to one.
#[derive(Clone)]
pub struct Queue {
    pub(super) core: Arc<QueueCore>,
    broker: Arc<Shared>,
    owner: Arc<Owner>,
}

/// Held by all clones of a queue: when the last is dropped, nobody can take out what is put in.
struct Owner {
    core: Arc<QueueCore>,
    /// Made when it is asked for.
    event: OnceLock<Arc<Event>>,
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.core.release();
    }
}

/// A subscription that feeds a queue; dropping it unsubscribes. What has been queued stays.
pub struct QueueSubscription {
    local: Arc<Local>,
    broker: Arc<Shared>,
}

impl Broker {
    /// A queue without subscriptions.
    pub fn queue(&self, options: &QueueOptions) -> Result<Queue, Error> {
        let broker = self.shared()?;
        if broker.has_stopped() {
            return Err(Error::Stopped);
        }
        let settings = broker.settings();
        let core = QueueCore::new(
            options.capacity.unwrap_or(settings.queue.capacity).max(1),
            options.max_bytes.unwrap_or(usize::try_from(settings.queue.max_bytes).unwrap_or(usize::MAX)),
            options.overflow,
        );
        let core = Arc::new(core);
        broker.closes_at_stop(&core);
        let owner = Arc::new(Owner { core: Arc::clone(&core), event: OnceLock::new() });
        Ok(Queue { core, broker: Arc::clone(broker), owner })
    }
}

impl Queue {
    /// Has the messages of a Topic Filter put in. Each carries `tag`. Retained messages are in when this returns.
    pub fn subscribe(
        &self,
        filter: &str,
        options: &SubscribeOptions,
        tag: u64,
    ) -> Result<QueueSubscription, Error> {
        if options.direct {
            let cause = "a queue has no callback to run".to_owned();
            return Err(Error::Argument { argument: "direct", cause });
        }
        let sink = Arc::new(QueueSink { core: Arc::clone(&self.core), tag });
        let local = self.broker.subscribe(filter, options, sink)?;
        Ok(QueueSubscription { local, broker: Arc::clone(&self.broker) })
    }

    /// Takes up to `max` messages, and waits up to `timeout` for the first; `None` waits for ever.
    pub fn poll(&self, max: usize, timeout: Option<Duration>) -> Poll {
        self.core.poll(max, timeout)
    }

    /// Takes up to `max` messages, and waits for the first without blocking the thread; `None` when the broker has
    /// stopped or the queue was closed, and every message was taken, and in a forked child. On any executor; a future
    /// that is dropped takes no message with it. Its waker is called by who publishes, and must do no more than
    /// have the task polled, as that of every executor does.
    ///
    /// ```
    /// # use midge::{Broker, Config, PublishOptions, QueueOptions, SubscribeOptions};
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
    /// # let mut config = Config::new();
    /// # config.set("listener.tcp.bind", "off")?;
    /// # let broker = Broker::start(&config)?;
    /// let queue = broker.queue(&QueueOptions::default())?;
    /// let _rooms = queue.subscribe("rooms/#", &SubscribeOptions::default(), 1)?;
    /// broker.publish("rooms/1", "warm", &PublishOptions::default())?;
    /// while let Some(batch) = queue.recv(1000).await {
    ///     for message in batch.iter() {
    ///         println!("{}: {} bytes", message.topic, message.payload.len());
    ///     }
    /// #   queue.close();
    /// }
    /// # broker.stop_async(None).await?;
    /// # Ok(()) }) }
    /// ```
    pub async fn recv(&self, max: usize) -> Option<Batch> {
        let mut waiting = Waiting { queue: self, place: None };
        std::future::poll_fn(|context| self.poll_recv(max, context, &mut waiting.place)).await
    }

    /// As [`Queue::recv`], of a task that waits at `place` if it has waited before.
    pub(super) fn poll_recv(
        &self,
        max: usize,
        context: &mut Context<'_>,
        place: &mut Option<u64>,
    ) -> task::Poll<Option<Batch>> {
        if self.is_forked() {
            return task::Poll::Ready(None);
        }
        loop {
            match self.core.poll(max, Some(Duration::ZERO)) {
                Poll::Messages(batch) => return task::Poll::Ready(Some(batch)),
                Poll::Closed => return task::Poll::Ready(None),
                Poll::TimedOut if self.core.wakes(context, place) => return task::Poll::Pending,
                Poll::TimedOut => {}
            }
        }
    }

    /// A descriptor for event loops (poll, epoll, select): readable while messages wait, and from when the queue is
    /// closed. It is made at the first call, always the same one, non-blocking and close-on-exec; only its
    /// readability is to be looked at. The poll that takes the last message makes it unreadable again, unless a message
    /// came in between. After a poll on another thread it may be readable although nothing waits; the next poll says
    /// `TimedOut` and makes it unreadable.
    ///
    /// # Errors
    /// [`Error::System`]: there are no more descriptors.
    pub fn fd(&self) -> Result<BorrowedFd<'_>, Error> {
        if let Some(event) = self.owner.event.get() {
            return Ok(event.as_fd());
        }
        let made = Arc::new(
            Event::new().map_err(|source| Error::System { what: "the queue's descriptor", source })?,
        );
        // If another thread was faster, its one is taken.
        let event = self.owner.event.get_or_init(|| made);
        self.core.raises(event);
        Ok(event.as_fd())
    }

    /// Messages that wait.
    pub fn len(&self) -> usize {
        self.core.state.lock().len
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Messages that were dropped because the queue was full.
    pub fn dropped(&self) -> u64 {
        self.core.state.lock().dropped
    }

    /// As [`Broker::check`].
    pub(crate) fn check(&self) -> Result<(), Error> {
        self.broker.check()
    }

    /// As [`Broker::abandon`].
    pub(crate) fn abandon(&self) {
        self.broker.abandon();
    }

    /// As [`Broker::is_forked`].
    pub(crate) fn is_forked(&self) -> bool {
        self.broker.is_forked()
    }

    /// Ends the queue: no message is put in any more, and who polls is told so when it is empty.
    pub fn close(&self) {
        self.core.close();
    }
}

impl QueueSubscription {
    /// As [`Broker::is_forked`].
    pub(crate) fn is_forked(&self) -> bool {
        self.broker.is_forked()
    }
}

impl Drop for QueueSubscription {
    fn drop(&mut self) {
        self.broker.unsubscribe(&self.local);
    }
}

/// A task that waits for a message.
struct Waiting<'q> {
    queue: &'q Queue,
    place: Option<u64>,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if self.place.is_some() {
            self.queue.core.forget(self.place);
        }
    }
}

/// The queue itself.
pub(super) struct QueueCore {
    capacity: usize,
    max_bytes: usize,
    overflow: Overflow,
    state: Mutex<State>,
    ready: Condvar,
    /// Threads and tasks that wait for a message, plus [`EVENT`] if there is an event: only then is there somebody to wake.
    waiting: AtomicU32,
    /// Whether messages wait, for who looks without the lock.
    filled: AtomicBool,
    /// How often a consumer looks again before it sleeps: see [`QueueCore::look_again`].
    patience: AtomicU32,
}

/// A consumer looks again after so long. Meanwhile some messages gather, which are taken at once.
const PAUSE: Duration = Duration::from_micros(2);
/// And at most so often: as long as falling asleep and being woken take.
const LOOKS: u32 = 8;

/// Who was woken so soon should rather have looked again.
const SHORT_SLEEP: Duration = Duration::from_micros(50);
/// When so many messages were taken at once, the next are not waited for but left to gather,
const STREAM: usize = 4;
/// for so long, and what the system's timers add to it. Both sides then spend little on each other.
const NAP: Duration = Duration::from_micros(20);

/// Counts as many waiting threads as there never are.
const EVENT: u32 = 1 << 31;

#[derive(Default)]
struct State {
    /// Where messages are put in.
    back: Arena,
    /// Where they are taken out: from `next` on.
    front: Arc<Arena>,
    next: usize,
    /// Waiting messages and their bytes.
    len: usize,
    bytes: usize,
    dropped: u64,
    closed: bool,
    /// Raised while there are messages, and from when the queue is closed; never under the lock.
    event: Option<Arc<Event>>,
    /// Whether the first of the waiting messages has come since the event was last raised.
    unraised: bool,
    /// How often those that waited were woken.
    wakings: u64,
    /// How many messages the last poll took.
    last_take: usize,
    /// Tasks that wait for a message; each counts in `waiting`.
    tasks: Tasks,
}

impl QueueCore {
    pub(super) fn new(capacity: usize, max_bytes: usize, overflow: Overflow) -> QueueCore {
        QueueCore {
            capacity,
            max_bytes,
            overflow,
            state: Mutex::default(),
            ready: Condvar::new(),
            waiting: AtomicU32::new(0),
            filled: AtomicBool::new(false),
            patience: AtomicU32::new(1),
        }
    }

    pub(super) fn push(&self, message: &LocalMessage<'_>, tag: u64) -> bool {
        let size = Arena::bytes_of(message);
        let mut state = self.state.lock();
        if state.closed {
            return false;
        }
        if state.len == 0 {
            state.unraised = true;
            self.filled.store(true, Ordering::Release);
        }
        while state.len >= self.capacity || (state.len > 0 && state.bytes + size > self.max_bytes) {
            if self.overflow == Overflow::DropNewest {
                state.dropped += 1;
                return false;
            }
            state.dropped += 1;
            state.discard_oldest();
        }
        state.bytes += state.back.push(message, tag);
        state.len += 1;
        true
    }

    pub(super) fn is_empty(&self) -> bool {
        self.state.lock().len == 0
    }

    /// Whether a consumer waits, or an event is to be raised. One announces itself under the lock before it looks for
    /// messages, and they were put in under the lock: if it is not counted after that, it sees them.
    fn is_waited_for(&self) -> bool {
        self.waiting.load(Ordering::SeqCst) > 0
    }

    pub(super) fn wake(&self) {
        if self.is_waited_for() {
            let mut state = self.state.lock();
            let tasks = self.wake_all(&mut state);
            let event = std::mem::take(&mut state.unraised).then(|| state.event.clone()).flatten();
            drop(state);
            tasks.wake();
            if let Some(event) = event {
                event.raise();
            }
        }
    }

    /// Wakes those that wait, once: who waits again says so again. The tasks are woken by the caller, without the lock.
    fn wake_all(&self, state: &mut State) -> Woken {
        let nobody = if state.event.is_some() { EVENT } else { 0 };
        if self.waiting.swap(nobody, Ordering::SeqCst) != nobody {
            state.wakings += 1;
            self.ready.notify_all();
        }
        state.tasks.take()
    }

    /// Has a task woken at the next message; false if it need not wait.
    fn wakes(&self, context: &Context<'_>, place: &mut Option<u64>) -> bool {
        let waker = context.waker().clone();
        let mut state = self.state.lock();
        if state.is_readable() {
            return false;
        }
        let tasks = state.tasks.len();
        let before = state.tasks.put(place, waker);
        // As a thread does: announced under the lock, before anybody can put a message in.
        self.waiting.fetch_add((state.tasks.len() - tasks) as u32, Ordering::SeqCst);
        drop(state);
        drop(before);
        true
    }

    /// Forgets a task that waits no more.
    fn forget(&self, place: Option<u64>) {
        let mut state = self.state.lock();
        let waker = state.tasks.remove(place);
        if waker.is_some() {
            self.waiting.fetch_sub(1, Ordering::SeqCst);
        }
        drop(state);
        drop(waker);
    }

    /// Has this event raised from now on. A second call does nothing.
    fn raises(&self, event: &Arc<Event>) {
        let mut state = self.state.lock();
        if state.event.is_none() {
            state.event = Some(Arc::clone(event));
            self.waiting.fetch_add(EVENT, Ordering::SeqCst);
        }
        let raised = state.is_readable();
        drop(state);
        if raised {
            event.raise();
        }
    }

    pub(super) fn close(&self) {
        let mut state = self.state.lock();
        state.closed = true;
        let tasks = self.wake_all(&mut state);
        let event = state.event.clone();
        drop(state);
        tasks.wake();
        if let Some(event) = event {
            event.raise();
        }
    }

    /// Closes the queue and frees what is in it: the broker's threads may keep an ended subscriber for a while.
    pub(super) fn release(&self) {
        let mut state = self.state.lock();
        let tasks = self.wake_all(&mut state);
        let empty =
            State { closed: true, dropped: state.dropped, wakings: state.wakings, ..State::default() };
        let freed = std::mem::replace(&mut *state, empty);
        drop(state);
        tasks.wake();
        drop(freed);
    }

    pub(super) fn poll(&self, max: usize, timeout: Option<Duration>) -> Poll {
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        let mut state = self.state.lock();
        let mut looked = false;
        let found = loop {
            if let Some(batch) = state.take(max.max(1)) {
                break Poll::Messages(batch);
            }
            if state.closed {
                break Poll::Closed;
            }
            if timeout == Some(Duration::ZERO) {
                break Poll::TimedOut;
            }
            if !std::mem::replace(&mut looked, true) {
                let last = state.last_take;
                drop(state);
                match last {
                    0..=1 => self.look_again(PAUSE),
                    2..STREAM => self.look_again(4 * PAUSE),
                    _ => std::thread::sleep(NAP),
                }
                state = self.state.lock();
                continue;
            }
            self.waiting.fetch_add(1, Ordering::SeqCst);
            let (wakings, slept) = (state.wakings, Instant::now());
            let timed_out = match deadline {
                Some(deadline) => self.ready.wait_until(&mut state, deadline).timed_out(),
                None => {
                    self.ready.wait(&mut state);
                    false
                }
            };
            if state.wakings == wakings {
                self.waiting.fetch_sub(1, Ordering::SeqCst);
            } else if slept.elapsed() < SHORT_SLEEP {
                self.patience.store(LOOKS, Ordering::Relaxed);
            }
            if timed_out && !state.is_readable() {
                break Poll::TimedOut;
            }
        };
        if state.len == 0 {
            self.filled.store(false, Ordering::Relaxed);
        }
        let event = if state.is_readable() { None } else { state.event.clone() };
        drop(state);
        if let Some(event) = event {
            self.settle(&event);
        }
        found
    }

    /// Looks for a message for a while instead of falling asleep at once, the longer the more often that was of use:
    /// waking a thread costs the publisher more than the publishing. Where messages come seldom, it looks once.
    fn look_again(&self, pause: Duration) {
        let patience = self.patience.load(Ordering::Relaxed);
        for _ in 0..patience {
            // The publisher may be waiting for this very processor.
            std::thread::yield_now();
            let began = Instant::now();
            while began.elapsed() < pause {
                (0..8).for_each(|_| std::hint::spin_loop());
            }
            if self.filled.load(Ordering::Acquire) {
                return self.patience.store((patience * 2).min(LOOKS), Ordering::Relaxed);
            }
        }
        self.patience.store((patience / 2).max(1), Ordering::Relaxed);
    }

    /// Lowers the event of a queue that was found empty.
    fn settle(&self, event: &Event) {
        event.lower();
        // What came before it was lowered may have raised it before, too.
        if self.state.lock().is_readable() {
            event.raise();
        }
    }
}

impl State {
    /// Whether a poll would not wait.
    fn is_readable(&self) -> bool {
        self.len > 0 || self.closed
    }

    fn take(&mut self, max: usize) -> Option<Batch> {
        if self.next >= self.front.len() && !self.swap() {
            return None;
        }
        let end = self.front.len().min(self.next.saturating_add(max));
        let range = self.next..end;
        self.next = end;
        for index in range.clone() {
            self.bytes -= self.front.bytes_at(index);
        }
        self.len -= range.len();
        self.last_take = range.len();
        Some(Batch::new(Arc::clone(&self.front), range))
    }

    /// Has what was put in taken out next; whether there is anything.
    fn swap(&mut self) -> bool {
        if self.back.is_empty() {
            return false;
        }
        let full = std::mem::take(&mut self.back);
        // The arena that was taken out before is used again, if no batch holds it any more.
        if let Some(empty) = Arc::get_mut(&mut self.front) {
            empty.reset();
            self.back = std::mem::take(empty);
            *empty = full;
        } else {
            self.front = Arc::new(full);
        }
        self.next = 0;
        true
    }

    fn discard_oldest(&mut self) {
        if self.next < self.front.len() || self.swap() {
            self.bytes -= self.front.bytes_at(self.next);
            self.next += 1;
            self.len -= 1;
        }
    }
}

struct QueueSink {
    core: Arc<QueueCore>,
    tag: u64,
}

impl Sink for QueueSink {
    fn push(&self, message: &LocalMessage<'_>) -> bool {
        self.core.push(message, self.tag)
    }

    fn wants_wake(&self) -> bool {
        self.core.is_waited_for()
    }

    fn wake(&self) {
        self.core.wake();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use crate::config::Config;
    use crate::embed::{Broker, PublishOptions, QueueOptions, SubscribeOptions};

    /// The turn that has put the message in still knows the subscriber.
    #[test]
    fn a_queue_that_nobody_has_any_more_holds_no_messages() {
        let mut config = Config::new();
        config.set("listener.tcp.bind", "127.0.0.1:0").unwrap();
        let broker = Broker::start(&config).unwrap();
        let queue = broker.queue(&QueueOptions::default()).unwrap();
        let clone = queue.clone();
        let subscription = queue.subscribe("t", &SubscribeOptions::default(), 0).unwrap();
        broker.publish("t", "x", &PublishOptions::default()).unwrap();
        let core = Arc::downgrade(&queue.core);
        drop((queue, subscription));
        assert_eq!(clone.len(), 1);
        drop(clone);
        assert!(core.upgrade().is_none_or(|core| core.is_empty()));
    }
}
