//! Topic Names and Topic Filters: their syntax, and which filter matches which name.

use crate::codec::error::DecodeError;
use crate::codec::reason::ReasonCode;
use crate::codec::wire::MAX_FIELD;

/// The name a message is published to: 1 to 65535 bytes, no wildcard, no U+0000.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TopicName<'a>(&'a str);

/// The expression a client subscribes to, perhaps shared: `a/+/b`, `a/#`, `$share/group/a/#`, `$queue/a/#`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TopicFilter<'a> {
    group: Option<&'a str>,
    filter: &'a str,
    whole: &'a str,
}

/// Why a text is not a Topic Name or not a Topic Filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TopicError {
    /// The text is empty.
    Empty,
    /// The text has more than 65535 bytes.
    TooLong,
    /// The text holds the character U+0000.
    Nul,
    /// A Topic Name holds `+` or `#`.
    WildcardInName,
    /// A `+` shares its level with other characters.
    MisplacedPlus,
    /// A `#` shares its level with other characters or is not the last level.
    MisplacedHash,
    /// The share name after `$share/` is empty.
    EmptyGroup,
    /// The share name after `$share/` holds `+` or `#`.
    WildcardInGroup,
    /// Nothing follows the share name.
    EmptySharedFilter,
    /// Nothing follows `$queue/`.
    EmptyQueueFilter,
}

/// The group that subscriptions to `$queue/...` share.
const QUEUE_GROUP: &str = "$queue";

impl TopicError {
    /// What is wrong, as a clause for a log line or a Reason String.
    pub const fn cause(self) -> &'static str {
        match self {
            TopicError::Empty => "the topic is empty",
            TopicError::TooLong => "the topic is longer than 65535 bytes",
            TopicError::Nul => "the topic holds U+0000",
            TopicError::WildcardInName => "the topic name holds a wildcard, + or #",
            TopicError::MisplacedPlus => "the wildcard + does not fill a whole level of the topic filter",
            TopicError::MisplacedHash => "the wildcard # is not the whole last level of the topic filter",
            TopicError::EmptyGroup => "the share name after $share/ is empty",
            TopicError::WildcardInGroup => "the share name after $share/ holds a wildcard, + or #",
            TopicError::EmptySharedFilter => "the shared subscription has no topic filter",
            TopicError::EmptyQueueFilter => "the subscription to $queue/ has no topic filter",
        }
    }
}

impl<'a> TopicName<'a> {
    /// The topic name `text`.
    ///
    /// # Errors
    /// `text` is empty, longer than 65535 bytes, or holds U+0000 or a wildcard.
    pub fn parse(text: &'a str) -> Result<TopicName<'a>, TopicError> {
        check_text(text)?;
        if holds_wildcard(text) {
            return Err(TopicError::WildcardInName); // [MQTT-4.7.0-1], [MQTT3-4.7.1-1]
        }
        Ok(TopicName(text))
    }

    /// The topic name `text` of a decoded packet; decoding has checked it.
    #[inline]
    pub(crate) const fn from_validated(text: &'a str) -> TopicName<'a> {
        TopicName(text)
    }

    /// The text.
    #[inline]
    pub const fn as_str(self) -> &'a str {
        self.0
    }

    /// Whether it begins with `$`, as `$SYS/...` does.
    #[inline]
    pub fn starts_with_dollar(self) -> bool {
        self.0.starts_with('$')
    }

    /// The levels between the slashes; an empty level counts.
    #[inline]
    pub fn levels(self) -> impl Iterator<Item = &'a str> + Clone + use<'a> {
        self.0.split('/')
    }

    /// The number of levels.
    #[inline]
    pub fn level_count(self) -> usize {
        level_count(self.0)
    }

    /// The first level.
    #[inline]
    pub fn first_level(self) -> &'a str {
        first_level(self.0)
    }
}

