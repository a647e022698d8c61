//! Messages that one client is to get, in the order in which it is to get them.

use std::collections::VecDeque;

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
}

/// Deliveries in order.
#[derive(Default)]
pub struct Owed {
    waiting: VecDeque<Entry>,
    /// What was passed over although it was like what had arrived: one of the two is still to come, or not.
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
        self.waiting.push_back(entry);
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
        let mut ambiguous = false;
        for (at, entry) in self.waiting.iter().enumerate() {
            if first_due.is_some_and(|batch| batch != entry.batch) {
                break;
            }
            let (alike, needed) = (entry.is_like(arrived, identified), !may_be_left_out(entry));
            if alike && (needed || found.is_none()) {
                ambiguous |= found.is_some();
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
            let spare = self.spare.iter().position(|entry| entry.is_like(arrived, identified))?;
            return Some(self.spare.remove(spare));
        };
        let taken = self.waiting.remove(found)?;
        while self.waiting.front().is_some_and(|entry| entry.batch < taken.batch) {
            let passed = self.waiting.pop_front();
            self.spare.extend(passed.filter(|_| ambiguous));
        }
        Some(taken)
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
