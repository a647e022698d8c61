//! mosquitto's `acl_file`: lines to rules, and back.
//!
//! A file is read as mosquitto 2.0 reads it. A line with `#` in its first column is a comment. Words are separated by
//! spaces; blanks at the end of a line are nothing. `user NAME` begins the section of a user, and the name may have spaces
//! in it. `topic [read|write|readwrite|deny] FILTER` is a rule of the section, `pattern` with the same words one for
//! everybody. A filter with a space needs the word before it. There are no quotes.
//!
//! A mark of the byte order at the beginning is skipped. What is not UTF-8 or holds U+0000 is an error: no client has such
//! a name, and no topic.

use std::fmt::Write;

use crate::access::rules::rule::{FilterError, Right, Rule, Who, check_filter};

/// The largest file.
pub const MAX_BYTES: usize = 4 << 20;

/// The longest name that a CONNECT can carry.
const MAX_NAME: usize = u16::MAX as usize;

/// Why a file is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {cause}")]
pub struct FileError {
    /// The line, from 1 on.
    pub line: u32,
    /// What is wrong with it.
    pub cause: LineError,
}

/// What is wrong with a line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LineError {
    /// The file is larger than [`MAX_BYTES`].
    #[error("the file is larger than {MAX_BYTES} bytes")]
    TooLarge,
    /// It is not UTF-8.
    #[error("the line is not UTF-8")]
    NotUtf8,
    /// It holds U+0000.
    #[error("the line holds U+0000")]
    Nul,
    /// It begins with another word.
    #[error("a line begins with user, topic, pattern or #, not {0:?}")]
    Word(String),
    /// `user` without a name.
    #[error("user without a name")]
    NoUser,
    /// A name that no client can have.
    #[error("the user name is longer than 65535 bytes")]
    LongUser,
    /// `topic` or `pattern` without a topic filter.
    #[error("{0} without a topic filter")]
    NoFilter(&'static str),
    /// The word before the topic filter is none of them.
    #[error(
        "{0:?} is none of read, write, readwrite and deny; a topic filter with a space needs one of them before it"
    )]
    Right(String),
    /// The topic filter is none.
    #[error("{0}: {1:?}")]
    Filter(FilterError, String),
}

/// Reads a file.
///
/// # Errors
/// Something is wrong with a line; then no rule of the file holds.
pub fn parse(file: &[u8]) -> Result<Vec<Rule>, FileError> {
    if file.len() > MAX_BYTES {
        return Err(FileError { line: 1, cause: LineError::TooLarge });
    }
    let file = file.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(file);
    let mut rules = Vec::new();
    let mut section = Who::Anonymous;
    for (line, text) in (1..).zip(file.split(|byte| *byte == b'\n')) {
        let parsed = parse_line(text, &section).map_err(|cause| FileError { line, cause })?;
        match parsed {
            Line::Nothing => {}
            Line::User(user) => section = Who::User(user.into()),
            Line::Rule { who, right, filter } => {
                rules.push(Rule { who, right, filter: filter.into(), line });
            }
        }
    }
    Ok(rules)
}

/// What a line says.
enum Line<'l> {
    Nothing,
    User(&'l str),
    Rule { who: Who, right: Right, filter: &'l str },
}

fn parse_line<'l>(line: &'l [u8], section: &Who) -> Result<Line<'l>, LineError> {
    let line = std::str::from_utf8(line).map_err(|_| LineError::NotUtf8)?;
    if line.starts_with('#') {
        return Ok(Line::Nothing);
    }
    if line.contains('\0') {
        return Err(LineError::Nul);
    }
    let line = line.trim_end_matches(is_blank).trim_start_matches(' ');
    let (word, rest) = first_word(line);
    match word {
        "" => Ok(Line::Nothing),
        "user" => match rest.trim_matches(is_blank) {
            "" => Err(LineError::NoUser),
            user if user.len() > MAX_NAME => Err(LineError::LongUser),
            user => Ok(Line::User(user)),
        },
        "topic" => parse_rule("topic", rest, section.clone()),
        "pattern" => parse_rule("pattern", rest, Who::Everybody),
        other => Err(LineError::Word(shortened(other))),
    }
}

fn parse_rule<'l>(word: &'static str, rest: &'l str, who: Who) -> Result<Line<'l>, LineError> {
    let (first, rest) = first_word(rest.trim_start_matches(' '));
    let (right, filter) = match (first, rest.trim_matches(is_blank)) {
        ("", _) => return Err(LineError::NoFilter(word)),
        // A word alone is the filter, also if it is `read`.
        (filter, "") => (Right::ReadWrite, filter),
        (first, filter) => match Right::ALL.into_iter().find(|right| right.word() == first) {
            Some(right) => (right, filter),
            None => return Err(LineError::Right(shortened(first))),
        },
    };
    check_filter(filter).map_err(|error| LineError::Filter(error, shortened(filter)))?;
    Ok(Line::Rule { who, right, filter })
}

/// The text before the first space, and the text behind it.
fn first_word(text: &str) -> (&str, &str) {
    text.split_once(' ').unwrap_or((text, ""))
}

/// What C's `isspace` takes for one.
fn is_blank(letter: char) -> bool {
    matches!(letter, ' ' | '\t' | '\n' | '\r' | '\x0B' | '\x0C')
}

/// The beginning of a text, for an error.
fn shortened(text: &str) -> String {
    text.chars().take(60).collect()
}

