//! The reference: what a broker owes to whom, from the packets that the engine was given.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use midge::codec::connect::Connect;
use midge::codec::qos::QoS;
use midge::codec::subscribe::{RetainHandling, Subscribe, SubscriptionOptions};
use midge::codec::unsubscribe::Unsubscribe;
use midge::codec::version::Version;

use crate::letter::{Letter, matches, number_of};
use crate::owed::{Entry, Owed};
use crate::walks::{History, Walk};

/// The wheel of the engine rounds deadlines up to so many milliseconds.
pub const TICK: u64 = 32;
const NEVER: u64 = u64::MAX;

/// One session, by the specification.
#[derive(Clone)]
pub struct Session {
    pub generation: u64,
    /// The connection that has it.
    pub conn: Option<usize>,
    pub expiry: u32,
    will: Option<(Letter, u32)>,
    will_at: u64,
    ends_at: u64,
    subscriptions: Vec<Subscription>,
    /// QoS 2 identifiers that were received and not released.
    received: BTreeSet<u16>,
    /// QoS 1 and 2 messages that the client has not yet seen.
    pub owed: Owed,
    /// QoS 0 messages likewise.
    pub casual: Owed,
    /// The retained messages of its subscriptions.
    pub walks: Vec<Walk>,
    /// Identifiers that the client has acknowledged, and on which connection.
    pub acknowledged: HashMap<u16, usize>,
}

#[derive(Clone)]
struct Subscription {
    filter: String,
    options: SubscriptionOptions,
    identifier: u32,
}

/// A message that one member of each of some shared subscriptions is to get.
#[derive(Clone, Default)]
pub struct Obligation {
    /// The members that may get it, with the generations of their sessions.
    pub candidates: Vec<(usize, u64)>,
    /// Shared subscriptions, and messages that arrived by them.
    pub groups: u32,
    pub claims: u32,
    /// Messages that have arrived, and were one of these or a retained message that is just like it.
    pub doubted: u32,
    /// The message by its groups, and how often a session that ended may have left it to another member.
    letters: Vec<(String, Letter)>,
    pub handed_on: u32,
    /// Whether it may be lost.
    pub frail: bool,
}

/// What the packets so far amount to.
#[derive(Clone, Default)]
pub struct Model {
    pub sessions: BTreeMap<usize, Session>,
    /// Sessions that have ended last: their clients may not know yet.
    pub ghosts: BTreeMap<usize, Session>,
    pub retained: BTreeMap<String, Letter>,
    pub history: History,
    /// Messages since the host program has looked.
    pub log: Vec<(u64, String, u8)>,
    pub accepted: HashSet<u64>,
    /// By the number of the message; a publication that was repeated is several.
    pub obligations: BTreeMap<u64, Obligation>,
    pub wills: u64,
    pub expired: u64,
    /// Whether the settings let queues overflow: then nothing has to arrive.
    pub lossy: bool,
    pub max_expiry: u32,
    pub now: u64,
    pub batch: u64,
    /// In a tick of the engine many things happen in an order that is left open.
    ticking: bool,
    pub generations: u64,
}

fn level(qos: QoS) -> u8 {
    qos.as_u8()
}

fn due(now: u64, seconds: u32) -> u64 {
    (now + u64::from(seconds) * 1000).next_multiple_of(TICK)
}

impl Model {
    pub fn new(lossy: bool, max_expiry: u32) -> Model {
        Model { lossy, max_expiry, ..Model::default() }
    }

    fn next_batch(&mut self) -> u64 {
        self.batch += u64::from(!self.ticking);
        self.batch
    }

    /// Session Present.
    pub fn connect(&mut self, client: usize, conn: usize, packet: &Connect<'_>) -> bool {
        if self.sessions.get(&client).is_some_and(|s| s.conn.is_some()) {
            self.detach(client, true);
        }
        if packet.clean_start {
            self.end(client);
        }
        let present = self.sessions.contains_key(&client);
        self.generations += 1;
        let generation = self.generations;
        let wanted = match packet.version {
            Version::V5 => packet.properties.session_expiry_interval().unwrap_or(0),
            _ if packet.clean_start => 0,
            _ => u32::MAX,
        };
        let session = self.sessions.entry(client).or_insert_with(|| Session {
            generation,
            conn: None,
            expiry: 0,
            will: None,
            will_at: NEVER,
            ends_at: NEVER,
            subscriptions: Vec::new(),
            received: BTreeSet::new(),
            owed: Owed::default(),
            casual: Owed::default(),
            walks: Vec::new(),
            acknowledged: HashMap::new(),
        });
        session.conn = Some(conn);
        session.expiry = wanted.min(self.max_expiry);
        (session.will_at, session.ends_at) = (NEVER, NEVER);
        session.will = packet.will.as_ref().map(|will| {
            let letter = Letter {
                number: number_of(will.payload),
                topic: will.topic.as_str().to_owned(),
                qos: level(will.qos),
                retain: will.retain,
                expires: NEVER,
            };
            (letter, will.properties.will_delay_interval().unwrap_or(0))
        });
        present
    }

