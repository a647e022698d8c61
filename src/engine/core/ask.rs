//! Asks the authorities about each stage of a packet; each answers at once or later.

use std::ops::Range;
use std::sync::Arc;

use crate::codec::connect::Connect;
use crate::codec::error::DecodeError;
use crate::codec::reason::ReasonCode;
use crate::engine::access::authority::{Authority, Ruling, TakeOverRequest};
use crate::engine::access::chain::{Request, Stage};
use crate::engine::access::edit::{Changes, Edit};
use crate::engine::access::hooks::{AccessRequest, Action, ConnectRequest, Passage, Verdict};
use crate::engine::access::pending_decisions::{
    DecisionContext, PendingDecisions, Ruled, Standing, connack_has, denied,
};
use crate::engine::core::state::Engine;
use crate::engine::core::timers::Timer;
use crate::engine::core::turn::Turn;
use crate::engine::observe::event_queue::survive;
use crate::engine::parts::attached::{AttachedConnection, Handled};
use crate::engine::parts::origin::Origin;
use crate::message::HostBuffers;
use crate::session::event::Level;
use crate::session::peer::Peer;
use crate::time::TimerId;

impl Engine {
    /// Ends the handling of a packet: the next one begins without decisions.
    pub(crate) fn answered(&self, pending: &mut DecisionContext<'_>) {
        pending.again = false;
        if !pending.decisions.is_empty() {
            self.forget(pending.decisions);
        }
    }

    /// Forgets all decisions, and cancels the deadlines of those that are awaited.
    pub(crate) fn forget(&self, decisions: &mut PendingDecisions) {
        decisions.forget().for_each(|deadline| self.timers.cancel(deadline));
    }

    /// Asks the authorities about one stage of a packet, in order, until one does not abstain. `None` if the decision
    /// is made later.
    pub(crate) fn ask(
        &self,
        turn: &mut Turn,
        pending: &mut DecisionContext<'_>,
        stage: Stage,
        request: Request<'_>,
    ) -> Option<Verdict> {
        self.ask_among(turn, pending, stage, request, 0..usize::MAX).map(|ruled| ruled.verdict)
    }

    /// As [`Engine::ask`], among the authorities at these positions of the chain.
    pub(crate) fn ask_among(
        &self,
        turn: &mut Turn,
        pending: &mut DecisionContext<'_>,
        stage: Stage,
        request: Request<'_>,
        places: Range<usize>,
    ) -> Option<Ruled> {
        let mut from = match pending.decisions.standing(stage) {
            Standing::Awaited => return None,
            Standing::Decided(ruled) => return Some(ruled),
            Standing::AskFrom(at) => at.max(places.start),
        };
        while let Some((at, authority)) = self.authorities.next(from, request)
            && places.contains(&at)
        {
            from = at + 1;
            let verdict = match self.ask_one(turn, &**authority, request) {
                Ruling::Abstain => None,
                Ruling::Now(verdict) => Some(verdict),
                Ruling::Later(deferred) => {
                    deferred.wake(pending.link);
                    match deferred.outcome() {
                        Some(outcome) => outcome,
                        None => {
                            let deadline = turn.now.plus(self.options.hooks_deadline);
                            let timer = Timer::Decision { slot: deferred.slot(), due: deadline };
                            let timer = self.timers.insert(deadline, timer);
                            self.cancel(pending.decisions.awaited(stage, at, deferred, timer));
                            return None;
                        }
                    }
                }
            };
            if let Some(verdict) = verdict {
                return Some(self.keep(pending, stage, Ruled { verdict, by: Some(at) }));
            }
        }
        let verdict = self.authorities.verdict_of_none(request);
        Some(self.keep(pending, stage, Ruled { verdict, by: None }))
    }

    fn keep(&self, pending: &mut DecisionContext<'_>, stage: Stage, ruled: Ruled) -> Ruled {
        self.cancel(pending.decisions.decided(stage, ruled.clone()));
        ruled
    }

    fn cancel(&self, deadline: Option<TimerId>) {
        deadline.into_iter().for_each(|deadline| self.timers.cancel(deadline));
    }

    /// Asks one authority. A panic denies.
    fn ask_one(&self, turn: &mut Turn, authority: &dyn Authority, request: Request<'_>) -> Ruling {
        let ruling = self.call(turn, authority.name(), request.method(), || request.ask(authority));
        ruling.unwrap_or(Ruling::Now(Verdict::Deny))
    }

