//! The sending half of a session: what one delivery needs beside the message, how it is sent, and what becomes of it.

use std::sync::Arc;

use crate::codec::qos::QoS;
use crate::codec::version::Version;
use crate::session::epoch::Epoch;
use crate::session::event::{Delivered, Dropped, Event};
use crate::session::pending::Pending;
use crate::session::pool::Pool;
use crate::session::queue::Bounds;
use crate::stats::{Counters, Counts, DropReason, Gauge};
use crate::storage::{Position, Recorder, SessionChange};
use crate::time::Time;

/// The bounds of the sending half, equal for all sessions.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bounds of the queue.
    pub queue: Bounds,
    /// Bytes that may wait in the outbox before QoS 0 messages are dropped and others queued.
    pub outbox_bytes: usize,
    /// Whether QoS 0 messages are queued for absent clients.
    pub queue_qos0: bool,
}

/// What one delivery needs beside the message.
pub struct Context<'c> {
    /// Now.
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
    /// What the host is told at the end of the turn.
    pub events: &'c mut Vec<Event>,
    /// Of what it asks to be told.
    pub reported: ReportedFates,
    /// Where changes of the session are recorded, if it is kept.
    pub recorder: &'c Recorder,
}

/// Of which fates of messages the host asks to be told.
#[derive(Clone, Copy, Debug, Default)]
pub struct ReportedFates {
    /// Of those that are dropped.
    pub dropped: bool,
    /// Of those that are delivered.
    pub delivered: bool,
}

impl Context<'_> {
    /// Counts a message of this topic that this session does not get, and has the host told.
    pub(super) fn drop(&mut self, topic: &str, reason: DropReason) {
        self.counts.drop(reason, 1);
        if self.reported.dropped {
            let client_id = Some(self.client_id.into());
            self.events.push(Event::Dropped(Dropped { client_id, topic: topic.into(), reason }));
        }
    }

    /// Has the host told of a message that this session's client has.
    pub(super) fn delivered(&mut self, topic: &[u8], qos: QoS) {
        if self.reported.delivered {
            let topic = String::from_utf8_lossy(topic).into();
            let client_id = self.client_id.into();
            self.events.push(Event::Delivered(Delivered { client_id, topic, qos }));
        }
    }

    /// Records a change of the session, which is kept.
    pub(super) fn record(&self, change: SessionChange<'_>) -> Position {
        self.recorder.session(self.now, self.client_id, change)
    }

    /// Tells that a queue of `before` messages has `after` now.
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
    /// The whole filter of the shared subscription, if it is one.
    pub share: Option<&'t Arc<str>>,
}

/// PUBLISH packets of QoS 0, without RETAIN, properties and alias, one behind the other.
#[derive(Clone, Copy, Debug)]
pub struct Block<'b> {
    /// The packets.
    pub bytes: &'b [u8],
    /// Whether they have a property length (MQTT 5).
    pub v5: bool,
    /// How many there are.
    pub messages: u64,
    /// Bytes of their payloads.
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
    /// It was dropped, and this connection is to be ended, for its client's queue is full.
    Overflowed(Epoch),
}

/// What a connection allows the broker to send, from its CONNECT packet.
#[derive(Clone, Copy, Debug)]
pub struct ClientLimits {
    /// The version of the connection.
    pub version: Version,
    /// QoS 1 and 2 messages that may be unacknowledged: the smaller of the client's Receive Maximum and ours.
    pub receive_maximum: u16,
    /// The largest packet that the client takes [MQTT-3.1.2-24]. CONNACK was none too large, so acknowledgements, whose
    /// length is fixed, are not either.
    pub maximum_packet_size: u32,
    /// Topic aliases that may be sent.
    pub topic_alias_maximum: u16,
    /// Whether the session outlives the connection and the store keeps changes: then each is recorded.
    pub kept: bool,
}

/// What a session leaves behind when it ends.
#[derive(Debug)]
pub struct SessionRemains {
    /// Messages that waited.
    pub waited: usize,
    /// Those of shared subscriptions that were sent with QoS 1 and not acknowledged, oldest first.
    pub shared_unacknowledged: Vec<Pending>,
    /// Those of shared subscriptions that waited and were never sent, oldest first.
    pub shared_waiting: Vec<Pending>,
    /// The others that waited, if the host is told of what is dropped.
    pub dropped: Vec<Pending>,
}
