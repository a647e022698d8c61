//! Reading the tables: the indices at the start, and the changes that make the state of the broker.

use std::ops::Range;

use hashbrown::HashMap;

use crate::codec::qos::QoS;
use crate::storage::durable::decode::options;
use crate::storage::durable::keys::{self, Kind, all, all_of, numbered};
use crate::storage::durable::rows::{self, DeliveryRow, SessionRow, numbered_message_of};
use crate::storage::durable::state::{InWindow, SessionIndex, State, Waiting};
use crate::storage::durable::tables::{Rows, Tables};
use crate::storage::durable::wire::{DeliveryHead, Malformed, Reader};
use crate::storage::{
    Change, DeliveryRecord, LoadError, MessageRecord, QueuedRecord, SessionChange, StoreError,
};
use crate::time::WallTime;

/// What gets the changes.
pub(super) type Restore<'r> = &'r mut dyn FnMut(WallTime, Change<'_>) -> Result<(), LoadError>;

/// The state that the tables hold.
pub(super) fn index(tables: &Tables, next: u64) -> Result<State, StoreError> {
    let mut state = State::starting_at(next);
    let mut names: HashMap<u64, Box<str>> = HashMap::new();
    let bad = |error| tables.damaged(error);
    tables.for_each(all(Kind::Session), |key, value| {
        let number = keys::number_of(key).map_err(bad)?;
        let (client_id, row) = SessionRow::decode(value).map_err(bad)?;
        names.insert(number, client_id.into());
        state.sessions().insert(client_id.into(), SessionIndex::new(number, row));
        Ok::<_, StoreError>(())
    })?;
    let windows = windows(tables)?;
    let session_of = |state: &mut State, number: u64, change: &mut dyn FnMut(&mut SessionIndex)| {
        let session = names.get(&number).and_then(|name| state.sessions().get_mut(name));
        session.map(change).ok_or(Malformed)
    };
    for kind in [Kind::Subscription, Kind::RetainedDue] {
        tables.for_each(all(kind), |key, _| {
            let (number, filter) = keys::session_and_filter(key).map_err(bad)?;
            session_of(&mut state, number, &mut |session| match kind {
                Kind::Subscription => _ = session.filters.insert(filter.into()),
                _ => session.dues.push(filter.into()),
            })
            .map_err(bad)
        })?;
    }
    tables.for_each(all(Kind::Received), |key, _| {
        let (number, packet_id) = keys::session_and_number(key).map_err(bad)?;
        let packet_id = rows::packet_id(packet_id).map_err(bad)?;
        session_of(&mut state, number, &mut |session| session.received.push(packet_id)).map_err(bad)
    })?;
    tables.for_each(all(Kind::Delivery), |key, value| {
        let (number, delivery) = keys::session_and_number(key).map_err(bad)?;
        if windows.contains_key(&(number, delivery)) {
            return Ok(());
        }
        let message = Reader::new(value).number().map_err(bad)?;
        let waiting = Waiting { delivery, message };
        state.refer(waiting);
        session_of(&mut state, number, &mut |session| session.queue.push_back(waiting)).map_err(bad)
    })?;
    let mut windows: Vec<_> = windows.into_iter().collect();
    windows.sort_unstable_by_key(|(place, _)| *place);
    for ((number, delivery), (packet_id, confirmed)) in windows {
        let key = keys::of_session(Kind::Delivery, number, delivery);
        let message = match (confirmed, tables.get(&key)?) {
            (true, _) => 0,
            (false, None) => return Err(tables.damaged(Malformed)),
            (false, Some(row)) => Reader::new(&row).number().map_err(bad)?,
        };
        let waiting = Waiting { delivery, message };
        if !confirmed {
            state.refer(waiting);
        }
        let in_window = InWindow { waiting, packet_id, confirmed };
        session_of(&mut state, number, &mut |session| session.window.push_back(in_window)).map_err(bad)?;
    }
    Ok(state)
}

/// The deliveries of all windows, by session and number.
type Windows = HashMap<(u64, u64), (crate::codec::packet_id::PacketId, bool)>;

fn windows(tables: &Tables) -> Result<Windows, StoreError> {
    let mut windows = Windows::new();
    tables.for_each(all(Kind::Window), |key, value| {
        let bad = |error| tables.damaged(error);
        let place = keys::session_and_number(key).map_err(bad)?;
        windows.insert(place, rows::window_of(value).map_err(bad)?);
        Ok::<_, StoreError>(())
    })?;
    Ok(windows)
}

/// Gives the state of the tables as changes, with the queues or without them; the topics of retained messages that had expired at `now` come back.
pub(super) fn emit(
    tables: &Tables,
    state: &mut State,
    now: WallTime,
    with_queues: bool,
    restore: Restore<'_>,
) -> Result<Vec<String>, StoreError> {
    let mut expired = Vec::new();
    tables.for_each(all(Kind::Retained), |key, value| {
        let topic = keys::topic_of(key).map_err(|error| tables.damaged(error))?;
        let (message, _) = Reader::new(value).message().map_err(|error| tables.damaged(error))?;
        if message.expires_at <= now {
            expired.push(topic.to_owned());
            return Ok(());
        }
        restore(now, Change::Retained(message)).map_err(StoreError::from)
    })?;
    let rows = tables.rows()?;
    let mut sessions: Vec<_> = state.sessions().iter().map(|(client_id, it)| (&**client_id, it)).collect();
    sessions.sort_unstable_by_key(|(_, session)| session.number);
    let mut source = Source { tables, rows: &rows, now, restore };
    for session in &sessions {
        source.session(session).emit_begin()?;
    }
    if with_queues {
        source.emit_queues(&sessions)?;
    }
    for session in &sessions {
        source.session(session).emit_end()?;
    }
    Ok(expired)
}

/// Gives the queues without reading messages, but for those of shared subscriptions. Each queue is in its order.
pub(super) fn emit_queues(
    tables: &Tables,
    state: &mut State,
    restore: &mut dyn FnMut(&str, QueuedRecord<'_>) -> Result<(), LoadError>,
) -> Result<(), StoreError> {
    let bad = |error| tables.damaged(error);
    let sessions = state.sessions().iter().filter_map(|(client_id, session)| {
        let first = session.queue.front()?.delivery;
        Some((session.number, (&**client_id, first)))
    });
    let (sessions, rows): (HashMap<_, _>, _) = (sessions.collect(), tables.rows()?);
    tables.for_each(all(Kind::Delivery), |key, value| {
        let (session, number) = keys::session_and_number(key).map_err(bad)?;
        // What stands before the first one is in the window.
        let Some((client_id, _)) = sessions.get(&session).filter(|(_, first)| number >= *first) else {
            return Ok(());
        };
        let row = DeliveryRow::decode(value).map_err(bad)?;
        if row.head.share.is_some() {
            let given = rows.get(&numbered(Kind::Message, row.message), |message| {
                let message = numbered_message_of(row.message, message).map_err(bad)?;
                restore(client_id, QueuedRecord::Whole(delivery(&row.head, message)))
                    .map_err(StoreError::from)
            })?;
            return given.unwrap_or_else(|| Err(bad(Malformed)));
        }
        let DeliveryRow { bytes, expires_at, ref head, .. } = row;
        let (qos, identifiers) = (head.qos, head.identifiers.len());
        restore(client_id, QueuedRecord::Stored { number, qos, bytes, expires_at, identifiers })
            .map_err(StoreError::from)
    })
}

/// The client identifier of a session, and the session.
type Named<'s> = (&'s str, &'s SessionIndex);

/// Where changes come from, and what gets them.
struct Source<'s> {
    tables: &'s Tables,
    rows: &'s Rows,
    now: WallTime,
    restore: Restore<'s>,
}

/// Deliveries of several sessions that are read together at most.
const MOST_TOGETHER: usize = 1 << 18;

/// The number of a queued delivery, its session, and the place of its row.
type Queued<'s> = (u64, Named<'s>, Range<usize>);

