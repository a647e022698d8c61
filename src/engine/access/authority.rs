//! Authorities, which allow, deny, abstain, or decide later. The host's hooks are one of them.

use std::sync::Arc;

use crate::engine::access::hooks::{
    AccessRequest, Answer, ConnectRequest, Decision, Deferred, Host, Verdict,
};
use crate::session::peer::Peer;

/// Decides what clients may do: accounts, an access list, a token, the host's hooks.
///
/// The methods are called from any thread, with no lock of the broker held. While one runs, the connection and its
/// thread wait: a method must not block, but may return [`Ruling::Later`]. A panic denies.
pub trait Authority: Send + Sync {
    /// Its name in the log: "the NAME authenticate has panicked, which denies".
    fn name(&self) -> &str;

    /// The methods that it implements. Called once, when the authority is added; the other methods are never called.
    fn questions(&self) -> Questions;

    /// Whether a client may connect, by the credentials in its CONNECT. With enhanced authentication, the authority
    /// that has returned [`Verdict::Continue`] is asked again for each AUTH; the others are not.
    fn authenticate(&self, _request: &ConnectRequest<'_>) -> Ruling {
        Ruling::Abstain
    }

    /// Whether a client may publish to a topic, or subscribe to a filter. For a Will it is called at CONNECT.
    fn authorize(&self, _request: &AccessRequest<'_>) -> Ruling {
        Ruling::Abstain
    }

    /// Whether [`authorize`](Authority::authorize) answers at once and by the client, the action and the topic alone.
    ///
    /// It is then asked with locks of the broker held, so that it must call nothing of the broker, and once for
    /// consecutive messages to one topic. An answer for later denies.
    fn is_prompt(&self) -> bool {
        false
    }

    /// Why [`authorize`](Authority::authorize) answers as it does, such as the line of a file. Asked of an authority that
    /// answers at once, for logs and explanations.
    fn why(&self, _request: &AccessRequest<'_>) -> Option<String> {
        None
    }

    /// Whether a client may receive messages of a topic; `None` if it does not decide. Asked at each delivery, with locks
    /// of the broker held: it answers at once and calls nothing of the broker. The answer is remembered until
    /// [the rights change](crate::engine::core::state::Engine::rights_changed).
    fn receive(&self, _request: &ReceiveRequest<'_>) -> Option<bool> {
        None
    }

    /// Why and how often it has refused, for metrics; empty if the broker counts its refusals.
    fn refusals(&self) -> Vec<(&'static str, u64)> {
        Vec::new()
    }

    /// Whether an authenticated client may end the other connection with its Client Identifier.
    fn take_over(&self, _request: &TakeOverRequest<'_>) -> Ruling {
        Ruling::Abstain
    }
}

/// The questions that an authority answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "each field is the method of its name")]
pub struct Questions {
    pub authenticate: bool,
    pub authorize: bool,
    pub take_over: bool,
    pub receive: bool,
    /// Whether clients' messages may be changed. Only the host does that.
    pub on_publish: bool,
}

impl Questions {
    /// The union of two sets of questions.
    pub(crate) fn or(self, other: Questions) -> Questions {
        Questions {
            authenticate: self.authenticate || other.authenticate,
            authorize: self.authorize || other.authorize,
            take_over: self.take_over || other.take_over,
            receive: self.receive || other.receive,
            on_publish: self.on_publish || other.on_publish,
        }
    }

    /// Whether anything is asked about a client's message.
    pub(crate) fn asks_to_publish(self) -> bool {
        self.authorize || self.on_publish
    }

    /// Whether anything is asked about a CONNECT.
    pub(crate) fn asks_to_connect(self) -> bool {
        self.authenticate || self.authorize || self.take_over
    }
}

/// The answer of one authority.
#[derive(Debug)]
pub enum Ruling {
    /// It does not decide: the next authority is asked.
    Abstain,
    /// It has decided; no other authority is asked.
    Now(Verdict),
    /// The holder of the [`Decision`] decides later, or [abstains](abstain). The client's packets wait, in order.
    Later(Deferred),
}

impl From<Verdict> for Ruling {
    fn from(verdict: Verdict) -> Ruling {
        Ruling::Now(verdict)
    }
}

impl From<Answer> for Ruling {
    fn from(answer: Answer) -> Ruling {
        match answer {
            Answer::Now(verdict) => Ruling::Now(verdict),
            Answer::Later(deferred) => Ruling::Later(deferred),
        }
    }
}

/// Abstains in a deferred decision: the next authority is asked. False if the deadline has passed or the connection is
/// gone.
pub fn abstain(decision: Decision) -> bool {
    decision.abstain()
}

/// The request of an authenticated client to take over the connection with its Client Identifier.
#[derive(Clone, Copy, Debug)]
pub struct TakeOverRequest<'r> {
    /// The Client Identifier of both connections.
    pub client_id: &'r str,
    /// The User Name of the new connection.
    pub username: Option<&'r str>,
    /// The number of the new connection.
    pub connection: u64,
    /// The peer's address of the new connection; `None` without a network address.
    pub address: Option<Peer>,
    /// Whether the session would end as well: Clean Start, or Clean Session.
    pub clean_start: bool,
    /// The number of the connection that would end.
    pub present: u64,
    /// Its peer's address; `None` without a network address.
    pub present_address: Option<Peer>,
}

/// The delivery of a message to a client.
#[derive(Clone, Copy, Debug)]
pub struct ReceiveRequest<'r> {
    /// The Client Identifier.
    pub client_id: &'r str,
    /// The User Name of the attached or last connection.
    pub username: Option<&'r str>,
    /// The Topic Name.
    pub topic: &'r str,
}

/// The host's hooks as an authority. It abstains only where no hook is set.
pub(crate) struct HostAuthority(pub Arc<dyn Host>);

impl Authority for HostAuthority {
    fn name(&self) -> &str {
        "hook"
    }

    fn questions(&self) -> Questions {
        let wanted = self.0.wanted();
        Questions {
            authenticate: wanted.authenticate,
            authorize: wanted.authorize,
            take_over: false,
            receive: false,
            on_publish: wanted.on_publish,
        }
    }

    fn authenticate(&self, request: &ConnectRequest<'_>) -> Ruling {
        self.0.authenticate(request).into()
    }

    fn authorize(&self, request: &AccessRequest<'_>) -> Ruling {
        self.0.authorize(request).into()
    }
}
