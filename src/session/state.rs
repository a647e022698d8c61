//! A session: the state that belongs to a Client Identifier [MQTT-3.1.3-2], [MQTT3-3.1.3-2].

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use parking_lot::Mutex;

use crate::codec::version::Version;
use crate::message::SharedMessage;
use crate::session::inbound::Inbound;
use crate::session::outbound::Outbound;
use crate::session::subscriptions::Subscriptions;
use crate::time::{Time, TimerId};

/// A session. Its locks are taken in the order of its fields: `inbound`, `control`, `outbound`.
pub struct Session {
    /// The Client Identifier.
    pub client_id: Box<str>,
    /// The receiving half: held by the connection for the length of a turn.
    pub inbound: Mutex<Inbound>,
    /// Who is connected, what is subscribed, when the session ends.
    pub control: Mutex<Control>,
    /// The sending half: held for a moment by any thread that delivers.
    pub outbound: Mutex<Outbound>,
    /// The number of the attached connection, 0 if there is none; changed under the lock of `control`.
    attached: AtomicU32,
    /// When the client's last bytes came, in milliseconds of the broker's time.
    last_received: AtomicU64,
    /// Whether a decision of the host is awaited, and so nothing is read.
    awaits_host: AtomicBool,
    /// Application messages received.
    pub received_messages: AtomicU64,
    /// QoS 1 messages of the attached connection whose PUBACK waits for the store; changed under the lock of
    /// `outbound`.
    pub unacknowledged: AtomicU32,
}

/// Who is connected, what is subscribed, when the session ends.
#[derive(Default)]
pub struct Control {
    /// The number of the current, or the last, connection.
    pub epoch: u32,
    /// The current connection.
    pub connected: Option<Box<Connected>>,
    /// Whether the session has ended and left the table of sessions.
    pub ended: bool,
    /// Whether changes of the session are recorded.
    pub kept: bool,
    /// The user that the session is bound to, empty for a client without a user name; `None` if no authority has said who
    /// the client is. Boxed twice: few sessions have it.
    pub user: Option<Box<Box<str>>>,
    /// The Session Expiry Interval in seconds: 0 ends the session with the connection, `u32::MAX` never.
    pub expiry_interval: u32,
    /// The Will Message, until it is published or deleted.
    pub will: Option<Box<Will>>,
    /// What the client subscribed to.
    pub subscriptions: Subscriptions,
    /// The timer of the absent client's will.
    pub will_timer: Option<TimerId>,
    /// The timer of the absent session's end.
    pub expiry_timer: Option<TimerId>,
}

/// A connection as its session knows it.
#[derive(Clone, Debug)]
pub struct Connected {
    /// The number of the connection, which no other connection of this broker has.
    pub number: u64,
    /// The protocol version.
    pub version: Version,
    /// The peer's address, where there is one.
    pub peer: Option<SocketAddr>,
    /// The User Name.
    pub username: Option<Arc<str>>,
    /// Clean Start, or Clean Session.
    pub clean_start: bool,
    /// The Keep Alive in force, in seconds; 0 is none.
    pub keep_alive: u16,
    /// When the CONNECT packet came.
    pub since: Time,
    /// The Session Expiry Interval that CONNECT asked for: DISCONNECT must not raise it from 0.
    pub connect_expiry_interval: u32,
    /// Whether Reason Strings and User Properties may be sent on any packet [MQTT-3.1.2-29].
    pub wants_problem_information: bool,
    /// The timer that looks after the Keep Alive.
    pub keep_alive_timer: Option<crate::time::TimerId>,
}

/// A Will Message.
#[derive(Clone, Debug)]
pub struct Will {
    /// The message.
    pub message: SharedMessage,
    /// Seconds between the end of the connection and the publication.
    pub delay: u32,
    /// The Message Expiry Interval in seconds, which runs from the publication.
    pub expiry: Option<u32>,
}

impl Control {
    /// Forgets the timers; those that were set.
    pub fn take_timers(&mut self) -> impl Iterator<Item = TimerId> {
        [self.will_timer.take(), self.expiry_timer.take()].into_iter().flatten()
    }

    /// Whether the session is bound to another user than this one.
    pub fn is_anothers(&self, user: Option<&str>) -> bool {
        self.user.as_deref().is_some_and(|bound| user != Some(&**bound))
    }

    /// Whether the connection with this number is the session's now.
    pub fn is_connected_by(&self, epoch: u32) -> bool {
        self.epoch == epoch && self.connected.is_some()
    }
}

impl Session {
    /// A session without a connection.
    pub fn new(client_id: &str) -> Session {
        Session {
            client_id: client_id.into(),
            inbound: Mutex::default(),
            control: Mutex::default(),
            outbound: Mutex::default(),
            attached: AtomicU32::new(0),
            last_received: AtomicU64::new(0),
            awaits_host: AtomicBool::new(false),
            received_messages: AtomicU64::new(0),
            unacknowledged: AtomicU32::new(0),
        }
    }

    /// Notes which connection is attached: its number, or 0 if none is.
    pub fn set_attached(&self, epoch: u32) {
        self.attached.store(epoch, Ordering::Release);
    }

    /// Whether this connection is attached: the packets of any other are of no account.
    pub fn is_attached(&self, epoch: u32) -> bool {
        self.attached.load(Ordering::Acquire) == epoch
    }

    /// Notes whether a decision of the host is awaited, and so nothing is read from the client.
    pub fn set_awaits_host(&self, awaits: bool) {
        self.awaits_host.store(awaits, Ordering::Relaxed);
    }

    /// Whether a decision of the host is awaited.
    pub fn awaits_host(&self) -> bool {
        self.awaits_host.load(Ordering::Relaxed)
    }

    /// Notes that the client has sent something.
    pub fn heard(&self, now: Time) {
        self.last_received.store(now.as_millis(), Ordering::Relaxed);
    }

    /// When the client's last bytes came.
    pub fn last_heard(&self) -> Time {
        Time::from_millis(self.last_received.load(Ordering::Relaxed))
    }
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").field("client_id", &self.client_id).finish_non_exhaustive()
    }
}
