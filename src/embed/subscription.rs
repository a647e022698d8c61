//! A subscription with a queue of its own.

use std::time::Duration;

use crate::embed::arena::Batch;
use crate::embed::broker::Broker;
use crate::embed::error::Error;
use crate::embed::message::Message;
use crate::embed::options::SubscribeOptions;
use crate::embed::queue::{Poll, Queue, QueueOptions, QueueSubscription};

/// Messages taken from the queue at once.
const BATCH: usize = 256;

/// A subscription of the host, with a bounded queue of its own. Dropping it unsubscribes.
///
/// As an iterator it waits for each message and ends when the broker stops.
pub struct Subscription {
    queue: Queue,
    taken: Option<Batch>,
    next: usize,
    _subscription: QueueSubscription,
}

impl Broker {
    /// Subscribes the host to a Topic Filter. Retained messages wait in the queue when this returns.
    pub fn subscribe(&self, filter: &str, options: &SubscribeOptions) -> Result<Subscription, Error> {
        let queue = self.queue(&QueueOptions::default())?;
        let subscription = queue.subscribe(filter, options, 0)?;
        Ok(Subscription { queue, taken: None, next: 0, _subscription: subscription })
    }
}

impl Subscription {
    /// The next message; waits up to `timeout` for it. `Ok(None)` if none came; [`Error::Stopped`] when the broker has
    /// stopped and every message was taken.
    pub fn recv_timeout(&mut self, timeout: Duration) -> Result<Option<Message>, Error> {
        self.recv(Some(timeout))
    }

    /// Messages that were dropped because this subscription's queue was full.
    pub fn dropped(&self) -> u64 {
        self.queue.dropped()
    }

    /// The queue, for taking messages in batches. Messages that the iterator has taken are not in it.
    pub fn queue(&self) -> &Queue {
        &self.queue
    }

    fn recv(&mut self, timeout: Option<Duration>) -> Result<Option<Message>, Error> {
        loop {
            if let Some(view) = self.taken.as_ref().and_then(|batch| batch.get(self.next)) {
                self.next += 1;
                return Ok(Some(view.to_message()));
            }
            match self.queue.poll(BATCH, timeout) {
                Poll::Messages(batch) => {
                    self.taken = Some(batch);
                    self.next = 0;
                }
                Poll::TimedOut => return Ok(None),
                Poll::Closed => return Err(Error::Stopped),
            }
        }
    }
}

impl Iterator for Subscription {
    type Item = Message;

    fn next(&mut self) -> Option<Message> {
        self.recv(None).ok().flatten()
    }
}
