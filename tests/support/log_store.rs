//! A store in memory that keeps every change, commits when it is told, and can lose what is not committed.
#![allow(dead_code, reason = "each test needs something else")]

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};

use midge::codec::qos::QoS;
use midge::codec::subscribe::SubscriptionOptions;
use midge::storage::{
    Change, DeliveryRecord, LoadError, MessageRecord, Position, ReadRequest, SessionChange, Store,
    StoreError, StoredDelivery, WaitingMemory,
};
use midge::time::WallTime;

/// A list of changes, of which the first are committed.
pub struct LogStore {
    /// Whether commits are the test's to make; otherwise everything is committed at once.
    late: bool,
    /// The name of a change that is not recorded, or of another fault.
    fault: Option<&'static str>,
    log: Mutex<Log>,
    changed: Condvar,
    /// How many bytes of waiting messages queues may hold; without it they are all in memory.
    memory: Option<Arc<WaitingMemory>>,
    /// Messages that sessions need back.
    requests: Mutex<VecDeque<ReadRequest>>,
    /// Whether nothing can be read.
    unreadable: AtomicBool,
}

#[derive(Default)]
struct Log {
    changes: Vec<(WallTime, Owned)>,
    committed: Position,
    /// Groups that are open.
    open: usize,
    /// Positions at which no group was open.
    boundaries: Vec<Position>,
    /// Whether a group must wait before it begins.
    cutting: bool,
    failed: Option<StoreError>,
    is_full: bool,
}

/// A change that borrows nothing.
enum Owned {
    Plain(String, SessionChange<'static>),
    /// Begun, or with true attached.
    Begun(String, bool, u32, Option<String>),
    Subscribed(String, String, SubscriptionOptions, u32),
    Unsubscribed(String, String),
    RetainedDue(String, String, QoS, u32),
    RetainedSent(String, String),
    Queued(String, OwnedMessage, QoS, bool, Vec<u32>, Option<String>),
    Will(String, OwnedMessage, u32, Option<u32>),
    Retained(OwnedMessage),
    Cleared(String),
}

struct OwnedMessage {
    topic: String,
    properties: Vec<u8>,
    payload: Vec<u8>,
    qos: QoS,
    retain: bool,
    received_at: WallTime,
    expires_at: WallTime,
}

impl OwnedMessage {
    fn of(message: &MessageRecord<'_>) -> OwnedMessage {
        OwnedMessage {
            topic: message.topic.to_owned(),
            properties: message.properties.to_owned(),
            payload: message.payload.to_owned(),
            qos: message.qos,
            retain: message.retain,
            received_at: message.received_at,
            expires_at: message.expires_at,
        }
    }

    fn record(&self) -> MessageRecord<'_> {
        MessageRecord {
            topic: &self.topic,
            properties: &self.properties,
            payload: &self.payload,
            qos: self.qos,
            retain: self.retain,
            received_at: self.received_at,
            expires_at: self.expires_at,
        }
    }
}

impl Owned {
    fn of(change: &Change<'_>) -> Owned {
        use SessionChange as S;
        let (client, change) = match change {
            Change::Retained(message) => return Owned::Retained(OwnedMessage::of(message)),
            Change::Cleared { topic } => return Owned::Cleared((*topic).to_owned()),
            Change::Session { client_id, change } => ((*client_id).to_owned(), *change),
        };
        let plain = match change {
            S::Subscribed { filter, options, identifier } => {
                return Owned::Subscribed(client, filter.to_owned(), options, identifier);
            }
            S::Unsubscribed { filter } => return Owned::Unsubscribed(client, filter.to_owned()),
            S::RetainedDue { filter, qos, identifier } => {
                return Owned::RetainedDue(client, filter.to_owned(), qos, identifier);
            }
            S::RetainedSent { filter } => return Owned::RetainedSent(client, filter.to_owned()),
            S::Queued(DeliveryRecord { message, qos, retain, identifiers, share }) => {
                let (message, share) = (OwnedMessage::of(&message), share.map(str::to_owned));
                return Owned::Queued(client, message, qos, retain, identifiers.to_owned(), share);
            }
            S::Will { message, delay, expiry } => {
                return Owned::Will(client, OwnedMessage::of(&message), delay, expiry);
            }
            S::Begun { expiry_interval, user } => {
                return Owned::Begun(client, false, expiry_interval, user.map(str::to_owned));
            }
            S::Attached { expiry_interval, user } => {
                return Owned::Begun(client, true, expiry_interval, user.map(str::to_owned));
            }
            S::Detached { expiry_interval } => S::Detached { expiry_interval },
            S::Ended => S::Ended,
            S::Dropped { index } => S::Dropped { index },
            S::Sent { packet_id } => S::Sent { packet_id },
            S::Confirmed { packet_id } => S::Confirmed { packet_id },
            S::Done { packet_id } => S::Done { packet_id },
            S::Received { packet_id } => S::Received { packet_id },
            S::Released { packet_id } => S::Released { packet_id },
            S::WillCleared => S::WillCleared,
        };
        Owned::Plain(client, plain)
    }

