//! What the changes make of the rows of the tables.

use std::collections::VecDeque;

use hashbrown::{HashMap, HashSet};

use crate::codec::packet_id::PacketId;
use crate::codec::version::Version;
use crate::storage::durable::decode::Entry;
use crate::storage::durable::keys::{Kind, numbered, of_filter, of_session, retained};
use crate::storage::durable::overlay::Overlay;
use crate::storage::durable::rows::{self, SessionRow};
use crate::storage::{Change, DeliveryRecord, LoadError, SessionChange};
use crate::time::WallTime;

/// The indices of the rows that are needed to change them: sessions by name, their queues and windows by place.
///
/// A session takes about 250 bytes, a message that waits 16.
#[derive(Debug, Default)]
pub(super) struct State {
    sessions: HashMap<Box<str>, SessionIndex>,
    /// How many deliveries name a message of several receivers.
    references: HashMap<u64, u32>,
    /// The number of the next entry, and so of the session or the delivery that it begins. A number is never used again.
    next: u64,
    /// The messages of the record that is applied: where each stands in it, and its number.
    of_record: HashMap<usize, u64>,
    /// The rows that have changed.
    pub(super) overlay: Overlay,
}

/// How far apart the numbers of entries are. The one behind that of a delivery is that of its message, if others name it.
pub(super) const STRIDE: u64 = 2;

/// What is known of a session.
#[derive(Debug)]
pub(super) struct SessionIndex {
    /// Its number in the keys.
    pub number: u64,
    /// Its row.
    pub row: SessionRow,
    /// Messages not yet sent, oldest first.
    pub queue: VecDeque<Waiting>,
    /// Deliveries that are not complete, in the order of sending.
    pub window: VecDeque<InWindow>,
    /// Identifiers of received messages that are not released.
    pub received: Vec<PacketId>,
    /// Filters of its subscriptions.
    pub filters: HashSet<Box<str>>,
    /// Filters of those whose retained messages are to be sent.
    pub dues: Vec<Box<str>>,
}

/// A message of a queue or a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Waiting {
    /// The number of the delivery.
    pub delivery: u64,
    /// The number of the message: that of the delivery, or another one if several deliveries name it.
    pub message: u64,
}

/// A delivery of a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct InWindow {
    /// Its message.
    pub waiting: Waiting,
    /// Its Packet Identifier.
    pub packet_id: PacketId,
    /// Whether PUBREC has come, so that its message is gone.
    pub confirmed: bool,
}

impl SessionIndex {
    /// An empty session.
    pub(super) fn new(number: u64, row: SessionRow) -> SessionIndex {
        SessionIndex {
            number,
            row,
            queue: VecDeque::new(),
            window: VecDeque::new(),
            received: Vec::new(),
            filters: HashSet::new(),
            dues: Vec::new(),
        }
    }

    /// The message that waits with this number of its delivery.
    pub(super) fn waiting(&self, delivery: u64) -> Option<Waiting> {
        let place = self.queue.binary_search_by_key(&delivery, |waiting| waiting.delivery).ok()?;
        self.queue.get(place).copied()
    }

    fn place_of(&self, packet_id: PacketId) -> Option<usize> {
        self.window.iter().position(|delivery| delivery.packet_id == packet_id)
    }
}

impl State {
    /// A state whose next number is `next`.
    pub(super) fn starting_at(next: u64) -> State {
        State { next: next.max(1), ..State::default() }
    }

    /// The number that comes next.
    pub(super) fn next(&self) -> u64 {
        self.next
    }

    /// The sessions by their Client Identifiers.
    pub(super) fn sessions(&mut self) -> &mut HashMap<Box<str>, SessionIndex> {
        &mut self.sessions
    }

    /// A session.
    pub(super) fn session(&self, client_id: &str) -> Option<&SessionIndex> {
        self.sessions.get(client_id)
    }

    /// Counts one more delivery that names a message of several.
    pub(super) fn refer(&mut self, waiting: Waiting) {
        if waiting.message != waiting.delivery {
            *self.references.entry(waiting.message).or_insert(0) += 1;
        }
    }

    /// Whether a delivery names this message.
    pub(super) fn is_referred(&self, message: u64) -> bool {
        self.references.contains_key(&message)
    }

    /// Begins to apply the entries of another record.
    pub(super) fn begin_record(&mut self) {
        self.of_record.clear();
    }

