//! Asking the host: what one packet raises, answered at once or later.

use std::sync::Arc;

use parking_lot::MutexGuard;
use smallvec::SmallVec;

use crate::codec::reason::ReasonCode;
use crate::engine::access::hooks::{Deferred, Verdict};
use crate::engine::parts::attached::{AttachedConnection, ConnectionEnd};
use crate::session::inbound::Inbound;
use crate::session::link::Link;
use crate::time::TimerId;

/// The questions of one packet and the answers to them, in the order of asking. While one is awaited, the connection
/// keeps them, and its packet is handled again from the start when all are there: nothing is asked twice.
#[derive(Default)]
pub(crate) struct PendingDecisions {
    replies: SmallVec<[Reply; 1]>,
}

/// The answer to a question.
pub(crate) enum Reply {
    Given(Verdict),
    /// It comes later, at the latest at the deadline that this timer stands for.
    Awaited(Deferred, TimerId),
}

impl Reply {
    /// The verdict, if there is one.
    pub(crate) fn verdict(&self) -> Option<Verdict> {
        match self {
            Reply::Given(verdict) => Some(verdict.clone()),
            Reply::Awaited(deferred, _) => deferred.verdict(),
        }
    }
}

impl PendingDecisions {
    /// Whether nothing was asked.
    pub(crate) fn is_empty(&self) -> bool {
        self.replies.is_empty()
    }

    /// Whether no answer is awaited.
    pub(crate) fn are_answered(&self) -> bool {
        self.replies.iter().all(|reply| match reply {
            Reply::Given(_) => true,
            Reply::Awaited(deferred, _) => deferred.verdict().is_some(),
        })
    }

    /// The answer to the `nth` question, if it was asked: `Some(None)` while it is awaited.
    pub(crate) fn answer(&self, nth: usize) -> Option<Option<Verdict>> {
        self.replies.get(nth).map(Reply::verdict)
    }

    /// Keeps the answer to the next question.
    pub(crate) fn keep(&mut self, reply: Reply) {
        self.replies.push(reply);
    }

    /// Forgets everything; the deadlines of answers that were awaited, which are to be cancelled.
    pub(crate) fn forget(&mut self) -> impl Iterator<Item = TimerId> {
        self.replies.drain(..).filter_map(|reply| match reply {
            Reply::Given(_) => None,
            Reply::Awaited(_, deadline) => Some(deadline),
        })
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
