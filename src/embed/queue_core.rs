//! What a queue is inside: messages in two arenas, and those who wait for them.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Weak};
use std::task::Context;
use std::time::{Duration, Instant};

use bytes::Bytes;
use smallvec::SmallVec;

use crate::embed::arena::{Arena, Batch};
use crate::embed::tasks::{Tasks, Woken};
use crate::engine::parts::sink::{Local, LocalMessage};
use crate::locks::{Condvar, Mutex};
use crate::runtime::Event;
use crate::session::queue::Room;

/// What happens to a message for which a queue has no room.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Overflow {
    /// The new message is dropped and counted.
    #[default]
    DropNewest,
    /// The oldest waiting message is dropped and counted.
    DropOldest,
}
/// What polling a queue brought.
#[derive(Clone, Debug)]
pub enum Polled {
    /// At least one message.
    Messages(Batch),
    /// The time ran out.
    TimedOut,
    /// The broker has stopped and every message was taken.
    Closed,
}
/// The queue itself.
pub(super) struct QueueCore {
    capacity: usize,
    max_bytes: usize,
    overflow: Overflow,
    state: Mutex<QueueState>,
    ready: Condvar,
    /// Threads and tasks that wait for a message, plus [`EVENT`] if there is an event: only then is there somebody to wake.
    waiting: AtomicU32,
    /// Whether messages wait, for who looks without the lock.
    filled: AtomicBool,
    /// Whether subscriptions are to go on with their retained messages, for who looks without the lock.
    starved: AtomicBool,
    /// How often a consumer looks again before it sleeps: see [`QueueCore::look_again`].
    patience: AtomicU32,
}

/// A consumer looks again after so long. Meanwhile some messages gather, which are taken at once.
const PAUSE: Duration = Duration::from_micros(2);
/// And at most so often: as long as falling asleep and being woken take.
const LOOKS: u32 = 8;

/// A consumer that is woken so soon does better to look again.
const SHORT_SLEEP: Duration = Duration::from_micros(50);
/// When so many messages were taken at once, the next are not waited for but left to gather,
const STREAM: usize = 4;
/// for so long, and what the system's timers add to it. Both sides then spend little on each other.
const NAP: Duration = Duration::from_micros(20);

/// Counts as many waiting threads as there never are.
const EVENT: u32 = 1 << 31;

#[derive(Default)]
struct QueueState {
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
    /// Subscriptions whose retained messages had no room.
    awaiting_room: Vec<Weak<Local>>,
}

