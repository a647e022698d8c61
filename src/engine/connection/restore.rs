//! Restores the state of an earlier broker from the store, at the start.

use std::sync::Arc;

use hashbrown::HashMap;

use crate::codec::qos::QoS;
use crate::codec::topic::{TopicFilter, TopicName};
use crate::engine::core::state::Engine;
use crate::engine::core::timers::Timer;
use crate::engine::core::turn::Turn;
use crate::engine::parts::sessions::InsertError;
use crate::engine::parts::subscriber::Subscriber;
use crate::message::{Message, SharedMessage};
use crate::session::entry::Entry;
use crate::session::event::Level;
use crate::session::pending::Pending;
use crate::session::pool::Pool;
use crate::session::record::{message_of, message_record};
use crate::session::state::{Control, Session, Will};
use crate::session::subscriptions::Held;
use crate::stats::{DropReason, Gauge};
use crate::storage::{Change, LoadError, MessageRecord, QueuedRecord, SessionChange, StoreError};
use crate::time::{Time, WallClock, WallTime};

/// The sessions while they are restored.
#[derive(Default)]
struct Restoring {
    sessions: HashMap<Box<str>, Restored>,
    /// Sessions that have begun so far.
    begun: u64,
    pool: Pool,
    /// The message of the last delivery, and its times: the next delivery often is of the same.
    last: Option<(SharedMessage, WallTime, WallTime)>,
}

impl Restoring {
    /// The message of a record; the last one again if that has the same content.
    fn message(&mut self, record: &MessageRecord<'_>, clock: WallClock) -> SharedMessage {
        if let Some((last, received_at, expires_at)) = &self.last {
            // A time before the start of this broker does not come back from the message.
            let (received_at, expires_at) = (*received_at, *expires_at);
            if *record == (MessageRecord { received_at, expires_at, ..message_record(last, clock) }) {
                return Arc::clone(last);
            }
        }
        let message = message_of(record, clock);
        self.last = Some((Arc::clone(&message), record.received_at, record.expires_at));
        message
    }
}

/// A session while it is restored.
struct Restored {
    session: Session,
    /// How many sessions have begun before it.
    number: u64,
    /// When its connection ended; `None`: it was connected to the last.
    detached_at: Option<WallTime>,
}

impl Engine {
    /// Restores the content of the store. Called once, before the first connection and the first message.
    ///
    /// Connections that were open when the earlier broker ended count as ended now: their intervals run from now.
    ///
    /// # Errors
    /// The store cannot be read, or its content is not consistent. The engine must not be used then.
    pub fn restore(&self, turn: &mut Turn) -> Result<(), StoreError> {
        if !self.recorder.is_kept() {
            return Ok(());
        }
        let mut restoring = Restoring::default();
        self.recorder.store().load(&mut |at, change| match change {
            Change::Session { client_id, change } => {
                self.restore_change(&mut restoring, at, client_id, change)
            }
            Change::Retained(record) => self.restore_retained(turn, &record),
            Change::Cleared { topic } => {
                self.retained.remove(topic_of(topic)?);
                Ok(())
            }
        })?;
        self.recorder
            .store()
            .load_waiting(&mut |client_id, record| self.restore_waiting(&mut restoring, client_id, record))?;
        let (sessions, retained) = (restoring.sessions.len(), self.retained.len());
        self.begin_group(turn);
        // In the order in which they began: that of a hash table is another one at each start.
        let mut all: Vec<_> = restoring.sessions.into_values().collect();
        all.sort_unstable_by_key(|restored| restored.number);
        let done = all.into_iter().try_for_each(|restored| self.restore_session(turn, restored));
        self.end_group(turn);
        done?;
        self.log(turn, Level::Info, None, || {
            format!("restored {sessions} sessions and {retained} retained messages")
        });
        Ok(())
    }

    fn restore_waiting(
        &self,
        restoring: &mut Restoring,
        client_id: &str,
        record: QueuedRecord<'_>,
    ) -> Result<(), LoadError> {
        let clock = self.recorder.clock();
        let (number, qos, bytes, expires_at, identifiers) = match record {
            QueuedRecord::Whole(record) => {
                let change = SessionChange::Queued(record);
                return self.restore_change(restoring, WallTime::default(), client_id, change);
            }
            QueuedRecord::Stored { number, qos, bytes, expires_at, identifiers } => {
                (number, qos, bytes, expires_at, identifiers)
            }
        };
        if qos == QoS::AtMostOnce {
            return Err(LoadError::QueuedQos0 { client_id: client_id.to_owned() });
        }
        let Some(restored) = restoring.sessions.get_mut(client_id) else {
            return Err(LoadError::UnknownSession { client_id: client_id.to_owned(), change: "queued" });
        };
        let bytes = bytes.try_into().unwrap_or(usize::MAX / 2);
        let size = Message::size_of(bytes) + Pending::options_size(identifiers, false);
        let entry = Entry::stored(number, qos, false, size, clock.time(expires_at));
        restored.session.outbound.get_mut().restore_stored(entry);
        Ok(())
    }

