//! Refuses clients without a user name, for `access.anonymous = false`.

use crate::codec::reason::ReasonCode;
use crate::engine::access::authority::{Authority, Questions, Ruling};
use crate::engine::access::hooks::{ConnectRequest, Verdict};

/// The authority that is asked first, and decides about clients without a user name alone. Those that authenticate by a
/// method may name themselves later.
#[derive(Clone, Copy, Debug)]
pub struct NoAnonymous;

impl Authority for NoAnonymous {
    fn name(&self) -> &str {
        "anonymous"
    }

    fn questions(&self) -> Questions {
        Questions { authenticate: true, ..Questions::default() }
    }

    fn authenticate(&self, request: &ConnectRequest<'_>) -> Ruling {
        match (request.username, request.auth_method) {
            (None, None) => Ruling::Now(Verdict::DenyWith(ReasonCode::NotAuthorized)),
            _ => Ruling::Abstain,
        }
    }
}