    /// Applies an entry of a record.
    pub(super) fn apply(&mut self, entry: &Entry<'_>) -> Result<(), LoadError> {
        let number = self.next;
        self.next += STRIDE;
        match &entry.change {
            Change::Retained(message) => self.overlay.put(retained(message.topic), rows::message(message)),
            Change::Cleared { topic } => self.overlay.remove(retained(topic)),
            Change::Session { client_id, change: SessionChange::Begun { expiry_interval, user } } => {
                return self.begin(number, client_id, *expiry_interval, *user);
            }
            Change::Session { client_id, change: SessionChange::Queued(delivery) } => {
                return self.queue(number, client_id, delivery, entry.shared);
            }
            Change::Session { client_id, change } => return self.change(number, entry.at, client_id, change),
        }
        Ok(())
    }

    fn begin(
        &mut self,
        number: u64,
        client_id: &str,
        expiry_interval: u32,
        user: Option<&str>,
    ) -> Result<(), LoadError> {
        if self.sessions.contains_key(client_id) {
            return Err(LoadError::SessionExists { client_id: client_id.to_owned() });
        }
        let row = SessionRow::new(expiry_interval, user);
        self.overlay.put_new(numbered(Kind::Session, number), row.encode(client_id));
        self.sessions.insert(client_id.into(), SessionIndex::new(number, row));
        Ok(())
    }

    /// A message joins a queue. Those who read the state at the start need no row of a message for it.
    fn queue(
        &mut self,
        number: u64,
        client_id: &str,
        delivery: &DeliveryRecord<'_>,
        shared: Option<usize>,
    ) -> Result<(), LoadError> {
        let shared = shared.map(|at| self.shared_message(number + 1, at, delivery));
        let Some(session) = self.sessions.get_mut(client_id) else {
            return Err(unknown(client_id, "queued"));
        };
        let waiting = Waiting { delivery: number, message: shared.unwrap_or(number) };
        session.queue.push_back(waiting);
        let key = of_session(Kind::Delivery, session.number, number);
        self.overlay.put_new(key, rows::delivery(delivery, waiting.message));
        if shared.is_none() {
            self.overlay
                .put_new(numbered(Kind::Message, number), rows::numbered_message(number, &delivery.message));
        }
        self.refer(waiting);
        Ok(())
    }

    /// The number of the message that stands at a place of the record: `message`, if it has none yet.
    fn shared_message(&mut self, message: u64, at: usize, delivery: &DeliveryRecord<'_>) -> u64 {
        if let Some(message) = self.of_record.get(&at).copied().filter(|message| self.is_referred(*message)) {
            return message;
        }
        self.of_record.insert(at, message);
        self.overlay
            .put_new(numbered(Kind::Message, message), rows::numbered_message(message, &delivery.message));
        message
    }