impl Source<'_> {
    fn session<'s>(&'s mut self, &(client_id, session): &Named<'s>) -> Session<'s> {
        let Source { tables, rows, now, ref mut restore } = *self;
        Session { tables, rows, client_id, session, now, restore: &mut **restore }
    }

    /// Gives the queues: of many sessions together, so that each page of messages is read once.
    fn emit_queues(&mut self, sessions: &[Named<'_>]) -> Result<(), StoreError> {
        let (mut together, mut bytes) = (Vec::new(), Vec::new());
        for named in sessions {
            let length = named.1.queue.len();
            if together.len() + length > MOST_TOGETHER {
                self.emit_together(&mut together, &mut bytes)?;
            }
            if length > MOST_TOGETHER {
                self.session(named).emit_queue()?;
                continue;
            }
            self.session(named).each_queued(|_, number, row| {
                let start = bytes.len();
                bytes.extend_from_slice(row);
                together.push((number, *named, start..bytes.len()));
                Ok(())
            })?;
        }
        self.emit_together(&mut together, &mut bytes)
    }

    /// Gives deliveries in the order of their numbers, which is about that of their messages and that of each queue.
    fn emit_together(
        &mut self,
        together: &mut Vec<Queued<'_>>,
        bytes: &mut Vec<u8>,
    ) -> Result<(), StoreError> {
        together.sort_unstable_by_key(|(number, ..)| *number);
        for (_, named, place) in together.drain(..) {
            let row = bytes.get(place).unwrap_or_default();
            self.session(&named).give_queued(row)?;
        }
        bytes.clear();
        Ok(())
    }
}