    fn restore_retained(&self, turn: &mut Turn, record: &MessageRecord<'_>) -> Result<(), LoadError> {
        let topic = topic_of(record.topic)?;
        let message = message_of(record, self.recorder.clock());
        if message.is_expired(turn.now) {
            self.retained.remove(topic);
            return Ok(());
        }
        let (size, expires) = (message.size(), message.expires_at() != Time::NEVER);
        match self.retained.store(topic, message, size) {
            Ok(_) if expires => self.sweep_later(turn),
            Ok(_) => {}
            // The limits are lower than they were.
            Err(_) => self.dropped(turn, None, record.topic.as_bytes(), DropReason::RetainedFull),
        }
        Ok(())
    }

    fn restore_change(
        &self,
        restoring: &mut Restoring,
        at: WallTime,
        client_id: &str,
        change: SessionChange<'_>,
    ) -> Result<(), LoadError> {
        let clock = self.recorder.clock();
        let queued = match &change {
            SessionChange::Queued(record) => {
                topic_of(record.message.topic)?;
                Some(restoring.message(&record.message, clock))
            }
            _ => None,
        };
        let Restoring { sessions, begun, pool, .. } = restoring;
        let name = change.name();
        let unknown = || LoadError::UnknownSession { client_id: client_id.to_owned(), change: name };
        match change {
            SessionChange::Begun { expiry_interval, user } => {
                let mut session = Session::new(client_id);
                let control = session.control.get_mut();
                (control.expiry_interval, control.kept) = (expiry_interval, true);
                control.user = user.map(|user| Box::new(user.into()));
                session.inbound.get_mut().kept = true;
                session.outbound.get_mut().keep(true);
                let restored = Restored { session, number: *begun, detached_at: None };
                *begun += 1;
                return match sessions.insert(client_id.into(), restored) {
                    None => Ok(()),
                    Some(_) => Err(LoadError::SessionExists { client_id: client_id.to_owned() }),
                };
            }
            SessionChange::Ended => return sessions.remove(client_id).map(|_| ()).ok_or_else(unknown),
            _ => {}
        }
        let Restored { session, detached_at, .. } = sessions.get_mut(client_id).ok_or_else(unknown)?;
        let control = session.control.get_mut();
        let outbound = session.outbound.get_mut();
        let received = &mut session.inbound.get_mut().received;
        match change {
            SessionChange::Begun { .. } | SessionChange::Ended => {}
            SessionChange::Attached { expiry_interval, user } => {
                control.expiry_interval = expiry_interval;
                control.user = user.map(|user| Box::new(user.into()));
                control.will = None;
                *detached_at = None;
            }
            SessionChange::Detached { expiry_interval } => {
                control.expiry_interval = expiry_interval;
                *detached_at = Some(at);
            }
            SessionChange::Subscribed { filter, options, identifier } => {
                filter_of(client_id, filter)?;
                control.subscriptions.put(Held { filter: filter.into(), options, identifier });
            }
            SessionChange::Unsubscribed { filter } => {
                control.subscriptions.remove(filter).ok_or_else(|| unsubscribed(client_id, name, filter))?;
                outbound.give_up_walk(filter);
            }
            SessionChange::RetainedDue { filter, qos, identifier } => {
                let held = control.subscriptions.get(filter);
                let held = held.ok_or_else(|| unsubscribed(client_id, name, filter))?;
                outbound.begin_walk(&held.filter, qos, identifier);
            }
            SessionChange::RetainedSent { filter } => _ = outbound.give_up_walk(filter),
            SessionChange::Queued(record) => {
                let message = queued.unwrap_or_else(|| message_of(&record.message, clock));
                outbound.restore_queued(pool, client_id, &record, &message)?;
            }
            SessionChange::Dropped { index } => outbound.restore_dropped(client_id, index)?,
            SessionChange::Sent { packet_id } => outbound.restore_sent(pool, client_id, packet_id)?,
            SessionChange::Confirmed { packet_id } => outbound.restore_confirmed(client_id, packet_id)?,
            SessionChange::Done { packet_id } => outbound.restore_done(pool, client_id, packet_id)?,
            SessionChange::Received { packet_id } => received.insert(packet_id),
            SessionChange::Released { packet_id } => {
                if !received.remove(packet_id) {
                    let (client_id, packet_id) = (client_id.to_owned(), packet_id.get());
                    return Err(LoadError::UnknownPacketId { client_id, change: name, packet_id });
                }
            }
            SessionChange::Will { message, delay, expiry } => {
                topic_of(message.topic)?;
                control.will = Some(Box::new(Will { message: message_of(&message, clock), delay, expiry }));
            }
            SessionChange::WillCleared => control.will = None,
        }
        Ok(())
    }

