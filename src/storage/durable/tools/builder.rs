//! A new store that is filled item by item, from whatever format.

use hashbrown::hash_map::Entry as Place;
use hashbrown::{HashMap, HashSet};

use crate::codec::packet_id::PacketId;
use crate::codec::qos::QoS;
use crate::codec::topic::{TopicFilter, TopicName};
use crate::storage::durable::decode::Entry;
use crate::storage::durable::disk::Disk;
use crate::storage::durable::state::State;
use crate::storage::durable::tools::maker::NewStore;
use crate::storage::{Change, DeliveryRecord, LoadError, MessageRecord, SessionChange, StoreError};
use crate::time::WallTime;

/// Bytes of rows that are collected before they are written.
const PORTION: usize = 8 << 20;
/// What a packet can hold.
const LARGEST_PAYLOAD: usize = 268_435_455;
/// What a string of a packet can hold.
const LONGEST_TEXT: usize = 65_535;

/// How a store is imported.
#[derive(Clone, Copy, Debug)]
pub struct ImportOptions {
    /// A random number, for the store.
    pub salt: [u8; 16],
    /// The size of each of the log's two files.
    pub log_bytes: u64,
    /// The time now, for what has none in the file.
    pub now: WallTime,
}

/// What was imported.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Imported {
    /// Retained messages.
    pub retained: u64,
    /// Sessions.
    pub sessions: u64,
    /// Messages that wait or are in flight.
    pub deliveries: u64,
    /// What the file holds and a store has no place for, such as QoS 0 messages that wait.
    pub left_out: u64,
}

/// A value that cannot be taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wrong {
    /// The field, such as `message.topic`.
    pub field: String,
    pub what: String,
}

impl Wrong {
    pub(super) fn new(field: &str, what: impl Into<String>) -> Wrong {
        Wrong { field: field.to_owned(), what: what.into() }
    }
}

/// Why an item cannot be taken.
#[derive(Debug)]
pub(super) enum Refusal {
    Wrong(Wrong),
    Store(StoreError),
}

impl From<Wrong> for Refusal {
    fn from(wrong: Wrong) -> Refusal {
        Refusal::Wrong(wrong)
    }
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Refusal {
        Refusal::Store(error)
    }
}

/// A delivery that is put into a store.
pub(super) struct NewDelivery<'d> {
    pub client_id: &'d str,
    pub record: DeliveryRecord<'d>,
    /// The number of the message, if several deliveries share it.
    pub shared: Option<usize>,
    /// If it is in flight: its Packet Identifier.
    pub packet_id: Option<PacketId>,
    /// Whether the client has confirmed it.
    pub confirmed: bool,
}

/// A store that is being filled.
pub(super) struct Builder<'d> {
    store: NewStore<'d>,
    state: State,
    topics: HashSet<Box<str>>,
    at: WallTime,
    log_bytes: u64,
    pub(super) imported: Imported,
}

