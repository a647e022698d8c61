//! Messages of queues that are in the store alone: how many bytes of others may stay in memory, and how they are read again.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::codec::qos::QoS;
use crate::storage::DeliveryRecord;
use crate::time::WallTime;

/// The bytes of waiting messages that queues of kept sessions hold in memory, and their bound.
#[derive(Debug)]
pub struct WaitingMemory {
    limit: usize,
    used: AtomicUsize,
}

impl WaitingMemory {
    /// Memory for `limit` bytes of messages.
    pub fn new(limit: usize) -> WaitingMemory {
        WaitingMemory { limit, used: AtomicUsize::new(0) }
    }

    /// The bytes that queues hold. A message counts once for each queue that it is in.
    pub fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    /// Whether the queue of a session may hold `bytes` more. Queues of clients that are away have half of the memory.
    pub fn takes(&self, bytes: usize, is_connected: bool) -> bool {
        let limit = if is_connected { self.limit } else { self.limit / 2 };
        self.used().saturating_add(bytes) <= limit
    }
}

/// The bytes that one queue holds in memory.
#[derive(Debug, Default)]
pub struct HeldBytes {
    memory: Option<Arc<WaitingMemory>>,
    bytes: usize,
}

impl HeldBytes {
    /// Whether they are counted.
    #[inline]
    pub fn are_counted(&self) -> bool {
        self.memory.is_some()
    }

    /// Counts them in `memory` from now on; `bytes` are held already.
    pub fn count_in(&mut self, memory: &Arc<WaitingMemory>, bytes: usize) {
        self.memory = Some(Arc::clone(memory));
        self.add(bytes);
    }

    /// A message has come.
    #[inline]
    pub fn add(&mut self, bytes: usize) {
        if let Some(memory) = &self.memory {
            memory.used.fetch_add(bytes, Ordering::Relaxed);
            self.bytes += bytes;
        }
    }

    /// A message has left.
    #[inline]
    pub fn sub(&mut self, bytes: usize) {
        if let Some(memory) = &self.memory {
            memory.used.fetch_sub(bytes, Ordering::Relaxed);
            self.bytes -= bytes;
        }
    }
}

impl Drop for HeldBytes {
    fn drop(&mut self) {
        if let Some(memory) = &self.memory {
            memory.used.fetch_sub(self.bytes, Ordering::Relaxed);
        }
    }
}

/// Messages that a session needs back from the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadRequest {
    /// The Client Identifier of the session.
    pub client_id: Box<str>,
    /// The numbers of the deliveries, in the order of the queue.
    pub numbers: Vec<u64>,
}

/// A message for one session that was read again.
#[derive(Clone, Copy, Debug)]
pub struct StoredDelivery<'r> {
    /// The number of the delivery.
    pub number: u64,
    /// The number of the message, which several deliveries may have.
    pub message: u64,
    /// The delivery.
    pub record: DeliveryRecord<'r>,
}

/// A message of a queue, as a store gives it at the start.
#[derive(Clone, Copy, Debug)]
pub enum QueuedRecord<'r> {
    /// The message itself.
    Whole(DeliveryRecord<'r>),
    /// A message that stays in the store.
    Stored {
        /// The number of the delivery.
        number: u64,
        /// The QoS of the delivery.
        qos: QoS,
        /// Bytes of its topic, properties and payload.
        bytes: u64,
        /// When it expires; [`WallTime::NEVER`] if it never does.
        expires_at: WallTime,
        /// How many Subscription Identifiers the delivery has.
        identifiers: usize,
    },
}
