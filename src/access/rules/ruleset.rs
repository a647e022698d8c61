//! The compiled rules: who may do what with a topic.
//!
//! The meaning is that of mosquitto's `acl_file`. A client has the section of its User Name, or that of anonymous
//! clients. There `deny` wins, then a rule that allows decides. If neither is there, the `pattern` rules decide in the same
//! way. What nothing allows is denied.

use std::collections::HashMap;

use crate::access::rules::decision::{Access, Client, Decision, Name, Why};
use crate::access::rules::rule::{Rule, Who};
use crate::access::rules::tree::{Tree, Verdicts};

/// The compiled rules. Asking them allocates nothing, and takes a step for each node of the tree of rules at most.
#[derive(Debug, Default)]
pub struct RuleSet {
    anonymous: Tree,
    users: HashMap<Box<str>, Tree>,
    patterns: Option<Patterns>,
    /// The section of a user without one.
    nothing: Tree,
    len: usize,
}

/// The rules for everybody.
#[derive(Debug, Default)]
pub(super) struct Patterns {
    pub(super) tree: Tree,
    /// How they use the two names.
    user: Use,
    client_id: Use,
}

/// How rules use a name of the client.
#[derive(Clone, Copy, Debug, Default)]
struct Use {
    /// Whether a rule does.
    at_all: bool,
    /// Whether a rule begins with it.
    first: bool,
}

impl RuleSet {
    /// Compiles rules.
    pub fn new(rules: &[Rule]) -> RuleSet {
        let mut set = RuleSet { len: rules.len(), ..RuleSet::default() };
        for rule in rules {
            let (tree, placeholders) = match &rule.who {
                Who::Anonymous => (&mut set.anonymous, false),
                Who::User(user) => (set.users.entry(user.clone()).or_default(), false),
                Who::Everybody => (&mut set.patterns.get_or_insert_default().tree, true),
            };
            tree.add(&rule.filter, rule.right, rule.line, placeholders);
        }
        if let Some(patterns) = &mut set.patterns {
            patterns.note_uses();
        }
        set
    }

    /// The number of rules.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is no rule, so that everything is denied.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether a client may publish a message to a topic, or receive one.
    pub fn decide(&self, client: Client<'_>, access: Access, topic: &str) -> Decision {
        let own = self.section(client).find(client, topic);
        if let Some(decision) = decided_by(own, access) {
            return decision;
        }
        let Some(patterns) = &self.patterns else {
            return Decision::deny(Why::NoRule);
        };
        if let Some(name) = patterns.unsafe_name(client) {
            return Decision::deny(Why::UnsafeName(name));
        }
        let found = patterns.tree.find(client, topic);
        decided_by(found, access).unwrap_or(Decision::deny(Why::NoRule))
    }

    /// The rules for this client alone.
    pub(super) fn section(&self, client: Client<'_>) -> &Tree {
        match client.user {
            None => &self.anonymous,
            Some(user) => self.users.get(user).unwrap_or(&self.nothing),
        }
    }

    /// The rules for everybody.
    pub(super) fn patterns(&self) -> Option<&Patterns> {
        self.patterns.as_ref()
    }
}

/// What one section decides.
fn decided_by(found: Verdicts, access: Access) -> Option<Decision> {
    match found.denies() {
        Some(line) => Some(Decision::deny(Why::Rule(line))),
        None => found.allows(access).map(Decision::allow),
    }
}

impl Patterns {
    fn note_uses(&mut self) {
        for (number, node) in self.tree.nodes().iter().enumerate() {
            for (template, _) in &node.templates {
                for name in template.names() {
                    let noted = match name {
                        Name::User => &mut self.user,
                        Name::ClientId => &mut self.client_id,
                    };
                    noted.at_all = true;
                    noted.first |= number == Tree::ROOT as usize && template.first_name() == Some(name);
                }
            }
        }
    }

    /// The name of a client that would give it more than one level of its own.
    ///
    /// A wildcard in any name denies, as in mosquitto (CVE-2017-7650). A slash in a name that a rule uses would reach into
    /// other clients' topics, a leading `$` into the broker's, and an empty Client Identifier is not the final one.
    pub(super) fn unsafe_name(&self, client: Client<'_>) -> Option<Name> {
        let user = client.user.is_some_and(|user| self.user.is_unsafe(user));
        let id = client.client_id;
        if user {
            Some(Name::User)
        } else if self.client_id.is_unsafe(id) || self.client_id.at_all && id.is_empty() {
            Some(Name::ClientId)
        } else {
            None
        }
    }
}

