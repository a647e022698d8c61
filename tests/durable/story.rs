//! Random changes that fit together, as a broker makes them.

use midge::codec::packet_id::PacketId;
use midge::codec::qos::QoS;
use midge::codec::subscribe::SubscriptionOptions;
use midge::storage::durable::DurableStore;
use midge::storage::{Change, DeliveryRecord, MessageRecord, SessionChange, Store};
use midge::time::WallTime;

use crate::dice::Dice;
use crate::snapshot::Snapshot;

const CLIENTS: [&str; 3] = ["a", "b", "a client with a longer name"];
const FILTERS: [&str; 3] = ["t", "t/#", "$share/g/t"];
const TOPICS: [&str; 3] = ["t", "t/1", "r/2"];

/// What is known of a session, to make changes that fit.
#[derive(Clone, Default)]
struct Known {
    begun: bool,
    filters: Vec<&'static str>,
    queued: usize,
    window: Vec<u16>,
    confirmed: Vec<u16>,
    received: Vec<u16>,
    next_id: u16,
}

/// Appends random groups of changes to a store, and keeps what they amount to after each.
#[derive(Clone)]
pub struct Story {
    random: Dice,
    clients: [Known; 3],
    at: u64,
    snapshot: Snapshot,
    /// By position, the state at each end of a group.
    pub states: Vec<(u64, Snapshot)>,
}

impl Story {
    /// A story that begins with nothing.
    pub fn new(seed: u64) -> Story {
        let states = vec![(0, Snapshot::default())];
        let clients = Default::default();
        Story { random: Dice::new(seed), clients, at: 1000, snapshot: Snapshot::default(), states }
    }

    /// Goes on in another store, which has this state and what the story knew then.
    pub fn resume(&mut self, then: &Story) {
        let random = self.random.clone();
        *self = then.clone();
        self.random = random;
        self.states = vec![(0, self.snapshot.clone())];
    }

    /// Appends one group.
    pub fn group(&mut self, store: &DurableStore) {
        let is_group = self.random.chance(50);
        if is_group {
            store.begin_group();
        }
        let changes = if is_group { 1 + self.random.below(6) } else { 1 };
        for _ in 0..changes {
            self.change(store);
        }
        if is_group {
            store.end_group();
        }
        self.states.push((store.appended(), self.snapshot.clone()));
    }

    fn put(&mut self, store: &DurableStore, change: Change<'_>) {
        let at = WallTime::from_millis(self.at);
        self.snapshot.see(at, change);
        store.append(at, change);
    }

    fn change(&mut self, store: &DurableStore) {
        if self.random.chance(33) {
            self.at += self.random.below(5000);
        }
        let payload: Vec<u8> = (0..self.random.below(300)).map(|_| self.random.roll() as u8).collect();
        let topic = TOPICS[self.random.below(3) as usize];
        let message = MessageRecord {
            topic,
            properties: &[],
            payload: &payload,
            qos: QoS::ExactlyOnce,
            retain: false,
            received_at: WallTime::from_millis(self.at),
            expires_at: WallTime::NEVER,
        };
        match self.random.below(8) {
            0 => self.put(store, Change::Retained(MessageRecord { retain: true, ..message })),
            1 if self.random.chance(33) => self.put(store, Change::Cleared { topic }),
            2 => {
                // One message for several sessions.
                for client in 0..CLIENTS.len() {
                    self.queue(store, client, message);
                }
            }
            _ => {
                let client = self.random.below(3) as usize;
                self.of_session(store, client, message);
            }
        }
    }

    fn queue(&mut self, store: &DurableStore, client: usize, message: MessageRecord<'_>) {
        if !self.clients[client].begun {
            return;
        }
        self.clients[client].queued += 1;
        let share = self.random.chance(25).then_some("$share/g/t");
        let record =
            DeliveryRecord { message, qos: QoS::ExactlyOnce, retain: false, identifiers: &[1, 300], share };
        let change = SessionChange::Queued(record);
        self.put(store, Change::Session { client_id: CLIENTS[client], change });
    }

    fn of_session(&mut self, store: &DurableStore, client: usize, message: MessageRecord<'_>) {
        use SessionChange as S;
        let random = &mut self.random;
        let known = &mut self.clients[client];
        let filter = FILTERS[random.below(3) as usize];
        let one_of = |random: &mut Dice, ids: &mut Vec<u16>| {
            let at = random.below(ids.len().max(1) as u64) as usize;
            (at < ids.len()).then(|| ids.remove(at))
        };
        let id = |number: u16| PacketId::new(number).unwrap();
        let change = match random.below(14) {
            _ if !known.begun => {
                *known = Known { begun: true, ..Known::default() };
                S::Begun { expiry_interval: 7, user: Some("u") }
            }
            0 if random.chance(25) => {
                *known = Known::default();
                S::Ended
            }
            0 => S::Attached { expiry_interval: 9, user: None },
            1 => S::Detached { expiry_interval: random.below(100) as u32 },
            2 => {
                if !known.filters.contains(&filter) {
                    known.filters.push(filter);
                }
                let options = SubscriptionOptions::with_qos(QoS::AtLeastOnce);
                S::Subscribed { filter, options, identifier: random.below(9) as u32 }
            }
            3 if known.filters.contains(&filter) => {
                S::RetainedDue { filter, qos: QoS::AtLeastOnce, identifier: 0 }
            }
            4 if known.filters.contains(&filter) => {
                known.filters.retain(|known| *known != filter);
                S::Unsubscribed { filter }
            }
            5 => S::RetainedSent { filter },
            6 if known.queued > 0 => {
                known.queued -= 1;
                S::Dropped { index: random.below(known.queued as u64 + 1) as usize }
            }
            7 | 8 if known.queued > 0 => {
                known.queued -= 1;
                known.next_id += 1;
                known.window.push(known.next_id);
                S::Sent { packet_id: id(known.next_id) }
            }
            9 if !known.window.is_empty() => {
                let done = one_of(random, &mut known.window).unwrap();
                known.confirmed.push(done);
                S::Confirmed { packet_id: id(done) }
            }
            10 => match one_of(random, &mut known.confirmed).or_else(|| one_of(random, &mut known.window)) {
                Some(done) => S::Done { packet_id: id(done) },
                None => S::WillCleared,
            },
            11 => {
                let number = 1 + random.below(9) as u16;
                if !known.received.contains(&number) {
                    known.received.push(number);
                }
                S::Received { packet_id: id(number) }
            }
            12 => match one_of(random, &mut known.received) {
                Some(released) => S::Released { packet_id: id(released) },
                None => S::Will { message, delay: 5, expiry: None },
            },
            _ => return self.queue(store, client, message),
        };
        self.put(store, Change::Session { client_id: CLIENTS[client], change });
    }
}