    /// The connection of a session has ended, with its will or without.
    pub fn detach(&mut self, client: usize, with_will: bool) {
        let now = self.now;
        let Some(session) = self.sessions.get_mut(&client) else {
            return;
        };
        session.conn = None;
        if !with_will {
            session.will = None;
        }
        if session.expiry == 0 {
            return self.end(client);
        }
        let delay = session.will.as_ref().map(|will| will.1);
        if delay.is_some_and(|delay| delay > 0 && delay < session.expiry) {
            session.will_at = due(now, delay.unwrap_or(0));
        }
        if session.expiry != u32::MAX {
            session.ends_at = due(now, session.expiry);
        }
        if delay == Some(0) {
            self.publish_will(client);
        }
    }

    /// The session of this client ends.
    pub fn end(&mut self, client: usize) {
        self.publish_will(client);
        if let Some(session) = self.sessions.remove(&client) {
            let generation = session.generation;
            self.ghosts.insert(client, session);
            self.hand_on(client, generation);
        }
    }

    fn publish_will(&mut self, client: usize) {
        if let Some((will, _)) = self.sessions.get_mut(&client).and_then(|s| s.will.take()) {
            self.wills += 1;
            self.publish(will, Some(client));
        }
    }

    /// The engine was ticked, and told which connections were silent for too long.
    pub fn tick(&mut self, silent: &[usize]) {
        self.next_batch();
        self.ticking = true;
        let clients: Vec<usize> = self.sessions.keys().copied().collect();
        for client in clients {
            if self.sessions.get(&client).is_some_and(|s| s.will_at <= self.now) {
                self.publish_will(client);
            }
            if self.sessions.get(&client).is_some_and(|s| s.ends_at <= self.now) {
                self.expired += 1;
                self.end(client);
            }
        }
        silent.iter().for_each(|client| self.detach(*client, true));
        self.ticking = false;
    }

    /// The broker has crashed and is back: nobody is connected, and sessions that end with their connection are gone. To
    /// which members the messages of shared subscriptions went is no longer known.
    pub fn crash(&mut self) {
        let now = self.now;
        self.sessions.retain(|_, session| session.expiry > 0);
        for session in self.sessions.values_mut().filter(|session| session.conn.is_some()) {
            session.conn = None;
            let delay = session.will.as_ref().map(|will| will.1);
            session.will_at =
                delay.filter(|delay| *delay < session.expiry).map_or(NEVER, |delay| due(now, delay));
            session.ends_at = if session.expiry == u32::MAX { NEVER } else { due(now, session.expiry) };
        }
        for obligation in self.obligations.values_mut() {
            (obligation.frail, obligation.groups) = (true, u32::MAX / 2);
        }
        (self.wills, self.expired) = (0, 0);
        self.log.clear();
        self.ghosts.clear();
    }

    /// A PUBLISH packet of a client; the topic is resolved.
    pub fn receive(&mut self, client: usize, letter: Letter, id: u16) {
        if let Some(session) = self.sessions.get_mut(&client)
            && letter.qos == 2
            && !session.received.insert(id)
        {
            return; // Known.
        }
        self.publish(letter, Some(client));
    }

    pub fn release(&mut self, client: usize, id: u16) {
        if let Some(session) = self.sessions.get_mut(&client) {
            session.received.remove(&id);
        }
    }

    pub fn subscribe(&mut self, client: usize, packet: &Subscribe<'_>) {
        let identifier = packet.properties.subscription_identifier().unwrap_or(0);
        let Some(session) = self.sessions.get_mut(&client) else {
            return;
        };
        for request in packet.filters() {
            let (filter, options) = (request.filter.to_owned(), request.options);
            let before = session.subscriptions.len();
            session.subscriptions.retain(|held| held.filter != filter);
            let replaced = session.subscriptions.len() < before;
            let answers = match options.retain_handling {
                RetainHandling::SendAlways => true,
                RetainHandling::SendIfNew => !replaced,
                RetainHandling::DoNotSend => false,
            };
            if answers && !filter.starts_with("$share/") {
                Walk::end(&mut session.walks, &filter);
                session.walks.push(self.history.walk(&filter, level(options.qos), identifier, session.conn));
            }
            session.subscriptions.push(Subscription { filter, options, identifier });
        }
    }