/// Writes rules as a file. Rules of anonymous clients come first, or they would belong to a user.
pub fn print(rules: &[Rule]) -> String {
    let mut file = String::new();
    let mut user = None;
    let (anonymous, others): (Vec<_>, Vec<_>) = rules.iter().partition(|rule| rule.who == Who::Anonymous);
    for rule in anonymous.into_iter().chain(others) {
        let word = match &rule.who {
            Who::Everybody => "pattern",
            Who::Anonymous => "topic",
            Who::User(name) => {
                if user != Some(name) {
                    user = Some(name);
                    let _ = writeln!(file, "user {name}");
                }
                "topic"
            }
        };
        let _ = writeln!(file, "{word} {} {}", rule.right.word(), rule.filter);
    }
    file
}

#[cfg(test)]
mod tests {
    use super::{FileError, LineError, MAX_BYTES, parse, print};
    use crate::access::rules::rule::{FilterError, Right, Rule, Who};
    use crate::codec::topic::TopicError;

    fn rule(who: &Who, right: Right, filter: &str, line: u32) -> Rule {
        Rule { who: who.clone(), right, filter: filter.into(), line }
    }

    /// As mosquitto 2.0.11 reads it.
    #[test]
    fn a_file_is_read_as_mosquitto_reads_it() {
        let file = "\u{FEFF}# topic no\r\n\
            topic read a/b\r\n\
            \r\n   \n\t\n\
            \x20 topic  deny   with spaces/+ \t\n\
            topic read\n\
            topic read \n\
            topic read \"quoted\"\n\
            user  a b \n\
            topic write\tx\n\
            topic readwrite %u/#\n\
            pattern $SYS/%c\n\
            user b\n\
            topic $share/g/a";
        let (a, b) = (Who::User("a b".into()), Who::User("b".into()));
        let expected = [
            rule(&Who::Anonymous, Right::Read, "a/b", 2),
            rule(&Who::Anonymous, Right::Deny, "with spaces/+", 6),
            rule(&Who::Anonymous, Right::ReadWrite, "read", 7),
            rule(&Who::Anonymous, Right::ReadWrite, "read", 8),
            rule(&Who::Anonymous, Right::Read, "\"quoted\"", 9),
            rule(&a, Right::ReadWrite, "write\tx", 11),
            rule(&a, Right::ReadWrite, "%u/#", 12),
            rule(&Who::Everybody, Right::ReadWrite, "$SYS/%c", 13),
            rule(&b, Right::ReadWrite, "$share/g/a", 15),
        ];
        assert_eq!(parse(file.as_bytes()).unwrap(), expected);
        assert_eq!(parse(b""), Ok(Vec::new()));
    }

    #[test]
    fn a_wrong_line_is_named() {
        let wildcard = |error, text: &str| LineError::Filter(FilterError::Topic(error), text.to_owned());
        let long = format!("topic {}", "a".repeat(65_536));
        let deep = format!("topic {}a", "a/".repeat(201));
        let user = format!("user {}", "u".repeat(65_536));
        let cases: [(&[u8], LineError); 16] = [
            (b"\ttopic a", LineError::Word("\ttopic".to_owned())),
            (b"topic\ta", LineError::Word("topic\ta".to_owned())),
            (b" # a", LineError::Word("#".to_owned())),
            (b"TOPIC a", LineError::Word("TOPIC".to_owned())),
            (b"topic ", LineError::NoFilter("topic")),
            (b"pattern", LineError::NoFilter("pattern")),
            (b"topic foo bar", LineError::Right("foo".to_owned())),
            (b"topic subscribe a", LineError::Right("subscribe".to_owned())),
            (b"topic read a#", wildcard(TopicError::MisplacedHash, "a#")),
            (b"topic read a/# # why", wildcard(TopicError::MisplacedHash, "a/# # why")),
            (b"user", LineError::NoUser),
            (b"user  \t", LineError::NoUser),
            (b"topic a\0b", LineError::Nul),
            (b"user \xFF", LineError::NotUtf8),
            (long.as_bytes(), wildcard(TopicError::TooLong, &"a".repeat(60))),
            (user.as_bytes(), LineError::LongUser),
        ];
        for (line, cause) in cases {
            let file = [b"topic a\n\n", line, b"\ntopic b\n"].concat();
            assert_eq!(parse(&file), Err(FileError { line: 3, cause }), "{:?}", line.get(..20));
        }
        let error = parse(deep.as_bytes()).unwrap_err();
        assert!(
            error.to_string().starts_with("line 1: the topic has more than 201 levels: \"a/a/"),
            "{error}"
        );
        let large = vec![b'\n'; MAX_BYTES + 1];
        assert_eq!(parse(&large), Err(FileError { line: 1, cause: LineError::TooLarge }));
        assert_eq!(parse(&large[1..]), Ok(Vec::new()));
    }

    #[test]
    fn rules_of_anonymous_clients_are_written_first() {
        let ann = Who::User("ann".into());
        let rules = [
            rule(&ann, Right::Read, "a b", 1),
            rule(&Who::Anonymous, Right::Deny, "c", 2),
            rule(&Who::Everybody, Right::Write, "%c", 3),
            rule(&ann, Right::ReadWrite, "d", 4),
        ];
        let file = "topic deny c\nuser ann\ntopic read a b\npattern write %c\ntopic readwrite d\n";
        assert_eq!(print(&rules), file);
    }
}
