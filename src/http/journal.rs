//! Recent events: clients that connected, disconnected, subscribed or were refused, and dropped messages. Both are
//! bounded rings; dropped messages are recorded at a bounded rate.

use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use serde::Serialize;

use crate::codec::version::Version;
use crate::engine::observe::mask::EventMask;
use crate::engine::observe::sink::EventSink;
use crate::http::console::Console;
use crate::http::shorten::shortened;
use crate::locks::Mutex;
use crate::session::event::{Arrival, Dropped, Event, RefusedClient};
use crate::session::link::Cause;
use crate::stats::DropReason;
use crate::time::Time;

/// Dropped messages that are recorded between two calls of [`ConsoleJournal::refill`].
const DROPS: u32 = 100;
/// Entries that are copied under one hold of the lock.
const STEP: usize = 100;
/// The maximum size of a client identifier in an entry, in bytes.
const CLIENT_ID_BYTES: usize = 128;
/// The maximum size of a topic or filter in an entry, in bytes.
const TOPIC_BYTES: usize = 256;
/// The maximum size of an entry's text, in bytes.
const TEXT_BYTES: usize = 320;

/// The journal of one broker.
pub struct ConsoleJournal {
    events: Mutex<Ring<JournalEntry>>,
    drops: Mutex<Ring<DroppedMessage>>,
    /// Dropped messages that can still be recorded before the next refill.
    room: AtomicU32,
}

/// An event of a client.
#[derive(Clone)]
pub(super) struct JournalEntry {
    at: Time,
    kind: &'static str,
    client_id: Option<ClientLabel>,
    text: Arc<str>,
}

/// A client identifier in an entry.
#[derive(Clone)]
struct ClientLabel {
    /// The identifier, shortened.
    shown: Arc<str>,
    /// The hash of the whole identifier, which tells long ones with the same beginning apart.
    hash: u64,
}

impl ClientLabel {
    fn of(client_id: &str) -> ClientLabel {
        let mut hasher = DefaultHasher::new();
        client_id.hash(&mut hasher);
        ClientLabel { shown: shortened(client_id, CLIENT_ID_BYTES).into(), hash: hasher.finish() }
    }

    fn is_same(&self, other: &ClientLabel) -> bool {
        self.hash == other.hash && self.shown == other.shown
    }
}

/// A dropped message.
#[derive(Clone)]
pub(super) struct DroppedMessage {
    pub at: Time,
    pub reason: DropReason,
    pub client_id: Option<Box<str>>,
    pub topic: Box<str>,
}

/// The last entries, numbered from 0 since the start.
struct Ring<T> {
    entries: VecDeque<T>,
    /// The number of the oldest entry.
    first: u64,
    most: usize,
}

/// The JSON of an event.
#[derive(Serialize)]
pub(super) struct EventView {
    time: u64,
    kind: &'static str,
    client_id: Option<Arc<str>>,
    text: Arc<str>,
}

impl ConsoleJournal {
    /// A journal that keeps `most` events and as many dropped messages.
    pub fn new(most: usize) -> Arc<ConsoleJournal> {
        let log = ConsoleJournal {
            events: Mutex::new(Ring::new(most)),
            drops: Mutex::new(Ring::new(most)),
            room: AtomicU32::new(DROPS),
        };
        Arc::new(log)
    }

    /// Allows further dropped messages to be recorded.
    pub fn refill(&self) {
        self.room.store(DROPS, Ordering::Relaxed);
    }

    /// The number of the oldest of the last `most` events.
    pub(super) fn last(&self, most: usize) -> u64 {
        let events = self.events.lock();
        events.first + events.entries.len().saturating_sub(most) as u64
    }

    /// Events from number `from` on, at most [`STEP`]; the number after them, and the number of events already lost.
    pub(super) fn events_from(&self, from: u64) -> (Vec<JournalEntry>, u64, u64) {
        self.events.lock().part(from)
    }

    /// The last `most` events of one client, the oldest first.
    pub(super) fn events_of(&self, client_id: &str, most: usize) -> Vec<JournalEntry> {
        let wanted = ClientLabel::of(client_id);
        let of_client =
            |event: &JournalEntry| event.client_id.as_ref().is_some_and(|label| label.is_same(&wanted));
        let mut found = VecDeque::new();
        let mut from = 0;
        loop {
            let (part, next, _) = self.events.lock().part(from);
            if part.is_empty() {
                return found.into();
            }
            from = next;
            for event in part.into_iter().filter(of_client) {
                if found.len() >= most {
                    found.pop_front();
                }
                found.push_back(event);
            }
        }
    }

