//! Callback subscriptions: one thread of the broker calls the host.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use smallvec::SmallVec;

use crate::embed::arena::{Batch, MessageView};
use crate::embed::broker::Broker;
use crate::embed::error::Error;
use crate::embed::options::SubscribeOptions;
use crate::embed::queue_core::{Overflow, Polled, QueueCore};
use crate::embed::shared::{BrokerRef, Shared, leak};
use crate::engine::parts::sink::{Local, LocalMessage, Sink};
use crate::locks::{Condvar, Mutex};
use crate::runtime::{CallWait, Runtime, Waiter, in_callback, thread_mark};
use crate::session::queue::Room;

/// Messages given to one callback before the next subscription has its turn.
const PORTION: usize = 256;
/// Messages of others that a thread which publishes gives to a direct callback, before the callback thread goes on.
const SLICE: usize = 64;

type Callback = Box<dyn FnMut(&MessageView<'_>) + Send>;

/// A subscription whose messages are given to a function. Dropping it unsubscribes, and waits for a call that runs,
/// unless it is dropped by that very call, or by one that the thread of that call waits for: two calls may drop each
/// other's subscription. In a forked child dropping it does nothing.
#[must_use = "dropping it unsubscribes"]
pub struct CallbackSubscription {
    target: Arc<Target>,
    local: Arc<Local>,
    broker: BrokerRef,
}

impl Broker {
    /// Subscribes the host to a Topic Filter. `callback` runs on the broker's callback thread, one message after the
    /// other; it may publish, subscribe and unsubscribe. While it runs, messages wait in a queue bounded by the
    /// settings `queue.capacity` and `queue.max_bytes`. If it panics, it is not called again.
    ///
    /// With `direct` it runs on the thread that publishes: a thread of the host inside `publish`, or a thread of the
    /// broker for the message of a client, which serves no network meanwhile. It runs when no lock is held, for one
    /// message at a time and in order: while it runs, what other threads publish, and what it publishes itself, waits in
    /// the queue, and the running thread calls it for that, too, before it goes on; they do not wait. After 64 such
    /// messages the callback thread goes on in its place. So when `publish` returns, the call has been made, unless
    /// another call was running.
    pub fn subscribe_with(
        &self,
        filter: &str,
        options: &SubscribeOptions,
        callback: impl FnMut(&MessageView<'_>) + Send + 'static,
    ) -> Result<CallbackSubscription, Error> {
        let broker = self.shared()?;
        let dispatcher = if options.direct { None } else { Some(broker.dispatcher()?) };
        let settings = broker.settings();
        let queue = QueueCore::new(
            settings.queue.capacity,
            usize::try_from(settings.queue.max_bytes).unwrap_or(usize::MAX),
            Overflow::DropNewest,
        );
        let target = Target::new(queue, Box::new(callback), dispatcher, Arc::downgrade(broker));
        let sink: Arc<dyn Sink> = target.clone();
        let local = broker.subscribe(filter, options, sink)?;
        Ok(CallbackSubscription { target, local, broker: BrokerRef::of(broker) })
    }
}

impl CallbackSubscription {
    /// As [`Broker::is_forked`].
    pub(crate) fn is_forked(&self) -> bool {
        self.broker.is_forked()
    }
}

impl std::fmt::Debug for CallbackSubscription {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CallbackSubscription").field("filter", &self.local.filter()).finish_non_exhaustive()
    }
}

impl Drop for CallbackSubscription {
    fn drop(&mut self) {
        self.broker.unsubscribe(&self.local);
        match self.broker.is_forked() {
            true => leak(&self.target),
            false => self.target.cancel(),
        }
    }
}

/// A callback and the messages that wait for it.
struct Target {
    me: Weak<Target>,
    queue: QueueCore,
    /// Whether a thread calls for what waits, or it is on the dispatcher's list.
    scheduled: AtomicBool,
    run: Mutex<Run>,
    /// Told when a call has ended.
    idle: Condvar,
    /// `None`: the callback runs on the thread that publishes.
    dispatcher: Option<Arc<Dispatcher>>,
    broker: Weak<Shared>,
}

struct Run {
    /// Away while it runs.
    callback: Option<Callback>,
    /// The mark of the thread on which it runs.
    by: Option<usize>,
    /// Those that wait for the end of the call.
    waiters: SmallVec<[Waiter; 1]>,
    cancelled: bool,
}

impl Sink for Target {
    fn push(&self, message: &LocalMessage<'_>) -> bool {
        self.queue.push(message, 0)
    }

    fn room(&self, bytes: usize) -> Room {
        self.queue.room(bytes)
    }

    fn has_room_to_walk(&self, bytes: usize) -> bool {
        self.queue.has_room_to_walk(bytes)
    }

    fn awaits_room(&self, local: &Arc<Local>) -> bool {
        self.queue.awaits_room(local)
    }

    fn wake(&self) {
        if self.scheduled.swap(true, Ordering::AcqRel) {
            return;
        }
        match &self.dispatcher {
            None => self.call_here(),
            Some(dispatcher) => {
                if let Some(me) = self.me.upgrade() {
                    dispatcher.schedule(me);
                }
            }
        }
    }

    fn is_direct(&self) -> bool {
        self.dispatcher.is_none()
    }
}

impl Target {
    fn new(
        queue: QueueCore,
        callback: Callback,
        dispatcher: Option<Arc<Dispatcher>>,
        broker: Weak<Shared>,
    ) -> Arc<Target> {
        Arc::new_cyclic(|me| Target {
            me: me.clone(),
            queue,
            scheduled: AtomicBool::new(false),
            run: Mutex::new(Run {
                callback: Some(callback),
                by: None,
                waiters: SmallVec::new(),
                cancelled: false,
            }),
            idle: Condvar::new(),
            dispatcher,
            broker,
        })
    }

    /// Lets no further call begin, and waits for one that runs on another thread, unless that one waits for this thread.
    /// The callback is dropped, here or when its call is over.
    fn cancel(&self) {
        let mut run = self.run.lock();
        run.cancelled = true;
        if let Some(by) = run.by.filter(|by| *by != thread_mark())
            && let Some(wait) = CallWait::begin(by)
        {
            run.waiters.push(wait.waiter());
            while run.by.is_some() {
                self.idle.wait(&mut run);
            }
        }
        let callback = run.callback.take();
        drop(run);
        self.queue.release();
        // Last, for it may panic.
        drop(callback);
    }

    /// Takes what waits, up to `max` messages.
    fn poll(&self, max: usize) -> Polled {
        let found = self.queue.poll(max, Some(Duration::ZERO));
        if self.queue.is_starved()
            && let Some(broker) = self.broker.upgrade()
        {
            broker.refill(&self.queue);
        }
        found
    }

    /// Calls on this thread, which publishes: for what waits, and for a few messages that come meanwhile. What comes
    /// behind them is left to the callback thread, so that publishing ends however much others publish.
    fn call_here(&self) {
        let _inside = in_callback();
        if let Polled::Messages(batch) = self.poll(usize::MAX) {
            self.call(&batch, None);
        }
        while self.serve(SLICE, None) {
            let Some(broker) = self.broker.upgrade() else { return };
            match broker.dispatcher() {
                Ok(dispatcher) => {
                    return self.me.upgrade().into_iter().for_each(|me| dispatcher.schedule(me));
                }
                // What is published is refused by now. The rest is called for as long as other callbacks are.
                Err(Error::Stopped) if broker.is_over() => return,
                // Or the system has no thread.
                Err(_) => {}
            }
        }
    }

    /// Calls for at most `most` messages; whether some are left, which the caller sees to. Only one thread does so: the
    /// one that has set `scheduled`, or found the target on the list.
    fn serve(&self, most: usize, dispatcher: Option<&Dispatcher>) -> bool {
        let mut left = most;
        loop {
            while left > 0
                && let Polled::Messages(batch) = self.poll(left.min(PORTION))
            {
                left -= batch.len();
                self.call(&batch, dispatcher);
            }
            if left == 0 && !self.queue.is_empty() {
                return true;
            }
            // A thread that puts a message in from now on finds that nobody calls; an earlier message is in the queue.
            self.scheduled.store(false, Ordering::Release);
            if self.queue.is_empty() || self.scheduled.swap(true, Ordering::AcqRel) {
                return false;
            }
        }
    }

    /// `dispatcher`: the one whose thread this is.
    fn call(&self, batch: &Batch, dispatcher: Option<&Dispatcher>) {
        for view in batch.iter() {
            if dispatcher.is_some_and(|dispatcher| dispatcher.list.lock().is_over()) {
                return;
            }
            let mut run = self.run.lock();
            let Some(mut callback) = run.callback.take().filter(|_| !run.cancelled) else {
                return;
            };
            run.by = Some(thread_mark());
            drop(run);
            let survived = survives(|| callback(&view));
            let mut run = self.run.lock();
            if survived && !run.cancelled {
                run.callback = Some(callback);
            } else {
                run.cancelled = true;
                drop(run);
                // The callback's own state may panic when it is dropped, too. Who cancels waits for it.
                let _dropped = survives(|| drop(callback));
                run = self.run.lock();
            }
            run.by = None;
            // Before they can run again: this thread may wait for one of them next.
            run.waiters.drain(..).for_each(Waiter::released);
            drop(run);
            self.idle.notify_all();
        }
    }
}

/// Runs what belongs to the host; whether it did not panic. What it has panicked with is not dropped, which may be a
/// panic of its own, but leaked.
fn survives(body: impl FnOnce()) -> bool {
    catch_unwind(AssertUnwindSafe(body)).map_err(std::mem::forget).is_ok()
}

/// The callback thread and the targets that wait for it.
pub(super) struct Dispatcher {
    list: Mutex<List>,
    ready: Condvar,
    thread: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Default)]
