//! The subscriptions that match a topic: subscribers, and groups of which one member gets the message.

use std::sync::Arc;

use smallvec::SmallVec;

use crate::codec::subscribe::SubscriptionOptions;
use crate::locks::Mutex;
use crate::topics::subscriber_set::{Identity, SubscriberSet};

/// The subscriptions that match a topic at one moment.
#[derive(Clone, Debug)]
pub struct Matches<S> {
    /// The matching subscriptions that are not shared. Those of one subscriber are adjacent.
    pub direct: SmallVec<[Match<S>; 1]>,
    /// The groups whose shared subscription matches.
    pub shared: Vec<SharedMatch<S>>,
}

/// One subscription that matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Match<S> {
    /// The subscriber.
    pub subscriber: S,
    /// The options of the subscription.
    pub options: SubscriptionOptions,
    /// The subscription identifier; 0 if there is none.
    pub identifier: u32,
}

/// A shared subscription that matches: one member of the group gets the message.
#[derive(Debug)]
pub struct SharedMatch<S> {
    /// The group.
    pub group: Arc<Group<S>>,
}

/// How ready a member of a group is to take a message; a later variant is readier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Readiness {
    /// The message, or an older one in its place, would be dropped.
    Full,
    /// The member is offline: the message would wait for it.
    Absent,
    /// The member is online, but the message would wait behind others.
    Busy,
    /// The member is online, and the message would be sent at once.
    Ready,
}

/// The members of one shared subscription. All holders of the group see a change at once.
pub struct Group<S> {
    filter: Arc<str>,
    members: Mutex<Members<S>>,
}

struct Members<S> {
    roster: SubscriberSet<Match<S>>,
    /// The index of the next member; may be past the end.
    turn: usize,
}

impl<S> Matches<S> {
    /// No matches.
    pub(super) fn none() -> Matches<S> {
        Matches { direct: SmallVec::new(), shared: Vec::new() }
    }

    /// Removes all matches.
    pub(super) fn clear(&mut self) {
        self.direct.clear();
        self.shared.clear();
    }

    /// The number of subscriptions and groups.
    pub fn len(&self) -> usize {
        self.direct.len() + self.shared.len()
    }

    /// Whether no subscription matches. A group that has lost its last member since still counts.
    pub fn is_empty(&self) -> bool {
        self.direct.is_empty() && self.shared.is_empty()
    }
}

impl<S: Clone + Identity> Group<S> {
    pub(super) fn new(filter: Arc<str>) -> Group<S> {
        Group { filter, members: Mutex::new(Members { roster: SubscriberSet::Empty, turn: 0 }) }
    }

    /// The whole filter, with the share prefix.
    pub fn filter(&self) -> &Arc<str> {
        &self.filter
    }

    /// The number of members.
    pub fn len(&self) -> usize {
        self.members.lock().roster.as_slice().len()
    }

    /// Whether the last member has left.
    pub fn is_empty(&self) -> bool {
        self.members.lock().roster.is_empty()
    }

    /// The member whose turn it is among the fittest. `None` if there is no member.
    ///
    /// `readiness` is called without a lock held, at most once per member.
    pub fn pick(&self, readiness: impl FnMut(&Match<S>) -> Readiness) -> Option<Match<S>> {
        let found = self.members.lock().take_turn()?;
        let turn = found.1;
        let (index, picked) = self.fittest(found, readiness);
        if index != turn {
            self.members.lock().turn = index + 1;
        }
        Some(picked)
    }

    /// The member that [`Group::pick`] would pick; nobody's turn has passed.
    pub fn next(&self, readiness: impl FnMut(&Match<S>) -> Readiness) -> Option<Match<S>> {
        let found = self.members.lock().turn()?;
        Some(self.fittest(found, readiness).1)
    }

    /// The fittest member from the one on whose turn it is, which is given with its index and the number of members.
    fn fittest(
        &self,
        (first, turn, count): (Match<S>, usize, usize),
        mut readiness: impl FnMut(&Match<S>) -> Readiness,
    ) -> (usize, Match<S>) {
        let mut best = (readiness(&first), turn, first);
        for index in turn + 1..turn + count {
            if best.0 == Readiness::Ready {
                break;
            }
            // Members may leave meanwhile: a member is then tried twice or not at all, but never after it has left.
            let Some(next) = self.members.lock().get(index) else { break };
            let found = readiness(&next);
            if found > best.0 {
                best = (found, index, next);
            }
        }
        (best.1, best.2)
    }

    pub(super) fn put(&self, member: Match<S>) -> Option<Match<S>> {
        self.members.lock().roster.put(member)
    }

    pub(super) fn remove(&self, identity: usize) -> Option<Match<S>> {
        self.members.lock().roster.remove(identity)
    }

    /// Every member at this moment.
    pub fn members(&self) -> Vec<Match<S>> {
        self.members.lock().roster.as_slice().to_vec()
    }
}

impl<S: Clone + Identity> Members<S> {
    /// The next member in turn, its index and the number of members; advances the turn.
    fn take_turn(&mut self) -> Option<(Match<S>, usize, usize)> {
        let found = self.turn()?;
        self.turn = found.1 + 1;
        Some(found)
    }