    /// The last `most` dropped messages, the newest first.
    pub(super) fn drops(&self, most: usize) -> Vec<DroppedMessage> {
        let mut found = Vec::new();
        let mut from = {
            let drops = self.drops.lock();
            (drops.first + drops.entries.len() as u64).saturating_sub(most as u64)
        };
        loop {
            let (part, next, _) = self.drops.lock().part(from);
            if part.is_empty() || found.len() >= most {
                found.reverse();
                return found;
            }
            found.extend(part);
            from = next;
        }
    }

    fn add(&self, at: Time, kind: &'static str, client_id: Option<&str>, text: String) {
        let (client_id, text) = (client_id.map(ClientLabel::of), shortened(&text, TEXT_BYTES).into());
        let event = JournalEntry { at, kind, client_id, text };
        self.events.lock().push(event);
    }
}

impl JournalEntry {
    /// The JSON of the entry.
    pub(super) fn show(&self, console: &Console) -> EventView {
        EventView {
            time: console.unix(self.at),
            kind: self.kind,
            client_id: self.client_id.as_ref().map(|label| Arc::clone(&label.shown)),
            text: Arc::clone(&self.text),
        }
    }
}

/// What is taken down whenever it happens.
const ALWAYS: EventMask = EventMask::CONNECTED
    .and(EventMask::DISCONNECTED)
    .and(EventMask::REFUSED)
    .and(EventMask::SUBSCRIBED)
    .and(EventMask::UNSUBSCRIBED);

impl EventSink for ConsoleJournal {
    /// Dropped messages only while there is room: many of them would cost too much.
    fn mask(&self) -> EventMask {
        match self.room.load(Ordering::Relaxed) {
            0 => ALWAYS,
            _ => ALWAYS | EventMask::DROPPED,
        }
    }

    fn event(&self, now: Time, event: &Event) {
        match event {
            Event::Connected(arrival) => {
                self.add(now, "connected", Some(&arrival.client_id), arrived(arrival));
            }
            Event::Disconnected(gone) => {
                self.add(now, "disconnected", Some(&gone.client_id), ended(gone.cause, &gone.why));
            }
            Event::Subscribed(subscribed) => {
                let filter = shortened(&subscribed.filter, TOPIC_BYTES);
                let qos = subscribed.options.qos.as_u8();
                let text = format!("Subscribed to {filter} with maximum QoS {qos}.");
                self.add(now, "subscribed", Some(&subscribed.client_id), text);
            }
            Event::Unsubscribed(gone) => {
                let text = format!("Unsubscribed from {}.", shortened(&gone.filter, TOPIC_BYTES));
                self.add(now, "unsubscribed", Some(&gone.client_id), text);
            }
            Event::Dropped(dropped) => {
                let room = self.room.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1));
                if room.is_ok() {
                    let Dropped { client_id, topic, reason } = dropped;
                    let shown = |client_id: &str| shortened(client_id, CLIENT_ID_BYTES).into();
                    let client_id = client_id.as_deref().map(shown);
                    let topic = shortened(topic, TOPIC_BYTES).into();
                    let dropped = DroppedMessage { at: now, reason: *reason, client_id, topic };
                    self.drops.lock().push(dropped);
                }
            }
            Event::Refused(refused) => {
                let client_id = refused.client_id.as_deref().filter(|id| !id.is_empty());
                self.add(now, "refused", client_id, turned_away(refused));
            }
            Event::Delivered(_) | Event::Logged(_) => {}
        }
    }
}

impl<T: Clone> Ring<T> {
    fn new(most: usize) -> Ring<T> {
        Ring { entries: VecDeque::new(), first: 0, most }
    }

    fn push(&mut self, entry: T) {
        if self.entries.len() >= self.most {
            self.entries.pop_front();
            self.first += 1;
        }
        self.entries.push_back(entry);
    }

    /// Entries from number `from` on, the number after them, and the number of entries already lost.
    fn part(&self, from: u64) -> (Vec<T>, u64, u64) {
        let begin = from.max(self.first);
        let skip = usize::try_from(begin - self.first).unwrap_or(usize::MAX);
        let part: Vec<T> = self.entries.iter().skip(skip).take(STEP).cloned().collect();
        let next = begin + part.len() as u64;
        (part, next, begin - from)
    }
}

