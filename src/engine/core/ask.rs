//! The host is asked: what one packet raises, answered at once or later.

use std::net::SocketAddr;
use std::sync::Arc;

use crate::codec::connect::Connect;
use crate::codec::error::DecodeError;
use crate::codec::reason::ReasonCode;
use crate::engine::access::edit::{Changes, Edit};
use crate::engine::access::hooks::{AccessRequest, Action, Answer, ConnectRequest, Host, Passage, Verdict};
use crate::engine::access::pending_decisions::{
    DecisionContext, PendingDecisions, Reply, connack_has, denied,
};
use crate::engine::core::state::Engine;
use crate::engine::core::timers::Timer;
use crate::engine::core::turn::Turn;
use crate::engine::observe::event_queue::survive;
use crate::engine::parts::attached::{AttachedConnection, Handled};
use crate::engine::parts::origin::Origin;
use crate::session::event::Level;

impl Engine {
    /// A packet is done; the next one begins without an answer.
    pub(crate) fn answered(&self, pending: &mut DecisionContext<'_>) {
        pending.again = false;
        if !pending.decisions.is_empty() {
            self.forget(pending.decisions);
        }
    }

    /// Forgets what was asked, and what is awaited.
    pub(crate) fn forget(&self, decisions: &mut PendingDecisions) {
        decisions.forget().for_each(|deadline| self.timers.cancel(deadline));
    }

    /// The answer to a packet's `nth` question; `None` if it comes later.
    pub(crate) fn ask(
        &self,
        turn: &mut Turn,
        pending: &mut DecisionContext<'_>,
        nth: usize,
        hook: &str,
        question: impl FnOnce(&dyn Host) -> Answer,
    ) -> Option<Verdict> {
        if let Some(answer) = pending.decisions.answer(nth) {
            return answer;
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
        let verdict = reply.verdict();
        pending.decisions.keep(reply);
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