impl Use {
    fn is_unsafe(self, name: &str) -> bool {
        let wildcard = name.bytes().any(|byte| matches!(byte, b'+' | b'#'));
        wildcard || self.at_all && name.contains('/') || self.first && name.starts_with('$')
    }
}

#[cfg(test)]
mod tests {
    use super::RuleSet;
    use crate::access::rules::decision::{Access, Client, Name, Why};
    use crate::access::rules::file::parse;

    fn rules(text: &str) -> RuleSet {
        RuleSet::new(&parse(text.as_bytes()).unwrap())
    }

    fn why(rules: &RuleSet, user: Option<&str>, client_id: &str, access: Access, topic: &str) -> (bool, Why) {
        let decision = rules.decide(Client { user, client_id }, access, topic);
        (decision.allowed, decision.why)
    }

    /// The sections, and the order in which they decide.
    #[test]
    fn a_client_has_its_own_section_and_then_the_patterns() {
        let rules = rules(
            "topic read news/#\n\
             pattern deny home/%u/secret\n\
             pattern home/%u/#\n\
             user ann\n\
             topic write news/+\n\
             topic home/ann/secret\n\
             topic readwrite lab/#\n\
             topic deny lab/door\n",
        );
        let (publish, receive) = (Access::Publish, Access::Receive);
        let cases = [
            (None, receive, "news", true, Why::Rule(1)),
            (None, publish, "news/a", false, Why::NoRule),
            (None, receive, "home/x/y", false, Why::NoRule),
            (Some("ann"), receive, "news/a", false, Why::NoRule),
            (Some("ann"), publish, "news/a", true, Why::Rule(5)),
            (Some("ann"), publish, "news/a/b", false, Why::NoRule),
            (Some("ann"), receive, "lab", true, Why::Rule(7)),
            (Some("ann"), receive, "lab/door", false, Why::Rule(8)),
            // What the own section allows, a pattern does not deny.
            (Some("ann"), receive, "home/ann/secret", true, Why::Rule(6)),
            (Some("bob"), receive, "home/bob/secret", false, Why::Rule(2)),
            (Some("bob"), receive, "home/bob", true, Why::Rule(3)),
            (Some("bob"), receive, "home/ann", false, Why::NoRule),
            (Some("Bob"), receive, "home/bob", false, Why::NoRule),
        ];
        for (user, access, topic, allowed, reason) in cases {
            assert_eq!(why(&rules, user, "c", access, topic), (allowed, reason), "{user:?} {topic}");
        }
    }

    /// [MQTT-4.7.2-1]
    #[test]
    fn a_leading_wildcard_is_not_about_topics_that_begin_with_a_dollar() {
        let rules = rules("topic #\ntopic +/x\ntopic read $SYS/broker/#\npattern %c/y\n");
        for (topic, allowed) in
            [("a", true), ("/", true), ("$SYS/broker/load", true), ("$SYS/x", false), ("$a", false)]
        {
            assert_eq!(why(&rules, None, "c", Access::Receive, topic).0, allowed, "{topic}");
        }
        let dollar = why(&rules, None, "$SYS", Access::Receive, "$SYS/y");
        assert_eq!(dollar, (false, Why::UnsafeName(Name::ClientId)));
    }

    /// CVE-2017-7650: a name never stands for more than one level of its own.
    #[test]
    fn a_name_with_a_wildcard_or_a_slash_gets_nothing_from_patterns() {
        let rules = rules("topic open/#\npattern a/%c/#\n");
        let receive = Access::Receive;
        for name in ["#", "+", "b/+", "x+", "#y", "b/c", "/", ""] {
            let got = why(&rules, None, name, receive, &format!("a/{name}/x"));
            assert_eq!(got, (false, Why::UnsafeName(Name::ClientId)), "{name:?}");
            assert_eq!(why(&rules, None, name, receive, "open/x"), (true, Why::Rule(1)), "{name:?}");
        }
        assert_eq!(why(&rules, Some("a+"), "c", receive, "a/c/x"), (false, Why::UnsafeName(Name::User)));
        // No rule uses the User Name, so that its slash does no harm.
        assert_eq!(why(&rules, Some("a/b"), "c", receive, "a/c/x"), (true, Why::Rule(2)));
        assert_eq!(why(&rules, None, "$c", receive, "a/$c/x"), (true, Why::Rule(2)));
    }

    #[test]
    fn no_rules_deny_everything() {
        let rules = rules("# nothing\n");
        assert!(rules.is_empty());
        assert_eq!(why(&rules, None, "c", Access::Receive, "a"), (false, Why::NoRule));
    }
}
