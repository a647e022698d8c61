//! The chain of authorities: they are asked in the order given, and the first that does not abstain decides.

use std::sync::Arc;

use crate::engine::access::authority::{Authority, Questions, Ruling, TakeOverRequest};
use crate::engine::access::hooks::{AccessRequest, ConnectRequest, Verdict};

/// What holds where every authority abstains.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AccessDefault {
    /// It is allowed, as in a broker without authorities.
    #[default]
    Allow,
    /// It is denied: clients that no authority lets in, and topics that none allows.
    Deny,
}

/// What a question is about: its place in the handling of one packet. The order is that of asking.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stage {
    /// Who a client is. `step`: how often the client was asked for more, in enhanced authentication.
    Authenticate { step: u32 },
    /// The Will of a CONNECT.
    Will,
    /// A client's message.
    Publish,
    /// The filter of a SUBSCRIBE that stands at `index`.
    Subscribe { index: u32 },
    /// The end of the client's other connection, which has the number `present`. An answer for one connection is none
    /// for another that has come meanwhile.
    TakeOver { present: u64 },
}

/// A question in full.
#[derive(Clone, Copy)]
pub(crate) enum Request<'r> {
    Authenticate(&'r ConnectRequest<'r>),
    Authorize(&'r AccessRequest<'r>),
    TakeOver(&'r TakeOverRequest<'r>),
}

impl Request<'_> {
    /// The name of the method that answers.
    pub(crate) fn method(self) -> &'static str {
        match self {
            Request::Authenticate(_) => "authenticate",
            Request::Authorize(_) => "authorize",
            Request::TakeOver(_) => "take_over",
        }
    }

    fn is_for(self, questions: Questions) -> bool {
        match self {
            Request::Authenticate(_) => questions.authenticate,
            Request::Authorize(_) => questions.authorize,
            Request::TakeOver(_) => questions.take_over,
        }
    }

    /// Asks one authority.
    pub(crate) fn ask(self, authority: &dyn Authority) -> Ruling {
        match self {
            Request::Authenticate(request) => authority.authenticate(request),
            Request::Authorize(request) => authority.authorize(request),
            Request::TakeOver(request) => authority.take_over(request),
        }
    }
}

/// The authorities, in the order in which they are asked.
#[derive(Default)]
pub(crate) struct Chain {
    links: Vec<ChainLink>,
    pub default: AccessDefault,
}

struct ChainLink {
    authority: Arc<dyn Authority>,
    questions: Questions,
}

impl Chain {
    /// Adds an authority, which is asked after those that are there.
    pub(crate) fn add(&mut self, authority: Arc<dyn Authority>) {
        let questions = authority.questions();
        self.links.push(ChainLink { authority, questions });
    }

    /// What the chain has something to say about. Nothing else is asked, and costs nothing.
    pub(crate) fn questions(&self) -> Questions {
        let denies = self.default == AccessDefault::Deny;
        let own = Questions { authenticate: denies, authorize: denies, ..Questions::default() };
        self.links.iter().fold(own, |all, link| all.or(link.questions))
    }

    /// The first authority from `from` on that answers such a request, and its place.
    pub(crate) fn next(&self, from: usize, request: Request<'_>) -> Option<(usize, &Arc<dyn Authority>)> {
        let mut links = self.links.iter().enumerate().skip(from);
        links.find(|(_, link)| request.is_for(link.questions)).map(|(at, link)| (at, &link.authority))
    }

    /// What holds if every authority abstains.
    pub(crate) fn verdict_of_none(&self, request: Request<'_>) -> Verdict {
        match (request, self.default) {
            // [MQTT-3.1.4-3], [MQTT3-3.1.4-2]: the newcomer takes over unless somebody objects.
            (Request::TakeOver(_), _) | (_, AccessDefault::Allow) => Verdict::Allow,
            (_, AccessDefault::Deny) => Verdict::Deny,
        }
    }
}
