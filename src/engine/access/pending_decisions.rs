//! The decisions that one packet needs, made at once or later.

use std::sync::Arc;

use smallvec::SmallVec;

use crate::codec::reason::ReasonCode;
use crate::engine::access::chain::Stage;
use crate::engine::access::hooks::{Deferred, Verdict};
use crate::engine::parts::attached::{AttachedConnection, ConnectionEnd};
use crate::locks::MutexGuard;
use crate::session::inbound::Inbound;
use crate::session::link::Link;
use crate::time::TimerId;

/// The decisions that one packet needs, by stage. While one is awaited the connection keeps them. The packet is then
/// handled again from the start, and no authority is asked twice.
#[derive(Default)]
pub(crate) struct PendingDecisions {
    /// Sorted by stage. Mostly added in that order, which is cheap.
    entries: SmallVec<[Entry; 1]>,
}

struct Entry {
    stage: Stage,
    /// The position of the authority that has decided or is awaited; those before it have abstained. `None` if the
    /// chain's default has decided.
    authority: Option<usize>,
    reply: Reply,
}

enum Reply {
    Given(Verdict),
    /// The decision is made later, at the latest when this timer is due.
    Awaited(Deferred, TimerId),
}

/// The state of a decision.
pub(crate) enum Standing {
    /// The authorities must be asked from this position on; those before it have abstained.
    AskFrom(usize),
    /// The decision of an authority is awaited.
    Awaited,
    /// It is decided.
    Decided(Ruled),
}

/// A decision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ruled {
    pub verdict: Verdict,
    /// The position of the authority in the chain; `None` if every authority has abstained.
    pub by: Option<usize>,
}

impl PendingDecisions {
    /// Whether there is no decision.
    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Whether no answer is awaited.
    pub(crate) fn are_answered(&self) -> bool {
        self.entries.iter().all(|entry| match &entry.reply {
            Reply::Given(_) => true,
            Reply::Awaited(deferred, _) => deferred.is_decided(),
        })
    }

    /// The state of the decision of a stage.
    pub(crate) fn standing(&self, stage: Stage) -> Standing {
        let Some(entry) = self.find(stage).ok().and_then(|at| self.entries.get(at)) else {
            return Standing::AskFrom(0);
        };
        let verdict = match &entry.reply {
            Reply::Given(verdict) => Some(verdict.clone()),
            Reply::Awaited(deferred, _) => match deferred.outcome() {
                None => return Standing::Awaited,
                Some(verdict) => verdict,
            },
        };
        match verdict {
            Some(verdict) => Standing::Decided(Ruled { verdict, by: entry.authority }),
            None => Standing::AskFrom(entry.authority.map_or(0, |at| at + 1)),
        }
    }

    /// Stores a decision. Returns the deadline of a deferred one that it replaces, for the caller to cancel.
    pub(crate) fn decided(&mut self, stage: Stage, ruled: Ruled) -> Option<TimerId> {
        self.keep(Entry { stage, authority: ruled.by, reply: Reply::Given(ruled.verdict) })
    }

    /// Stores a deferred decision. Returns the deadline of one that it replaces, for the caller to cancel.
    pub(crate) fn awaited(
        &mut self,
        stage: Stage,
        authority: usize,
        deferred: Deferred,
        deadline: TimerId,
    ) -> Option<TimerId> {
        self.keep(Entry { stage, authority: Some(authority), reply: Reply::Awaited(deferred, deadline) })
    }

    fn keep(&mut self, entry: Entry) -> Option<TimerId> {
        match self.find(entry.stage) {
            Err(at) => {
                self.entries.insert(at, entry);
                None
            }
            Ok(at) => self.entries.get_mut(at).and_then(|kept| std::mem::replace(kept, entry).deadline()),
        }
    }

    fn find(&self, stage: Stage) -> Result<usize, usize> {
        match self.entries.last() {
            Some(last) if last.stage >= stage => self.entries.binary_search_by_key(&stage, |e| e.stage),
            _ => Err(self.entries.len()),
        }
    }

    /// Removes all decisions. Returns the deadlines of deferred ones, for the caller to cancel.
    pub(crate) fn forget(&mut self) -> impl Iterator<Item = TimerId> {
        self.entries.drain(..).filter_map(Entry::deadline)
    }
}

