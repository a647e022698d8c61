//! The rules as an authority of the broker, replaced as a whole when they change.

use std::sync::Arc;

use crate::access::files::{Contained, FileContent};
use crate::access::rules::decision::{Access, Client, Decision, Why};
use crate::access::rules::file::parse;
use crate::access::rules::rule::remark;
use crate::access::rules::ruleset::RuleSet;
use crate::codec::topic::TopicFilter;
use crate::config::SubscribeCheck;
use crate::engine::access::authority::{Authority, Questions, ReceiveRequest, Ruling};
use crate::engine::access::hooks::{AccessRequest, Action, Verdict};
use crate::locks::RwLock;

/// Decides by rules about messages and filters. It never abstains: what no rule allows is denied.
#[derive(Debug)]
pub struct RuleAuthority {
    rules: RwLock<Arc<RuleSet>>,
    subscribe: SubscribeCheck,
}

impl RuleAuthority {
    /// An authority with these rules.
    pub fn new(rules: RuleSet, subscribe: SubscribeCheck) -> RuleAuthority {
        RuleAuthority { rules: RwLock::new(Arc::new(rules)), subscribe }
    }

    /// Replaces all rules. The caller then tells the engine that
    /// [the rights have changed](crate::engine::core::state::Engine::rights_changed).
    pub fn set(&self, rules: RuleSet) {
        let new = Arc::new(rules);
        // Not freed under the lock.
        let old = std::mem::replace(&mut *self.rules.write(), new);
        drop(old);
    }

    /// The rules that hold.
    pub fn rules(&self) -> Arc<RuleSet> {
        Arc::clone(&self.rules.read())
    }

    /// The answer to a request.
    fn decide(&self, request: &AccessRequest<'_>) -> Decision {
        let client = Client { user: request.username, client_id: request.client_id };
        let rules = self.rules.read();
        match (request.action, self.subscribe, TopicFilter::parse(request.topic)) {
            (Action::Publish, ..) => rules.decide(client, Access::Publish, request.topic),
            (Action::Subscribe, SubscribeCheck::Delivery, _) => {
                Decision { allowed: true, why: Why::AtDelivery }
            }
            (Action::Subscribe, _, Ok(filter)) => rules.covers(client, filter),
            (Action::Subscribe, _, Err(_)) => Decision::deny(Why::NoRule),
        }
    }
}

impl FileContent for RuleAuthority {
    fn replace(&self, file: &[u8]) -> Result<Contained, String> {
        let rules = parse(file).map_err(|error| error.to_string())?;
        let remarks = rules.iter().filter_map(remark).collect();
        let summary = match rules.len() {
            1 => "1 rule".to_owned(),
            count => format!("{count} rules"),
        };
        self.set(RuleSet::new(&rules));
        Ok(Contained { summary, remarks })
    }

    fn changes_rights(&self) -> bool {
        true
    }
}

impl Authority for RuleAuthority {
    fn name(&self) -> &str {
        "acl_file"
    }

    fn questions(&self) -> Questions {
        let receive = self.subscribe == SubscribeCheck::Delivery;
        Questions { authorize: true, receive, ..Questions::default() }
    }

    fn is_prompt(&self) -> bool {
        true
    }

    fn authorize(&self, request: &AccessRequest<'_>) -> Ruling {
        let allowed = self.decide(request).allowed;
        Ruling::Now(if allowed { Verdict::Allow } else { Verdict::Deny })
    }

    fn why(&self, request: &AccessRequest<'_>) -> Option<String> {
        Some(self.decide(request).why.to_string())
    }

    fn receive(&self, request: &ReceiveRequest<'_>) -> Option<bool> {
        let client = Client { user: request.username, client_id: request.client_id };
        let Decision { allowed, .. } = self.rules.read().decide(client, Access::Receive, request.topic);
        Some(allowed)
    }
}
