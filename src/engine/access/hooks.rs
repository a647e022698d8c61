//! Hooks: what the host program decides for the broker, and what it is told.

use std::net::SocketAddr;
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use crate::codec::qos::QoS;
use crate::codec::reason::ReasonCode;
use crate::codec::version::Version;
use crate::engine::access::edit::Edit;
use crate::session::event::{Event, Level};
use crate::session::link::Link;

/// The host program as the engine sees it.
///
/// The methods are called from any thread, also from one of the host that publishes, and with no lock of the broker
/// held: each may publish, subscribe, and end connections. While a decision is made, the connection that it is about
/// waits, and with it the thread: a method must not block, but may [defer] its answer. A
/// panic is a denial.
pub trait Host: Send + Sync {
    /// Which methods are of use. Asked when the engine is made; the others are never called and cost nothing.
    fn wanted(&self) -> Wanted;

    /// Whether a client is let in, as far as its CONNECT shows who it is; called before anything is done for it. With
    /// enhanced authentication it is called again for each AUTH.
    fn authenticate(&self, _request: &ConnectRequest<'_>) -> Answer {
        Answer::ALLOW
    }

    /// Whether a client may publish to a topic, or subscribe to a filter. A Will is asked about with its CONNECT.
    fn authorize(&self, _request: &AccessRequest<'_>) -> Answer {
        Answer::ALLOW
    }

    /// Looks at a client's message before it is published, and may change it. The host's own messages pass without.
    fn on_publish(&self, _edit: &mut Edit<'_>) -> Passage {
        Passage::Pass
    }

    /// Something has happened. Called for one notice after the other.
    fn tell(&self, _notice: &Event) {}
}

/// Which hooks there are.
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
    /// The least that is logged; `None`: nothing.
    pub log: Option<Level>,
}

/// A client that wants to be let in.
#[derive(Clone, Copy)]
pub struct ConnectRequest<'r> {
    /// The number of the connection, which no other connection of this broker has.
    pub connection: u64,
    /// The Client Identifier; empty if the client leaves the choice to the broker.
    pub client_id: &'r str,
    /// The User Name.
    pub username: Option<&'r str>,
    /// The Password.
    pub password: Option<&'r [u8]>,
    /// The peer's address, if it came over a network.
    pub address: Option<SocketAddr>,
    /// The name of the listener that it came by.
    pub listener: Option<&'r str>,
    /// The protocol version.
    pub version: Version,
    /// Clean Start, or Clean Session.
    pub clean_start: bool,
    /// The Keep Alive that it asks for, in seconds; 0 is none.
    pub keep_alive: u16,
    /// The method of enhanced authentication that it wants to use (MQTT 5), if it does: then the answer is
    /// [`Verdict::Continue`], [`Verdict::AllowWith`] or a denial; 0x8C, Bad authentication method, if the method is not
    /// known.
    pub auth_method: Option<&'r str>,
    /// What it says by the method, with CONNECT or AUTH.
    pub auth_data: Option<&'r [u8]>,
    /// How often it was answered by [`Verdict::Continue`] in this exchange.
    pub auth_step: u32,
    /// Whether it has been let in and authenticates again; then `password` is `None`.
    pub reauthenticates: bool,
}

/// Without the password and the authentication data.
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

/// What a client wants to do with a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// To publish to it.
    Publish,
    /// To subscribe to it.
    Subscribe,
}

/// A client that wants to publish or to subscribe.
#[derive(Clone, Copy, Debug)]
pub struct AccessRequest<'r> {
    /// The Client Identifier; empty with a Will whose client leaves the choice to the broker.
    pub client_id: &'r str,
    /// The User Name of its CONNECT.
    pub username: Option<&'r str>,
    /// The peer's address, if it came over a network.
    pub address: Option<SocketAddr>,
    /// What it wants to do.
    pub action: Action,
    /// The Topic Name to publish to, or the Topic Filter, `$share/...` included, to subscribe to.
    pub topic: &'r str,
    /// The QoS of the message, or the highest one that is asked for.
    pub qos: QoS,
    /// Whether the message is to be retained.
    pub retain: bool,
    /// Whether it is the Will of a CONNECT.
    pub is_will: bool,
}

