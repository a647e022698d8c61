//! Pull queues: the broker puts messages in, a thread of the host takes them out in batches.

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::task::{self, Context};
use std::time::Duration;

use once_cell::sync::OnceCell;

use crate::embed::arena::Batch;
use crate::embed::broker::Broker;
use crate::embed::error::Error;
use crate::embed::options::SubscribeOptions;
use crate::embed::queue_core::{Overflow, Polled, QueueCore};
use crate::embed::shared::{BrokerRef, leak};
use crate::engine::parts::sink::{Local, LocalMessage, Sink};
use crate::runtime::Event;
use crate::session::queue::Room;

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
/// A bounded queue of messages for the host. Clones are the same queue.
///
/// It may have any number of subscriptions, and may be polled by any number of threads: each message goes to one.
#[derive(Clone)]
pub struct Queue {
    pub(super) core: Arc<QueueCore>,
    broker: BrokerRef,
    owner: Arc<Owner>,
}

/// Held by all clones of a queue: when the last is dropped, nobody can take out what is put in.
struct Owner {
    core: Arc<QueueCore>,
    broker: BrokerRef,
    /// Made when it is asked for.
    event: OnceCell<Arc<Event>>,
}

impl Drop for Owner {
    fn drop(&mut self) {
        match self.broker.is_forked() {
            // Another thread may have been in the middle of changing it.
            true => leak(&self.core),
            false => self.core.release(),
        }
    }
}

/// A subscription that feeds a queue; dropping it unsubscribes. What has been queued stays.
#[must_use = "dropping it unsubscribes"]
pub struct QueueSubscription {
    local: Arc<Local>,
    broker: BrokerRef,
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
        let broker = BrokerRef::of(broker);
        let owner = Owner { core: Arc::clone(&core), broker: broker.clone(), event: OnceCell::new() };
        Ok(Queue { core, broker, owner: Arc::new(owner) })
    }
}

impl Queue {
    /// Puts the messages of a Topic Filter in. Each carries `tag`. Retained messages are in when this returns, as far as
    /// they leave half of the queue free; the others follow as messages are taken out.
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
        Ok(QueueSubscription { local, broker: self.broker.clone() })
    }

    /// Takes up to `max` messages, and waits up to `timeout` for the first; `None` waits for ever. In a forked child it is
    /// closed.
    pub fn poll(&self, max: usize, timeout: Option<Duration>) -> Polled {
        if self.is_forked() {
            return Polled::Closed;
        }
        let found = self.core.poll(max, timeout);
        self.broker.refill(&self.core);
        found
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
        loop {
            let found = match self.poll(max, Some(Duration::ZERO)) {
                Polled::Messages(batch) => Some(batch),
                Polled::Closed => None,
                Polled::TimedOut if self.core.wakes(context, place) => return task::Poll::Pending,
                Polled::TimedOut => continue,
            };
            self.forget(place);
            return task::Poll::Ready(found);
        }
    }

    /// Forgets a task that waits no more, if it has waited: nobody wakes it, and its waker is dropped.
    pub(super) fn forget(&self, place: &mut Option<u64>) {
        if let Some(place) = place.take()
            && !self.is_forked()
        {
            self.core.forget(place);
        }
    }

    /// A descriptor for event loops (poll, epoll, select): readable while messages wait, and from when the queue is
    /// closed. It is made at the first call, always the same one, non-blocking and close-on-exec; only its
    /// readability is to be looked at. The poll that takes the last message makes it unreadable again, unless a message
    /// came in between. After a poll on another thread it may be readable although nothing waits; the next poll says
    /// `TimedOut` and makes it unreadable.
    ///
    /// # Errors
    /// [`Error::System`]: there are no more descriptors; [`Error::Forked`].
    pub fn fd(&self) -> Result<BorrowedFd<'_>, Error> {
        self.broker.check_fork()?;
        let event = self.owner.event.get_or_try_init(|| {
            let event = Arc::new(Event::new()?);
            self.core.raises(&event);
            Ok(event)
        });
        let event = event.map_err(|source| Error::System { what: "the queue's descriptor", source })?;
        Ok(event.as_fd())
    }

    /// Messages that wait; none in a forked child.
    pub fn len(&self) -> usize {
        if self.is_forked() { 0 } else { self.core.len() }
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Messages that were dropped because the queue was full; 0 in a forked child.
    pub fn dropped(&self) -> u64 {
        if self.is_forked() { 0 } else { self.core.dropped() }
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

    /// Ends the queue: no message is put in any more, and who polls is told so when it is empty. In a forked child nothing
    /// is done.
    pub fn close(&self) {
        if !self.is_forked() {
            self.core.close();
        }
    }
}

impl QueueSubscription {
    /// As [`Broker::is_forked`].
    pub(crate) fn is_forked(&self) -> bool {
        self.broker.is_forked()
    }
}

impl std::fmt::Debug for Queue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Queue")
            .field("len", &self.len())
            .field("dropped", &self.dropped())
            .finish_non_exhaustive()
    }
}

impl std::fmt::Debug for QueueSubscription {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("QueueSubscription").field("filter", &self.local.filter()).finish_non_exhaustive()
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
        self.queue.forget(&mut self.place);
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

    fn room(&self, bytes: usize) -> Room {
        self.core.room(bytes)
    }

    fn has_room_to_walk(&self, bytes: usize) -> bool {
        self.core.has_room_to_walk(bytes)
    }

    fn awaits_room(&self, local: &Arc<Local>) -> bool {
        self.core.awaits_room(local)
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
    use std::task::{Context, Wake, Waker};

    use crate::codec::qos::QoS;
    use crate::config::Config;
    use crate::embed::{Broker, PublishOptions, QueueOptions, SubscribeOptions};
    use crate::engine::parts::sink::LocalMessage;

    /// The message was put in, and its publisher has not woken the task yet.
    #[test]
    fn a_task_that_has_its_message_leaves_no_waker_behind() {
        struct Quiet;
        impl Wake for Quiet {
            fn wake(self: Arc<Self>) {}
        }
        let mut config = Config::new();
        config.set("listener.tcp.bind", "off").unwrap();
        let broker = Broker::start(&config).unwrap();
        let mut subscription = broker.subscribe("t", &SubscribeOptions::default()).unwrap();
        let queue = subscription.queue().clone();
        let quiet = Arc::new(Quiet);
        let waker = Waker::from(Arc::clone(&quiet));
        let context = &mut Context::from_waker(&waker);
        let waits = || (queue.core.is_waited_for(), Arc::strong_count(&quiet));
        assert!(subscription.poll_recv(context).is_pending());
        assert_eq!(waits(), (true, 3));
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
        assert!(queue.core.push(&message, 0));
        assert!(subscription.poll_recv(context).is_ready());
        assert_eq!(waits(), (false, 2));
        assert!(subscription.poll_recv(context).is_pending());
        // A task that waits no more, while others have the queue.
        assert_eq!(waits(), (true, 3));
        drop(subscription);
        assert_eq!(waits(), (false, 2));
    }

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
