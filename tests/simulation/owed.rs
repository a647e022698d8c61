//! Messages that one client is to get, in the order in which it is to get them.

use std::collections::{HashMap, VecDeque};

use midge::codec::subscribe::SubscriptionOptions;

use crate::letter::Letter;

/// One delivery.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Entries of one batch come in any order.
    pub batch: u64,
    pub number: u64,
    pub topic: String,
    pub qos: u8,
    pub retain: bool,
    /// The Subscription Identifiers, sorted.
    pub identifiers: Vec<u32>,
    pub expires: u64,
    /// The connection over which it was sent first, if there was one.
    pub via: Option<usize>,
    /// The shared subscription by which this client may, or may not, be the one that gets it.
    pub is_shared: bool,
    /// Whether the client has it, and it may come again after a crash.
    pub is_known: bool,
    /// Whether the client had it and has forgotten it.
    pub is_forgotten: bool,
    /// Whether a retained message that is just like it has come by a new subscription: which one it was is not told.
    pub is_ambiguous: bool,
}

/// Deliveries in order.
#[derive(Clone, Default)]
pub struct Owed {
    waiting: VecDeque<Entry>,
    /// How often each message is to come, or may. If that is more than once, the deliveries cannot be told apart:
    /// their order is left open.
    times: HashMap<u64, u32>,
    /// Those of them that were passed over: they are still to come, or not.
    spare: Vec<Entry>,
}

impl Entry {
    pub fn new(letter: &Letter, qos: u8, batch: u64) -> Entry {
        Entry {
            batch,
            number: letter.number,
            topic: letter.topic.clone(),
            qos,
            retain: false,
            identifiers: Vec::new(),
            expires: letter.expires,
            via: None,
            is_shared: false,
            is_known: false,
            is_forgotten: false,
            is_ambiguous: false,
        }
    }

    /// One more subscription that matches.
    pub fn add(&mut self, letter: &Letter, options: SubscriptionOptions, identifier: u32) {
        self.qos = self.qos.max(letter.qos.min(options.qos.as_u8()));
        self.retain |= letter.retain && options.retain_as_published;
        self.identifiers.extend((identifier != 0).then_some(identifier));
        self.identifiers.sort_unstable();
    }

    fn is_like(&self, other: &Entry, identified: bool) -> bool {
        (self.number, self.qos, self.retain) == (other.number, other.qos, other.retain)
            && self.topic == other.topic
            && (!identified || self.identifiers == other.identifiers)
    }
}

impl Owed {
    pub fn push(&mut self, entry: Entry) {
        *self.times.entry(entry.number).or_default() += 1;
        self.waiting.push_back(entry);
    }

    /// Whether the next entry is like the one that has arrived, and not another member's perhaps.
    pub fn is_next(&self, arrived: &Entry, identified: bool) -> bool {
        self.waiting.front().is_some_and(|entry| !entry.is_shared && entry.is_like(arrived, identified))
    }

    /// A message has arrived by another way: an entry that is just like it may come in any order, or may have been it.
    pub fn doubt(&mut self, arrived: &Entry, identified: bool) {
        for entry in self.waiting.iter_mut().filter(|entry| entry.is_like(arrived, identified)) {
            entry.is_ambiguous = true;
            *self.times.entry(entry.number).or_default() += 1;
        }
    }

    /// The same of messages that a test knows.
    pub fn doubt_all(&mut self, is_doubted: impl Fn(u64) -> bool) {
        for entry in self.waiting.iter_mut().filter(|entry| !entry.is_ambiguous && is_doubted(entry.number)) {
            entry.is_ambiguous = true;
            *self.times.entry(entry.number).or_default() += 1;
        }
    }

    /// Whether an entry is just like the one that has arrived.
    pub fn has_alike(&self, arrived: &Entry, identified: bool) -> bool {
        self.waiting.iter().chain(&self.spare).any(|entry| entry.is_like(arrived, identified))
    }

