//! Hooks: the decisions of the host program, and the events that it is told.

use std::sync::{Arc, Weak};

use crate::codec::qos::QoS;
use crate::codec::reason::ReasonCode;
use crate::codec::version::Version;
use crate::engine::access::edit::Edit;
use crate::locks::Mutex;
use crate::session::event::{Event, Level};
use crate::session::identity::TlsIdentity;
use crate::session::link::Link;
use crate::session::peer::Peer;

/// The host program as the engine sees it.
///
/// The methods are called from any thread, including threads of the host that publish, with no lock of the broker
/// held. Each may publish, subscribe, and end connections. While a method decides, the connection and its thread wait:
/// it must not block, but may [defer] its answer. A panic denies.
pub trait Host: Send + Sync {
    /// The methods that it implements. Called when the engine is made; the other methods are never called and cost
    /// nothing.
    fn wanted(&self) -> Wanted;

    /// Whether a client may connect, by the credentials in its CONNECT. Called before anything is done for the client.
    /// With enhanced authentication it is called again for each AUTH.
    fn authenticate(&self, _request: &ConnectRequest<'_>) -> Answer {
        Answer::ALLOW
    }

    /// Whether a client may publish to a topic, or subscribe to a filter. For a Will it is called at CONNECT.
    fn authorize(&self, _request: &AccessRequest<'_>) -> Answer {
        Answer::ALLOW
    }

    /// Called with each client's message before it is published; it may change the message. Not called for messages of
    /// the host.
    fn on_publish(&self, _edit: &mut Edit<'_>) -> Passage {
        Passage::Pass
    }

    /// Called with each event, one after the other.
    fn tell(&self, _notice: &Event) {}
}

/// The hooks that are set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "each field is the hook or the notice of its name")]
pub struct Wanted {
    pub authenticate: bool,
    pub authorize: bool,
    pub on_publish: bool,
    pub connected: bool,
    pub disconnected: bool,
    pub subscribed: bool,
    pub unsubscribed: bool,
    pub delivered: bool,
    pub dropped: bool,
    /// The least severe level that is logged; `None` logs nothing.
    pub log: Option<Level>,
}

/// The request of a client to connect.
#[derive(Clone, Copy)]
#[non_exhaustive]
pub struct ConnectRequest<'r> {
    /// The number of the connection, unique in this broker.
    pub connection: u64,
    /// The Client Identifier; empty if the broker assigns one.
    pub client_id: &'r str,
    /// The User Name.
    pub username: Option<&'r str>,
    /// The Password.
    pub password: Option<&'r [u8]>,
    /// The peer's address, if it came over a network.
    pub address: Option<Peer>,
    /// The name of the listener that accepted the connection.
    pub listener: Option<&'r str>,
    /// What the handshake of TLS has shown, such as the client's certificate; `None` without TLS.
    pub tls: Option<&'r TlsIdentity>,
    /// The protocol version.
    pub version: Version,
    /// Clean Start, or Clean Session.
    pub clean_start: bool,
    /// The Keep Alive that it requests, in seconds; 0 for none.
    pub keep_alive: u16,
    /// The method of enhanced authentication (MQTT 5), if the client uses one. The answer is then
    /// [`Verdict::Continue`],
    /// [`Verdict::AllowWith`] or a denial, with 0x8C, Bad authentication method, if the method is unknown.
    pub auth_method: Option<&'r str>,
    /// The Authentication Data of CONNECT or AUTH.
    pub auth_data: Option<&'r [u8]>,
    /// The number of [`Verdict::Continue`] answers in this exchange so far.
    pub auth_step: u32,
    /// Whether the connected client authenticates again; `password` is then `None`.
    pub reauthenticates: bool,
}

/// Omits the password and the authentication data.
impl std::fmt::Debug for ConnectRequest<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ConnectRequest")
            .field("connection", &self.connection)
            .field("client_id", &self.client_id)
            .field("username", &self.username)
            .field("address", &self.address)
            .field("auth_method", &self.auth_method)
            .finish_non_exhaustive()
    }
}

