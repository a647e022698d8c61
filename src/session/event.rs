//! What the host program is told.

use std::net::SocketAddr;
use std::sync::Arc;

use crate::codec::qos::QoS;
use crate::codec::reason::ReasonCode;
use crate::codec::subscribe::SubscriptionOptions;
use crate::codec::version::Version;
use crate::session::link::Cause;
use crate::stats::DropReason;

/// Something that has happened, of which the host asked to be told.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Event {
    /// A client has been let in; CONNACK is on its way.
    Connected(Box<Arrival>),
    /// A client's connection has ended.
    Disconnected(Departure),
    /// A client was not let in. The host is not told.
    Refused(Box<RefusedClient>),
    /// A client has subscribed, perhaps again.
    Subscribed(Subscribed),
    /// A client has unsubscribed. The end of its session is no unsubscribing.
    Unsubscribed(Unsubscribed),
    /// A client has a message: one of QoS 0 was sent to it, one of QoS 1 or 2 it has acknowledged by PUBACK or PUBREC.
    Delivered(Delivered),
    /// A message was dropped.
    Dropped(Dropped),
    /// A line of the log.
    Logged(LogLine),
}

/// How much a line of the log matters; the first matters most.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// Something has failed that is to work: a hook has panicked, or no connection can be accepted.
    Error,
    /// A client or a message did not get what it wanted: refused, ended for breaking a rule, dropped for want of room.
    Warn,
    /// What an operator wants to know: started, stopped, clients that come and go.
    Info,
    /// What helps to find a fault: subscriptions, connections before their CONNECT, messages that nobody wanted.
    Debug,
}

impl Level {
    /// Every level, in the order of the list.
    pub const ALL: &[Level] = &[Level::Error, Level::Warn, Level::Info, Level::Debug];

    /// The name, in small letters.
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
pub struct LogLine {
    /// How much it matters.
    pub level: Level,
    /// The client that it is about, if it is about one.
    pub client_id: Option<Box<str>>,
    /// What has happened, one line, with the client. What clients have named stands in quotes, with escapes.
    pub text: Box<str>,
}

impl std::fmt::Display for LogLine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.level, self.text)
    }
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

/// A client whose connection has ended.
#[derive(Clone, Debug)]
pub struct Departure {
    /// The Client Identifier.
    pub client_id: Box<str>,
    /// The number of the connection.
    pub connection: u64,
    /// Why it ended.
    pub cause: Cause,
    /// The same in words, where there is more to say.
    pub why: Box<str>,
}

/// A client that was not let in.
#[derive(Clone, Debug)]
pub struct RefusedClient {
    /// The Client Identifier, as far as it is known.
    pub client_id: Option<Box<str>>,
    /// The peer's address, if it came over a network.
    pub address: Option<SocketAddr>,
    /// Why.
    pub reason: ReasonCode,
    /// The same in words.
    pub why: &'static str,
}

/// A client that has subscribed.
#[derive(Clone, Debug)]
pub struct Subscribed {
    /// The Client Identifier.
    pub client_id: Box<str>,
    /// The Topic Filter, `$share/...` included.
    pub filter: Arc<str>,
    /// The Subscription Options as granted.
    pub options: SubscriptionOptions,
    /// The Subscription Identifier; 0 is none.
    pub identifier: u32,
}

/// A client that has unsubscribed.
#[derive(Clone, Debug)]
pub struct Unsubscribed {
    /// The Client Identifier.
    pub client_id: Box<str>,
    /// The Topic Filter, `$share/...` included.
    pub filter: Arc<str>,
}

/// A client that has a message.
#[derive(Clone, Debug)]
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
pub struct Dropped {
    /// The Client Identifier of who does not get it, or of the publisher if nobody does; `None`: the host.
    pub client_id: Option<Box<str>>,
    /// The Topic Name.
    pub topic: Box<str>,
    /// Why.
    pub reason: DropReason,
}
