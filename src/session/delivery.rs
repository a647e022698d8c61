//! The sending half of a session: the context, the options and the outcome of one delivery.

use std::sync::Arc;

use crate::codec::qos::QoS;
use crate::codec::version::Version;
use crate::session::entry::Entry;
use crate::session::epoch::Epoch;
use crate::session::event::{Delivered, Dropped, Event};
use crate::session::pending::Pending;
use crate::session::pool::Pool;
use crate::session::queue::Bounds;
use crate::stats::{Counters, Counts, DropReason, Gauge};
use crate::storage::{Position, Recorder, SessionChange};
use crate::time::Time;

/// The bounds of the sending half, the same for all sessions.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bounds of the queue.
    pub queue: Bounds,
    /// Bytes of messages in the window from which on no further one is sent, unless the window is empty.
    pub window_bytes: usize,
    /// Bytes that may wait in the outbox before QoS 0 messages are dropped and others queued.
    pub outbox_bytes: usize,
    /// Whether QoS 0 messages are queued for offline clients.
    pub queue_qos0: bool,
    /// Whether acknowledgements wait for subscribers that are behind.
    pub holds: bool,
}

/// The environment of a delivery.
pub struct Context<'c> {
    /// The current time.
    pub now: Time,
    /// Buffers of the calling thread.
    pub pool: &'c mut Pool,
    /// Counters of the calling turn.
    pub counts: &'c mut Counts,
    /// The broker's gauges.
    pub gauges: &'c Counters,
    /// The bounds.
    pub limits: &'c Limits,
    /// The Client Identifier of the session.
    pub client_id: &'c str,
    /// Events that the host is told at the end of the turn.
    pub events: &'c mut Vec<Event>,
    /// Which fates of messages the host wants to be told.
    pub reported: ReportedFates,
    /// Records changes of the session, if it is kept.
    pub recorder: &'c Recorder,
}

/// Which fates of messages the host wants to be told.
#[derive(Clone, Copy, Debug, Default)]
pub struct ReportedFates {
    /// Whether it is told of dropped messages.
    pub dropped: bool,
    /// Whether it is told of delivered messages.
    pub delivered: bool,
}

impl Context<'_> {
    /// Counts a message of this topic that is dropped for this session, and tells the host.
    pub(super) fn drop(&mut self, topic: &str, reason: DropReason) {
        self.counts.drop(reason, 1);
        if self.reported.dropped {
            let client_id = Some(self.client_id.into());
            self.events.push(Event::Dropped(Dropped { client_id, topic: topic.into(), reason }));
        }
    }

    /// Tells the host that a message was delivered to this session's client.
    pub(super) fn delivered(&mut self, topic: &[u8], qos: QoS) {
        if self.reported.delivered {
            let topic = String::from_utf8_lossy(topic).into();
            let client_id = self.client_id.into();
            self.events.push(Event::Delivered(Delivered { client_id, topic, qos }));
        }
    }

    /// Records a change of the session; the caller has checked that the session is kept.
    pub(super) fn record(&self, change: SessionChange<'_>) -> Position {
        self.recorder.session(self.now, self.client_id, change)
    }

    /// Updates the gauge of queued messages: a queue had `before` messages and now has `after`.
    pub(super) fn queue_changed(&self, before: usize, after: usize) {
        if after > before {
            self.gauges.increase(Gauge::MessagesQueued, (after - before) as u64);
        } else if before > after {
            self.gauges.decrease(Gauge::MessagesQueued, (before - after) as u64);
        }
    }
}

/// How a message is sent to one subscriber.
#[derive(Clone, Copy, Debug)]
pub struct DeliveryOptions<'t> {
    /// The lower of the message's and the subscription's QoS [MQTT-3.8.4-8], [MQTT3-3.8.4-6].
    pub qos: QoS,
    /// The RETAIN flag to send.
    pub retain: bool,
    /// The Subscription Identifiers to send.
    pub identifiers: &'t [u32],
    /// The whole filter of the shared subscription; `None` if the subscription is not shared.
    pub share: Option<&'t Arc<str>>,
}

/// Consecutive PUBLISH packets of QoS 0, without RETAIN, properties or alias.
#[derive(Clone, Copy, Debug)]
pub struct Block<'b> {
    /// The packets.
    pub bytes: &'b [u8],
    /// Whether they have a property length (MQTT 5).
    pub v5: bool,
    /// The number of packets.
    pub messages: u64,
    /// The total bytes of their payloads.
    pub payload_bytes: u64,
    /// Bytes of the largest packet.
    pub largest: usize,
}

/// What became of a message for one subscriber.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is in the outbox.
    Sent,
    /// It waits in the queue.
    Queued,
    /// It was dropped.
    Dropped(DropReason),
    /// It was dropped, and the caller must end this connection, because the queue is full.
    Overflowed(Epoch),
}

/// The limits on what the broker sends on a connection, from its CONNECT packet.
#[derive(Clone, Copy, Debug)]
pub struct ClientLimits {
    /// The version of the connection.
    pub version: Version,
    /// QoS 1 and 2 messages that may be unacknowledged: the smaller of the client's Receive Maximum and the broker's.
    pub receive_maximum: u16,
    /// The largest packet that the client accepts [MQTT-3.1.2-24]. CONNACK fits in it, so acknowledgements, which are
    /// no longer, fit too.
    pub maximum_packet_size: u32,
    /// The number of Topic Aliases that may be used.
    pub topic_alias_maximum: u16,
    /// Whether changes of the session are recorded: it outlives the connection, and the store keeps changes.
    pub kept: bool,
}

/// The undelivered messages of a session that has ended.
#[derive(Debug)]
pub struct SessionRemains {
    /// The number of messages that were queued.
    pub waited: usize,
    /// Messages of shared subscriptions that were sent with QoS 1 and not acknowledged, oldest first.
    pub shared_unacknowledged: Vec<Pending>,
    /// Messages of shared subscriptions that were queued and never sent, oldest first.
    pub shared_waiting: Vec<Pending>,
    /// The other queued messages, if the host is told of dropped messages.
    pub dropped: Vec<Entry>,
}