/// The action of a client on a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Publish to it.
    Publish,
    /// Subscribe to it.
    Subscribe,
}

/// The request of a client to publish or to subscribe.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct AccessRequest<'r> {
    /// The Client Identifier; empty with a Will at CONNECT if the broker assigns the identifier.
    pub client_id: &'r str,
    /// The User Name of its CONNECT.
    pub username: Option<&'r str>,
    /// The peer's address, if it came over a network.
    pub address: Option<Peer>,
    /// The requested action.
    pub action: Action,
    /// The Topic Name to publish to, or the Topic Filter to subscribe to, `$share/...` included.
    pub topic: &'r str,
    /// The QoS of the message, or the requested maximum QoS.
    pub qos: QoS,
    /// The RETAIN flag of the message.
    pub retain: bool,
    /// Whether it is the Will of a CONNECT.
    pub is_will: bool,
}

/// The decision of a hook.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verdict {
    /// Allow.
    Allow,
    /// Allow, with the last Authentication Data of an enhanced authentication; empty sends none. It must not be longer
    /// than 65,535 bytes. For other requests the same as `Allow`.
    ///
    /// A client with an authentication method is accepted by this verdict only. `Allow` refuses it with 0x8C, Bad
    /// authentication method, so that a hook that checks only passwords does not accept it unchecked.
    AllowWith(Vec<u8>),
    /// Continue: the client is sent this Authentication Data, at most 65,535 bytes, and the hook is called again with
    /// the client's answer. Denies requests other than enhanced authentication.
    Continue(Vec<u8>),
    /// Deny with the usual reason: 0x86 Bad User Name or Password for CONNECT; 0x87 Not authorized for an action and
    /// for enhanced authentication.
    Deny,
    /// Deny with this reason. The usual reason replaces one that is no error, or that the packet to the client cannot
    /// carry.
    DenyWith(ReasonCode),
}

/// The decision of the host about a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Passage {
    /// It is published with the changes.
    Pass,
    /// It is dropped and counted. The client is acknowledged as if it had been published.
    Drop,
}

/// The answer of a hook.
#[derive(Debug)]
pub enum Answer {
    /// It has decided.
    Now(Verdict),
    /// The holder of the [`Decision`] decides later. The client's packets wait until then, in order.
    Later(Deferred),
}

impl Answer {
    /// Allow, now.
    pub const ALLOW: Answer = Answer::Now(Verdict::Allow);
}

impl From<Verdict> for Answer {
    fn from(verdict: Verdict) -> Answer {
        Answer::Now(verdict)
    }
}

impl From<Deferred> for Answer {
    fn from(deferred: Deferred) -> Answer {
        Answer::Later(deferred)
    }
}

/// A deferred decision: the first half is for the code that decides, the second is the hook's answer.
pub fn defer() -> (Decision, Deferred) {
    defer_in(|| 0)
}

/// As [`defer`]. `process` tells this process from its forks; in one of those the decision is of no use, and left alone.
pub fn defer_in(process: fn() -> u32) -> (Decision, Deferred) {
    let state = Mutex::new(DecisionState::Open(None));
    let slot = Arc::new(DecisionSlot { state, process, made_in: process() });
    (Decision(Arc::clone(&slot)), Deferred(slot))
}

/// The right to decide, once, from any thread. Dropping it denies, and so does the deadline `hooks.deadline`.
#[derive(Debug)]
#[must_use = "dropping it denies"]
pub struct Decision(Arc<DecisionSlot>);

impl Decision {
    /// Decides. False if it is too late: the deadline has passed, or the connection is gone; and in a forked child.
    pub fn resolve(self, verdict: Verdict) -> bool {
        self.0.decide(Some(verdict))
    }

    /// Abstains: the next authority of the chain is asked. Returns the same as [`Decision::resolve`].
    pub(crate) fn abstain(self) -> bool {
        self.0.decide(None)
    }
}