struct List {
    targets: VecDeque<Arc<Target>>,
    /// Set when the broker stops: until then what waits is still given to callbacks.
    stop_by: Option<Instant>,
    /// Whether the thread has ended: a target that were listed now would stay for ever, and hold this list.
    closed: bool,
}

impl List {
    fn is_over(&self) -> bool {
        self.stop_by.is_some_and(|by| Instant::now() >= by)
    }
}

impl Dispatcher {
    /// Starts the thread.
    pub(super) fn start() -> Result<Arc<Dispatcher>, Error> {
        let dispatcher =
            Arc::new(Dispatcher { list: Mutex::default(), ready: Condvar::new(), thread: Mutex::new(None) });
        let own = Arc::clone(&dispatcher);
        let handle = Runtime::spawn_thread("midge-callback", move || own.run()).map_err(Error::Start)?;
        *dispatcher.thread.lock() = Some(handle);
        Ok(dispatcher)
    }

    /// Ends the thread when nothing waits any more, or at `by` after the call that runs; and waits for it.
    pub(super) fn stop(&self, by: Instant) {
        self.list.lock().stop_by = Some(by);
        self.ready.notify_all();
        if let Some(thread) = self.thread.lock().take() {
            // A panic of a callback was caught where it happened.
            let _ended = thread.join();
        }
        let mut list = self.list.lock();
        list.closed = true;
        let left = std::mem::take(&mut list.targets);
        drop(list);
        drop(left);
    }