/// A session whose changes are given.
struct Session<'s> {
    tables: &'s Tables,
    rows: &'s Rows,
    client_id: &'s str,
    session: &'s SessionIndex,
    now: WallTime,
    restore: Restore<'s>,
}

impl Session<'_> {
    /// Gives what comes before the queue.
    fn emit_begin(&mut self) -> Result<(), StoreError> {
        let row = &self.session.row;
        let (expiry_interval, user) = (row.expiry_interval, row.user.as_deref());
        self.give(SessionChange::Begun { expiry_interval, user })?;
        self.emit_subscriptions()?;
        self.emit_dues()?;
        self.emit_window()
    }

    /// Gives what comes behind the queue.
    fn emit_end(&mut self) -> Result<(), StoreError> {
        let row = &self.session.row;
        let expiry_interval = row.expiry_interval;
        for packet_id in &self.session.received {
            self.give(SessionChange::Received { packet_id: *packet_id })?;
        }
        if let Some(will) = &row.will {
            self.give(rows::will_change(will).map_err(|error| self.tables.damaged(error))?)?;
        }
        match row.detached_at {
            Some(at) => self.give_at(at, SessionChange::Detached { expiry_interval }),
            None => Ok(()),
        }
    }

    fn give(&mut self, change: SessionChange<'_>) -> Result<(), StoreError> {
        self.give_at(self.now, change)
    }

    fn give_at(&mut self, at: WallTime, change: SessionChange<'_>) -> Result<(), StoreError> {
        let client_id = self.client_id;
        (self.restore)(at, Change::Session { client_id, change }).map_err(StoreError::from)
    }

    fn emit_subscriptions(&mut self) -> Result<(), StoreError> {
        let (tables, number) = (self.tables, self.session.number);
        let bad = |error| tables.damaged(error);
        tables.for_each(all_of(Kind::Subscription, number), |key, value| {
            let (_, filter) = keys::session_and_filter(key).map_err(bad)?;
            let (byte, identifier) = rows::subscription_of(value).map_err(bad)?;
            let options = options(byte).map_err(bad)?;
            self.give(SessionChange::Subscribed { filter, options, identifier })
        })
    }

    /// Retained messages that are to be sent, in the order of the subscriptions.
    fn emit_dues(&mut self) -> Result<(), StoreError> {
        let (tables, number) = (self.tables, self.session.number);
        let bad = |error| tables.damaged(error);
        let mut dues = Vec::new();
        tables.for_each(all_of(Kind::RetainedDue, number), |key, value| {
            let (_, filter) = keys::session_and_filter(key).map_err(bad)?;
            dues.push((rows::due_of(value).map_err(bad)?, filter.to_owned()));
            Ok::<_, StoreError>(())
        })?;
        dues.sort_unstable_by_key(|((order, ..), _)| *order);
        for ((_, qos, identifier), filter) in &dues {
            self.give(SessionChange::RetainedDue { filter, qos: *qos, identifier: *identifier })?;
        }
        Ok(())
    }

    fn emit_window(&mut self) -> Result<(), StoreError> {
        let (tables, number) = (self.tables, self.session.number);
        for delivery in &self.session.window {
            let packet_id = delivery.packet_id;
            if delivery.confirmed {
                self.give(SessionChange::Queued(confirmed()))?;
            } else {
                let key = keys::of_session(Kind::Delivery, number, delivery.waiting.delivery);
                let row = tables.get(&key)?.ok_or_else(|| tables.damaged(Malformed))?;
                self.give_queued(&row)?;
            }
            self.give(SessionChange::Sent { packet_id })?;
            if delivery.confirmed {
                self.give(SessionChange::Confirmed { packet_id })?;
            }
        }
        Ok(())
    }

    fn emit_queue(&mut self) -> Result<(), StoreError> {
        self.each_queued(|session, _, row| session.give_queued(row))
    }

    /// Calls `see` with the number and the row of each delivery of the queue.
    fn each_queued(
        &mut self,
        mut see: impl FnMut(&mut Self, u64, &[u8]) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let Some(first) = self.session.queue.front() else {
            return Ok(());
        };
        let (tables, number) = (self.tables, self.session.number);
        let from = keys::of_session(Kind::Delivery, number, first.delivery);
        tables.for_each((from, numbered(Kind::Delivery, number + 1)), |key, row| {
            let (_, delivery) = keys::session_and_number(key).map_err(|error| tables.damaged(error))?;
            see(self, delivery, row)
        })
    }

    fn give_queued(&mut self, row: &[u8]) -> Result<(), StoreError> {
        let tables = self.tables;
        let bad = |error| tables.damaged(error);
        let row = DeliveryRow::decode(row).map_err(bad)?;
        let key = numbered(Kind::Message, row.message);
        let given = self.rows.get(&key, |bytes| {
            let message = numbered_message_of(row.message, bytes).map_err(bad)?;
            self.give(SessionChange::Queued(delivery(&row.head, message)))
        })?;
        given.unwrap_or_else(|| Err(tables.damaged(Malformed)))
    }
}

fn delivery<'d>(head: &'d DeliveryHead<'_>, message: MessageRecord<'d>) -> DeliveryRecord<'d> {
    let DeliveryHead { qos, retain, ref identifiers, share } = *head;
    DeliveryRecord { message, qos, retain, identifiers, share }
}

/// A QoS 2 delivery that the client has confirmed: of its message nothing is needed any more.
fn confirmed() -> DeliveryRecord<'static> {
    let message = MessageRecord {
        topic: "confirmed",
        properties: &[],
        payload: &[],
        qos: QoS::ExactlyOnce,
        retain: false,
        received_at: WallTime::default(),
        expires_at: WallTime::NEVER,
    };
    DeliveryRecord { message, qos: QoS::ExactlyOnce, retain: false, identifiers: &[], share: None }
}