impl Drop for Decision {
    fn drop(&mut self) {
        self.0.decide(Some(Verdict::Deny));
    }
}

/// The answer of a hook that decides later.
#[derive(Debug)]
#[must_use = "the hook returns it, so that the broker waits for the decision"]
pub struct Deferred(Arc<DecisionSlot>);

impl Deferred {
    /// Wakes `link` when the decision is made.
    pub(crate) fn wake(&self, link: &Arc<dyn Link>) {
        let mut state = self.0.state.lock();
        if let DecisionState::Open(waiting) = &mut *state {
            *waiting = Some(Arc::downgrade(link));
        }
    }

    /// The decision, if it was made: a verdict, or `None` if the authority abstains.
    pub(crate) fn outcome(&self) -> Option<Option<Verdict>> {
        match &*self.0.state.lock() {
            DecisionState::Decided(outcome) => Some(outcome.clone()),
            DecisionState::Open(_) | DecisionState::Closed => None,
        }
    }

    /// Whether the decision was made.
    pub(crate) fn is_decided(&self) -> bool {
        matches!(&*self.0.state.lock(), DecisionState::Decided(_))
    }

    /// The slot, for the timer of the deadline.
    pub(crate) fn slot(&self) -> Weak<DecisionSlot> {
        Arc::downgrade(&self.0)
    }
}

impl Drop for Deferred {
    fn drop(&mut self) {
        if !self.0.is_forked() {
            *self.0.state.lock() = DecisionState::Closed;
        }
    }
}

/// The shared state of a [`Decision`] and its [`Deferred`].
#[derive(Debug)]
pub struct DecisionSlot {
    state: Mutex<DecisionState>,
    process: fn() -> u32,
    /// The process in which it was made.
    made_in: u32,
}

enum DecisionState {
    /// Not decided; holds the waiting connection.
    Open(Option<Weak<dyn Link>>),
    /// Decided; `None` if the authority abstains.
    Decided(Option<Verdict>),
    /// Nothing waits for it any more.
    Closed,
}

impl DecisionSlot {
    /// Whether this is a fork of the process: its lock may be held by a thread that is not here, and so may those of the
    /// connection that waits.
    fn is_forked(&self) -> bool {
        (self.process)() != self.made_in
    }

    /// Whether it is not decided, and something waits for it.
    pub(crate) fn is_open(&self) -> bool {
        matches!(&*self.state.lock(), DecisionState::Open(_))
    }

    /// Decides, if it is open; `None` abstains. Returns whether it was open.
    pub(crate) fn decide(&self, outcome: Option<Verdict>) -> bool {
        if self.is_forked() {
            return false;
        }
        let mut state = self.state.lock();
        let DecisionState::Open(link) = &mut *state else {
            return false;
        };
        let link = link.take();
        *state = DecisionState::Decided(outcome);
        drop(state);
        if let Some(link) = link.and_then(|link| link.upgrade()) {
            link.wake();
        }
        true
    }
}

impl std::fmt::Debug for DecisionState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            DecisionState::Open(_) => "Open",
            DecisionState::Decided(_) => "Decided",
            DecisionState::Closed => "Closed",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{Verdict, defer};

    #[test]
    fn a_decision_is_made_once_and_dropped_unused_it_denies() {
        let (decision, deferred) = defer();
        assert_eq!(deferred.outcome(), None);
        assert!(decision.resolve(Verdict::Allow));
        assert_eq!(deferred.outcome(), Some(Some(Verdict::Allow)));
        let (decision, deferred) = defer();
        drop(decision);
        assert_eq!(deferred.outcome(), Some(Some(Verdict::Deny)));
        let (decision, deferred) = defer();
        assert!(decision.abstain() && deferred.is_decided());
        assert_eq!(deferred.outcome(), Some(None));
        let (decision, deferred) = defer();
        drop(deferred);
        assert!(!decision.resolve(Verdict::Allow));
    }
}