impl<'a> TopicFilter<'a> {
    /// The topic filter `text`.
    ///
    /// # Errors
    /// `text` is empty, too long or holds U+0000, or a wildcard is misplaced. A shared subscription without a share
    /// name or a filter is an error, too.
    pub fn parse(text: &'a str) -> Result<TopicFilter<'a>, TopicError> {
        check_text(text)?;
        let (group, filter) = split_share(text)?;
        check_wildcards(filter)?;
        Ok(TopicFilter { group, filter, whole: text })
    }

    /// The filter `text` of a SUBSCRIBE or UNSUBSCRIBE packet, or why the server refuses this filter alone: `$queue/`
    /// is well formed by the specification, which gives `$queue` no meaning.
    ///
    /// # Errors
    /// The filter is malformed, which ends the connection. `$share/` begins a shared subscription in every version.
    pub(crate) fn of_packet(text: &'a str) -> Result<Result<TopicFilter<'a>, ReasonCode>, DecodeError> {
        match TopicFilter::parse(text) {
            Ok(filter) => Ok(Ok(filter)),
            Err(TopicError::EmptyQueueFilter) => Ok(Err(ReasonCode::TopicFilterInvalid)),
            // [MQTT-4.13.1-1], [MQTT3-4.8.0-1]
            Err(error) => Err(DecodeError::malformed(error.cause())),
        }
    }

    /// The whole text, with the share prefix.
    #[inline]
    pub const fn as_str(self) -> &'a str {
        self.whole
    }

    /// The share name of a shared subscription; `$queue` for `$queue/...`.
    #[inline]
    pub const fn group(self) -> Option<&'a str> {
        self.group
    }

    /// The filter without the share prefix.
    #[inline]
    pub const fn filter(self) -> &'a str {
        self.filter
    }

    /// Whether the filter holds `+` or `#`.
    pub fn has_wildcard(self) -> bool {
        holds_wildcard(self.filter)
    }

    /// The levels of the filter without the share prefix; an empty level counts.
    #[inline]
    pub fn levels(self) -> impl Iterator<Item = &'a str> + Clone + use<'a> {
        self.filter.split('/')
    }

    /// The number of levels of the filter without the share prefix.
    #[inline]
    pub fn level_count(self) -> usize {
        level_count(self.filter)
    }

    /// The first level of the filter without the share prefix.
    #[inline]
    pub fn first_level(self) -> &'a str {
        first_level(self.filter)
    }

    /// Whether a message published to `topic` matches this filter.
    /// [MQTT-4.7.3-4], [MQTT3-4.7.3-4]
    pub fn matches(self, topic: &TopicName<'_>) -> bool {
        // [MQTT-4.7.2-1], [MQTT3-4.7.2-1]
        if topic.starts_with_dollar() && self.filter.starts_with(['+', '#']) {
            return false;
        }
        let mut names = topic.levels();
        for level in self.levels() {
            if level == "#" {
                return true; // also where the parent level is the last, section 4.7.1.2
            }
            match names.next() {
                Some(name) if level == "+" || level == name => {}
                _ => return false,
            }
        }
        names.next().is_none()
    }
}

impl std::fmt::Display for TopicError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.cause())
    }
}

impl std::fmt::Display for TopicName<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0)
    }
}

impl std::fmt::Display for TopicFilter<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.whole)
    }
}

/// Checks the rules that names and filters share.
fn check_text(text: &str) -> Result<(), TopicError> {
    if text.is_empty() {
        Err(TopicError::Empty) // [MQTT-4.7.3-1]
    } else if text.len() > MAX_FIELD {
        Err(TopicError::TooLong) // [MQTT-4.7.3-3], [MQTT3-4.7.3-3]
    } else if text.as_bytes().contains(&0) {
        Err(TopicError::Nul) // [MQTT-4.7.3-2], [MQTT3-4.7.3-2]
    } else {
        Ok(())
    }
}

fn level_count(text: &str) -> usize {
    1 + text.bytes().filter(|byte| *byte == b'/').count()
}