fn arrived(arrival: &Arrival) -> String {
    let version = match arrival.version {
        Version::V31 => "3.1",
        Version::V311 => "3.1.1",
        Version::V5 => "5.0",
    };
    let from = arrival.address.map(|address| format!(" from {address}")).unwrap_or_default();
    let session = match (arrival.session_present, arrival.clean_start) {
        (true, _) => "session resumed",
        (false, true) => "new session (clean start)",
        (false, false) => "new session",
    };
    format!("Connected{from} with MQTT {version}, {session}.")
}

fn turned_away(refused: &RefusedClient) -> String {
    let from = refused.address.map(|address| format!(" from {address}")).unwrap_or_default();
    let code = refused.reason.as_u8();
    format!("A connection{from} was refused: {} (0x{code:02X}).", refused.why)
}

fn ended(cause: Cause, why: &str) -> String {
    let cause = match cause {
        Cause::Disconnected => "The client disconnected normally.".to_owned(),
        Cause::ConnectionLost => "The connection was lost without a DISCONNECT.".to_owned(),
        Cause::Refused(reason) => {
            format!("The broker closed the connection with reason 0x{:02X}.", reason.as_u8())
        }
        Cause::KeepAliveTimeout => "Keep-alive timeout.".to_owned(),
        Cause::ConnectTimeout => "CONNECT did not arrive in time (mqtt.connect_timeout).".to_owned(),
        Cause::SessionTakenOver => "The client connected again on another connection.".to_owned(),
        Cause::Kicked => "An administrator or the host program disconnected the client.".to_owned(),
        Cause::ServerShuttingDown => "The broker is stopping.".to_owned(),
    };
    match why {
        "" => cause,
        why => format!("{cause} Details: {why}."),
    }
}

#[cfg(test)]
mod tests {
    use super::{ConsoleJournal, DROPS};
    use crate::engine::observe::mask::EventMask;
    use crate::engine::observe::sink::EventSink;
    use crate::session::event::{Departure, Dropped, Event};
    use crate::session::link::Cause;
    use crate::stats::DropReason;
    use crate::time::Time;

    fn gone(client_id: &str) -> Event {
        let (cause, why) = (Cause::Disconnected, "".into());
        Event::Disconnected(Departure { client_id: client_id.into(), connection: 1, cause, why })
    }

    #[test]
    fn the_last_events_are_kept() {
        let log = ConsoleJournal::new(150);
        for number in 0..200u64 {
            log.event(Time::from_millis(number), &gone(if number % 2 == 0 { "a" } else { "b" }));
        }
        assert_eq!((log.last(0), log.last(20), log.last(151)), (200, 180, 50));
        let (part, next, gone) = log.events_from(10);
        assert_eq!((part.len(), next, gone), (100, 150, 40));
        let (part, next, gone) = log.events_from(next);
        assert_eq!((part.len(), next, gone), (50, 200, 0));
        assert!(log.events_from(next).0.is_empty());
        let of_a = log.events_of("a", 3);
        let times: Vec<_> = of_a.iter().map(|event| event.at.as_millis()).collect();
        assert_eq!(times, [194, 196, 198]);
        assert_eq!(log.events_of("nobody", 3).len(), 0);
    }

    #[test]
    fn a_long_identifier_is_cut_and_still_found_whole() {
        let log = ConsoleJournal::new(100);
        let (one, other) = ("i".repeat(60_000), "i".repeat(60_001));
        log.event(Time::from_millis(1), &gone(&one));
        log.event(Time::from_millis(2), &gone(&other));
        let found = log.events_of(&other, 9);
        assert_eq!(found.iter().map(|event| event.at.as_millis()).collect::<Vec<_>>(), [2]);
        let shown = format!("{}\u{2026}", "i".repeat(super::CLIENT_ID_BYTES - 3));
        assert_eq!(&*found[0].client_id.as_ref().unwrap().shown, shown);
    }

    #[test]
    fn drops_are_taken_down_at_a_bounded_rate() {
        let log = ConsoleJournal::new(1000);
        let reason = DropReason::NoSubscriber;
        let dropped = |topic: &str| Event::Dropped(Dropped { client_id: None, topic: topic.into(), reason });
        for number in 0..2 * DROPS {
            log.event(Time::ZERO, &dropped(&number.to_string()));
        }
        assert!(!log.mask().wants(EventMask::DROPPED));
        log.refill();
        assert!(log.mask().wants(EventMask::DROPPED));
        log.event(Time::ZERO, &dropped("last"));
        let drops = log.drops(2);
        let topics: Vec<_> = drops.iter().map(|drop| &*drop.topic).collect();
        assert_eq!(topics, ["last", &(DROPS - 1).to_string()]);
        assert_eq!(log.drops(1000).len() as u32, DROPS + 1);
    }
}