    fn change(&self) -> Change<'_> {
        let (client_id, change) = match self {
            Owned::Retained(message) => return Change::Retained(message.record()),
            Owned::Cleared(topic) => return Change::Cleared { topic },
            Owned::Plain(client, change) => (client, *change),
            Owned::Begun(client, false, expiry_interval, user) => {
                let (expiry_interval, user) = (*expiry_interval, user.as_deref());
                (client, SessionChange::Begun { expiry_interval, user })
            }
            Owned::Begun(client, true, expiry_interval, user) => {
                let (expiry_interval, user) = (*expiry_interval, user.as_deref());
                (client, SessionChange::Attached { expiry_interval, user })
            }
            Owned::Subscribed(client, filter, options, identifier) => {
                (client, SessionChange::Subscribed { filter, options: *options, identifier: *identifier })
            }
            Owned::Unsubscribed(client, filter) => (client, SessionChange::Unsubscribed { filter }),
            Owned::RetainedDue(client, filter, qos, identifier) => {
                (client, SessionChange::RetainedDue { filter, qos: *qos, identifier: *identifier })
            }
            Owned::RetainedSent(client, filter) => (client, SessionChange::RetainedSent { filter }),
            Owned::Queued(client, message, qos, retain, identifiers, share) => {
                let (qos, retain, share) = (*qos, *retain, share.as_deref());
                let record = DeliveryRecord { message: message.record(), qos, retain, identifiers, share };
                (client, SessionChange::Queued(record))
            }
            Owned::Will(client, message, delay, expiry) => {
                let message = message.record();
                (client, SessionChange::Will { message, delay: *delay, expiry: *expiry })
            }
        };
        Change::Session { client_id, change }
    }
}

