//! The seam between the engine and what keeps sessions, retained messages and queues.

use crate::codec::packet_id::PacketId;
use crate::codec::subscribe::SubscriptionOptions;
use crate::message::SharedMessage;

/// One change of the state that outlives a connection.
#[derive(Clone, Copy, Debug)]
pub enum Record<'r> {
    /// A persistent session began, was resumed, or has a new Session Expiry Interval (seconds).
    Session {
        /// The Client Identifier.
        client_id: &'r str,
        /// The Session Expiry Interval in seconds.
        expiry_interval: u32,
    },
    /// A session ended, with all that belongs to it.
    SessionEnded {
        /// The Client Identifier.
        client_id: &'r str,
    },
    /// A persistent session subscribed.
    Subscribed {
        /// The Client Identifier.
        client_id: &'r str,
        /// The Topic Filter, share name included.
        filter: &'r str,
        /// The Subscription Options.
        options: SubscriptionOptions,
        /// The Subscription Identifier; 0 is none.
        identifier: u32,
    },
    /// A persistent session unsubscribed.
    Unsubscribed {
        /// The Client Identifier.
        client_id: &'r str,
        /// The Topic Filter, share name included.
        filter: &'r str,
    },
    /// A QoS 1 or 2 message is owed to a persistent session.
    Owed {
        /// The Client Identifier.
        client_id: &'r str,
        /// The message.
        message: &'r SharedMessage,
    },
    /// A QoS 2 message was received and not yet released.
    Received {
        /// The Client Identifier.
        client_id: &'r str,
        /// The Packet Identifier.
        packet_id: PacketId,
    },
    /// A received QoS 2 message was released.
    Released {
        /// The Client Identifier.
        client_id: &'r str,
        /// The Packet Identifier.
        packet_id: PacketId,
    },
    /// A topic's retained message was stored.
    Retained {
        /// The message.
        message: &'r SharedMessage,
    },
    /// A topic's retained message was removed.
    Cleared {
        /// The Topic Name, as encoded.
        topic: &'r [u8],
    },
}

/// Whether what was recorded so far is safe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ticket {
    /// It is.
    Committed,
    /// It will be when the store reports this number, or a higher one, as committed.
    Pending(u64),
}

/// A store of what outlives a connection.
///
/// The engine records each change before it acknowledges what caused it, asks for a ticket, and holds the
/// acknowledgement back until the ticket is committed. No call waits.
pub trait Store: Send + Sync {
    /// Records a change.
    fn record(&self, record: Record<'_>);

    /// A ticket for everything recorded so far by this thread. Numbers never fall.
    fn ticket(&self) -> Ticket;
}
