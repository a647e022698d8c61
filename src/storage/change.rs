//! The changes of the state that outlives the broker.

use crate::codec::packet_id::PacketId;
use crate::codec::qos::QoS;
use crate::codec::subscribe::SubscriptionOptions;
use crate::time::WallTime;

/// One change of the state that outlives the broker.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Change<'c> {
    /// A session has changed.
    Session {
        /// The Client Identifier.
        client_id: &'c str,
        /// What has changed.
        change: SessionChange<'c>,
    },
    /// A topic's retained message was stored; an older one of the topic is gone.
    Retained(MessageRecord<'c>),
    /// A topic's retained message was removed, or was found to be expired.
    Cleared {
        /// The Topic Name.
        topic: &'c str,
    },
}

/// One change of a session.
///
/// A session has a queue of unsent messages, oldest first, and a window of incomplete deliveries, in the order of
/// sending. QoS 0 messages are in neither.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum SessionChange<'c> {
    /// The session begins empty, with a connection attached.
    Begun {
        /// The Session Expiry Interval in seconds; `u32::MAX` is never.
        expiry_interval: u32,
        /// The user that the session is bound to; `None` if no authority has said who the client is.
        user: Option<&'c str>,
    },
    /// A connection resumes the session; the session's old will is deleted.
    Attached {
        /// The Session Expiry Interval in seconds; `u32::MAX` is never.
        expiry_interval: u32,
        /// The user that the session is bound to from now on; `None` if no authority has said who the client is.
        user: Option<&'c str>,
    },
    /// The connection has ended; from now on the Session Expiry Interval and the Will Delay Interval run.
    Detached {
        /// The Session Expiry Interval in seconds; `u32::MAX` is never.
        expiry_interval: u32,
    },
    /// The session has ended and its state is discarded; or it is no longer kept and will end with its connection.
    Ended,
    /// The client has subscribed; an earlier subscription to the same filter is replaced.
    Subscribed {
        /// The Topic Filter, `$share/...` included.
        filter: &'c str,
        /// The Subscription Options as granted.
        options: SubscriptionOptions,
        /// The Subscription Identifier; 0 for none.
        identifier: u32,
    },
    /// The client has unsubscribed.
    Unsubscribed {
        /// The Topic Filter, `$share/...` included.
        filter: &'c str,
    },
    /// The retained messages of a subscription are to be sent, from the first one.
    RetainedDue {
        /// The Topic Filter.
        filter: &'c str,
        /// The granted QoS.
        qos: QoS,
        /// The Subscription Identifier; 0 is none.
        identifier: u32,
    },
    /// They are sent, or have joined the queue.
    RetainedSent {
        /// The Topic Filter.
        filter: &'c str,
    },
    /// A message has joined the queue at its end.
    Queued(DeliveryRecord<'c>),
    /// A message has left the queue without being sent.
    Dropped {
        /// Its index in the queue; 0 is the oldest.
        index: usize,
    },
    /// The oldest message of the queue has moved to the end of the window.
    Sent {
        /// The Packet Identifier of the delivery.
        packet_id: PacketId,
    },
    /// The client has confirmed a QoS 2 delivery by PUBREC: its message is no longer needed, PUBCOMP is awaited.
    Confirmed {
        /// The Packet Identifier of the delivery.
        packet_id: PacketId,
    },
    /// A delivery has left the window: it is complete, was refused, or cannot be sent to this client.
    Done {
        /// The Packet Identifier of the delivery.
        packet_id: PacketId,
    },
    /// A QoS 2 message of the client was received and not yet released.
    Received {
        /// The Packet Identifier that the client has chosen.
        packet_id: PacketId,
    },
    /// A received QoS 2 message was released.
    Released {
        /// The Packet Identifier that the client has chosen.
        packet_id: PacketId,
    },
    /// The connection has set a will.
    Will {
        /// The message.
        message: MessageRecord<'c>,
        /// The Will Delay Interval in seconds.
        delay: u32,
        /// The Message Expiry Interval in seconds, counted from the publication of the will.
        expiry: Option<u32>,
    },
    /// The will was published or deleted.
    WillCleared,
}

/// An application message, with times of the wall clock.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MessageRecord<'c> {
    /// The Topic Name.
    pub topic: &'c str,
    /// The forwarded properties, encoded, without the length prefix.
    pub properties: &'c [u8],
    /// The payload.
    pub payload: &'c [u8],
    /// The QoS with which the message was published.
    pub qos: QoS,
    /// Whether the message was published with RETAIN.
    pub retain: bool,
    /// When the broker received the message.
    pub received_at: WallTime,
    /// When the message expires; [`WallTime::NEVER`] if it never does.
    pub expires_at: WallTime,
}

/// A message for one session.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DeliveryRecord<'c> {
    /// The message.
    pub message: MessageRecord<'c>,
    /// The QoS of the delivery: 1 or 2.
    pub qos: QoS,
    /// The RETAIN flag of the delivery.
    pub retain: bool,
    /// The Subscription Identifiers of the subscriptions that matched.
    pub identifiers: &'c [u32],
    /// The whole filter of the shared subscription that it was matched by, if any.
    pub share: Option<&'c str>,
}

impl SessionChange<'_> {
    /// The name of the change, for errors.
    pub fn name(&self) -> &'static str {
        match self {
            SessionChange::Begun { .. } => "begun",
            SessionChange::Attached { .. } => "attached",
            SessionChange::Detached { .. } => "detached",
            SessionChange::Ended => "ended",
            SessionChange::Subscribed { .. } => "subscribed",
            SessionChange::Unsubscribed { .. } => "unsubscribed",
            SessionChange::RetainedDue { .. } => "retained due",
            SessionChange::RetainedSent { .. } => "retained sent",
            SessionChange::Queued(_) => "queued",
            SessionChange::Dropped { .. } => "dropped",
            SessionChange::Sent { .. } => "sent",
            SessionChange::Confirmed { .. } => "confirmed",
            SessionChange::Done { .. } => "done",
            SessionChange::Received { .. } => "received",
            SessionChange::Released { .. } => "released",
            SessionChange::Will { .. } => "will",
            SessionChange::WillCleared => "will cleared",
        }
    }
}
