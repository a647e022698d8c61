//! Whether a client may read every topic that a Topic Filter matches.
//!
//! The two trees that are about the client are walked together with the filter. At a wildcard the walk takes each level that
//! a rule names there, and one that no rule names, which stands for all others. So the answer is exact: it is that of
//! asking about each topic.

use crate::access::rules::decision::{Access, Client, Decision, Why};
use crate::access::rules::ruleset::RuleSet;
use crate::access::rules::tree::{Node, Tree, Verdicts};
use crate::codec::topic::TopicFilter;

/// The most steps, each of them a look at one node of a tree.
pub const MAX_STEPS: usize = 100_000;

impl RuleSet {
    /// Whether a client may read every topic that a filter matches, so that it may subscribe to it.
    pub fn covers(&self, client: Client<'_>, filter: TopicFilter<'_>) -> Decision {
        let own = self.section(client);
        let patterns = self.patterns();
        let unsafe_name = patterns.and_then(|patterns| patterns.unsafe_name(client));
        let patterns = patterns.filter(|_| unsafe_name.is_none()).map(|patterns| &patterns.tree);
        let mut walk = Walk { client, trees: [Some(own), patterns], topic: Vec::new(), steps: 0 };
        let outcome = match filter.has_wildcard() {
            // The usual case needs no walk.
            false => return self.decide(client, Access::Receive, filter.filter()),
            true => walk.begin(filter.filter()),
        };
        match (outcome, unsafe_name) {
            (Ok(()), _) => Decision { allowed: true, why: Why::Covered },
            (Err(Why::Gap { line: None, .. }), Some(name)) => Decision::deny(Why::UnsafeName(name)),
            (Err(why), _) => Decision::deny(why),
        }
    }
}

/// A walk through both trees.
struct Walk<'w> {
    client: Client<'w>,
    /// The rules of the client's own section, and those for everybody.
    trees: [Option<&'w Tree>; 2],
    /// The levels of the topic that is looked at.
    topic: Vec<String>,
    steps: usize,
}

/// Where a walk is.
#[derive(Clone)]
struct Place<'w> {
    /// The nodes of each tree.
    nodes: [Vec<&'w Node>; 2],
    /// What rules with `#` have said on the way.
    said: [Verdicts; 2],
}

impl<'w> Walk<'w> {
    fn begin(&mut self, filter: &str) -> Result<(), Why> {
        let roots = self.trees.map(|tree| tree.and_then(|tree| tree.node(Tree::ROOT)));
        let nodes = roots.map(|root| root.into_iter().collect());
        // A root's `#` is about topics that do not begin with `$`; `step` adds it.
        let start = Place { nodes, said: [Verdicts::default(); 2] };
        self.go(&start, Some(filter))
    }

    /// Looks at all topics that go on from a place as the rest of the filter says.
    fn go(&mut self, place: &Place<'w>, rest: Option<&str>) -> Result<(), Why> {
        let Some(rest) = rest else {
            return self.end(place);
        };
        if place.is_leaf() && !self.topic.is_empty() {
            // No rule tells apart the topics that go on from here.
            return self.verdict(place.said, Some(rest));
        }
        let (level, behind) = match rest.split_once('/') {
            Some((level, behind)) => (level, Some(behind)),
            None => (rest, None),
        };
        match level {
            "#" => {
                if !self.topic.is_empty() {
                    self.end(place)?;
                }
                self.each(place, Some("#"))
            }
            "+" => self.each(place, behind),
            level => self.step(place, level, behind),
        }
    }

    /// Takes each level that a rule names here, and one that no rule names.
    fn each(&mut self, place: &Place<'w>, behind: Option<&str>) -> Result<(), Why> {
        let names = self.names(place);
        for name in &names {
            // [MQTT-4.7.2-1], [MQTT3-4.7.2-1]: a leading wildcard matches no topic that begins with `$`.
            if !(self.topic.is_empty() && name.starts_with('$')) {
                self.step(place, name, behind)?;
            }
        }
        self.step(place, &unnamed(&names), behind)
    }

    /// Takes a level, and goes on.
    fn step(&mut self, place: &Place<'w>, level: &str, behind: Option<&str>) -> Result<(), Why> {
        let first = self.topic.is_empty();
        let dollar = first && level.starts_with('$');
        let mut next = Place { nodes: [Vec::new(), Vec::new()], said: place.said };
        for ((tree, from), (to, said)) in
            self.trees.iter().zip(&place.nodes).zip(next.nodes.iter_mut().zip(&mut next.said))
        {
            let Some(tree) = tree else { continue };
            for node in from {
                self.steps += 1;
                if first && !dollar {
                    *said = said.or(node.below);
                }
                node.step(self.client, level, dollar, &mut |child| {
                    if let Some(child) = tree.node(child) {
                        *said = said.or(child.below);
                        to.push(child);
                    }
                });
            }
        }
        self.steps += 1;
        if self.steps > MAX_STEPS {
            return Err(Why::TooComplex);
        }
        self.topic.push(level.to_owned());
        let outcome = self.go(&next, behind);
        self.topic.pop();
        outcome
    }

    /// Decides about the topic that ends here.
    fn end(&self, place: &Place<'w>) -> Result<(), Why> {
        if self.topic.len() == 1 && self.topic.iter().all(String::is_empty) {
            return Ok(()); // [MQTT-4.7.3-1]: there is no empty topic.
        }
        let mut said = place.said;
        for (said, nodes) in said.iter_mut().zip(&place.nodes) {
            nodes.iter().for_each(|node| *said = said.or(node.end));
        }
        self.verdict(said, None)
    }

    /// Decides by what the rules of both sections say about the topics that go on as the rest of the filter says.
    fn verdict(&self, said: [Verdicts; 2], rest: Option<&str>) -> Result<(), Why> {
        let [own, patterns] = said;
        let denied = match (own.denies(), own.allows(Access::Receive)) {
            (Some(line), _) => Some(line),
            (None, Some(_)) => return Ok(()),
            (None, None) => patterns.denies(),
        };
        if denied.is_none() && patterns.allows(Access::Receive).is_some() {
            return Ok(());
        }
        Err(Why::Gap { topic: self.example(rest), line: denied })
    }

    /// A topic that goes on from here as the rest of the filter says.
    fn example(&self, rest: Option<&str>) -> String {
        let behind = rest.into_iter().flat_map(|rest| rest.split('/')).filter(|level| *level != "#");
        let behind = behind.map(|level| if level == "+" { "x" } else { level });
        let topic: Vec<&str> = self.topic.iter().map(String::as_str).chain(behind).collect();
        match topic.join("/") {
            empty if empty.is_empty() => "/x".to_owned(), // [MQTT-4.7.3-1]
            topic => topic,
        }
    }

    /// The levels that rules name at a place.
    fn names(&self, place: &Place<'w>) -> Vec<String> {
        let nodes = place.nodes.iter().flatten();
        let mut names: Vec<String> = nodes
            .flat_map(|node| {
                let literals = node.literals.iter().map(|(text, _)| text.to_string());
                let templates = node.templates.iter().filter_map(|(template, _)| template.text(self.client));
                literals.chain(templates)
            })
            .collect();
        names.sort_unstable();
        names.dedup();
        names
    }
}

impl Place<'_> {
    /// Whether no rule goes on from here.
    fn is_leaf(&self) -> bool {
        self.nodes.iter().all(Vec::is_empty)
    }
}

/// A level that is none of these.
fn unnamed(names: &[String]) -> String {
    let mut name = "x".to_owned();
    while names.contains(&name) {
        name.push('x');
    }
    name
}
