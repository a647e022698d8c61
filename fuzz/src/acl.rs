//! Access rules: a file that is read is read again as it is written, and the trees of rules decide as the list of them.

use midge::access::rules::decision::{Access, Client, Why};
use midge::access::rules::file::{parse, print};
use midge::access::rules::rule::{Right, Rule, Who};
use midge::access::rules::ruleset::RuleSet;
use midge::codec::topic::{TopicFilter, TopicName};

/// Target `acl`: three lines with the User Name, the Client Identifier and a topic, then the file.
pub fn acl(data: &[u8]) {
    let mut parts = data.splitn(4, |byte| *byte == b'\n');
    let mut next = || parts.next().unwrap_or_default();
    let (user, client_id, topic) = (next(), next(), next());
    let file = next();
    let rules = match parse(file) {
        Ok(rules) => rules,
        Err(error) => {
            let lines = 1 + file.iter().filter(|byte| **byte == b'\n').count();
            assert!((1..=lines).contains(&(error.line as usize)), "{error}");
            return;
        }
    };
    check_printing(&rules);
    let texts = [user, client_id, topic].map(std::str::from_utf8);
    let [Ok(user), Ok(client_id), Ok(topic)] = texts else { return };
    let client = Client { user: Some(user).filter(|user| !user.is_empty()), client_id };
    let set = RuleSet::new(&rules);
    if let Ok(name) = TopicName::parse(topic) {
        for access in [Access::Publish, Access::Receive] {
            check_decision(&rules, &set, client, access, name);
        }
    }
    if let Ok(filter) = TopicFilter::parse(topic) {
        check_covering(&set, client, filter);
    }
}

fn check_printing(rules: &[Rule]) {
    let printed = print(rules);
    let again = match parse(printed.as_bytes()) {
        Ok(again) => again,
        Err(error) => panic!("{error} in {printed:?}"),
    };
    let (anonymous, others): (Vec<_>, Vec<_>) = rules.iter().partition(|rule| rule.who == Who::Anonymous);
    let expected: Vec<_> = anonymous.into_iter().chain(others).collect();
    assert_eq!(again.len(), expected.len(), "{printed:?}");
    for (rule, expected) in again.iter().zip(expected) {
        let same = (&rule.who, rule.right, &rule.filter) == (&expected.who, expected.right, &expected.filter);
        assert!(same, "{rule:?} was {expected:?}");
    }
}

/// The rule that decides is about the topic, and says so.
fn check_decision(rules: &[Rule], set: &RuleSet, client: Client<'_>, access: Access, topic: TopicName<'_>) {
    let decision = set.decide(client, access, topic.as_str());
    match decision.why {
        Why::Rule(line) => {
            let rule = rules.iter().find(|rule| rule.line == line);
            let rule = rule.unwrap_or_else(|| panic!("no rule has line {line}"));
            let says = match access {
                Access::Publish => matches!(rule.right, Right::Write | Right::ReadWrite),
                Access::Receive => matches!(rule.right, Right::Read | Right::ReadWrite),
            };
            assert_eq!(says, decision.allowed, "{rule:?} {decision:?}");
            assert_eq!(rule.right == Right::Deny, !decision.allowed, "{rule:?} {decision:?}");
            if rule.who != Who::Everybody
                && let Ok(filter) = TopicFilter::parse(&rule.filter)
                && filter.group().is_none()
            {
                assert!(filter.matches(&topic), "{rule:?} {topic}");
            }
        }
        _ => assert!(!decision.allowed, "{decision:?}"),
    }
}

/// A topic that keeps a filter from being covered matches it, and may not be read.
fn check_covering(set: &RuleSet, client: Client<'_>, filter: TopicFilter<'_>) {
    let decision = set.covers(client, filter);
    if let Why::Gap { topic, .. } = decision.why
        && let Ok(topic) = TopicName::parse(&topic)
    {
        assert!(filter.matches(&topic), "{filter} {topic}");
        assert!(!set.decide(client, Access::Receive, topic.as_str()).allowed, "{filter} {topic}");
    }
}