/// The name of a change.
pub fn name(change: &Change<'_>) -> &'static str {
    match change {
        Change::Session { change, .. } => change.name(),
        Change::Retained(_) => "retained",
        Change::Cleared { .. } => "cleared",
    }
}

/// A change in a line: the session, the name, and what tells it from its likes.
pub fn line(change: &Change<'_>) -> String {
    use SessionChange as S;
    let (client_id, change) = match change {
        Change::Retained(message) => return format!("retained {}", message.topic),
        Change::Cleared { topic } => return format!("cleared {topic}"),
        Change::Session { client_id, change } => (client_id, change),
    };
    let name = change.name();
    match change {
        S::Begun { expiry_interval, .. }
        | S::Attached { expiry_interval, .. }
        | S::Detached { expiry_interval } => {
            format!("{client_id} {name} {expiry_interval}")
        }
        S::Ended | S::WillCleared => format!("{client_id} {name}"),
        S::Subscribed { filter, .. }
        | S::Unsubscribed { filter }
        | S::RetainedDue { filter, .. }
        | S::RetainedSent { filter } => format!("{client_id} {name} {filter}"),
        S::Queued(delivery) => format!("{client_id} {name} {}", delivery.message.topic),
        S::Will { message, delay, .. } => format!("{client_id} {name} {} {delay}", message.topic),
        S::Dropped { index } => format!("{client_id} {name} {index}"),
        S::Sent { packet_id }
        | S::Confirmed { packet_id }
        | S::Done { packet_id }
        | S::Received { packet_id }
        | S::Released { packet_id } => format!("{client_id} {name} {packet_id}"),
    }
}

impl LogStore {
    /// An empty store that commits at once, or when it is told.
    pub fn new(late: bool) -> LogStore {
        let (log, changed) = (Mutex::default(), Condvar::new());
        LogStore {
            late,
            fault: None,
            log,
            changed,
            memory: None,
            requests: Mutex::default(),
            unreadable: AtomicBool::new(false),
        }
    }

    /// The same store; queues hold at most so many bytes of waiting messages.
    pub fn with_memory(self, bytes: Option<usize>) -> LogStore {
        LogStore { memory: bytes.map(|bytes| Arc::new(WaitingMemory::new(bytes))), ..self }
    }

    /// Nothing can be read, or all again.
    pub fn set_unreadable(&self, unreadable: bool) {
        self.unreadable.store(unreadable, Ordering::Relaxed);
    }

    /// Takes a request whose messages are committed.
    pub fn take_request(&self) -> Option<ReadRequest> {
        let committed = self.committed();
        let mut requests = self.requests.lock().unwrap();
        let place = requests.iter().position(|it| it.numbers.iter().all(|number| *number <= committed))?;
        requests.remove(place)
    }

    /// The same store with a fault: the name of a change that is not recorded; or `"swapped"`: each message joins the
    /// queue before the one that came before it; or `"ungrouped"`: groups are not committed together.
    pub fn with_fault(self, fault: Option<&'static str>) -> LogStore {
        LogStore { fault, ..self }
    }

    /// A store with the first `position` changes of this one, all committed: what is there after a crash.
    pub fn after_crash(&self, position: Position) -> LogStore {
        let mut log = self.lock();
        let changes: Vec<_> = log.changes.drain(..).take(position as usize).collect();
        let boundaries = log.boundaries.iter().copied().filter(|at| *at <= position).collect();
        let committed = changes.len() as Position;
        let log = Log { changes, committed, boundaries, ..Log::default() };
        LogStore { log: Mutex::new(log), ..LogStore::new(self.late).with_fault(self.fault) }
    }

    /// Commits changes up to `position`, or to the last place before at which no group is open; returns that.
    pub fn commit_to(&self, position: Position) -> Position {
        let mut log = self.lock();
        let to = log.boundaries.partition_point(|at| *at <= position);
        let at = to.checked_sub(1).map_or(0, |last| log.boundaries[last]);
        log.committed = log.committed.max(at);
        log.committed
    }

    /// Waits until no group is open, and commits everything; returns the position.
    pub fn cut(&self) -> Position {
        let mut log = self.lock();
        log.cutting = true;
        while log.open > 0 {
            log = self.changed.wait(log).unwrap();
        }
        log.cutting = false;
        log.committed = log.changes.len() as Position;
        self.changed.notify_all();
        log.committed
    }

    /// Whether too much waits for a commit.
    pub fn fill(&self, is_full: bool) {
        self.lock().is_full = is_full;
    }

    /// Nothing is committed any more.
    pub fn fail(&self, cause: &str) {
        self.lock().failed = Some(StoreError::Failed { cause: cause.to_owned() });
    }

    /// The changes from the place `first` on, each as a line.
    pub fn lines_from(&self, first: usize) -> Vec<String> {
        self.lock().changes[first..].iter().map(|(_, owned)| line(&owned.change())).collect()
    }

    /// Every change as a line, those of one group by their sessions: the subscribers of a message are in the order of
    /// their addresses.
    pub fn lines_by_group(&self) -> Vec<String> {
        let mut lines = self.lines_from(0);
        let (boundaries, mut from) = (self.lock().boundaries.clone(), 0);
        for to in boundaries.into_iter().map(|at| at as usize) {
            lines[from..to].sort_by_key(|line| line.split(' ').next().map(str::to_owned));
            from = to;
        }
        lines
    }

    /// Gives the first `position` changes to `see`.
    pub fn for_each_before(&self, position: Position, see: &mut dyn FnMut(WallTime, Change<'_>)) {
        let log = self.lock();
        log.changes.iter().take(position as usize).for_each(|(at, owned)| see(*at, owned.change()));
    }

    /// Gives every change to `see`, committed or not.
    pub fn for_each(&self, mut see: impl FnMut(WallTime, Change<'_>)) {
        self.lock().changes.iter().for_each(|(at, owned)| see(*at, owned.change()));
    }

    /// The position of the last change behind `from` for which `belongs` is true.
    pub fn last_where(&self, from: Position, belongs: impl Fn(&Change<'_>) -> bool) -> Option<Position> {
        let log = self.lock();
        let place = log.changes[from as usize..].iter().rposition(|(_, owned)| belongs(&owned.change()))?;
        Some(from + place as Position + 1)
    }

    fn lock(&self) -> MutexGuard<'_, Log> {
        self.log.lock().unwrap()
    }
}

impl Store for LogStore {
    fn is_kept(&self) -> bool {
        true
    }

    fn load(
        &self,
        restore: &mut dyn FnMut(WallTime, Change<'_>) -> Result<(), LoadError>,
    ) -> Result<(), StoreError> {
        let committed = self.committed() as usize;
        for (at, owned) in self.lock().changes.iter().take(committed) {
            restore(*at, owned.change())?;
        }
        Ok(())
    }

    fn append(&self, at: WallTime, change: Change<'_>) -> Position {
        let mut log = self.lock();
        if self.fault != Some(name(&change)) {
            log.changes.push((at, Owned::of(&change)));
            let last = log.changes.len() - 1;
            let both = last > 0 && name(&log.changes[last - 1].1.change()) == "queued";
            if self.fault == Some("swapped") && name(&change) == "queued" && both {
                log.changes.swap(last - 1, last);
            }
        }
        let position = log.changes.len() as Position;
        if log.open == 0 {
            log.boundaries.push(position);
        }
        position
    }

    fn appended(&self) -> Position {
        self.lock().changes.len() as Position
    }

    fn committed(&self) -> Position {
        let log = self.lock();
        if self.late { log.committed } else { log.changes.len() as Position }
    }

    fn begin_group(&self) {
        if self.fault == Some("ungrouped") {
            return;
        }
        let mut log = self.lock();
        while log.cutting {
            log = self.changed.wait(log).unwrap();
        }
        log.open += 1;
    }

    fn end_group(&self) {
        if self.fault == Some("ungrouped") {
            return;
        }
        let mut log = self.lock();
        log.open -= 1;
        if log.open == 0 {
            let position = log.changes.len() as Position;
            log.boundaries.push(position);
        }
        self.changed.notify_all();
    }

    fn is_full(&self) -> bool {
        let log = self.lock();
        log.is_full || log.failed.is_some()
    }

    fn failed(&self) -> Option<StoreError> {
        self.lock().failed.clone()
    }

    fn waiting_memory(&self) -> Option<&Arc<WaitingMemory>> {
        self.memory.as_ref()
    }

    fn request(&self, request: ReadRequest) {
        self.requests.lock().unwrap().push_back(request);
    }

    fn read(
        &self,
        client_id: &str,
        numbers: &[u64],
        see: &mut dyn FnMut(StoredDelivery<'_>),
    ) -> Result<(), StoreError> {
        if self.unreadable.load(Ordering::Relaxed) {
            return Err(StoreError::Failed { cause: "midge.redb: no".to_owned() });
        }
        let (committed, log) = (self.committed(), self.lock());
        // What a session had is gone when it has ended.
        let ends = |owned: &Owned| matches!(owned, Owned::Plain(of, SessionChange::Ended) if of == client_id);
        let ended = log.changes.iter().rposition(|(_, owned)| ends(owned)).map_or(0, |at| at as u64 + 1);
        for number in numbers.iter().copied().filter(|number| (ended..=committed).contains(number)) {
            let change = log.changes[number as usize - 1].1.change();
            if let Change::Session { client_id: of, change: SessionChange::Queued(record) } = change {
                assert_eq!(of, client_id, "the queue that {number} is in");
                see(StoredDelivery { number, message: number, record });
            }
        }
        Ok(())
    }
}
