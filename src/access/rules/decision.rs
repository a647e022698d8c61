//! A question about a client's right, and its answer with the reason.

use std::fmt;

/// A client that is asked about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Client<'c> {
    /// The User Name; `None` for an anonymous client.
    pub user: Option<&'c str>,
    /// The Client Identifier; empty if the broker has not assigned it yet.
    pub client_id: &'c str,
}

/// What a client does with a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// It publishes a message.
    Publish,
    /// It receives a message.
    Receive,
}

/// The answer: whether the client may, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Whether it may.
    pub allowed: bool,
    /// What has decided.
    pub why: Why,
}

/// What has decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Why {
    /// The rule of this line.
    Rule(u32),
    /// No rule allows it.
    NoRule,
    /// A name of the client must not stand for a level of a topic, so that no `pattern` line holds for it.
    UnsafeName(Name),
    /// Every topic that the filter matches may be read.
    Covered,
    /// Each message is checked when it is delivered.
    AtDelivery,
    /// The filter matches this topic, which may not be read: by the rule of a line, or because no rule allows it. A level
    /// that no rule names is a made-up one.
    Gap {
        /// The topic.
        topic: String,
        /// The line of the rule that denies it.
        line: Option<u32>,
    },
    /// The rules overlap so much that finding out would take more than [`MAX_STEPS`](crate::access::rules::covering::MAX_STEPS)
    /// steps.
    TooComplex,
}

/// A name of a client that a `pattern` line uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Name {
    /// The User Name, `%u`.
    User,
    /// The Client Identifier, `%c`.
    ClientId,
}

impl Decision {
    /// The rule of a line allows it.
    pub(crate) const fn allow(line: u32) -> Decision {
        Decision { allowed: true, why: Why::Rule(line) }
    }

    /// It is denied.
    pub(crate) const fn deny(why: Why) -> Decision {
        Decision { allowed: false, why }
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Why::Rule(line) => write!(f, "line {line}"),
            Why::NoRule => f.write_str("no line allows it"),
            Why::UnsafeName(name) => {
                let name = match name {
                    Name::User => "user name",
                    Name::ClientId => "client identifier",
                };
                write!(f, "no pattern line holds for a client with such a {name}")
            }
            Why::AtDelivery => f.write_str("each message is checked when it is delivered"),
            Why::Covered => f.write_str("every topic that it matches may be read"),
            Why::Gap { topic, line: Some(line) } => {
                write!(f, "it matches {topic:?}, which line {line} denies")
            }
            Why::Gap { topic, line: None } => write!(f, "it matches {topic:?}, which no line allows"),
            Why::TooComplex => f.write_str("the rules overlap too much to tell"),
        }
    }
}
