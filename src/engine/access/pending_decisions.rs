//! Packets that wait for an answer: what one packet raises, answered at once or later.

use std::sync::Arc;

use parking_lot::MutexGuard;
use smallvec::SmallVec;

use crate::codec::reason::ReasonCode;
use crate::engine::access::chain::Stage;
use crate::engine::access::hooks::{Deferred, Verdict};
use crate::engine::parts::attached::{AttachedConnection, ConnectionEnd};
use crate::session::inbound::Inbound;
use crate::session::link::Link;
use crate::time::TimerId;

/// The questions that one packet raises and how far each is answered, by stage. While an answer is awaited, the
/// connection keeps them, and its packet is handled again from the start: nothing is asked twice.
#[derive(Default)]
pub(crate) struct PendingDecisions {
    /// Sorted by stage. Questions mostly come in that order, so that adding one is cheap.
    entries: SmallVec<[Entry; 1]>,
}

struct Entry {
    stage: Stage,
    /// The authority that has decided or is awaited; those before it have abstained. `None`: the chain's default holds.
    authority: Option<usize>,
    reply: Reply,
}

enum Reply {
    Given(Verdict),
    /// It comes later, at the latest at the deadline that this timer stands for.
    Awaited(Deferred, TimerId),
}

/// How far a question is.
pub(crate) enum Standing {
    /// It was not asked, or everybody before this authority has abstained.
    AskFrom(usize),
    /// An authority is still to answer.
    Awaited,
    /// It is decided.
    Decided(Ruled),
}

/// A decision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ruled {
    pub verdict: Verdict,
    /// The place of the authority in the chain; `None`: every one has abstained.
    pub by: Option<usize>,
}

impl PendingDecisions {
    /// Whether nothing was asked.
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

    /// How far the question of a stage is.
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

    /// Keeps a decision; the deadline of the answer that it replaces, for the caller to cancel.
    pub(crate) fn decided(&mut self, stage: Stage, ruled: Ruled) -> Option<TimerId> {
        self.keep(Entry { stage, authority: ruled.by, reply: Reply::Given(ruled.verdict) })
    }

    /// Keeps that an authority answers later; the deadline of the answer that it replaces, for the caller to cancel.
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

    /// Forgets everything; the deadlines of answers that were awaited, for the caller to cancel.
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

/// Who asks: a connection in the middle of a packet.
pub(crate) struct DecisionContext<'a> {
    pub link: &'a Arc<dyn Link>,
    pub decisions: &'a mut PendingDecisions,
    /// Whether the packet is handled again, after answers that came later.
    pub again: bool,
}

impl DecisionContext<'_> {
    /// Runs `ask` without the lock of the receiving half, for the host may do anything; then the connection may have
    /// ended.
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

/// The reason code of a verdict that denies: its own, if the answer to the client `has` it, else the usual one.
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

/// Whether CONNACK can tell a reason (MQTT 5, table 3-1).
pub(crate) fn connack_has(reason: ReasonCode) -> bool {
    matches!(reason.as_u8(), 0x80..=0x8A | 0x8C | 0x90 | 0x95 | 0x97 | 0x99..=0x9D | 0x9F)
}

/// Whether PUBACK and PUBREC can tell a reason (MQTT 5, tables 3-4 and 3-5).
pub(crate) fn puback_has(reason: ReasonCode) -> bool {
    matches!(reason.as_u8(), 0x80 | 0x83 | 0x87 | 0x90 | 0x91 | 0x97 | 0x99)
}

/// Whether SUBACK can tell a reason (MQTT 5, table 3-8).
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

    /// Answers belong to their stage, in whatever order they come.
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
