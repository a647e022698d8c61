//! `midge rule`: checks a file of access rules, and says what they allow and why.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use midge::access::rules::decision::{Access, Client, Decision, Why};
use midge::access::rules::file::{MAX_BYTES, parse};
use midge::access::rules::rule::{Rule, Who, remark};
use midge::access::rules::ruleset::RuleSet;
use midge::codec::topic::{TopicFilter, TopicName};

use crate::arguments::{Action, ExplainRule, Rule as Command};
use crate::failure::{DENIED, Failure};

/// Runs a command of `midge rule`.
pub(crate) fn run(command: &Command) -> Result<(), Failure> {
    match command {
        Command::Check { file } => {
            let rules = read(file)?;
            let remarks = rules.iter().filter_map(remark).map(|remark| format!("{remark}\n"));
            let remarks: String = remarks.collect();
            crate::print(&format!("{}: {} rules\n{remarks}", file.display(), rules.len()))
        }
        Command::Explain(asked) => {
            let rules = read(&asked.file)?;
            let decision = decide(&RuleSet::new(&rules), asked)?;
            let sentence = sentence(&rules, &decision);
            match decision.allowed {
                true => crate::print(&format!("{sentence}\n")),
                false => Err(Failure::new(DENIED, sentence)),
            }
        }
    }
}

/// The rules of a file.
fn read(path: &Path) -> Result<Vec<Rule>, Failure> {
    let failed = |cause: &dyn std::fmt::Display| Failure::usage(format!("{}: {cause}", path.display()));
    let file = File::open(path).map_err(|error| failed(&error))?;
    let mut bytes = Vec::new();
    // One byte more than may be, so that a larger file is noticed.
    file.take(MAX_BYTES as u64 + 1).read_to_end(&mut bytes).map_err(|error| failed(&error))?;
    parse(&bytes).map_err(|error| failed(&error))
}

fn decide(rules: &RuleSet, asked: &ExplainRule) -> Result<Decision, Failure> {
    let client = Client { user: asked.user.as_deref(), client_id: &asked.client };
    let wrong = |cause: &str| Failure::usage(format!("{cause}: {:?}", asked.topic));
    let name = || TopicName::parse(&asked.topic).map_err(|error| wrong(error.cause()));
    Ok(match asked.action {
        Action::Publish => rules.decide(client, Access::Publish, name()?.as_str()),
        Action::Receive => rules.decide(client, Access::Receive, name()?.as_str()),
        Action::Subscribe => {
            let filter = TopicFilter::parse(&asked.topic).map_err(|error| wrong(error.cause()))?;
            rules.covers(client, filter)
        }
    })
}

fn sentence(rules: &[Rule], decision: &Decision) -> String {
    let verdict = if decision.allowed { "allowed" } else { "denied" };
    let line = match &decision.why {
        Why::Rule(line) | Why::Gap { line: Some(line), .. } => Some(*line),
        _ => None,
    };
    let rule = rules.iter().find(|rule| Some(rule.line) == line).map(quoted).unwrap_or_default();
    format!("{verdict}: {}{rule}", decision.why)
}

/// A rule as its line says it, with its section.
fn quoted(rule: &Rule) -> String {
    let (word, section) = match &rule.who {
        Who::Anonymous => ("topic", ", for clients without a user name".to_owned()),
        Who::User(user) => ("topic", format!(", for user {user:?}")),
        Who::Everybody => ("pattern", String::new()),
    };
    format!(" ({word} {} {}{section})", rule.right.word(), rule.filter)
}