    /// Adds a session to the table and the router, and sets the timers of its offline client.
    fn restore_session(&self, turn: &mut Turn, restored: Restored) -> Result<(), LoadError> {
        let Restored { session, detached_at, .. } = restored;
        let session = Arc::new(session);
        let client_id = &*session.client_id;
        if session.control.lock().expiry_interval == 0 {
            // It was kept only because the store alone had some of its messages; it has ended with its connection.
            self.recorder.session(turn.now, client_id, SessionChange::Ended);
            return Ok(());
        }
        self.sessions.insert(&session, self.options.max_sessions).map_err(|error| match error {
            InsertError::Exists => LoadError::SessionExists { client_id: client_id.to_owned() },
            InsertError::Full => {
                let max = self.options.max_sessions;
                LoadError::TooManySessions { client_id: client_id.to_owned(), max }
            }
        })?;
        let mut outbound = session.outbound.lock();
        let queued = outbound.queue_len();
        session.set_walks(outbound.keep_walks());
        drop(outbound);
        self.counters.increase(Gauge::MessagesQueued, queued as u64);
        let mut control = session.control.lock();
        if self.wanted.receive {
            self.check_deliveries(&mut session.outbound.lock(), control.user_name());
        }
        let subscriber = Subscriber::Session(Arc::clone(&session));
        for held in std::mem::take(&mut control.subscriptions).as_slice() {
            let Held { options, identifier, .. } = *held;
            let filter = filter_of(client_id, &held.filter)?;
            let filter = self.router.subscribe(filter, &subscriber, options, identifier).filter;
            control.subscriptions.put(Held { filter, options, identifier });
        }
        let clock = self.recorder.clock();
        let detached_at = detached_at.unwrap_or_else(|| {
            let detached = SessionChange::Detached { expiry_interval: control.expiry_interval };
            self.recorder.session(turn.now, client_id, detached);
            clock.wall(turn.now)
        });
        self.restore_timers(&session, &mut control, detached_at);
        Ok(())
    }

    fn restore_timers(&self, session: &Arc<Session>, control: &mut Control, detached_at: WallTime) {
        let clock = self.recorder.clock();
        let after = |seconds: u32| clock.time(detached_at.plus_secs(u64::from(seconds)));
        let weak = Arc::downgrade(session);
        let (epoch, expiry_interval) = (control.epoch, control.expiry_interval);
        if let Some(delay) = control.will.as_ref().map(|will| will.delay)
            && delay < expiry_interval
        {
            let timer = Timer::Will(weak.clone(), epoch);
            control.will_timer = Some(self.timers.insert(after(delay), timer));
        }
        if expiry_interval != u32::MAX {
            let timer = Timer::SessionExpiry(weak, epoch);
            control.expiry_timer = Some(self.timers.insert(after(expiry_interval), timer));
        }
    }
}

/// The error of a change that names a subscription which is not there.
fn unsubscribed(client_id: &str, change: &'static str, filter: &str) -> LoadError {
    LoadError::UnknownSubscription { client_id: client_id.to_owned(), change, filter: filter.to_owned() }
}

fn topic_of(topic: &str) -> Result<TopicName<'_>, LoadError> {
    TopicName::parse(topic).map_err(|_| LoadError::Topic { topic: topic.to_owned() })
}

fn filter_of<'f>(client_id: &str, filter: &'f str) -> Result<TopicFilter<'f>, LoadError> {
    let invalid = |_| LoadError::Filter { client_id: client_id.to_owned(), filter: filter.to_owned() };
    TopicFilter::parse(filter).map_err(invalid)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::Restoring;
    use crate::codec::qos::QoS;
    use crate::storage::MessageRecord;
    use crate::time::{WallClock, WallTime};

    #[test]
    fn deliveries_of_one_message_share_it_and_another_message_is_its_own() {
        // Received before this broker started.
        let clock = WallClock::started_at(1_000);
        let record = MessageRecord {
            topic: "a/b",
            properties: &[],
            payload: b"payload",
            qos: QoS::AtLeastOnce,
            retain: false,
            received_at: WallTime::from_millis(7),
            expires_at: WallTime::NEVER,
        };
        let mut restoring = Restoring::default();
        let first = restoring.message(&record, clock);
        assert!(Arc::ptr_eq(&first, &restoring.message(&record, clock)));
        for other in [
            MessageRecord { payload: b"payloae", ..record },
            MessageRecord { topic: "a/c", ..record },
            MessageRecord { retain: true, ..record },
            MessageRecord { received_at: WallTime::from_millis(8), ..record },
            MessageRecord { expires_at: WallTime::from_millis(2_000_000), ..record },
        ] {
            let before = restoring.message(&record, clock);
            assert!(!Arc::ptr_eq(&before, &restoring.message(&other, clock)), "{other:?}");
        }
    }
}
