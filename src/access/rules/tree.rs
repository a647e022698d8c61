//! The rules of one section as a tree of topic levels. A lookup visits a node once at most, whatever the topic.

use crate::access::rules::decision::{Access, Client};
use crate::access::rules::rule::Right;
use crate::access::rules::template::Template;

/// The rules of one section.
#[derive(Debug)]
pub(super) struct Tree {
    /// The root, which stands for no level, is the first one.
    nodes: Vec<Node>,
}

/// A node: what the rules say that have led here, and the levels that go on.
#[derive(Debug, Default)]
pub(super) struct Node {
    /// The literal levels, sorted.
    pub(super) literals: Vec<(Box<str>, u32)>,
    /// The levels with placeholders.
    pub(super) templates: Vec<(Template, u32)>,
    /// The level `+`.
    pub(super) plus: Option<u32>,
    /// The rules that end here.
    pub(super) end: Verdicts,
    /// The rules that go on with `#`: they are about this topic and all below it.
    pub(super) below: Verdicts,
}

/// What rules say about a topic: the first line that denies, and the first ones that allow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Verdicts {
    deny: u32,
    read: u32,
    write: u32,
}

/// The line of a rule that is not there.
const NONE: u32 = u32::MAX;

impl Default for Verdicts {
    fn default() -> Verdicts {
        Verdicts { deny: NONE, read: NONE, write: NONE }
    }
}

impl Verdicts {
    /// What a rule says.
    fn of(right: Right, line: u32) -> Verdicts {
        let line_if = |says: bool| if says { line } else { NONE };
        Verdicts {
            deny: line_if(right == Right::Deny),
            read: line_if(matches!(right, Right::Read | Right::ReadWrite)),
            write: line_if(matches!(right, Right::Write | Right::ReadWrite)),
        }
    }

    /// What both say.
    pub(super) fn or(self, other: Verdicts) -> Verdicts {
        Verdicts {
            deny: self.deny.min(other.deny),
            read: self.read.min(other.read),
            write: self.write.min(other.write),
        }
    }

    /// The line that denies.
    pub(super) fn denies(self) -> Option<u32> {
        Some(self.deny).filter(|line| *line != NONE)
    }

    /// The line that allows an access, if nothing denies it.
    pub(super) fn allows(self, access: Access) -> Option<u32> {
        let line = match access {
            Access::Receive => self.read,
            Access::Publish => self.write,
        };
        Some(line).filter(|line| *line != NONE)
    }
}

impl Default for Tree {
    fn default() -> Tree {
        Tree { nodes: vec![Node::default()] }
    }
}

impl Tree {
    /// Adds a rule. `filter` is checked. With `placeholders`, `%u` and `%c` stand for names of the client.
    pub(super) fn add(&mut self, filter: &str, right: Right, line: u32, placeholders: bool) {
        let verdicts = Verdicts::of(right, line);
        let mut at = 0;
        for level in filter.split('/') {
            if level == "#" {
                if let Some(node) = self.nodes.get_mut(at as usize) {
                    node.below = node.below.or(verdicts);
                }
                return;
            }
            at = self.child(at, level, placeholders);
        }
        if let Some(node) = self.nodes.get_mut(at as usize) {
            node.end = node.end.or(verdicts);
        }
    }

    /// The node of a level below another node; made if it is not there.
    fn child(&mut self, parent: u32, level: &str, placeholders: bool) -> u32 {
        let next = self.nodes.len() as u32;
        let Some(node) = self.nodes.get_mut(parent as usize) else { return parent };
        let child = if level == "+" {
            *node.plus.get_or_insert(next)
        } else if let Some(template) = Template::of(level).filter(|_| placeholders) {
            match node.templates.iter().find(|(known, _)| *known == template) {
                Some((_, child)) => *child,
                None => {
                    node.templates.push((template, next));
                    next
                }
            }
        } else {
            match node.literals.binary_search_by(|(text, _)| (**text).cmp(level)) {
                Ok(at) => node.literals.get(at).map_or(parent, |(_, child)| *child),
                Err(at) => {
                    node.literals.insert(at, (level.into(), next));
                    next
                }
            }
        };
        if child == next {
            self.nodes.push(Node::default());
        }
        child
    }

    /// The root.
    pub(super) const ROOT: u32 = 0;

    /// The node of this number.
    pub(super) fn node(&self, number: u32) -> Option<&Node> {
        self.nodes.get(number as usize)
    }

    /// All nodes.
    pub(super) fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// What the rules say about a Topic Name.
    pub(super) fn find(&self, client: Client<'_>, topic: &str) -> Verdicts {
        let mut found = Verdicts::default();
        let Some(root) = self.nodes.first() else { return found };
        // [MQTT-4.7.2-1], [MQTT3-4.7.2-1]: a leading wildcard is not about topics that begin with `$`.
        let dollar = topic.starts_with('$');
        if !dollar {
            found = root.below;
        }
        self.collect(root, client, Some(topic), dollar, &mut found);
        found
    }

    /// Adds what the rules below a node say about the levels that are left. The node's own `below` is counted already.
    fn collect(
        &self,
        node: &Node,
        client: Client<'_>,
        rest: Option<&str>,
        dollar: bool,
        found: &mut Verdicts,
    ) {
        let Some(rest) = rest else {
            *found = found.or(node.end);
            return;
        };
        let (level, rest) = match rest.split_once('/') {
            Some((level, rest)) => (level, Some(rest)),
            None => (rest, None),
        };
        node.step(client, level, dollar, &mut |child| {
            if let Some(child) = self.node(child) {
                *found = found.or(child.below);
                self.collect(child, client, rest, false, found);
            }
        });
    }
}

impl Node {
    /// Calls `visit` with each node that a level leads to. `dollar`: it is the first one and begins with `$`.
    pub(super) fn step(&self, client: Client<'_>, level: &str, dollar: bool, visit: &mut dyn FnMut(u32)) {
        if let Ok(at) = self.literals.binary_search_by(|(text, _)| (**text).cmp(level))
            && let Some((_, child)) = self.literals.get(at)
        {
            visit(*child);
        }
        if let Some(child) = self.plus.filter(|_| !dollar) {
            visit(child);
        }
        for (_, child) in self.templates.iter().filter(|(template, _)| template.matches(client, level)) {
            visit(*child);
        }
    }
}
