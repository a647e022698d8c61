//! Asking the host: what one packet raises, answered at once or later.

use std::net::SocketAddr;
use std::sync::Arc;

use parking_lot::MutexGuard;
use smallvec::SmallVec;

use crate::codec::connect::Connect;
use crate::codec::error::DecodeError;
use crate::codec::reason::ReasonCode;
use crate::engine::access::edit::{Changes, Edit};
use crate::engine::access::hooks::{
    AccessRequest, Action, Answer, ConnectRequest, Deferred, Host, Passage, Verdict,
};
use crate::engine::connection::packets::{AttachedConnection, ConnectionEnd};
use crate::engine::core::state::Engine;
use crate::engine::core::timers::Timer;
use crate::engine::core::turn::Turn;
use crate::engine::observe::event_queue::survive;
use crate::engine::parts::origin::Origin;
use crate::session::event::Level;
use crate::session::inbound::Inbound;
use crate::session::link::Link;
use crate::time::TimerId;

/// The questions of one packet and the answers to them, in the order of asking. While one is awaited, the connection
/// keeps them, and its packet is handled again from the start when all are there: nothing is asked twice.
#[derive(Default)]
pub(crate) struct PendingDecisions {
    replies: SmallVec<[Reply; 1]>,
}

enum Reply {
    Given(Verdict),
    Awaited(Deferred, TimerId),
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

    /// Forgets everything.
    pub(crate) fn forget(&mut self, engine: &Engine) {
        for reply in self.replies.drain(..) {
            if let Reply::Awaited(_, timer) = reply {
                engine.timers.cancel(timer);
            }
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
    /// The packet is done; the next one begins without an answer.
    pub(crate) fn next(&mut self, engine: &Engine) {
        self.again = false;
        if !self.decisions.is_empty() {
            self.decisions.forget(engine);
        }
    }

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

/// What a packet that asks comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Handled {
    /// It is done.
    Done,
    /// An answer is awaited: nothing was done, and the packet is to be handled again.
    Suspended,
}

impl Engine {
    /// The answer to a packet's `nth` question; `None` if it comes later.
    pub(crate) fn ask(
        &self,
        turn: &mut Turn,
        pending: &mut DecisionContext<'_>,
        nth: usize,
        hook: &str,
        question: impl FnOnce(&dyn Host) -> Answer,
    ) -> Option<Verdict> {
        if let Some(reply) = pending.decisions.replies.get(nth) {
            return match reply {
                Reply::Given(verdict) => Some(verdict.clone()),
                Reply::Awaited(deferred, _) => deferred.verdict(),
            };
        }
        let Some(host) = self.host.as_deref() else {
            return Some(Verdict::Allow);
        };
        let reply = match self.call(turn, hook, || question(host)).unwrap_or(Answer::Now(Verdict::Deny)) {
            Answer::Now(verdict) => Reply::Given(verdict),
            Answer::Later(deferred) => match deferred.wake(pending.link) {
                Some(verdict) => Reply::Given(verdict),
                None => {
                    let deadline = turn.now.plus(self.options.hooks_deadline);
                    let timer = self.timers.insert(deadline, Timer::Decision(deferred.slot()));
                    Reply::Awaited(deferred, timer)
                }
            },
        };
        let verdict = match &reply {
            Reply::Given(verdict) => Some(verdict.clone()),
            Reply::Awaited(..) => None,
        };
        pending.decisions.replies.push(reply);
        verdict
    }

    /// Has the host look at a message; `None`: it is dropped.
    pub(crate) fn look(&self, turn: &mut Turn, mut edit: Edit<'_>) -> Option<Changes> {
        let host = self.host.as_deref()?;
        match self.call(turn, "on_publish", || host.on_publish(&mut edit)) {
            Some(Passage::Pass) => Some(edit.into_changes()),
            Some(Passage::Drop) | None => None,
        }
    }

    /// Calls a hook; `None` if it panics. What it was to decide is denied then.
    fn call<T>(&self, turn: &mut Turn, name: &str, hook: impl FnOnce() -> T) -> Option<T> {
        let outcome = survive(hook);
        if outcome.is_none() {
            turn.counts.hooks_failed += 1;
            self.log(turn, Level::Error, None, || format!("the hook {name} has panicked, which denies"));
        }
        outcome
    }

    /// Whether a client is let in [MQTT-3.1.4-2], [MQTT3-3.1.4-1]: as far as its CONNECT shows who it is, and as its
    /// Will is allowed.
    pub(crate) fn ask_to_connect(
        &self,
        turn: &mut Turn,
        pending: &mut DecisionContext<'_>,
        origin: &Origin,
        connect: &Connect<'_>,
    ) -> Result<Handled, DecodeError> {
        let mut nth = 0;
        if self.wanted.authenticate {
            let request = ConnectRequest {
                connection: origin.number,
                client_id: connect.client_id,
                username: connect.username,
                password: connect.password,
                address: origin.peer,
                listener: origin.listener.as_deref(),
                version: connect.version,
                clean_start: connect.clean_start,
                keep_alive: connect.keep_alive,
                auth_method: None,
                auth_data: None,
                auth_step: 0,
                reauthenticates: false,
            };
            let Some(verdict) =
                self.ask(turn, pending, nth, "authenticate", |host| host.authenticate(&request))
            else {
                return Ok(Handled::Suspended);
            };
            if let Some(reason) = denied(&verdict, ReasonCode::BadUserNameOrPassword, connack_has) {
                return Err(DecodeError::new(reason, "the host has not let the client in"));
            }
            nth += 1;
        }
        self.ask_about_will(turn, pending, nth, origin, connect)
    }

    /// Whether a client may have its Will; the question is the packet's `nth`.
    pub(crate) fn ask_about_will(
        &self,
        turn: &mut Turn,
        pending: &mut DecisionContext<'_>,
        nth: usize,
        origin: &Origin,
        connect: &Connect<'_>,
    ) -> Result<Handled, DecodeError> {
        if let Some(will) = connect.will.as_ref().filter(|_| self.wanted.authorize) {
            let request = AccessRequest {
                client_id: connect.client_id,
                username: connect.username,
                address: origin.peer,
                action: Action::Publish,
                topic: will.topic.as_str(),
                qos: will.qos,
                retain: will.retain,
                is_will: true,
            };
            let Some(verdict) = self.ask(turn, pending, nth, "authorize", |host| host.authorize(&request))
            else {
                return Ok(Handled::Suspended);
            };
            if let Some(reason) = denied(&verdict, ReasonCode::NotAuthorized, connack_has) {
                return Err(DecodeError::new(reason, "the client may not publish its will"));
            }
        }
        Ok(Handled::Done)
    }

    /// Who a connection's client is, for requests.
    pub(crate) fn who(&self, attached: &AttachedConnection) -> Who {
        let control = attached.session.control.lock();
        let connected = control.connected.as_deref();
        Who {
            username: connected.and_then(|connected| connected.username.clone()),
            address: connected.and_then(|connected| connected.peer),
        }
    }
}

/// Who a client is, apart from its Client Identifier.
pub(crate) struct Who {
    pub username: Option<Arc<str>>,
    pub address: Option<SocketAddr>,
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
