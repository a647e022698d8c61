//! Authorities: each may allow, deny, abstain, or answer later. The host's hooks are one of them.

use std::net::SocketAddr;
use std::sync::Arc;

use crate::engine::access::hooks::{
    AccessRequest, Answer, ConnectRequest, Decision, Deferred, Host, Verdict,
};

/// Decides what clients may do: accounts, an access list, a token, the host's hooks.
///
/// The methods are called from any thread and with no lock of the broker held. While one runs, the connection that it is
/// about waits, and with it the thread: a method must not block, but may answer [`Ruling::Later`]. A panic denies.
pub trait Authority: Send + Sync {
    /// The name that the log gives it: "the NAME authenticate has panicked".
    fn name(&self) -> &str;

    /// Which methods have something to say. Read once, when the engine is made; the others are never called.
    fn questions(&self) -> Questions;

    /// Whether a client is let in, as far as its CONNECT shows who it is. With enhanced authentication the authority that
    /// has answered [`Verdict::Continue`] is asked again for each AUTH; the others are not.
    fn authenticate(&self, _request: &ConnectRequest<'_>) -> Ruling {
        Ruling::Abstain
    }

    /// Whether a client may publish to a topic, or subscribe to a filter. A Will is asked about with its CONNECT.
    fn authorize(&self, _request: &AccessRequest<'_>) -> Ruling {
        Ruling::Abstain
    }

    /// Whether a client that has been let in may end the other connection of its Client Identifier.
    fn take_over(&self, _request: &TakeOverRequest<'_>) -> Ruling {
        Ruling::Abstain
    }
}

/// The questions that somebody answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "each field is the method of its name")]
pub struct Questions {
    pub authenticate: bool,
    pub authorize: bool,
    pub take_over: bool,
    /// A client's message may be changed. Only the host does.
    pub on_publish: bool,
}

impl Questions {
    /// What either of two answers.
    pub(crate) fn or(self, other: Questions) -> Questions {
        Questions {
            authenticate: self.authenticate || other.authenticate,
            authorize: self.authorize || other.authorize,
            take_over: self.take_over || other.take_over,
            on_publish: self.on_publish || other.on_publish,
        }
    }

    /// Whether a client's message is asked about.
    pub(crate) fn asks_to_publish(self) -> bool {
        self.authorize || self.on_publish
    }

    /// Whether a CONNECT is asked about.
    pub(crate) fn asks_to_connect(self) -> bool {
        self.authenticate || self.authorize || self.take_over
    }
}

/// The answer of one authority.
#[derive(Debug)]
pub enum Ruling {
    /// It has nothing to say: the next one is asked.
    Abstain,
    /// It has decided, and no other is asked.
    Now(Verdict),
    /// The holder of the [`Decision`] decides later, or [abstains](abstain). The client's packets wait in their order.
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

/// Abstains after all: the next authority is asked. False if that is of no use any more.
pub fn abstain(decision: Decision) -> bool {
    decision.abstain()
}

/// A client that has been let in, and whose Client Identifier another connection has.
#[derive(Clone, Copy, Debug)]
pub struct TakeOverRequest<'r> {
    /// The Client Identifier of both.
    pub client_id: &'r str,
    /// The User Name of the newcomer.
    pub username: Option<&'r str>,
    /// The number of the new connection.
    pub connection: u64,
    /// The address of the newcomer, if it came over a network.
    pub address: Option<SocketAddr>,
    /// Whether the newcomer wants the session to end as well: Clean Start, or Clean Session.
    pub clean_start: bool,
    /// The number of the connection that would end.
    pub present: u64,
    /// The address of its peer, if it came over a network.
    pub present_address: Option<SocketAddr>,
}

/// The host's hooks as an authority. It abstains only where there is no hook.
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
