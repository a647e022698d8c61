//! Random rules against a plain list of them, asked as mosquitto asks, and against every topic of a small alphabet.

use proptest::collection::vec;
use proptest::prelude::{Just, Strategy, any, prop_assert_eq, prop_oneof, proptest};
use proptest::sample::select;

use crate::access::rules::decision::{Access, Client, Why};
use crate::access::rules::file::{parse, print};
use crate::access::rules::rule::{Right, Rule, Who};
use crate::access::rules::ruleset::RuleSet;
use crate::codec::topic::{TopicFilter, TopicName};

/// Levels of topics; rules name all but the last one.
const LEVELS: [&str; 6] = ["", "a", "b", "$s", "x", "other"];

fn filter(placeholders: bool) -> impl Strategy<Value = String> {
    let plain = prop_oneof![4 => select(&LEVELS[..5]), 3 => Just("+")];
    let level = match placeholders {
        false => plain.boxed(),
        true => prop_oneof![3 => plain, 2 => select(&["%u", "%c", "x%c", "%u%c"][..])].boxed(),
    };
    (vec(level, 0..=3), any::<bool>()).prop_filter_map("the filter is empty", |(mut levels, all)| {
        if all {
            levels.push("#");
        }
        Some(levels.join("/")).filter(|text| !text.is_empty())
    })
}

fn right() -> impl Strategy<Value = Right> {
    prop_oneof![Just(Right::Deny), select(&Right::ALL[..])]
}

fn rules() -> impl Strategy<Value = Vec<Rule>> {
    let who = prop_oneof![
        2 => Just(Who::Anonymous),
        2 => select(&["a", "$s", "a b"][..]).prop_map(|user| Who::User(user.into())),
        3 => Just(Who::Everybody),
    ];
    let rule = (who, right()).prop_flat_map(|(who, right)| {
        let filter = filter(who == Who::Everybody);
        filter.prop_map(move |filter| (who.clone(), right, filter))
    });
    vec(rule, 0..8).prop_map(|mut rules| {
        rules.sort_by_key(|(who, ..)| *who != Who::Anonymous);
        let numbered = rules.into_iter().zip(1..);
        numbered
            .map(|((who, right, filter), line)| Rule { who, right, filter: filter.into(), line })
            .collect()
    })
}

fn client() -> impl Strategy<Value = (Option<&'static str>, &'static str)> {
    let user = select(&[None, Some("a"), Some("$s"), Some("b"), Some("+"), Some("a/b")][..]);
    (user, select(&["b", "a", "$s", "#", "b/x", "", "x"][..]))
}

/// All topics of up to four levels that rules tell apart for a client. No rule names a fourth level.
fn topics(client: Client<'_>) -> Vec<String> {
    let mut levels = LEVELS.map(str::to_owned).to_vec();
    levels.push(format!("x{}", client.client_id));
    levels.push(format!("{}{}", client.user.unwrap_or_default(), client.client_id));
    levels.retain(|level| !level.contains(['/', '+', '#']));
    let more = |topics: &[String], levels: &[String]| -> Vec<String> {
        topics.iter().flat_map(|topic| levels.iter().map(move |level| format!("{topic}/{level}"))).collect()
    };
    let two = more(&levels, &levels);
    let three = more(&two, &levels);
    let four = more(&three, &["other".to_owned()]);
    [levels, two, three, four].into_iter().flatten().filter(|topic| !topic.is_empty()).collect()
}

/// As mosquitto 2.0 decides, where it is stricter with names: each rule in turn, what denies first.
fn model(rules: &[Rule], client: Client<'_>, access: Access, topic: &str) -> bool {
    let own = match client.user {
        None => Who::Anonymous,
        Some(user) => Who::User(user.into()),
    };
    let section = |who: &Who| {
        let rules = rules.iter().filter(move |rule| rule.who == *who);
        let (mut denied, mut allowed) = (false, false);
        for rule in rules.filter(|rule| is_about(rule, client, topic)) {
            denied |= rule.right == Right::Deny;
            allowed |= match access {
                Access::Receive => matches!(rule.right, Right::Read | Right::ReadWrite),
                Access::Publish => matches!(rule.right, Right::Write | Right::ReadWrite),
            };
        }
        if denied { Some(false) } else { Some(true).filter(|_| allowed) }
    };
    section(&own).unwrap_or_else(|| {
        let patterns: Vec<_> = rules.iter().filter(|rule| rule.who == Who::Everybody).collect();
        let bad = |name: &str, placeholder: &str| {
            let used = patterns.iter().any(|rule| rule.filter.contains(placeholder));
            let first = patterns.iter().any(|rule| rule.filter.starts_with(placeholder));
            name.contains(['+', '#']) || used && name.contains('/') || first && name.starts_with('$')
        };
        let nameless = client.client_id.is_empty() && patterns.iter().any(|rule| rule.filter.contains("%c"));
        let bad = bad(client.client_id, "%c") || client.user.is_some_and(|user| bad(user, "%u")) || nameless;
        !bad && section(&Who::Everybody).unwrap_or(false)
    })
}

fn is_about(rule: &Rule, client: Client<'_>, topic: &str) -> bool {
    let mut filter = rule.filter.to_string();
    if rule.who == Who::Everybody {
        if filter.contains("%u") && client.user.is_none() {
            return false;
        }
        filter = filter.replace("%u", client.user.unwrap_or_default()).replace("%c", client.client_id);
    }
    // Unsafe names make no filter; they are denied elsewhere.
    let Ok(filter) = TopicFilter::parse(&filter) else { return false };
    filter.matches(&TopicName::parse(topic).unwrap())
}

proptest! {
    #[test]
    fn the_trees_decide_as_the_list_of_rules((user, client_id) in client(), rules in rules()) {
        let client = Client { user, client_id };
        let set = RuleSet::new(&rules);
        for topic in topics(client) {
            for access in [Access::Publish, Access::Receive] {
                let decision = set.decide(client, access, &topic);
                let expected = model(&rules, client, access, &topic);
                prop_assert_eq!(decision.allowed, expected, "{:?} {} {:?}", access, topic, decision);
                if let Why::Rule(line) = decision.why {
                    let rule = &rules[line as usize - 1];
                    prop_assert_eq!(rule.right != Right::Deny, expected);
                    prop_assert_eq!(is_about(rule, client, &topic), true);
                }
            }
        }
    }

    #[test]
    fn a_filter_is_covered_if_every_topic_may_be_read(
        (user, client_id) in client(), rules in rules(), text in filter(false)
    ) {
        let client = Client { user, client_id };
        let set = RuleSet::new(&rules);
        let filter = TopicFilter::parse(&text).unwrap();
        let may_read = |topic: &str| set.decide(client, Access::Receive, topic).allowed;
        let all = topics(client);
        let mut matching = all.iter().filter(|topic| filter.matches(&TopicName::parse(topic).unwrap()));
        let expected = matching.all(|topic| may_read(topic));
        let decision = set.covers(client, filter);
        prop_assert_eq!(decision.allowed, expected, "{}: {:?}", text, decision);
        if let Why::Gap { topic, .. } = decision.why {
            prop_assert_eq!(filter.matches(&TopicName::parse(&topic).unwrap()), true, "{}", topic);
            prop_assert_eq!(may_read(&topic), false, "{}", topic);
        }
    }

    #[test]
    fn what_is_written_is_read_again(rules in rules()) {
        let mut again = parse(print(&rules).as_bytes()).unwrap();
        for (rule, line) in again.iter_mut().zip(1..) {
            rule.line = line;
        }
        prop_assert_eq!(again, rules);
    }
}