    /// Passes a message to the host's `on_publish`; `None` if it is dropped.
    pub(crate) fn look(&self, turn: &mut Turn, mut edit: Edit<'_>) -> Option<Changes> {
        let host = self.host.as_deref()?;
        match self.call(turn, "hook", "on_publish", || host.on_publish(&mut edit)) {
            Some(Passage::Pass) => Some(edit.into_changes()),
            Some(Passage::Drop) | None => None,
        }
    }

    /// Calls a method of an authority or of the host; `None` if it panics, which denies.
    fn call<T>(&self, turn: &mut Turn, name: &str, method: &str, call: impl FnOnce() -> T) -> Option<T> {
        let outcome = HostBuffers::outside(|| survive(call));
        if outcome.is_none() {
            turn.counts.hooks_failed += 1;
            self.log(turn, Level::Error, None, || format!("the {name} {method} has panicked, which denies"));
        }
        outcome
    }

    /// Asks whether a client may connect [MQTT-3.1.4-2], [MQTT3-3.1.4-1]: about its credentials in CONNECT, and about
    /// its Will.
    pub(crate) fn ask_to_connect(
        &self,
        turn: &mut Turn,
        pending: &mut DecisionContext<'_>,
        origin: &Origin,
        connect: &Connect<'_>,
    ) -> Result<Handled, DecodeError> {
        if self.wanted.authenticate {
            let request = ConnectRequest {
                connection: origin.number,
                client_id: connect.client_id,
                username: connect.username,
                password: connect.password,
                address: origin.peer,
                listener: origin.listener().map(AsRef::as_ref),
                tls: origin.tls().map(AsRef::as_ref),
                version: connect.version,
                clean_start: connect.clean_start,
                keep_alive: connect.keep_alive,
                auth_method: None,
                auth_data: None,
                auth_step: 0,
                reauthenticates: false,
            };
            let stage = Stage::Authenticate { step: 0 };
            let Some(verdict) = self.ask(turn, pending, stage, Request::Authenticate(&request)) else {
                return Ok(Handled::Suspended);
            };
            if let Some(reason) = denied(&verdict, ReasonCode::BadUserNameOrPassword, connack_has) {
                return Err(DecodeError::new(reason, "the authentication has failed"));
            }
        }
        self.ask_about_will(turn, pending, origin, connect)
    }

    /// Asks whether a client may publish its Will.
    pub(crate) fn ask_about_will(
        &self,
        turn: &mut Turn,
        pending: &mut DecisionContext<'_>,
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
            let Some(verdict) = self.ask(turn, pending, Stage::Will, Request::Authorize(&request)) else {
                return Ok(Handled::Suspended);
            };
            if let Some(reason) = denied(&verdict, ReasonCode::NotAuthorized, connack_has) {
                return Err(DecodeError::new(reason, "the client may not publish its will"));
            }
        }
        Ok(Handled::Done)
    }

    /// Asks whether a client may end the other connection with its Client Identifier, if there is one and an authority
    /// answers that. `None` if the decision is made later; else the number of the connection that may end. No lock is
    /// held meanwhile, so another connection may have replaced it when this returns.
    pub(crate) fn ask_to_take_over(
        &self,
        turn: &mut Turn,
        pending: &mut DecisionContext<'_>,
        origin: &Origin,
        connect: &Connect<'_>,
    ) -> Result<Option<Option<u64>>, DecodeError> {
        if !self.wanted.take_over {
            return Ok(Some(None));
        }
        let Some(session) = self.sessions.get(connect.client_id) else {
            return Ok(Some(None));
        };
        let present = session.control.lock().connected.as_deref().map(|other| (other.number, other.peer));
        let Some((present, present_address)) = present else {
            return Ok(Some(None));
        };
        let request = TakeOverRequest {
            client_id: connect.client_id,
            username: connect.username,
            connection: origin.number,
            address: origin.peer,
            clean_start: connect.clean_start,
            present,
            present_address,
        };
        let stage = Stage::TakeOver { present };
        let Some(verdict) = self.ask(turn, pending, stage, Request::TakeOver(&request)) else {
            return Ok(None);
        };
        match denied(&verdict, ReasonCode::NotAuthorized, connack_has) {
            None => Ok(Some(Some(present))),
            Some(reason) => {
                Err(DecodeError::new(reason, "the client's other connection may not be taken over"))
            }
        }
    }

    /// The User Name and the address of a connection's client, for requests.
    pub(crate) fn who(&self, attached: &AttachedConnection) -> Who {
        let control = attached.session.control.lock();
        let connected = control.connected.as_deref();
        Who {
            username: connected.and_then(|connected| connected.username.clone()),
            address: connected.and_then(|connected| connected.peer),
        }
    }
}

/// The User Name and the address of a client.
pub(crate) struct Who {
    pub username: Option<Arc<str>>,
    pub address: Option<Peer>,
}
