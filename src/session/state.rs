//! A session: the state that belongs to a Client Identifier [MQTT-3.1.3-2], [MQTT3-3.1.3-2].

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};

use crate::codec::version::Version;
use crate::locks::Mutex;
use crate::message::SharedMessage;
use crate::session::epoch::{AtomicEpoch, Epoch};
use crate::session::inbound::Inbound;
use crate::session::outbound::Outbound;
use crate::session::peer::Peer;
use crate::session::subscriptions::Subscriptions;
use crate::time::{Time, TimerId};

/// A session. Its locks are taken in the order of its fields: `inbound`, `control`, `outbound`.
pub struct Session {
    /// The Client Identifier.
    pub client_id: Box<str>,
    /// The receiving half: the connection holds the lock for the length of a turn.
    pub inbound: Mutex<Inbound>,
    /// The connection, the subscriptions, the will and the expiry.
    pub control: Mutex<Control>,
    /// The sending half: any thread that delivers holds the lock briefly.
    pub outbound: Mutex<Outbound>,
    /// The attached connection; changed under the lock of `control`.
    pub(super) attached: AtomicEpoch,
    /// When the client's last bytes came, in milliseconds of the broker's time.
    last_received: AtomicU64,
    /// The connection that awaits a decision of the host, and so is not read.
    awaits_host: AtomicEpoch,
    /// What is to be done for this session beside the usual; changed under the lock of `outbound`.
    marks: AtomicU8,
    /// Application messages received.
    pub received_messages: AtomicU64,
    /// The number of QoS 1 messages of the attached connection whose PUBACK waits for the store. Changed under the lock
    /// of `outbound`.
    pub unacknowledged: AtomicU32,
}

/// Something that is to be done for a session beside the usual.
#[derive(Clone, Copy, Debug)]
pub struct Mark(u8);

impl Mark {
    /// Retained messages are still to be sent.
    pub const WALKS: Mark = Mark(1);
    /// Publishers wait for the queue to become short.
    pub const AWAITED: Mark = Mark(2);
    /// Acknowledgements for the client wait for a subscriber.
    pub const HOLDS_ACKS: Mark = Mark(4);

    /// One of the two, or both.
    pub const fn and(self, other: Mark) -> Mark {
        Mark(self.0 | other.0)
    }
}

/// The connection, the subscriptions, the will and the expiry of a session.
#[derive(Default)]
pub struct Control {
    /// The number of the current or last connection.
    pub epoch: Epoch,
    /// The current connection.
    pub connected: Option<Box<Connected>>,
    /// Whether the session has ended and left the table of sessions.
    pub ended: bool,
    /// Whether changes of the session are recorded.
    pub kept: bool,
    /// The user that the session is bound to, empty for a client without a user name; `None` if no authority has said who
    /// the client is. Boxed twice: few sessions have it.
    pub user: Option<Box<Box<str>>>,
    /// The Session Expiry Interval in seconds. At 0 the session ends with the connection, at `u32::MAX` it never
    /// expires.
    pub expiry_interval: u32,
    /// The Will Message, until it is published or deleted.
    pub will: Option<Box<Will>>,
    /// The client's subscriptions.
    pub subscriptions: Subscriptions,
    /// The timer that publishes the will of an offline client.
    pub will_timer: Option<TimerId>,
    /// The timer that ends the session of an offline client.
    pub expiry_timer: Option<TimerId>,
}

/// A connection as its session knows it.
#[derive(Clone, Debug)]
pub struct Connected {
    /// The number of the connection, unique in this broker.
    pub number: u64,
    /// The protocol version.
    pub version: Version,
    /// The peer's address, if there is one.
    pub peer: Option<Peer>,
    /// The User Name.
    pub username: Option<Arc<str>>,
    /// Clean Start, or Clean Session.
    pub clean_start: bool,
    /// The Keep Alive in force, in seconds; 0 for none.
    pub keep_alive: u16,
    /// When the CONNECT packet arrived.
    pub since: Time,
    /// The Session Expiry Interval that CONNECT asked for: DISCONNECT must not raise it from 0.
    pub connect_expiry_interval: u32,
    /// Whether Reason Strings and User Properties may be sent on any packet [MQTT-3.1.2-29].
    pub wants_problem_information: bool,
    /// The timer that checks the Keep Alive.
    pub keep_alive_timer: Option<crate::time::TimerId>,
}

/// A Will Message.
#[derive(Clone, Debug)]
pub struct Will {
    /// The message.
    pub message: SharedMessage,
    /// Seconds between the end of the connection and the publication.
    pub delay: u32,
    /// The Message Expiry Interval in seconds, counted from the publication of the will.
    pub expiry: Option<u32>,
}

impl Control {
    /// Takes the timers that are set.
    pub fn take_timers(&mut self) -> impl Iterator<Item = TimerId> {
        [self.will_timer.take(), self.expiry_timer.take()].into_iter().flatten()
    }

    /// Whether the session is bound to another user than this one.
    pub fn is_anothers(&self, user: Option<&str>) -> bool {
        self.user.as_deref().is_some_and(|bound| user != Some(&**bound))
    }

    /// Whether the connection with this number is attached.
    pub fn is_connected_by(&self, epoch: Epoch) -> bool {
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
            attached: AtomicEpoch::default(),
            last_received: AtomicU64::new(0),
            awaits_host: AtomicEpoch::default(),
            marks: AtomicU8::new(0),
            received_messages: AtomicU64::new(0),
            unacknowledged: AtomicU32::new(0),
        }
    }

    /// Whether this connection is attached: packets of any other connection are ignored.
    pub fn is_attached(&self, epoch: Epoch) -> bool {
        self.attached.is(epoch)
    }

    /// Notes that this connection awaits a decision of the host, and so is not read.
    pub fn await_host(&self, epoch: Epoch) {
        self.awaits_host.set(epoch);
    }

    /// Notes that this connection does not, or no longer, await a decision of the host.
    #[inline]
    pub fn hear_from_host(&self, epoch: Epoch) {
        self.awaits_host.clear_if(epoch);
    }

    /// Whether this connection awaits a decision of the host.
    pub fn awaits_host(&self, epoch: Epoch) -> bool {
        self.awaits_host.is(epoch)
    }

    /// Notes whether retained messages are still to be sent.
    pub fn set_walks(&self, walks: bool) {
        match walks {
            true => self.mark(Mark::WALKS),
            false => self.unmark(Mark::WALKS),
        }
    }

    /// Sets a mark.
    pub fn mark(&self, mark: Mark) {
        self.marks.fetch_or(mark.0, Ordering::Relaxed);
    }

    /// Removes a mark.
    pub fn unmark(&self, mark: Mark) {
        self.marks.fetch_and(!mark.0, Ordering::Relaxed);
    }

    /// Whether a mark is set, or one of several.
    #[inline]
    pub fn is_marked(&self, mark: Mark) -> bool {
        self.marks.load(Ordering::Relaxed) & mark.0 != 0
    }

    /// Notes that the client has sent something.
    pub fn heard(&self, now: Time) {
        self.last_received.store(now.as_millis(), Ordering::Relaxed);
    }

    /// When the client's last bytes arrived.
    pub fn last_heard(&self) -> Time {
        Time::from_millis(self.last_received.load(Ordering::Relaxed))
    }
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").field("client_id", &self.client_id).finish_non_exhaustive()
    }
}