    fn change(
        &mut self,
        order: u64,
        at: WallTime,
        client_id: &str,
        change: &SessionChange<'_>,
    ) -> Result<(), LoadError> {
        use SessionChange as S;
        let name = change.name();
        if *change == S::Ended {
            return self.end(client_id);
        }
        let State { sessions, overlay, .. } = self;
        let Some(session) = sessions.get_mut(client_id) else {
            return Err(unknown(client_id, name));
        };
        let number = session.number;
        let no_id = |packet_id: PacketId| LoadError::UnknownPacketId {
            client_id: client_id.to_owned(),
            change: name,
            packet_id: packet_id.get(),
        };
        let mut row_changed = false;
        let mut unneeded = None;
        match *change {
            S::Begun { .. } | S::Queued(_) | S::Ended => {}
            S::Attached { expiry_interval, user } => {
                session.row = SessionRow::new(expiry_interval, user);
                row_changed = true;
            }
            S::Detached { expiry_interval } => {
                session.row.expiry_interval = expiry_interval;
                session.row.detached_at = Some(at);
                row_changed = true;
            }
            S::Subscribed { filter, options, identifier } => {
                session.filters.insert(filter.into());
                let value = rows::subscription(options.to_byte(Version::V5), identifier);
                overlay.put(of_filter(Kind::Subscription, number, filter), value);
            }
            S::Unsubscribed { filter } => {
                if !session.filters.remove(filter) {
                    return Err(unsubscribed(client_id, name, filter));
                }
                overlay.remove(of_filter(Kind::Subscription, number, filter));
                forget_due(session, overlay, filter);
            }
            S::RetainedDue { filter, qos, identifier } => {
                if !session.filters.contains(filter) {
                    return Err(unsubscribed(client_id, name, filter));
                }
                forget_due(session, overlay, filter);
                session.dues.push(filter.into());
                let value = rows::due(order, qos, identifier);
                overlay.put(of_filter(Kind::RetainedDue, number, filter), value);
            }
            S::RetainedSent { filter } => forget_due(session, overlay, filter),
            S::Dropped { index } => {
                let len = session.queue.len();
                let waiting = session.queue.remove(index);
                unneeded = Some(waiting.ok_or_else(|| not_queued(client_id, name, index, len))?);
            }
            S::Sent { packet_id } => {
                let waiting = session.queue.pop_front().ok_or_else(|| not_queued(client_id, name, 0, 0))?;
                if session.place_of(packet_id).is_some() {
                    let client_id = client_id.to_owned();
                    return Err(LoadError::PacketIdInUse { client_id, packet_id: packet_id.get() });
                }
                session.window.push_back(InWindow { waiting, packet_id, confirmed: false });
                let key = of_session(Kind::Window, number, waiting.delivery);
                overlay.put_new(key, rows::window(packet_id, false));
            }
            S::Confirmed { packet_id } => {
                let place = session.place_of(packet_id).and_then(|place| session.window.get_mut(place));
                let delivery = place.ok_or_else(|| no_id(packet_id))?;
                if !std::mem::replace(&mut delivery.confirmed, true) {
                    let key = of_session(Kind::Window, number, delivery.waiting.delivery);
                    overlay.put(key, rows::window(packet_id, true));
                    unneeded = Some(delivery.waiting);
                }
            }
            S::Done { packet_id } => {
                let place = session.place_of(packet_id);
                let done = place.and_then(|place| session.window.remove(place));
                let done = done.ok_or_else(|| no_id(packet_id))?;
                overlay.remove(of_session(Kind::Window, number, done.waiting.delivery));
                unneeded = (!done.confirmed).then_some(done.waiting);
            }
            S::Received { packet_id } => {
                if !session.received.contains(&packet_id) {
                    session.received.push(packet_id);
                }
                let key = of_session(Kind::Received, number, u64::from(packet_id.get()));
                overlay.put(key, Vec::new());
            }
            S::Released { packet_id } => {
                let place = session.received.iter().position(|received| *received == packet_id);
                session.received.swap_remove(place.ok_or_else(|| no_id(packet_id))?);
                overlay.remove(of_session(Kind::Received, number, u64::from(packet_id.get())));
            }
            S::Will { message, delay, expiry } => {
                session.row.will = Some(rows::will(&message, delay, expiry).into());
                row_changed = true;
            }
            S::WillCleared => {
                session.row.will = None;
                row_changed = true;
            }
        }
        if row_changed {
            overlay.put(numbered(Kind::Session, number), session.row.encode(client_id));
        }
        if let Some(waiting) = unneeded {
            self.forget(number, waiting);
        }
        Ok(())
    }

    /// Removes the rows of a delivery's message.
    fn forget(&mut self, session: u64, waiting: Waiting) {
        self.overlay.remove(of_session(Kind::Delivery, session, waiting.delivery));
        let Waiting { message, .. } = waiting;
        if let Some(count) = self.references.get_mut(&message) {
            *count -= 1;
            if *count > 0 {
                return;
            }
            self.references.remove(&message);
        }
        self.overlay.remove(numbered(Kind::Message, message));
    }

    fn end(&mut self, client_id: &str) -> Result<(), LoadError> {
        let session = self.sessions.remove(client_id).ok_or_else(|| unknown(client_id, "ended"))?;
        let number = session.number;
        self.overlay.remove(numbered(Kind::Session, number));
        for filter in &session.filters {
            self.overlay.remove(of_filter(Kind::Subscription, number, filter));
        }
        for filter in &session.dues {
            self.overlay.remove(of_filter(Kind::RetainedDue, number, filter));
        }
        for packet_id in &session.received {
            self.overlay.remove(of_session(Kind::Received, number, u64::from(packet_id.get())));
        }
        for delivery in &session.window {
            self.overlay.remove(of_session(Kind::Window, number, delivery.waiting.delivery));
        }
        let unconfirmed = session.window.iter().filter(|delivery| !delivery.confirmed);
        for waiting in unconfirmed.map(|delivery| &delivery.waiting).chain(&session.queue) {
            self.forget(number, *waiting);
        }
        Ok(())
    }
}

fn forget_due(session: &mut SessionIndex, overlay: &mut Overlay, filter: &str) {
    if let Some(place) = session.dues.iter().position(|due| &**due == filter) {
        session.dues.swap_remove(place);
        overlay.remove(of_filter(Kind::RetainedDue, session.number, filter));
    }
}

fn unknown(client_id: &str, change: &'static str) -> LoadError {
    LoadError::UnknownSession { client_id: client_id.to_owned(), change }
}

fn unsubscribed(client_id: &str, change: &'static str, filter: &str) -> LoadError {
    LoadError::UnknownSubscription { client_id: client_id.to_owned(), change, filter: filter.to_owned() }
}

fn not_queued(client_id: &str, change: &'static str, index: usize, len: usize) -> LoadError {
    LoadError::NotQueued { client_id: client_id.to_owned(), change, index, len }
}