/// What a hook decides.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verdict {
    /// Yes.
    Allow,
    /// Yes, and this is the last that an enhanced authentication has to say to the client; empty is nothing. It must not
    /// be longer than 65,535 bytes. In answer to anything else the same as `Allow`.
    ///
    /// A client that wants to authenticate by a method is let in by this alone: `Allow` refuses it with 0x8C, Bad
    /// authentication method, so that a hook that knows passwords only does not let it in unseen.
    AllowWith(Vec<u8>),
    /// Not yet: the client is to answer this, at most 65,535 bytes, and the hook is called again with what it says. In
    /// answer to anything but an enhanced authentication a denial.
    Continue(Vec<u8>),
    /// No, for the usual reason: 0x86 Bad User Name or Password for who wants to be let in, 0x87 Not authorized for what
    /// it wants to do, and for enhanced authentication.
    Deny,
    /// No, for this reason; one that is no error, or that the answer to the client cannot carry, is the usual one.
    DenyWith(ReasonCode),
}

/// What becomes of a message that the host has looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Passage {
    /// It is published, as it was changed.
    Pass,
    /// It is dropped and counted. The client is acknowledged as if it had been published.
    Drop,
}

/// The answer of a hook.
#[derive(Debug)]
pub enum Answer {
    /// It has decided.
    Now(Verdict),
    /// Whoever holds the [`Decision`] decides later. The client's packets wait until then, in their order.
    Later(Deferred),
}

impl Answer {
    /// Yes, now.
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

/// A decision that is made later: the first half is for who decides, the other one is the hook's answer.
pub fn defer() -> (Decision, Deferred) {
    let slot = Arc::new(DecisionSlot { state: Mutex::new(DecisionState::Open(None)) });
    (Decision(Arc::clone(&slot)), Deferred(slot))
}

/// The right to decide, once, from any thread. Dropped unused it denies, as does silence beyond `hooks.deadline`.
#[derive(Debug)]
pub struct Decision(Arc<DecisionSlot>);

impl Decision {
    /// Decides. False if that is of no use any more: the deadline has passed, or the connection is gone.
    pub fn resolve(self, verdict: Verdict) -> bool {
        self.0.decide(Some(verdict))
    }

    /// Abstains: the next authority of the chain is asked. The result is that of [`Decision::resolve`].
    pub(crate) fn abstain(self) -> bool {
        self.0.decide(None)
    }
}

impl Drop for Decision {
    fn drop(&mut self) {
        self.0.decide(Some(Verdict::Deny));
    }
}

/// The answer "later".
#[derive(Debug)]
pub struct Deferred(Arc<DecisionSlot>);

impl Deferred {
    /// Wakes `link` when the decision is made.
    pub(crate) fn wake(&self, link: &Arc<dyn Link>) {
        let mut state = self.0.state.lock();
        if let DecisionState::Open(waiting) = &mut *state {
            *waiting = Some(Arc::downgrade(link));
        }
    }

    /// What was decided, if it is: a verdict, or `None` if the authority abstains.
    pub(crate) fn outcome(&self) -> Option<Option<Verdict>> {
        match &*self.0.state.lock() {
            DecisionState::Decided(outcome) => Some(outcome.clone()),
            DecisionState::Open(_) | DecisionState::Closed => None,
        }
    }

    /// Whether it is decided.
    pub(crate) fn is_decided(&self) -> bool {
        matches!(&*self.0.state.lock(), DecisionState::Decided(_))
    }

    /// What the timer of the deadline holds.
    pub(crate) fn slot(&self) -> Weak<DecisionSlot> {
        Arc::downgrade(&self.0)
    }
}

impl Drop for Deferred {
    fn drop(&mut self) {
        *self.0.state.lock() = DecisionState::Closed;
    }
}

/// Where a decision meets who waits for it.
#[derive(Debug)]
pub struct DecisionSlot {
    state: Mutex<DecisionState>,
}

enum DecisionState {
    /// Nobody has decided; the connection that waits.
    Open(Option<Weak<dyn Link>>),
    /// `None`: the authority abstains.
    Decided(Option<Verdict>),
    /// Nobody waits any more.
    Closed,
}

impl DecisionSlot {
    /// Decides, if nobody has and somebody waits; `None` abstains.
    pub(crate) fn decide(&self, outcome: Option<Verdict>) -> bool {
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