    pub fn unsubscribe(&mut self, client: usize, packet: &Unsubscribe<'_>) {
        if let Some(session) = self.sessions.get_mut(&client) {
            for filter in packet.filters() {
                session.subscriptions.retain(|held| held.filter != filter);
                Walk::end(&mut session.walks, filter);
            }
        }
    }

    /// What a session that has ended was perhaps sent, or not yet, for a group: any other member may be sent it now.
    fn hand_on(&mut self, client: usize, generation: u64) {
        let batch = self.next_batch();
        let left = |o: &&mut Obligation| o.candidates.contains(&(client, generation));
        for obligation in self.obligations.values_mut().filter(left) {
            for (filter, letter) in &obligation.letters {
                for (other, session) in &mut self.sessions {
                    let Some(held) = session.subscriptions.iter().find(|held| held.filter == *filter) else {
                        continue;
                    };
                    let mut entry = Entry::new(letter, 0, batch);
                    entry.add(letter, held.options, held.identifier);
                    entry.is_shared = true;
                    obligation.frail |= entry.qos == 0;
                    obligation.candidates.push((*other, session.generation));
                    session.owe(entry);
                }
                obligation.handed_on += 1;
            }
        }
    }

    /// A message from a client, or from the host program.
    pub fn publish(&mut self, letter: Letter, from: Option<usize>) {
        let batch = self.next_batch();
        self.accepted.insert(letter.number);
        self.log.push((letter.number, letter.topic.clone(), letter.qos));
        if letter.retain {
            self.history.keep(&letter);
        }
        if letter.retain && letter.number == 0 {
            self.retained.remove(&letter.topic);
        } else if letter.retain {
            self.retained.insert(letter.topic.clone(), letter.clone());
        }
        let mut groups: BTreeMap<String, Vec<(usize, usize)>> = BTreeMap::new();
        for (client, session) in &mut self.sessions {
            let mut entry: Option<Entry> = None;
            for (at, held) in session.subscriptions.iter().enumerate() {
                if let Some(shared) = held.filter.strip_prefix("$share/") {
                    let (_, filter) = shared.split_once('/').unwrap();
                    if matches(filter, &letter.topic) {
                        groups.entry(held.filter.clone()).or_default().push((*client, at));
                    }
                } else if matches(&held.filter, &letter.topic)
                    && !(held.options.no_local && from == Some(*client))
                {
                    entry.get_or_insert_with(|| Entry::new(&letter, 0, batch)).add(
                        &letter,
                        held.options,
                        held.identifier,
                    );
                }
            }
            if let Some(entry) = entry {
                session.owe(entry);
            }
        }
        if !groups.is_empty() {
            let firm = letter.qos > 0 && letter.expires == NEVER && letter.number != 0;
            let obligation = self.obligations.entry(letter.number).or_default();
            obligation.groups += groups.len() as u32;
            obligation.frail |= !firm;
            obligation.letters.extend(groups.keys().map(|filter| (filter.clone(), letter.clone())));
        }
        for members in groups.into_values() {
            self.share(&letter, batch, members);
        }
    }

    fn share(&mut self, letter: &Letter, batch: u64, mut members: Vec<(usize, usize)>) {
        let connected = |client: &usize| self.sessions[client].conn.is_some();
        // A member whose queue has no bound is never full, and preferred to one that is away.
        let is_there = |(client, at): &(usize, usize)| {
            let granted = level(self.sessions[client].subscriptions[*at].options.qos);
            connected(client) && letter.qos.min(granted) > 0 && !self.lossy
        };
        if !self.ticking && members.iter().any(is_there) {
            members.retain(|(client, _)| connected(client));
        }
        let obligation = self.obligations.entry(letter.number).or_default();
        for (client, at) in members {
            let session = self.sessions.get_mut(&client).unwrap();
            let held = &session.subscriptions[at];
            let mut entry = Entry::new(letter, 0, batch);
            entry.add(letter, held.options, held.identifier);
            entry.is_shared = true;
            obligation.frail |= entry.qos == 0;
            obligation.candidates.push((client, session.generation));
            session.owe(entry);
        }
    }
}

impl Session {
    /// Subscriptions.
    pub fn count(&self) -> usize {
        self.subscriptions.len()
    }

    fn owe(&mut self, mut entry: Entry) {
        entry.via = self.conn;
        match (entry.qos, self.conn) {
            (0, None) => {}
            (0, Some(_)) => self.casual.push(entry),
            _ => self.owed.push(entry),
        }
    }
}