impl Entry {
    fn deadline(self) -> Option<TimerId> {
        match self.reply {
            Reply::Given(_) => None,
            Reply::Awaited(_, deadline) => Some(deadline),
        }
    }
}

/// The context of a decision: a connection while it handles a packet.
pub(crate) struct DecisionContext<'a> {
    pub link: &'a Arc<dyn Link>,
    pub decisions: &'a mut PendingDecisions,
    /// Whether the packet is handled again, after a deferred decision.
    pub again: bool,
}

impl DecisionContext<'_> {
    /// Runs `ask` without the lock of the receiving half, because the host may do anything. An error if the connection
    /// has ended meanwhile.
    pub(crate) fn unlocked<T>(
        &mut self,
        attached: &AttachedConnection,
        inbound: &mut MutexGuard<'_, Inbound>,
        ask: impl FnOnce(&mut Self) -> T,
    ) -> Result<T, ConnectionEnd> {
        let outcome = MutexGuard::unlocked(inbound, || ask(self));
        match inbound.epoch == attached.epoch && attached.session.is_attached(attached.epoch) {
            true => Ok(outcome),
            false => Err(ConnectionEnd::Gone),
        }
    }
}

/// The reason code of a verdict that denies. It is the verdict's own if the packet to the client can carry it, which
/// `has` tells; else the usual one.
pub(crate) fn denied(
    verdict: &Verdict,
    usual: ReasonCode,
    has: fn(ReasonCode) -> bool,
) -> Option<ReasonCode> {
    match verdict {
        Verdict::Allow | Verdict::AllowWith(_) => None,
        Verdict::Deny | Verdict::Continue(_) => Some(usual),
        Verdict::DenyWith(reason) if reason.is_error() && has(*reason) => Some(*reason),
        Verdict::DenyWith(_) => Some(usual),
    }
}

/// Whether CONNACK can carry a reason code (MQTT 5, table 3-1).
pub(crate) fn connack_has(reason: ReasonCode) -> bool {
    matches!(reason.as_u8(), 0x80..=0x8A | 0x8C | 0x90 | 0x95 | 0x97 | 0x99..=0x9D | 0x9F)
}

/// Whether PUBACK and PUBREC can carry a reason code (MQTT 5, tables 3-4 and 3-5).
pub(crate) fn puback_has(reason: ReasonCode) -> bool {
    matches!(reason.as_u8(), 0x80 | 0x83 | 0x87 | 0x90 | 0x91 | 0x97 | 0x99)
}

/// Whether SUBACK can carry a reason code (MQTT 5, table 3-8).
pub(crate) fn suback_has(reason: ReasonCode) -> bool {
    matches!(reason.as_u8(), 0x80 | 0x83 | 0x87 | 0x8F | 0x91 | 0x97 | 0x9E | 0xA1 | 0xA2)
}

#[cfg(test)]
mod tests {
    use super::{PendingDecisions, Ruled, Standing};
    use crate::engine::access::chain::Stage;
    use crate::engine::access::hooks::Verdict;

    fn by(at: usize) -> Ruled {
        Ruled { verdict: Verdict::Allow, by: Some(at) }
    }

    /// A decision is found by its stage, whatever the order of the decisions.
    #[test]
    fn an_answer_is_found_by_its_stage() {
        let mut pending = PendingDecisions::default();
        let stages = [
            Stage::Subscribe { index: 7 },
            Stage::Will,
            Stage::TakeOver { present: 1 },
            Stage::Subscribe { index: 2 },
            Stage::Authenticate { step: 0 },
        ];
        for (at, stage) in stages.into_iter().enumerate() {
            assert!(matches!(pending.standing(stage), Standing::AskFrom(0)));
            assert_eq!(pending.decided(stage, by(at)), None);
        }
        for (at, stage) in stages.into_iter().enumerate() {
            assert!(matches!(pending.standing(stage), Standing::Decided(ruled) if ruled == by(at)));
        }
        for other in [Stage::Publish, Stage::Subscribe { index: 3 }, Stage::TakeOver { present: 2 }] {
            assert!(matches!(pending.standing(other), Standing::AskFrom(0)));
        }
        assert_eq!(pending.decided(Stage::Will, by(9)), None);
        assert!(matches!(pending.standing(Stage::Will), Standing::Decided(ruled) if ruled == by(9)));
        assert!(pending.are_answered() && pending.forget().next().is_none() && pending.is_empty());
    }
}
