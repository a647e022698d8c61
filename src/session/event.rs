//! Events that the host program is told.

use std::sync::Arc;

use crate::codec::qos::QoS;
use crate::codec::reason::ReasonCode;
use crate::codec::subscribe::SubscriptionOptions;
use crate::codec::version::Version;
use crate::session::identity::TlsIdentity;
use crate::session::link::Cause;
use crate::session::peer::Peer;
use crate::stats::DropReason;

/// An event that the host has asked for.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Event {
    /// A client was accepted; CONNACK is being sent.
    Connected(Box<Arrival>),
    /// A client's connection has ended.
    Disconnected(Departure),
    /// A client was refused. The host is not told.
    Refused(Box<RefusedClient>),
    /// A client has subscribed, or renewed a subscription.
    Subscribed(Subscribed),
    /// A client has unsubscribed. The end of its session does not count as that.
    Unsubscribed(Unsubscribed),
    /// A message was delivered: at QoS 0 it was sent; at QoS 1 or 2 the client has sent PUBACK or PUBREC.
    Delivered(Delivered),
    /// A message was dropped.
    Dropped(Dropped),
    /// A line of the log.
    Logged(LogLine),
}

/// The severity of a log line; the first level is the most severe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// Something has failed that should work: a hook has panicked, or no connection can be accepted.
    Error,
    /// A client was refused or disconnected for an error, or a message was dropped because a limit was reached.
    Warn,
    /// Normal operation: start, stop, clients that connect and disconnect.
    Info,
    /// Details for debugging: subscriptions, connections before their CONNECT, messages without a subscriber.
    Debug,
}

impl Level {
    /// Every level, the most severe first.
    pub const ALL: &[Level] = &[Level::Error, Level::Warn, Level::Info, Level::Debug];

    /// The name, in lower case.
    pub const fn name(self) -> &'static str {
        match self {
            Level::Error => "error",
            Level::Warn => "warn",
            Level::Info => "info",
            Level::Debug => "debug",
        }
    }
}

impl std::fmt::Display for Level {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.name())
    }
}

/// A line of the log. It is displayed with its level: `info: client "c" has connected`.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct LogLine {
    /// The severity.
    pub level: Level,
    /// The client that the line concerns, if any.
    pub client_id: Option<Box<str>>,
    /// The text, one line, with the client's identifier. Text from clients is quoted and escaped.
    pub text: Box<str>,
}

impl std::fmt::Display for LogLine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.level, self.text)
    }
}

/// A client that was accepted.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Arrival {
    /// The Client Identifier, which the broker may have chosen.
    pub client_id: Box<str>,
    /// The number of the connection, unique in this broker.
    pub connection: u64,
    /// The User Name.
    pub username: Option<Arc<str>>,
    /// The peer's address; `None` for a connection without a network address.
    pub address: Option<Peer>,
    /// The name of the listener that accepted the connection.
    pub listener: Option<Arc<str>>,
    /// What the handshake of TLS has shown; `None` without TLS.
    pub tls: Option<Arc<TlsIdentity>>,
    /// The protocol version.
    pub version: Version,
    /// Clean Start, or Clean Session.
    pub clean_start: bool,
    /// Whether it has resumed a session.
    pub session_present: bool,
    /// The Keep Alive in force, in seconds; 0 for none.
    pub keep_alive: u16,
}

/// A client whose connection has ended.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Departure {
    /// The Client Identifier.
    pub client_id: Box<str>,
    /// The number of the connection.
    pub connection: u64,
    /// Why it ended.
    pub cause: Cause,
    /// The details in words; may be empty.
    pub why: Box<str>,
}

/// A client that was refused.
#[derive(Clone, Debug)]
pub struct RefusedClient {
    /// The Client Identifier, if it is known.
    pub client_id: Option<Box<str>>,
    /// The User Name of its CONNECT.
    pub username: Option<Box<str>>,
    /// The name of the authority that refused it, if one did.
    pub by: Option<Box<str>>,
    /// The peer's address; `None` for a connection without a network address.
    pub address: Option<Peer>,
    /// Why it was refused.
    pub reason: ReasonCode,
    /// The reason in words.
    pub why: &'static str,
}

/// A client that has subscribed.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Subscribed {
    /// The Client Identifier.
    pub client_id: Box<str>,
    /// The Topic Filter, `$share/...` included.
    pub filter: Arc<str>,
    /// The Subscription Options as granted.
    pub options: SubscriptionOptions,
    /// The Subscription Identifier; 0 for none.
    pub identifier: u32,
}

/// A client that has unsubscribed.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Unsubscribed {
    /// The Client Identifier.
    pub client_id: Box<str>,
    /// The Topic Filter, `$share/...` included.
    pub filter: Arc<str>,
}

/// A message that was delivered to a client.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Delivered {
    /// The Client Identifier.
    pub client_id: Box<str>,
    /// The Topic Name.
    pub topic: Box<str>,
    /// The QoS of the delivery.
    pub qos: QoS,
}

/// A message that was dropped.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Dropped {
    /// The Client Identifier of the intended receiver, or of the publisher if there is none; `None` is the host.
    pub client_id: Option<Box<str>>,
    /// The Topic Name; empty if the message was in the store alone (`storage.memory`).
    pub topic: Box<str>,
    /// Why it was dropped.
    pub reason: DropReason,
}
