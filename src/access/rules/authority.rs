//! The rules as an authority of the broker, replaced as a whole when they change.

use std::sync::Arc;

use crate::access::files::{Contained, FileContent};
use crate::access::rules::decision::{Access, Client, Decision};
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

    fn subscribes(&self, client: Client<'_>, filter: &str) -> bool {
        match (self.subscribe, TopicFilter::parse(filter)) {
            (SubscribeCheck::Delivery, _) => true,
            (_, Ok(filter)) => self.rules.read().covers(client, filter).allowed,
            (_, Err(_)) => false,
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
        let client = Client { user: request.username, client_id: request.client_id };
        let allowed = match request.action {
            Action::Publish => self.rules.read().decide(client, Access::Publish, request.topic).allowed,
            Action::Subscribe => self.subscribes(client, request.topic),
        };
        Ruling::Now(if allowed { Verdict::Allow } else { Verdict::Deny })
    }

    fn receive(&self, request: &ReceiveRequest<'_>) -> Option<bool> {
        let client = Client { user: request.username, client_id: request.client_id };
        let Decision { allowed, .. } = self.rules.read().decide(client, Access::Receive, request.topic);
        Some(allowed)
    }
}
