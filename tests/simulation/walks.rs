//! Retained messages that new subscriptions are owed: each topic once, with what is retained when it is sent.

use std::collections::{BTreeMap, BTreeSet};

use crate::letter::{Letter, matches};
use crate::owed::Entry;

const STILL: u64 = u64::MAX;

/// What was retained, and when: steps are counted.
#[derive(Clone, Default)]
pub struct History {
    topics: BTreeMap<String, Vec<Kept>>,
    step: u64,
}

#[derive(Clone)]
struct Kept {
    number: u64,
    qos: u8,
    from: u64,
    until: u64,
}

/// The retained messages of one subscription.
#[derive(Clone)]
pub struct Walk {
    filter: String,
    qos: u8,
    identifier: u32,
    since: u64,
    /// The connection that has subscribed.
    via: Option<usize>,
    /// Whether the subscription is the client's: then all of them are to come.
    due: bool,
    arrived: BTreeSet<String>,
    /// Topics of which a message may have been one of the walk, or another that was just like it.
    doubtful: BTreeSet<String>,
    /// Whether the broker has crashed since: what it had taken from the store comes, and then all of it again.
    again: bool,
}

impl History {
    /// A message is retained; one of the number 0 removes what is.
    pub fn keep(&mut self, letter: &Letter) {
        self.step += 1;
        let (step, kept) = (self.step, self.topics.entry(letter.topic.clone()).or_default());
        if let Some(last) = kept.last_mut().filter(|last| last.until == STILL) {
            last.until = step;
        }
        if letter.number > 0 {
            kept.push(Kept { number: letter.number, qos: letter.qos, from: step, until: STILL });
        }
    }

    /// Begins to send what is retained to a subscription.
    pub fn walk(&mut self, filter: &str, qos: u8, identifier: u32, via: Option<usize>) -> Walk {
        self.step += 1;
        let (filter, since) = (filter.to_owned(), self.step);
        let (arrived, doubtful) = (BTreeSet::new(), BTreeSet::new());
        Walk { filter, qos, identifier, since, via, due: true, arrived, doubtful, again: false }
    }

    /// Takes a message that may be one of a walk; whether it is. `doubtful`: another one is just like it.
    pub fn take(&self, walks: &mut [Walk], arrived: &Entry, identified: bool, doubtful: bool) -> bool {
        let Some(kept) = self.topics.get(&arrived.topic) else {
            return false;
        };
        let is_of = |walk: &Walk| {
            let identifiers: &[u32] = if walk.identifier == 0 { &[] } else { &[walk.identifier] };
            let qos = |kept: &Kept| kept.qos.min(walk.qos) == arrived.qos;
            matches(&walk.filter, &arrived.topic)
                && !walk.arrived.contains(&arrived.topic)
                && (!identified || arrived.identifiers == identifiers)
                && kept
                    .iter()
                    .any(|kept| kept.number == arrived.number && kept.until > walk.since && qos(kept))
        };
        let mut of: Vec<&mut Walk> = walks.iter_mut().filter(|walk| is_of(walk)).collect();
        let doubtful = doubtful || of.len() > 1;
        for walk in &mut of {
            let topics = if doubtful || walk.again { &mut walk.doubtful } else { &mut walk.arrived };
            topics.insert(arrived.topic.clone());
        }
        !of.is_empty()
    }

    /// What was retained during the whole of a walk and has not come: of QoS 0 to the connection that has subscribed.
    pub fn missing<'w>(&'w self, walk: &'w Walk, conn: usize) -> impl Iterator<Item = &'w str> {
        self.topics.iter().filter_map(move |(topic, kept)| {
            let last = kept.last().filter(|last| last.until == STILL && last.from < walk.since)?;
            let came = walk.arrived.contains(topic) || walk.doubtful.contains(topic);
            let due = walk.due && matches(&walk.filter, topic) && !came;
            let sent = last.qos.min(walk.qos) > 0 || walk.via == Some(conn);
            (due && sent).then_some(topic.as_str())
        })
    }
}

impl Walk {
    /// The subscription to a filter has ended, or is answered anew: what is under way may still come.
    pub fn end(walks: &mut [Walk], filter: &str) {
        walks.iter_mut().filter(|walk| walk.filter == filter).for_each(|walk| walk.due = false);
    }

    /// What came before a crash may come again, more than once. `before`: the same walks, as they were then.
    pub fn crash(walks: &mut [Walk], before: &[Walk]) {
        for walk in walks {
            walk.again = true;
            for before in before.iter().filter(|before| before.since == walk.since) {
                walk.doubtful.extend(before.arrived.iter().chain(&before.doubtful).cloned());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use midge::codec::qos::QoS;
    use midge::codec::subscribe::{RetainHandling, SubscriptionOptions};

    use crate::letter::Letter;
    use crate::world::World;

    /// One member of a shared subscription subscribed to everything before, and was sent what is retained. What it gets as
    /// a member looks like one of these: whether it was one or the other cannot be told.
    #[test]
    fn a_message_that_may_be_retained_or_shared_is_not_missed_by_the_group() {
        let is_plain = |world: &World| !world.model.lossy && world.clients.iter().all(|c| c.version.is_v5());
        let mut world = (0..).map(|seed| World::new(seed, 2, None)).find(is_plain).unwrap();
        (world.restarts, world.draining) = (false, true);
        (0..2).for_each(|client| world.rejoin(client, false));
        world.settle(false);
        while world.step() {}
        let options = |retain_as_published| SubscriptionOptions {
            qos: QoS::AtLeastOnce,
            no_local: false,
            retain_as_published,
            retain_handling: RetainHandling::SendAlways,
        };
        let shared = ("$share/g/a", options(true));
        for (client, filters) in [(0, &[("#", options(false)), shared][..]), (1, &[shared])] {
            let packet = world.clients[client].subscribe(filters, 0);
            world.send(client, packet);
        }
        let packet = world.clients[0].unsubscribe("#");
        world.send(0, packet);
        while world.step() {}
        for number in 1..9 {
            let topic = "a".to_owned();
            world.publish_as_host(&Letter { number, topic, qos: 1, retain: true, expires: u64::MAX });
        }
        world.heal();
        let (claims, doubted) =
            world.model.obligations.values().fold((0, 0), |sum, o| (sum.0 + o.claims, sum.1 + o.doubted));
        assert_eq!((claims + doubted, doubted > 0), (8, true), "{doubted} in doubt");
    }
}
