//! One rule: for whom it is, what it says, and about which topics.

use crate::codec::topic::{TopicError, check_rule_filter};

/// The most levels of a rule's topic filter, as mosquitto has it.
pub const MAX_LEVELS: usize = 201;

/// A rule as it stands in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// The clients that it is for.
    pub who: Who,
    /// What it allows, or that it denies.
    pub right: Right,
    /// A topic filter. In a rule for everybody, `%u` is the User Name and `%c` the Client Identifier.
    pub filter: Box<str>,
    /// Its line in the file, from 1 on.
    pub line: u32,
}

/// The clients that a rule is for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Who {
    /// Clients without a User Name: a `topic` line before the first `user` line.
    Anonymous,
    /// Clients with this User Name: a `topic` line below its `user` line.
    User(Box<str>),
    /// All clients: a `pattern` line.
    Everybody,
}

/// What a rule says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Right {
    /// `read`: receive messages of the topics.
    Read,
    /// `write`: publish to the topics.
    Write,
    /// `readwrite`: both.
    ReadWrite,
    /// `deny`: neither, whatever other rules of the same section allow.
    Deny,
}

impl Right {
    /// All of them.
    pub const ALL: [Right; 4] = [Right::Read, Right::Write, Right::ReadWrite, Right::Deny];

    /// Its word in a file.
    pub const fn word(self) -> &'static str {
        match self {
            Right::Read => "read",
            Right::Write => "write",
            Right::ReadWrite => "readwrite",
            Right::Deny => "deny",
        }
    }
}

/// What is likely a mistake in a rule, with its line.
pub fn remark(rule: &Rule) -> Option<String> {
    let has_placeholder = rule.filter.contains("%u") || rule.filter.contains("%c");
    let line = rule.line;
    match (&rule.who, has_placeholder) {
        (Who::Everybody, false) => {
            Some(format!("line {line}: a pattern without %u and %c is the same for all clients"))
        }
        (Who::Anonymous | Who::User(_), true) => {
            Some(format!("line {line}: %u and %c stand for nothing in a topic line"))
        }
        _ => None,
    }
}

/// Why a text is not the topic filter of a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FilterError {
    /// It is no topic filter.
    #[error("{0}")]
    Topic(TopicError),
    /// It has more levels than [`MAX_LEVELS`].
    #[error("the topic has more than {MAX_LEVELS} levels")]
    TooManyLevels,
}

/// Checks the topic filter of a rule.
///
/// # Errors
/// It is no topic filter, or has too many levels.
pub fn check_filter(text: &str) -> Result<(), FilterError> {
    check_rule_filter(text).map_err(FilterError::Topic)?;
    match text.split('/').count() > MAX_LEVELS {
        true => Err(FilterError::TooManyLevels),
        false => Ok(()),
    }
}