fn first_level(text: &str) -> &str {
    let end = text.bytes().position(|byte| byte == b'/').unwrap_or(text.len());
    text.get(..end).unwrap_or_default()
}

/// One pass without an early exit, which the compiler turns into vector instructions.
#[inline]
fn holds_wildcard(text: &str) -> bool {
    text.bytes().fold(false, |found, byte| found | (byte == b'+') | (byte == b'#'))
}

/// The group and the filter within `text`, which is checked and not empty.
fn split_share(text: &str) -> Result<(Option<&str>, &str), TopicError> {
    let (group, filter) = if let Some(filter) = text.strip_prefix("$queue/") {
        if filter.is_empty() {
            return Err(TopicError::EmptyQueueFilter);
        }
        (QUEUE_GROUP, filter)
    } else if let Some(rest) = text.strip_prefix("$share/") {
        rest.split_once('/').unwrap_or((rest, ""))
    } else {
        return Ok((None, text));
    };
    if group.is_empty() {
        Err(TopicError::EmptyGroup) // [MQTT-4.8.2-1]
    } else if holds_wildcard(group) {
        Err(TopicError::WildcardInGroup) // [MQTT-4.8.2-2]
    } else if filter.is_empty() {
        Err(TopicError::EmptySharedFilter) // [MQTT-4.8.2-2]
    } else {
        Ok((Some(group), filter))
    }
}

/// Checks the topic filter of an access rule, to which `$share/` and `$queue/` are levels like any other.
pub(crate) fn check_rule_filter(text: &str) -> Result<(), TopicError> {
    check_text(text)?;
    check_wildcards(text)
}