impl Builder<'_> {
    /// Begins a store on a disk that has none.
    pub(super) fn begin<'d>(disk: &'d dyn Disk, options: &ImportOptions) -> Result<Builder<'d>, StoreError> {
        Ok(Builder {
            store: NewStore::begin(disk, options.salt)?,
            state: State::starting_at(1),
            topics: HashSet::new(),
            at: options.now,
            log_bytes: options.log_bytes,
            imported: Imported::default(),
        })
    }

    /// Puts a retained message.
    pub(super) fn retained(&mut self, message: &MessageRecord<'_>) -> Result<(), Refusal> {
        check_message("", message)?;
        if !self.topics.insert(message.topic.into()) {
            return Err(
                Wrong::new("topic", format!("{:?} has a retained message already", message.topic)).into()
            );
        }
        self.imported.retained += 1;
        self.apply(self.at, Change::Retained(*message), None, "topic")
    }

    /// Begins a session, with no connection that has ended.
    pub(super) fn session(
        &mut self,
        client_id: &str,
        expiry_interval: u32,
        user: Option<&str>,
    ) -> Result<(), Refusal> {
        check_text("client_id", client_id)?;
        if client_id.is_empty() {
            return Err(
                Wrong::new("client_id", "it is empty: a session has the identifier of a client").into()
            );
        }
        if let Some(user) = user {
            check_text("user", user)?;
        }
        self.imported.sessions += 1;
        self.change(client_id, SessionChange::Begun { expiry_interval, user }, "client_id")
    }

    /// Whether there is a session.
    pub(super) fn has_session(&mut self, client_id: &str) -> bool {
        self.state.sessions().contains_key(client_id)
    }

    /// Changes a session that has begun; `field` is to blame if that is not possible.
    pub(super) fn change(
        &mut self,
        client_id: &str,
        change: SessionChange<'_>,
        field: &str,
    ) -> Result<(), Refusal> {
        self.change_at(self.at, client_id, change, field)
    }

    /// Changes a session at a time.
    pub(super) fn change_at(
        &mut self,
        at: WallTime,
        client_id: &str,
        change: SessionChange<'_>,
        field: &str,
    ) -> Result<(), Refusal> {
        match &change {
            SessionChange::Subscribed { filter, .. } => {
                TopicFilter::parse(filter).map_err(|error| Wrong::new(field, error.cause()))?;
                let sessions = self.state.sessions();
                if sessions.get(client_id).is_some_and(|session| session.filters.contains(*filter)) {
                    return Err(Wrong::new(field, format!("{filter:?} is subscribed to already")).into());
                }
            }
            SessionChange::Will { message, .. } => check_message("will.message", message)?,
            _ => {}
        }
        self.apply(at, Change::Session { client_id, change }, None, field)
    }

    /// Puts a delivery at the end of a session's window or queue.
    pub(super) fn delivery(&mut self, delivery: &NewDelivery<'_>) -> Result<(), Refusal> {
        let NewDelivery { client_id, record, shared, packet_id, confirmed } = delivery;
        check_message("message", &record.message)?;
        if record.qos == QoS::AtMostOnce {
            return Err(Wrong::new("qos", "a message with QoS 0 does not wait: write 1 or 2").into());
        }
        if *confirmed && record.qos != QoS::ExactlyOnce {
            return Err(Wrong::new("state", "only a delivery with QoS 2 is confirmed").into());
        }
        if let Some(share) = record.share {
            TopicFilter::parse(share).map_err(|error| Wrong::new("share", error.cause()))?;
        }
        let Some(session) = self.state.sessions().get(*client_id) else {
            let what = format!("there is no session of {client_id:?} in a line before");
            return Err(Wrong::new("client_id", what).into());
        };
        if packet_id.is_some() && !session.queue.is_empty() {
            let what = "deliveries in flight stand before those that are queued";
            return Err(Wrong::new("state", what).into());
        }
        self.imported.deliveries += 1;
        let queued = Change::Session { client_id, change: SessionChange::Queued(*record) };
        self.apply(self.at, queued, *shared, "client_id")?;
        if let Some(packet_id) = *packet_id {
            self.change(client_id, SessionChange::Sent { packet_id }, "packet_id")?;
            if *confirmed {
                self.change(client_id, SessionChange::Confirmed { packet_id }, "packet_id")?;
            }
        }
        Ok(())
    }

    fn apply(
        &mut self,
        at: WallTime,
        change: Change<'_>,
        shared: Option<usize>,
        field: &str,
    ) -> Result<(), Refusal> {
        let refused = |error: LoadError| Wrong::new(field, error.to_string());
        self.state.apply(&Entry { at, change, shared }).map_err(refused)?;
        if self.state.overlay.bytes() > PORTION {
            self.write()?;
        }
        Ok(())
    }

    fn write(&mut self) -> Result<(), StoreError> {
        self.store.put(&std::mem::take(&mut self.state.overlay).into_sorted())
    }

    /// The store is there.
    pub(super) fn finish(mut self) -> Result<Imported, StoreError> {
        self.write()?;
        self.store.finish(self.state.next(), self.log_bytes)?;
        Ok(self.imported)
    }
}

/// Messages that several deliveries name, by their numbers in the file. The first delivery takes the content.
pub(super) struct SharedMessages<M>(HashMap<u64, (usize, Option<M>)>);

impl<M> SharedMessages<M> {
    pub(super) fn new() -> SharedMessages<M> {
        SharedMessages(HashMap::new())
    }

    /// Keeps a message; false if the number is taken.
    pub(super) fn put(&mut self, number: u64, message: M) -> bool {
        let place = self.0.len();
        match self.0.entry(number) {
            Place::Occupied(_) => false,
            Place::Vacant(free) => {
                free.insert((place, Some(message)));
                true
            }
        }
    }

    /// The number that the builder knows the message by; and the message, the first time.
    pub(super) fn take(&mut self, number: u64) -> Option<(usize, Option<M>)> {
        let (place, message) = self.0.get_mut(&number)?;
        Some((*place, message.take()))
    }
}

/// What stands for the content of a shared message that the store has.
pub(super) const IN_STORE: MessageRecord<'static> = MessageRecord {
    topic: "shared",
    properties: &[],
    payload: &[],
    qos: QoS::AtLeastOnce,
    retain: false,
    received_at: WallTime::from_millis(0),
    expires_at: WallTime::NEVER,
};

/// What stands for the content of a message that the client has confirmed.
pub(super) const CONFIRMED: MessageRecord<'static> =
    MessageRecord { topic: "confirmed", qos: QoS::ExactlyOnce, ..IN_STORE };

/// The error of a message that no packet could carry.
fn check_message(path: &str, message: &MessageRecord<'_>) -> Result<(), Wrong> {
    let field = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
    TopicName::parse(message.topic).map_err(|error| Wrong::new(&field("topic"), error.cause()))?;
    let len = message.payload.len() + message.properties.len();
    if len > LARGEST_PAYLOAD {
        let what = format!("{len} bytes, and a packet holds {LARGEST_PAYLOAD}");
        return Err(Wrong::new(&field("payload"), what));
    }
    Ok(())
}

/// The error of a text that no packet could carry.
pub(super) fn check_text(field: &str, text: &str) -> Result<(), Wrong> {
    if text.len() > LONGEST_TEXT {
        return Err(Wrong::new(
            field,
            format!("{} bytes, and a text has at most {LONGEST_TEXT}", text.len()),
        ));
    }
    match text.contains('\0') {
        true => Err(Wrong::new(field, "it holds U+0000")),
        false => Ok(()),
    }
}
