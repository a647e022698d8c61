//! What changes amount to: the state that a broker has after them, whatever way leads there.

use std::collections::{BTreeMap, BTreeSet};

use midge::storage::{Change, SessionChange};
use midge::time::WallTime;

/// The state after a list of changes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Snapshot {
    retained: BTreeMap<String, String>,
    /// By Client Identifier, with the number of sessions that began before.
    sessions: BTreeMap<String, (usize, SessionSnapshot)>,
    begun: usize,
}

#[derive(Clone, Debug, Default, PartialEq)]
struct SessionSnapshot {
    expiry_interval: u32,
    user: Option<String>,
    detached_at: Option<WallTime>,
    subscriptions: BTreeMap<String, String>,
    dues: BTreeMap<String, String>,
    queue: Vec<String>,
    /// The message, or nothing if it is confirmed.
    window: Vec<(u16, Option<String>)>,
    received: BTreeSet<u16>,
    will: Option<String>,
}

impl Snapshot {
    /// Adds a change.
    pub fn see(&mut self, at: WallTime, change: Change<'_>) {
        match change {
            Change::Retained(message) => {
                self.retained.insert(message.topic.to_owned(), format!("{message:?}"));
            }
            Change::Cleared { topic } => _ = self.retained.remove(topic),
            Change::Session { client_id, change: SessionChange::Begun { expiry_interval, user } } => {
                let user = user.map(str::to_owned);
                let session = SessionSnapshot { expiry_interval, user, ..SessionSnapshot::default() };
                self.begun += 1;
                let earlier = self.sessions.insert(client_id.to_owned(), (self.begun, session));
                assert_eq!(earlier, None);
            }
            Change::Session { client_id, change: SessionChange::Ended } => {
                self.sessions.remove(client_id).unwrap();
            }
            Change::Session { client_id, change } => {
                self.sessions.get_mut(client_id).unwrap().1.see(at, change);
            }
        }
    }

    /// The same with the sessions numbered anew, in the order in which they began.
    pub fn numbered(mut self) -> Snapshot {
        let mut order: Vec<_> = self.sessions.values_mut().collect();
        order.sort_by_key(|(number, _)| *number);
        order.into_iter().enumerate().for_each(|(at, (number, _))| *number = at);
        self.begun = 0;
        self
    }
}

impl SessionSnapshot {
    fn see(&mut self, at: WallTime, change: SessionChange<'_>) {
        use SessionChange as S;
        match change {
            S::Begun { .. } | S::Ended => unreachable!(),
            S::Attached { expiry_interval, user } => {
                self.expiry_interval = expiry_interval;
                self.user = user.map(str::to_owned);
                (self.detached_at, self.will) = (None, None);
            }
            S::Detached { expiry_interval } => {
                self.expiry_interval = expiry_interval;
                self.detached_at = Some(at);
            }
            S::Subscribed { filter, options, identifier } => {
                self.subscriptions.insert(filter.to_owned(), format!("{options:?} {identifier}"));
            }
            S::Unsubscribed { filter } => {
                self.subscriptions.remove(filter).unwrap();
                self.dues.remove(filter);
            }
            S::RetainedDue { filter, qos, identifier } => {
                self.dues.insert(filter.to_owned(), format!("{qos:?} {identifier}"));
            }
            S::RetainedSent { filter } => _ = self.dues.remove(filter),
            S::Queued(delivery) => self.queue.push(format!("{delivery:?}")),
            S::Dropped { index } => _ = self.queue.remove(index),
            S::Sent { packet_id } => {
                let message = self.queue.remove(0);
                self.window.push((packet_id.get(), Some(message)));
            }
            S::Confirmed { packet_id } => {
                let entry = self.window.iter_mut().find(|(id, _)| *id == packet_id.get());
                entry.unwrap().1 = None;
            }
            S::Done { packet_id } => {
                let at = self.window.iter().position(|(id, _)| *id == packet_id.get());
                self.window.remove(at.unwrap());
            }
            S::Received { packet_id } => _ = self.received.insert(packet_id.get()),
            S::Released { packet_id } => assert!(self.received.remove(&packet_id.get())),
            S::Will { message, delay, expiry } => self.will = Some(format!("{message:?} {delay} {expiry:?}")),
            S::WillCleared => self.will = None,
        }
    }
}
