//! In-process subscribers: the host program subscribes without a connection.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use bytes::Bytes;

use crate::codec::qos::QoS;
use crate::locks::{Mutex, MutexGuard};
use crate::session::queue::Room;
use crate::session::retained_walks::WalkPosition;

/// A message for an in-process subscriber, borrowed for the duration of the call.
#[derive(Debug)]
pub struct LocalMessage<'m> {
    /// The Topic Name, as encoded.
    pub topic: &'m [u8],
    /// The payload.
    pub payload: &'m [u8],
    /// The payload as a shared buffer, if it is large enough not to be copied.
    pub shared: Option<Bytes>,
    /// The properties, as encoded spans.
    pub properties: &'m [&'m [u8]],
    /// The QoS of the delivery.
    pub qos: QoS,
    /// The RETAIN flag of the delivery.
    pub retain: bool,
    /// The Subscription Identifiers of the subscriptions that matched.
    pub identifiers: &'m [u32],
    /// The remaining Message Expiry Interval, in seconds.
    pub expiry_interval: Option<u32>,
}

/// The most bytes that a message occupies in the queue of an in-process subscriber. `identifiers` is the number of its
/// Subscription Identifiers.
pub fn bytes_of(topic: usize, properties: usize, payload: usize, identifiers: usize) -> usize {
    topic + properties + payload + identifiers * 5
}

/// The receiver of an in-process subscriber's messages.
pub trait Sink: Send + Sync {
    /// Takes a message; false if there is no room. Called from any thread. Must not block or publish.
    fn push(&self, message: &LocalMessage<'_>) -> bool;

    /// Whether there is room for a message of this many bytes.
    fn room(&self, _bytes: usize) -> Room {
        Room::Free
    }

    /// Whether there is room for a retained message of this many bytes, beside which other messages find room, too.
    fn has_room_to_walk(&self, bytes: usize) -> bool {
        self.room(bytes) == Room::Free
    }

    /// There was no room for a retained message of `local`: [`Engine::walk_retained_local`] is to be called when there is.
    /// False if there is by now.
    ///
    /// [`Engine::walk_retained_local`]: crate::engine::core::state::Engine::walk_retained_local
    fn awaits_room(&self, _local: &Arc<Local>) -> bool {
        true
    }

    /// Whether [`Sink::wake`] is needed. Called after a push, so that a consumer that does not wait is not woken.
    fn wants_wake(&self) -> bool {
        true
    }

    /// Called at the end of each turn that has pushed messages. The thread holds no lock.
    fn wake(&self);

    /// Whether `wake` calls the host's code. If so, it is called after everything else in the turn.
    fn is_direct(&self) -> bool {
        false
    }
}

/// An in-process subscription.
pub struct Local {
    sink: Arc<dyn Sink>,
    filter: Box<str>,
    is_direct: bool,
    /// The number of the last turn that has listed this subscriber to wake it.
    listed_by: AtomicU64,
    /// Whether there is a walk; changed under its lock.
    walks: AtomicBool,
    /// The way through the retained messages, until all are pushed.
    walk: Mutex<Option<LocalWalk>>,
}

/// The way of an in-process subscription through the retained messages.
#[derive(Debug)]
pub(crate) struct LocalWalk {
    /// The QoS of the subscription.
    pub qos: QoS,
    /// Its Subscription Identifier; 0 is none.
    pub identifier: u32,
    /// How far the walk has come.
    pub position: WalkPosition,
}

impl LocalWalk {
    /// A walk that begins.
    pub fn new(qos: QoS, identifier: u32) -> LocalWalk {
        LocalWalk { qos, identifier, position: WalkPosition::Start }
    }
}

impl Local {
    /// A subscription whose messages go to `sink`, and that is to be given retained messages by `walk`.
    pub(crate) fn new(filter: &str, sink: Arc<dyn Sink>, walk: Option<LocalWalk>) -> Local {
        Local {
            is_direct: sink.is_direct(),
            sink,
            filter: filter.into(),
            listed_by: AtomicU64::new(0),
            walks: AtomicBool::new(walk.is_some()),
            walk: Mutex::new(walk),
        }
    }

    /// Whether retained messages are still to be pushed.
    pub(crate) fn walks(&self) -> bool {
        self.walks.load(Ordering::Acquire)
    }

    /// Notes that all retained messages are pushed, or not.
    pub(crate) fn set_walks(&self, walks: bool) {
        self.walks.store(walks, Ordering::Release);
    }

    /// The way through the retained messages. Held while one is pushed, and while a message is that is retained.
    pub(crate) fn walk(&self) -> MutexGuard<'_, Option<LocalWalk>> {
        self.walk.lock()
    }

    /// As [`Sink::has_room_to_walk`].
    pub(crate) fn has_room_to_walk(&self, bytes: usize) -> bool {
        self.sink.has_room_to_walk(bytes)
    }

    /// As [`Sink::awaits_room`].
    pub(crate) fn awaits_room(self: &Arc<Local>) -> bool {
        self.sink.awaits_room(self)
    }

    /// The Topic Filter.
    pub fn filter(&self) -> &str {
        &self.filter
    }

    /// As [`Sink::is_direct`].
    pub fn is_direct(&self) -> bool {
        self.is_direct
    }

    /// As [`Sink::room`].
    pub fn room(&self, bytes: usize) -> Room {
        self.sink.room(bytes)
    }

    /// Pushes a message; returns whether the sink took it.
    pub fn push(&self, message: &LocalMessage<'_>) -> bool {
        self.sink.push(message)
    }

    /// Whether the turn of this number must wake the sink at its end: true the first time. With several turns at once
    /// it may be true more than once for each, so the sink may be woken more often.
    pub fn list_for_wake(&self, turn: u64) -> bool {
        if !self.sink.wants_wake() {
            return false;
        }
        let first = self.listed_by.load(Ordering::Relaxed) != turn;
        if first {
            self.listed_by.store(turn, Ordering::Relaxed);
        }
        first
    }

    /// Wakes the sink.
    pub fn wake(&self) {
        self.sink.wake();
    }
}

impl std::fmt::Debug for Local {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Local").field("filter", &self.filter).finish_non_exhaustive()
    }
}
