//! A subscription with a queue of its own.

use std::task::{Context, Poll};
use std::time::Duration;

use crate::embed::arena::Batch;
use crate::embed::broker::Broker;
use crate::embed::error::Error;
use crate::embed::message::Message;
use crate::embed::options::SubscribeOptions;
use crate::embed::queue::{Queue, QueueOptions, QueueSubscription};
use crate::embed::queue_core::Polled;

/// Messages taken from the queue at once.
const BATCH: usize = 256;

/// A subscription of the host, with a bounded queue of its own. Dropping it unsubscribes.
///
/// As an iterator it waits for each message and ends when the broker stops; [`Subscription::recv`] does the same in
/// async code, and [`Subscription::into_stream`] makes a stream of it. It is no stream itself: with `StreamExt` in scope
/// `next` would be ambiguous.
#[derive(Debug)]
#[must_use = "dropping it unsubscribes"]
pub struct Subscription {
    queue: Queue,
    taken: Option<Batch>,
    next: usize,
    /// Where the task waits that has last called `poll_recv`.
    place: Option<u64>,
    _subscription: QueueSubscription,
}

impl Broker {
    /// Subscribes the host to a Topic Filter. Retained messages wait in the queue when this returns.
    pub fn subscribe(&self, filter: &str, options: &SubscribeOptions) -> Result<Subscription, Error> {
        let queue = self.queue(&QueueOptions::default())?;
        let subscription = queue.subscribe(filter, options, 0)?;
        Ok(Subscription { queue, taken: None, next: 0, place: None, _subscription: subscription })
    }
}

impl Subscription {
    /// The next message; waits up to `timeout` for it. `Ok(None)` if none came; [`Error::Stopped`] when the broker has
    /// stopped and every message was taken; [`Error::Forked`].
    pub fn recv_timeout(&mut self, timeout: Duration) -> Result<Option<Message>, Error> {
        self.take(Some(timeout))
    }

    /// The next message; waits for it without blocking the thread. `None` when the broker has stopped and every message was
    /// taken, and in a forked child.
    ///
    /// It needs no runtime, and works on any executor. It is cancel-safe: a future that is dropped takes no message with
    /// it, so it may be a branch of `select!`. The waker is called by who publishes, and must do no more than have
    /// the task polled, as that of every executor does.
    ///
    /// ```
    /// # use midge::{Broker, Config, PublishOptions, SubscribeOptions};
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
    /// # let mut config = Config::new();
    /// # config.set("listener.tcp.bind", "off")?;
    /// let broker = Broker::start(&config)?;
    /// let mut messages = broker.subscribe("rooms/#", &SubscribeOptions::default())?;
    /// broker.publish("rooms/1", "warm", &PublishOptions::default())?;
    /// let message = messages.recv().await.unwrap();
    /// assert_eq!((message.topic(), &message.payload()[..]), ("rooms/1", &b"warm"[..]));
    /// broker.stop_async(None).await?;
    /// assert!(messages.recv().await.is_none());
    /// # Ok(()) }) }
    /// ```
    pub async fn recv(&mut self) -> Option<Message> {
        std::future::poll_fn(|context| self.poll_recv(context)).await
    }

    /// As [`Subscription::recv`], for a future of your own. The task that has polled last is woken, once.
    pub fn poll_recv(&mut self, context: &mut Context<'_>) -> Poll<Option<Message>> {
        loop {
            if let Some(message) = self.taken_before() {
                return Poll::Ready(Some(message));
            }
            match self.queue.poll_recv(BATCH, context, &mut self.place) {
                Poll::Ready(Some(batch)) => self.took(batch),
                Poll::Ready(None) => return Poll::Ready(None),
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    /// Messages that were dropped because this subscription's queue was full.
    pub fn dropped(&self) -> u64 {
        self.queue.dropped()
    }

    /// The queue, for taking messages in batches. Messages that the iterator has taken are not in it.
    pub fn queue(&self) -> &Queue {
        &self.queue
    }

    fn take(&mut self, timeout: Option<Duration>) -> Result<Option<Message>, Error> {
        loop {
            if let Some(message) = self.taken_before() {
                return Ok(Some(message));
            }
            match self.queue.poll(BATCH, timeout) {
                Polled::Messages(batch) => self.took(batch),
                Polled::TimedOut => return Ok(None),
                Polled::Closed if self.queue.is_forked() => return Err(Error::Forked),
                Polled::Closed => return Err(Error::Stopped),
            }
        }
    }

    /// The next message of those that were taken from the queue.
    fn taken_before(&mut self) -> Option<Message> {
        let message = self.taken.as_ref()?.get(self.next)?.to_message();
        self.next += 1;
        Some(message)
    }

    fn took(&mut self, batch: Batch) {
        self.taken = Some(batch);
        self.next = 0;
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        // The queue may have other owners.
        self.queue.forget(&mut self.place);
    }
}

impl Iterator for Subscription {
    type Item = Message;

    fn next(&mut self) -> Option<Message> {
        self.take(None).ok().flatten()
    }
}