    /// The member whose turn it is, its index and the number of members.
    fn turn(&self) -> Option<(Match<S>, usize, usize)> {
        let count = self.roster.as_slice().len();
        let turn = self.turn.checked_rem(count)?;
        Some((self.get(turn)?, turn, count))
    }

    /// The member at `index` modulo the number of members.
    fn get(&self, index: usize) -> Option<Match<S>> {
        let members = self.roster.as_slice();
        members.get(index.checked_rem(members.len())?).cloned()
    }
}

impl<S: Identity> Identity for Match<S> {
    fn identity(&self) -> usize {
        self.subscriber.identity()
    }
}

impl<S> Identity for Arc<Group<S>> {
    fn identity(&self) -> usize {
        Arc::as_ptr(self).addr()
    }
}

impl<S> Clone for SharedMatch<S> {
    fn clone(&self) -> SharedMatch<S> {
        SharedMatch { group: Arc::clone(&self.group) }
    }
}

impl<S> std::fmt::Debug for Group<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Group").field("filter", &self.filter).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::{Group, Match, Readiness};
    use crate::codec::subscribe::SubscriptionOptions;

    fn group(members: u32) -> (Group<Arc<u32>>, Vec<Arc<u32>>) {
        let group = Group::new(Arc::from("$share/g/a"));
        let clients: Vec<Arc<u32>> = (0..members).map(Arc::new).collect();
        for client in &clients {
            let options = SubscriptionOptions::default();
            group.put(Match { subscriber: Arc::clone(client), options, identifier: **client });
        }
        (group, clients)
    }

    fn picks(group: &Group<Arc<u32>>, count: usize, is_ready: impl Fn(u32) -> bool) -> Vec<u32> {
        let readiness = |ready| if ready { Readiness::Ready } else { Readiness::Absent };
        (0..count)
            .map(|_| group.pick(|member| readiness(is_ready(*member.subscriber))).unwrap().identifier)
            .collect()
    }

    #[test]
    fn members_take_turns() {
        let (group, _) = group(3);
        assert_eq!(picks(&group, 7, |_| true), [0, 1, 2, 0, 1, 2, 0]);
    }

    #[test]
    fn a_member_that_is_not_available_is_passed_over() {
        let (group, _) = group(4);
        assert_eq!(picks(&group, 4, |client| client % 2 == 1), [1, 3, 1, 3]);
    }

    #[test]
    fn a_busy_member_is_better_than_an_absent_one() {
        let (group, _) = group(4);
        let readiness = |member: &Match<Arc<u32>>| match *member.subscriber % 2 {
            1 => Readiness::Busy,
            _ => Readiness::Absent,
        };
        let picks: Vec<u32> = (0..4).map(|_| group.pick(readiness).unwrap().identifier).collect();
        assert_eq!(picks, [1, 3, 1, 3]);
    }

    #[test]
    fn a_full_member_comes_last() {
        let (group, _) = group(3);
        for other in [Readiness::Absent, Readiness::Busy, Readiness::Ready] {
            let readiness = |member: &Match<Arc<u32>>| match *member.subscriber {
                1 => other,
                _ => Readiness::Full,
            };
            for _ in 0..3 {
                assert_eq!(group.next(readiness).unwrap().identifier, 1);
                assert_eq!(group.pick(readiness).unwrap().identifier, 1);
            }
        }
        // And where all are full, they take turns.
        let picks: Vec<u32> = (0..4).map(|_| group.pick(|_| Readiness::Full).unwrap().identifier).collect();
        assert_eq!(picks, [2, 0, 1, 2]);
    }

    #[test]
    fn the_next_member_is_named_and_its_turn_does_not_pass() {
        let (group, _) = group(3);
        for ready in [[true, true, true], [false, true, true], [false, false, false]] {
            let readiness = |member: &Match<Arc<u32>>| match ready[*member.subscriber as usize] {
                true => Readiness::Ready,
                false => Readiness::Busy,
            };
            for _ in 0..5 {
                let named =
                    [group.next(readiness), group.next(readiness)].map(|next| next.unwrap().identifier);
                let picked = group.pick(readiness).unwrap().identifier;
                assert_eq!(named, [picked, picked]);
            }
        }
    }

    #[test]
    fn without_an_available_member_the_turn_decides() {
        let (group, _) = group(3);
        assert_eq!(picks(&group, 4, |_| false), [0, 1, 2, 0]);
    }

    #[test]
    fn a_member_is_asked_once() {
        let (group, _) = group(40);
        let mut asked = Vec::new();
        group.pick(|member| {
            asked.push(*member.subscriber);
            Readiness::Absent
        });
        assert_eq!(asked, (0..40).collect::<Vec<u32>>());
    }

    #[test]
    fn members_may_come_and_go_during_a_pick() {
        let (group, clients) = group(3);
        let picked = group.pick(|member| {
            group.remove(super::Identity::identity(&member.subscriber));
            Readiness::Absent
        });
        assert_eq!(picked.unwrap().identifier, 0);
        assert!(clients.iter().filter(|client| Arc::strong_count(client) > 1).count() <= 1);
        let (empty, _) = self::group(0);
        assert_eq!(empty.pick(|_| Readiness::Ready), None);
    }
}
