//! What the host program is told.

use std::net::SocketAddr;
use std::sync::Arc;

use crate::codec::qos::QoS;
use crate::codec::subscribe::SubscriptionOptions;
use crate::codec::version::Version;
use crate::session::link::Cause;
use crate::stats::DropReason;

/// Something that has happened, of which the host asked to be told.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Notice {
    /// A client has been let in; CONNACK is on its way.
    Connected(Box<Arrival>),
    /// A client's connection has ended.
    Disconnected {
        /// The Client Identifier.
        client_id: Box<str>,
        /// The number of the connection.
        connection: u64,
        /// Why it ended.
        cause: Cause,
        /// The same in words, where there is more to say.
        why: Box<str>,
    },
    /// A client has subscribed, perhaps again.
    Subscribed {
        /// The Client Identifier.
        client_id: Box<str>,
        /// The Topic Filter, `$share/...` included.
        filter: Arc<str>,
        /// The Subscription Options as granted.
        options: SubscriptionOptions,
        /// The Subscription Identifier; 0 is none.
        identifier: u32,
    },
    /// A client has unsubscribed. The end of its session is no unsubscribing.
    Unsubscribed {
        /// The Client Identifier.
        client_id: Box<str>,
        /// The Topic Filter, `$share/...` included.
        filter: Arc<str>,
    },
    /// A client has a message: one of QoS 0 was sent to it, one of QoS 1 or 2 it has acknowledged by PUBACK or PUBREC.
    Delivered {
        /// The Client Identifier.
        client_id: Box<str>,
        /// The Topic Name.
        topic: Box<str>,
        /// The QoS of the delivery.
        qos: QoS,
    },
    /// A message was dropped.
    Dropped {
        /// The Client Identifier of who does not get it, or of the publisher if nobody does; `None`: the host.
        client_id: Option<Box<str>>,
        /// The Topic Name.
        topic: Box<str>,
        /// Why.
        reason: DropReason,
    },
}

/// A client that has been let in.
#[derive(Clone, Debug)]
pub struct Arrival {
    /// The Client Identifier, which the broker may have chosen.
    pub client_id: Box<str>,
    /// The number of the connection, which no other connection of this broker has.
    pub connection: u64,
    /// The User Name.
    pub username: Option<Arc<str>>,
    /// The peer's address, if it came over a network.
    pub address: Option<SocketAddr>,
    /// The name of the listener that it came by.
    pub listener: Option<Arc<str>>,
    /// The protocol version.
    pub version: Version,
    /// Clean Start, or Clean Session.
    pub clean_start: bool,
    /// Whether it has resumed a session.
    pub session_present: bool,
    /// The Keep Alive in force, in seconds; 0 is none.
    pub keep_alive: u16,
}