    /// Whether an entry of a shared subscription is just like the one that has arrived.
    pub fn has_alike_shared(&self, arrived: &Entry, identified: bool) -> bool {
        self.waiting.iter().any(|entry| entry.is_shared && entry.is_like(arrived, identified))
    }

    /// Takes the entry that is like the one that has arrived. What may be left out and stands before it goes as well:
    /// it can no longer come. `None`: this is not what was to come next.
    pub fn take(
        &mut self,
        arrived: &Entry,
        identified: bool,
        may_be_left_out: impl Fn(&Entry) -> bool,
    ) -> Option<Entry> {
        let mut first_due = None;
        let mut found = None;
        for (at, entry) in self.waiting.iter().enumerate() {
            if first_due.is_some_and(|batch| batch != entry.batch) {
                break;
            }
            let (alike, needed) = (entry.is_like(arrived, identified), !may_be_left_out(entry));
            if alike && (needed || found.is_none()) {
                found = Some(at);
            }
            if alike && needed {
                break;
            }
            if needed {
                first_due = Some(entry.batch);
            }
        }
        let Some(found) = found else {
            return self.take_vague(arrived, identified);
        };
        let taken = self.waiting.remove(found)?;
        let vague = self.is_repeated(taken.number);
        while self.waiting.front().is_some_and(|entry| entry.batch < taken.batch) {
            let passed = self.waiting.pop_front();
            self.spare.extend(passed.filter(|entry| vague || self.is_repeated(entry.number)));
        }
        Some(taken)
    }

    /// The broker has crashed: marks what the client has. `times`: how often it has a message.
    pub fn mark(&mut self, times: impl Fn(u64) -> u32, is_forgotten: impl Fn(u64) -> bool) {
        for entry in &mut self.waiting {
            entry.is_forgotten |= is_forgotten(entry.number);
            entry.is_known |= is_vague(&self.times, entry) || times(entry.number) > 0;
        }
    }

    /// The client forgets what it had before the last crash.
    pub fn forget(&mut self) {
        self.waiting.iter_mut().for_each(|entry| entry.is_forgotten |= entry.is_known);
    }

    /// The client remembers what it has: of QoS 2, that must not come again; of QoS 1, it may.
    pub fn remember(&mut self) {
        let times = &self.times;
        self.waiting
            .retain(|entry| entry.qos < 2 || !entry.is_known || entry.is_forgotten || is_vague(times, entry));
    }

    fn is_repeated(&self, number: u64) -> bool {
        self.times.get(&number).is_some_and(|times| *times > 1)
    }

    /// Takes one of several deliveries of a message, out of order.
    fn take_vague(&mut self, arrived: &Entry, identified: bool) -> Option<Entry> {
        if let Some(at) = self.spare.iter().position(|entry| entry.is_like(arrived, identified)) {
            return Some(self.spare.remove(at));
        }
        if !self.is_repeated(arrived.number) {
            return None;
        }
        let at = self.waiting.iter().position(|entry| entry.is_like(arrived, identified))?;
        self.waiting.remove(at)
    }

    /// What has not come, and may not be left out.
    pub fn missing(&self, may_be_left_out: impl Fn(&Entry) -> bool) -> Vec<&Entry> {
        self.waiting.iter().filter(|entry| !may_be_left_out(entry)).collect()
    }

    /// For a report: what is to come next, and where the number that has come stands.
    pub fn explain(&self, number: u64, may_be_left_out: impl Fn(&Entry) -> bool) -> String {
        let next = self.waiting.iter().find(|entry| !may_be_left_out(entry));
        let alike: Vec<_> = self.waiting.iter().filter(|entry| entry.number == number).collect();
        format!("next is {next:?}; there are {alike:?}")
    }
}

/// Whether it is not told which of several deliveries a client has.
fn is_vague(times: &HashMap<u64, u32>, entry: &Entry) -> bool {
    entry.number == 0 || times.get(&entry.number).is_some_and(|times| *times > 1)
}