    fn schedule(&self, target: Arc<Target>) {
        let mut list = self.list.lock();
        if !list.closed {
            list.targets.push_back(target);
            drop(list);
            self.ready.notify_one();
        }
    }

    fn run(&self) {
        loop {
            let mut list = self.list.lock();
            while list.targets.is_empty() && list.stop_by.is_none() {
                self.ready.wait(&mut list);
            }
            if list.is_over() {
                return;
            }
            let Some(target) = list.targets.pop_front() else {
                return;
            };
            drop(list);
            if target.serve(PORTION, Some(self)) {
                self.schedule(target);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::{Arc, Weak};
    use std::time::{Duration, Instant};

    use super::{Dispatcher, Target};
    use crate::codec::qos::QoS;
    use crate::embed::arena::MessageView;
    use crate::embed::queue_core::{Overflow, Polled, QueueCore};
    use crate::engine::parts::sink::{LocalMessage, Sink};

    fn message() -> LocalMessage<'static> {
        LocalMessage {
            topic: b"t",
            payload: b"x",
            shared: None,
            properties: &[],
            qos: QoS::AtMostOnce,
            retain: false,
            identifiers: &[],
            expiry_interval: None,
        }
    }

    #[test]
    fn no_call_begins_when_the_time_of_a_stop_is_over() {
        let now = Instant::now();
        for (by, expected) in [(now + Duration::from_secs(3600), 2), (now, 0)] {
            let calls = Arc::new(AtomicUsize::new(0));
            let dispatcher = Dispatcher::start().unwrap();
            let queue = QueueCore::new(10, 1000, Overflow::DropNewest);
            let count = Arc::clone(&calls);
            let callback = Box::new(move |_: &MessageView<'_>| _ = count.fetch_add(1, Ordering::Relaxed));
            let target = Target::new(queue, callback, Some(Arc::clone(&dispatcher)), Weak::new());
            assert!(target.push(&message()) && target.push(&message()));
            let Polled::Messages(batch) = target.queue.poll(2, Some(Duration::ZERO)) else {
                panic!("two messages wait");
            };
            dispatcher.stop(by);
            target.call(&batch, Some(&dispatcher));
            assert_eq!(calls.load(Ordering::Relaxed), expected);
        }
    }

    /// A connection may still publish between the end of the callback thread and that of the runtime.
    #[test]
    fn a_message_after_the_end_of_the_callback_thread_keeps_nothing_alive() {
        let dispatcher = Dispatcher::start().unwrap();
        let queue = QueueCore::new(10, 1000, Overflow::DropNewest);
        let target = Target::new(queue, Box::new(|_| ()), Some(Arc::clone(&dispatcher)), Weak::new());
        dispatcher.stop(Instant::now());
        assert!(target.push(&message()));
        target.wake();
        target.cancel();
        assert!(target.queue.is_empty());
        let (list, target) = (Arc::downgrade(&dispatcher), (Arc::downgrade(&target), drop(target)).0);
        drop(dispatcher);
        assert!(target.upgrade().is_none() && list.upgrade().is_none());
    }
}