/// What a queue has done with. It is dropped after the lock is given back: a payload that the host has lent calls its free
/// function, which may use the queue.
#[derive(Default)]
struct Freed {
    payloads: Vec<Bytes>,
    arenas: SmallVec<[Arc<Arena>; 1]>,
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
            starved: AtomicBool::new(false),
            patience: AtomicU32::new(1),
        }
    }

    pub(super) fn push(&self, message: &LocalMessage<'_>, tag: u64) -> bool {
        let size = Arena::bytes_of(message);
        // Declared before the lock is taken, and so dropped after it is given back.
        let mut freed = None;
        let mut state = self.state.lock();
        if state.closed {
            return false;
        }
        if state.len == 0 {
            state.unraised = true;
            self.filled.store(true, Ordering::Release);
        }
        while self.is_full(&state, size) {
            if self.overflow == Overflow::DropNewest {
                state.dropped += 1;
                return false;
            }
            state.dropped += 1;
            state.discard_oldest(freed.get_or_insert_with(Freed::default));
        }
        state.bytes += state.back.push(message, tag);
        state.len += 1;
        true
    }

    /// Whether there is room for a message of `size` bytes.
    pub(super) fn room(&self, size: usize) -> Room {
        let state = self.state.lock();
        match (state.closed, self.is_full(&state, size), self.overflow) {
            (true, ..) | (_, true, Overflow::DropNewest) => Room::None,
            (_, true, Overflow::DropOldest) => Room::Displacing,
            (_, false, _) => Room::Free,
        }
    }

    /// Whether there is room for a retained message of `size` bytes: it leaves half of the queue to other messages.
    pub(super) fn has_room_to_walk(&self, size: usize) -> bool {
        let state = self.state.lock();
        !state.closed && (state.len == 0 || self.leaves_half(&state, size))
    }

    fn leaves_half(&self, state: &QueueState, size: usize) -> bool {
        state.len < self.capacity / 2 && state.bytes + size <= self.max_bytes / 2
    }

    /// Whether the retained messages that wait for room may go on: a few at a time would not be worth it.
    fn is_low(&self, state: &QueueState) -> bool {
        state.len <= self.capacity / 4 && state.bytes <= self.max_bytes / 4
    }

    /// Notes a subscription whose retained messages had no room; false if the queue is empty by now. Otherwise the poll
    /// that takes the messages that leave room finds it.
    pub(super) fn awaits_room(&self, local: &Arc<Local>) -> bool {
        let mut state = self.state.lock();
        if state.closed {
            return true; // There never is room again.
        }
        if state.len == 0 {
            return false;
        }
        state.awaiting_room.push(Arc::downgrade(local));
        true
    }

    /// Whether [`QueueCore::take_awaiting`] has something.
    pub(super) fn is_starved(&self) -> bool {
        self.starved.load(Ordering::Relaxed)
    }

    /// The subscriptions that may go on with their retained messages.
    pub(super) fn take_awaiting(&self) -> Vec<Weak<Local>> {
        let mut state = self.state.lock();
        self.starved.store(false, Ordering::Relaxed);
        std::mem::take(&mut state.awaiting_room)
    }

    /// Whether one message of `size` bytes more is too much. A message alone may have any size.
    fn is_full(&self, state: &QueueState, size: usize) -> bool {
        state.len >= self.capacity || (state.len > 0 && state.bytes + size > self.max_bytes)
    }

    /// Messages that wait.
    pub(super) fn len(&self) -> usize {
        self.state.lock().len
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Messages that were dropped because the queue was full.
    pub(super) fn dropped(&self) -> u64 {
        self.state.lock().dropped
    }

    /// Whether a consumer waits, or an event is to be raised. One announces itself under the lock before it looks for
    /// messages, and they were put in under the lock: if it is not counted after that, it sees them.
    pub(super) fn is_waited_for(&self) -> bool {
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
    fn wake_all(&self, state: &mut QueueState) -> Woken {
        let nobody = if state.event.is_some() { EVENT } else { 0 };
        if self.waiting.swap(nobody, Ordering::SeqCst) != nobody {
            state.wakings += 1;
            self.ready.notify_all();
        }
        state.tasks.take()
    }

    /// Wakes a task at the next message; false if it need not wait.
    pub(super) fn wakes(&self, context: &Context<'_>, place: &mut Option<u64>) -> bool {
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
    pub(super) fn forget(&self, place: u64) {
        let mut state = self.state.lock();
        let waker = state.tasks.remove(place);
        if waker.is_some() {
            self.waiting.fetch_sub(1, Ordering::SeqCst);
        }
        drop(state);
        drop(waker);
    }

    /// Raises this event from now on. Called once.
    pub(super) fn raises(&self, event: &Arc<Event>) {
        let mut state = self.state.lock();
        state.event = Some(Arc::clone(event));
        self.waiting.fetch_add(EVENT, Ordering::SeqCst);
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
        let empty = QueueState {
            closed: true,
            dropped: state.dropped,
            wakings: state.wakings,
            ..QueueState::default()
        };
        let freed = std::mem::replace(&mut *state, empty);
        drop(state);
        tasks.wake();
        drop(freed);
    }

    pub(super) fn poll(&self, max: usize, timeout: Option<Duration>) -> Polled {
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        let mut freed = Freed::default();
        let mut state = self.state.lock();
        let mut looked = false;
        let found = loop {
            if let Some(batch) = state.take(max.max(1), &mut freed) {
                break Polled::Messages(batch);
            }
            if state.closed {
                break Polled::Closed;
            }
            if timeout == Some(Duration::ZERO) {
                break Polled::TimedOut;
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
                Some(deadline) => {
                    let left = deadline.saturating_duration_since(slept);
                    self.ready.wait_for(&mut state, left).timed_out()
                }
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
                break Polled::TimedOut;
            }
        };
        if state.len == 0 {
            self.filled.store(false, Ordering::Relaxed);
        }
        if !state.awaiting_room.is_empty() && self.is_low(&state) {
            self.starved.store(true, Ordering::Relaxed);
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

impl QueueState {
    /// Whether a poll would not wait.
    fn is_readable(&self) -> bool {
        self.len > 0 || self.closed
    }

    fn take(&mut self, max: usize, freed: &mut Freed) -> Option<Batch> {
        if self.next >= self.front.len() && !self.swap(freed) {
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

    /// Makes the messages that were put in the next to be taken out; whether there are any.
    fn swap(&mut self, freed: &mut Freed) -> bool {
        if self.back.is_empty() {
            return false;
        }
        let full = std::mem::take(&mut self.back);
        // The arena that was taken out before is used again, if no batch holds it any more.
        if let Some(empty) = Arc::get_mut(&mut self.front) {
            empty.reset(&mut freed.payloads);
            self.back = std::mem::take(empty);
            *empty = full;
        } else {
            freed.arenas.push(std::mem::replace(&mut self.front, Arc::new(full)));
        }
        self.next = 0;
        true
    }

    fn discard_oldest(&mut self, freed: &mut Freed) {
        if self.next < self.front.len() || self.swap(freed) {
            self.bytes -= self.front.bytes_at(self.next);
            self.next += 1;
            self.len -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::mpsc::{Sender, channel};
    use std::time::Duration;

    use bytes::Bytes;

    use super::{Overflow, Polled, QueueCore};
    use crate::codec::qos::QoS;
    use crate::engine::parts::sink::LocalMessage;
    use crate::runtime::Event;

    fn publish(core: &QueueCore) {
        let message = LocalMessage {
            topic: b"t",
            payload: b"x",
            shared: None,
            properties: &[],
            qos: QoS::AtMostOnce,
            retain: false,
            identifiers: &[],
            expiry_interval: None,
        };
        assert!(core.push(&message, 0));
        core.wake();
    }

    fn watched() -> (QueueCore, Arc<Event>) {
        let core = QueueCore::new(10, usize::MAX, Overflow::DropNewest);
        let event = Arc::new(Event::new().unwrap());
        core.raises(&event);
        (core, event)
    }

    fn take(core: &QueueCore) -> bool {
        matches!(core.poll(1, Some(Duration::ZERO)), Polled::Messages(_))
    }

    /// A poll has found the queue empty and given the lock back; before it lowers the event, a message comes.
    #[test]
    fn a_message_that_comes_while_a_poll_lowers_the_event_raises_it() {
        let (core, event) = watched();
        publish(&core);
        core.settle(&event);
        assert!(event.is_raised(), "a message waits, and nobody will be woken");
        assert!(take(&core) && !event.is_raised());
    }

    /// As above, with the end of the queue in place of a message.
    #[test]
    fn an_end_that_comes_while_a_poll_lowers_the_event_raises_it() {
        let (core, event) = watched();
        core.close();
        core.settle(&event);
        assert!(event.is_raised());
    }

    #[test]
    fn each_first_message_raises_the_event_and_the_last_that_is_taken_lowers_it() {
        let (core, event) = watched();
        for _ in 0..3 {
            assert!(!event.is_raised());
            publish(&core);
            publish(&core);
            assert!(event.is_raised() && take(&core));
            assert!(event.is_raised() && take(&core));
        }
        assert!(!event.is_raised() && !take(&core));
    }

    #[test]
    fn an_event_that_is_asked_for_late_shows_what_waits() {
        let core = QueueCore::new(10, usize::MAX, Overflow::DropNewest);
        let event = Arc::new(Event::new().unwrap());
        publish(&core);
        core.raises(&event);
        assert!(event.is_raised());
    }

    /// A payload whose free function says whether its queue's lock is free.
    struct Lent {
        queue: Arc<QueueCore>,
        bytes: [u8; 10],
        given: Sender<bool>,
    }

    impl AsRef<[u8]> for Lent {
        fn as_ref(&self) -> &[u8] {
            &self.bytes
        }
    }

    impl Drop for Lent {
        fn drop(&mut self) {
            self.given.send(self.queue.state.try_lock().is_some()).unwrap();
        }
    }

    fn lend(core: &Arc<QueueCore>, given: &Sender<bool>) {
        let lent = Lent { queue: Arc::clone(core), bytes: [0; 10], given: given.clone() };
        let payload = Bytes::from_owner(lent);
        let message = LocalMessage {
            topic: b"t",
            payload: &payload.clone(),
            shared: Some(payload),
            properties: &[],
            qos: QoS::AtMostOnce,
            retain: false,
            identifiers: &[],
            expiry_interval: None,
        };
        core.push(&message, 0);
    }

    /// Nothing of the host runs under the lock of a queue, however its payloads come to be freed.
    #[test]
    fn a_lent_payload_is_given_back_without_the_lock() {
        let poll = |core: &QueueCore, max| match core.poll(max, Some(Duration::ZERO)) {
            Polled::Messages(batch) => batch.len(),
            Polled::TimedOut | Polled::Closed => 0,
        };
        let (given, gave) = channel();
        let gave = || gave.try_iter().collect::<Vec<_>>();
        let of = |overflow| Arc::new(QueueCore::new(2, usize::MAX, overflow));
        // A poll takes the arena that it has emptied before.
        let core = of(Overflow::DropNewest);
        lend(&core, &given);
        assert_eq!((poll(&core, 9), gave()), (1, vec![]));
        publish(&core);
        assert_eq!((poll(&core, 9), gave()), (1, vec![true]));
        // A batch that is held has the arena, and is the last to have it.
        lend(&core, &given);
        let Polled::Messages(batch) = core.poll(9, Some(Duration::ZERO)) else { panic!("no batch") };
        publish(&core);
        assert_eq!((poll(&core, 9), gave()), (1, vec![]));
        drop(batch);
        assert_eq!(gave(), [true]);
        // A message that has no room.
        lend(&core, &given);
        lend(&core, &given);
        lend(&core, &given);
        assert_eq!(gave(), [true]);
        // The end of the queue.
        core.release();
        assert_eq!(gave(), [true, true]);
        lend(&core, &given);
        assert_eq!(gave(), [true]);
        // A message in place of the oldest.
        let core = of(Overflow::DropOldest);
        (0..5).for_each(|_| lend(&core, &given));
        assert_eq!((core.dropped(), gave()), (3, vec![true; 2]));
        assert_eq!([poll(&core, 9), poll(&core, 9)], [1, 1]);
        assert_eq!(gave(), [true; 2]);
        publish(&core);
        assert_eq!((poll(&core, 9), gave()), (1, vec![true]));
    }
}