#[inline(always)] // One caller is on the path of every SUBSCRIBE, the other reads files.
fn check_wildcards(filter: &str) -> Result<(), TopicError> {
    if !holds_wildcard(filter) {
        return Ok(());
    }
    let mut levels = filter.split('/').peekable();
    while let Some(level) = levels.next() {
        // [MQTT-4.7.1-1], [MQTT3-4.7.1-2]
        if level.contains('#') && (level != "#" || levels.peek().is_some()) {
            return Err(TopicError::MisplacedHash);
        }
        // [MQTT-4.7.1-2], [MQTT3-4.7.1-3]
        if level.contains('+') && level != "+" {
            return Err(TopicError::MisplacedPlus);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{TopicError, TopicFilter, TopicName};

    /// [MQTT-4.7.0-1], [MQTT-4.7.3-1], [MQTT-4.7.3-2], [MQTT-4.7.3-3], [MQTT3-4.7.1-1], [MQTT3-4.7.3-1],
    /// [MQTT3-4.7.3-2], [MQTT3-4.7.3-3]
    #[test]
    fn a_name_is_not_empty_and_holds_no_wildcard() {
        for text in ["a", "/", "//", "a b", "$SYS/x", "é/ü", "a/b/c"] {
            assert_eq!(TopicName::parse(text).unwrap().as_str(), text);
        }
        let long = "a".repeat(65_536);
        let cases = [
            ("", TopicError::Empty),
            (&long, TopicError::TooLong),
            ("a\0b", TopicError::Nul),
            ("a/+", TopicError::WildcardInName),
            ("#", TopicError::WildcardInName),
            ("a#", TopicError::WildcardInName),
        ];
        for (text, error) in cases {
            assert_eq!(TopicName::parse(text), Err(error), "{text:.20}");
        }
        assert!(TopicName::parse(&long[1..]).is_ok());
    }

    /// [MQTT-4.7.1-1], [MQTT-4.7.1-2], [MQTT3-4.7.1-2], [MQTT3-4.7.1-3]
    #[test]
    fn a_filter_has_its_wildcards_on_whole_levels() {
        for text in ["#", "+", "a/#", "+/+", "/+", "+/a/#", "a//#", "$SYS/#", "$share", "$queue", "$shared/a"]
        {
            let filter = TopicFilter::parse(text).unwrap();
            assert_eq!((filter.as_str(), filter.filter(), filter.group()), (text, text, None));
        }
        let cases = [
            ("", TopicError::Empty),
            ("a\0", TopicError::Nul),
            ("a#", TopicError::MisplacedHash),
            ("#/a", TopicError::MisplacedHash),
            ("a/#/b", TopicError::MisplacedHash),
            ("##", TopicError::MisplacedHash),
            ("a+", TopicError::MisplacedPlus),
            ("+a/b", TopicError::MisplacedPlus),
            ("++", TopicError::MisplacedPlus),
        ];
        for (text, error) in cases {
            assert_eq!(TopicFilter::parse(text), Err(error), "{text}");
        }
    }

    /// [MQTT-4.8.2-1], [MQTT-4.8.2-2]
    #[test]
    fn a_shared_filter_has_a_group_and_a_filter() {
        for (text, group, inner) in [
            ("$share/g/a/+", "g", "a/+"),
            ("$share/g//", "g", "/"),
            ("$share/g/#", "g", "#"),
            ("$queue/a", "$queue", "a"),
        ] {
            let filter = TopicFilter::parse(text).unwrap();
            assert_eq!((filter.as_str(), filter.group(), filter.filter()), (text, Some(group), inner));
        }
        let cases = [
            ("$share/", TopicError::EmptyGroup),
            ("$share//a", TopicError::EmptyGroup),
            ("$share/g", TopicError::EmptySharedFilter),
            ("$share/g/", TopicError::EmptySharedFilter),
            ("$share/+/a", TopicError::WildcardInGroup),
            ("$share/#", TopicError::WildcardInGroup),
            ("$share/g/a#", TopicError::MisplacedHash),
            ("$queue/", TopicError::EmptyQueueFilter),
        ];
        for (text, error) in cases {
            assert_eq!(TopicFilter::parse(text), Err(error), "{text}");
        }
    }

    /// [MQTT-3.3.2-3], [MQTT-4.7.3-4], [MQTT3-3.3.2-3], [MQTT3-4.7.3-4]
    #[test]
    fn matching_follows_section_4_7() {
        let cases = [
            ("sport/tennis/#", "sport/tennis/p1/x", true),
            ("sport/#", "sport", true),
            ("sport/#", "sports", false),
            ("#", "a/b", true),
            ("#", "/", true),
            ("sport/+", "sport/a", true),
            ("sport/+", "sport", false),
            ("sport/+", "sport/", true),
            ("sport/+", "sport/a/b", false),
            ("+/+", "/finance", true),
            ("/+", "/finance", true),
            ("+", "/finance", false),
            ("+/a/#", "b/a", true),
            ("a/b", "a/b", true),
            ("a/b", "a/b/", false),
            ("A", "a", false),
            ("$share/g/a/+", "a/x", true),
            ("$queue/a", "$queue/a", false),
        ];
        for (filter, name, expected) in cases {
            let matched = TopicFilter::parse(filter).unwrap().matches(&TopicName::parse(name).unwrap());
            assert_eq!(matched, expected, "{filter} {name}");
        }
    }

    /// [MQTT-4.7.2-1], [MQTT3-4.7.2-1]
    #[test]
    fn mqtt_4_7_2_1_a_leading_wildcard_does_not_match_a_dollar_topic() {
        let cases = [
            ("#", "$SYS/a", false),
            ("+/a", "$SYS/a", false),
            ("$SYS/#", "$SYS/a", true),
            ("$SYS/+", "$SYS/a", true),
            ("$share/g/#", "$SYS/a", false),
            ("$share/g/$SYS/#", "$SYS/a", true),
        ];
        for (filter, name, expected) in cases {
            let matched = TopicFilter::parse(filter).unwrap().matches(&TopicName::parse(name).unwrap());
            assert_eq!(matched, expected, "{filter} {name}");
        }
    }
}
