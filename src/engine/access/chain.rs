//! The chain of authorities: they are asked in order, and the first that does not abstain decides.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::engine::access::authority::{Authority, Questions, ReceiveRequest, Ruling, TakeOverRequest};
use crate::engine::access::hooks::{AccessRequest, ConnectRequest, Verdict};

/// The decision on a request where every authority abstains.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AccessDefault {
    /// Allow, as in a broker without authorities.
    #[default]
    Allow,
    /// Deny clients and topics that no authority allows.
    Deny,
}

/// How authorities are asked about clients' messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asks {
    /// They are not.
    Nothing,
    /// Under the lock of the connection, and once for the messages of a topic: each [answers at
    /// once](Authority::is_prompt).
    AtOnce,
    /// About each message, without a lock. The host may change it.
    EachMessage,
}

/// The stage of a packet that a question belongs to, in the order of asking.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stage {
    /// The authentication of a client. `step` is the number of requests for more data, in enhanced authentication.
    Authenticate { step: u32 },
    /// The Will of a CONNECT.
    Will,
    /// A client's message.
    Publish,
    /// The filter at `index` of a SUBSCRIBE.
    Subscribe { index: u32 },
    /// The end of the client's other connection, whose number is `present`. A decision does not hold for a connection
    /// that has replaced it meanwhile.
    TakeOver { present: u64 },
}

/// A question to an authority.
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

/// Which authority decides about an action of a client, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessExplanation {
    /// Whether the client may; `None` if the authority would have to be asked, and may answer later.
    pub allowed: Option<bool>,
    /// The name of the authority; `None` if no authority decides.
    pub authority: Option<String>,
    /// Its reason, such as the line of a file.
    pub why: Option<String>,
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
    /// Clients that it has refused.
    refused: AtomicU64,
}

impl Chain {
    /// Adds an authority, which is asked after those that were added before.
    pub(crate) fn add(&mut self, authority: Arc<dyn Authority>) {
        let questions = authority.questions();
        self.links.push(ChainLink { authority, questions, refused: AtomicU64::new(0) });
    }

    /// Counts a client that the authority at this position has refused. Returns the name of the authority.
    pub(crate) fn refuses(&self, at: usize) -> Option<&str> {
        let link = self.links.get(at)?;
        link.refused.fetch_add(1, Ordering::Relaxed);
        Some(link.authority.name())
    }

    /// The clients that each authority has refused, by its name and the reason.
    pub(crate) fn refusals(&self) -> Vec<(String, &'static str, u64)> {
        let of = |link: &ChainLink| {
            let own = link.authority.refusals();
            let counted = own.is_empty().then(|| ("client", link.refused.load(Ordering::Relaxed)));
            let name = link.authority.name().to_owned();
            own.into_iter().chain(counted).map(move |(reason, count)| (name.clone(), reason, count))
        };
        self.links.iter().flat_map(of).collect()
    }

    /// The questions that the chain answers. Others are not asked and cost nothing.
    pub(crate) fn questions(&self) -> Questions {
        let denies = self.default == AccessDefault::Deny;
        let own = Questions { authenticate: denies, authorize: denies, ..Questions::default() };
        self.links.iter().fold(own, |all, link| all.or(link.questions))
    }

    /// How its authorities are asked about messages.
    pub(crate) fn asks(&self) -> Asks {
        let questions = self.questions();
        let mut asked = self.links.iter().filter(|link| link.questions.authorize);
        match questions.asks_to_publish() {
            false => Asks::Nothing,
            true if !questions.on_publish && asked.all(|link| link.authority.is_prompt()) => Asks::AtOnce,
            true => Asks::EachMessage,
        }
    }

    /// Whether a client may receive messages of a topic. If every authority abstains, it may, since its filter was
    /// allowed.
    pub(crate) fn may_receive(&self, request: &ReceiveRequest<'_>) -> bool {
        let asked = self.links.iter().filter(|link| link.questions.receive);
        // A panic denies.
        let mut verdicts = asked.filter_map(|link| {
            let receive = AssertUnwindSafe(|| link.authority.receive(request));
            catch_unwind(receive).map_err(std::mem::forget).unwrap_or(Some(false))
        });
        verdicts.next().unwrap_or(true)
    }

    /// The verdict of authorities that [answer at once](Authority::is_prompt), in order; `None` if another kind of
    /// authority would be asked.
    pub(crate) fn prompt_verdict(&self, request: &AccessRequest<'_>) -> Option<Verdict> {
        for link in self.links.iter().filter(|link| link.questions.authorize) {
            if !link.authority.is_prompt() {
                return None;
            }
            let authorize = AssertUnwindSafe(|| link.authority.authorize(request));
            match catch_unwind(authorize).map_err(std::mem::forget) {
                Ok(Ruling::Abstain) => {}
                Ok(Ruling::Now(verdict)) => return Some(verdict),
                Ok(Ruling::Later(_)) | Err(()) => return Some(Verdict::Deny),
            }
        }
        Some(self.verdict_of_none(Request::Authorize(request)))
    }

    /// Which authority decides about an action of a client, and why.
    pub(crate) fn explain(&self, request: &AccessRequest<'_>) -> AccessExplanation {
        for link in self.links.iter().filter(|link| link.questions.authorize) {
            let authority = Some(link.authority.name().to_owned());
            if !link.authority.is_prompt() {
                return AccessExplanation { allowed: None, authority, why: None };
            }
            if let Ruling::Now(verdict) = link.authority.authorize(request) {
                let allowed = Some(matches!(verdict, Verdict::Allow | Verdict::AllowWith(_)));
                return AccessExplanation { allowed, authority, why: link.authority.why(request) };
            }
        }
        let allowed = self.verdict_of_none(Request::Authorize(request)) == Verdict::Allow;
        AccessExplanation { allowed: Some(allowed), authority: None, why: None }
    }

    /// The first authority, from position `from` on, that answers such a request, and its position.
    pub(crate) fn next(&self, from: usize, request: Request<'_>) -> Option<(usize, &Arc<dyn Authority>)> {
        let mut links = self.links.iter().enumerate().skip(from);
        links.find(|(_, link)| request.is_for(link.questions)).map(|(at, link)| (at, &link.authority))
    }

    /// The verdict if every authority abstains.
    pub(crate) fn verdict_of_none(&self, request: Request<'_>) -> Verdict {
        match (request, self.default) {
            // [MQTT-3.1.4-3], [MQTT3-3.1.4-2]: the new connection takes over unless an authority denies it.
            (Request::TakeOver(_), _) | (_, AccessDefault::Allow) => Verdict::Allow,
            (_, AccessDefault::Deny) => Verdict::Deny,
        }
    }
}
