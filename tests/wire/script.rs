//! Reads a chapter: its scenarios, and their bytes.

use std::fmt;

/// A file of scenarios.
pub struct Chapter {
    pub name: String,
    pub scenarios: Vec<Scenario>,
}

/// What is played with one broker.
pub struct Scenario {
    pub line: usize,
    pub title: String,
    pub versions: Vec<Version>,
    pub settings: Vec<(String, String)>,
    pub steps: Vec<Step>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    V31,
    V311,
    V5,
}

/// One line of a scenario.
pub struct Step {
    pub line: usize,
    /// The version for which it counts; all of them if there is none.
    pub only: Option<Version>,
    /// The connections it is about; one, but for [`Act::Receive`].
    pub who: Vec<String>,
    pub act: Act,
}

pub enum Act {
    Connects(Vec<Token>),
    Send(Vec<Token>),
    Receive(Vec<Token>),
    /// In any order with its neighbours.
    ReceiveAnyOrder(Vec<Token>),
    Quiet,
    /// With a DISCONNECT of one of these reason codes before it in MQTT 5, or without any.
    Closed(Vec<u8>),
    /// Like `Closed`, but it is a CONNACK that says why in MQTT 5.
    Refused(Vec<u8>),
    Gone,
    Drops,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Token {
    Bytes(Vec<u8>),
    /// The Remaining Length.
    Length,
    /// The Protocol Name as a string, and the Protocol Version.
    Protocol,
    Properties(Vec<Token>),
    Variable(String),
    Any,
    Rest,
    /// The end of one packet of several.
    End,
}

/// A line's number and what is wrong with it.
pub type Wrong = (usize, String);

/// Reads a chapter's text.
pub fn parse(name: &str, text: &str) -> Result<Chapter, Wrong> {
    let mut scenarios: Vec<Scenario> = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let number = index + 1;
        let line = line.trim();
        if let Some(title) = line.strip_prefix("## ") {
            let (title, versions) = parse_title(title).map_err(|cause| (number, cause))?;
            scenarios.push(Scenario {
                line: number,
                title,
                versions,
                settings: Vec::new(),
                steps: Vec::new(),
            });
        } else if !line.is_empty() && !line.starts_with('#') {
            let scenario =
                scenarios.last_mut().ok_or((number, "a line before the first title".to_owned()))?;
            parse_line(number, line, scenario).map_err(|cause| (number, cause))?;
        }
    }
    match scenarios.iter().find(|scenario| scenario.steps.is_empty()) {
        Some(empty) => Err((empty.line, "the scenario is empty".to_owned())),
        None => Ok(Chapter { name: name.to_owned(), scenarios }),
    }
}

fn parse_title(title: &str) -> Result<(String, Vec<Version>), String> {
    let (text, versions) = title
        .strip_suffix(')')
        .and_then(|title| title.rsplit_once('('))
        .ok_or("a title ends with its versions in brackets")?;
    let versions = versions.split(',').map(|v| parse_version(v.trim())).collect::<Result<_, _>>()?;
    Ok((text.trim().to_owned(), versions))
}

fn parse_version(text: &str) -> Result<Version, String> {
    match text {
        "3.1" => Ok(Version::V31),
        "3.1.1" => Ok(Version::V311),
        "5.0" => Ok(Version::V5),
        _ => Err(format!("{text}: no such version")),
    }
}

fn parse_line(number: usize, line: &str, scenario: &mut Scenario) -> Result<(), String> {
    if let Some(setting) = line.strip_prefix("set ") {
        let (key, value) = setting.split_once(' ').ok_or("set <key> <value>")?;
        scenario.settings.push((key.to_owned(), value.trim().to_owned()));
        return Ok(());
    }
    let (only, line) = match line.split_once(": ") {
        Some((version, rest)) if version.starts_with(|c: char| c.is_ascii_digit()) => {
            (Some(parse_version(version)?), rest)
        }
        _ => (None, line),
    };
    let (who, rest) = line.split_once(' ').ok_or("a connection and what it does")?;
    let (verb, rest) = rest.trim().split_once(' ').unwrap_or((rest.trim(), ""));
    let act = match verb {
        "connects" => Act::Connects(parse_properties(rest)?),
        ">" => Act::Send(parse_bytes(rest)?),
        "<" => Act::Receive(parse_bytes(rest)?),
        "~" => Act::ReceiveAnyOrder(parse_bytes(rest)?),
        "drops" => Act::Drops,
        "!" => match rest.split('#').next().unwrap_or_default().trim() {
            "quiet" => Act::Quiet,
            "closed" => Act::Closed(Vec::new()),
            "gone" => Act::Gone,
            other => {
                let (word, codes) = other.split_once(' ').unwrap_or((other, ""));
                let codes =
                    codes.split('|').map(|code| u8::from_str_radix(code, 16)).collect::<Result<_, _>>();
                let codes = codes.map_err(|error| format!("{other}: {error}"))?;
                match word {
                    "closed" => Act::Closed(codes),
                    "refused" => Act::Refused(codes),
                    _ => return Err(format!("! {other}: not known")),
                }
            }
        },
        _ => return Err(format!("{verb}: not known")),
    };
    let who = who.split('|').map(str::to_owned).collect::<Vec<_>>();
    if who.len() > 1 && !matches!(act, Act::Receive(_)) {
        return Err("only `<` may be about several connections".to_owned());
    }
    scenario.steps.push(Step { line: number, only, who, act });
    Ok(())
}

/// The properties that may stand behind `connects`.
fn parse_properties(text: &str) -> Result<Vec<Token>, String> {
    match parse_bytes(text)?.as_slice() {
        [] => Ok(Vec::new()),
        [Token::Properties(inner)] => Ok(inner.clone()),
        _ => Err("only { properties } may follow `connects`".to_owned()),
    }
}

/// Reads the bytes of a line.
pub fn parse_bytes(text: &str) -> Result<Vec<Token>, String> {
    let mut rest = text;
    let tokens = parse_tokens(&mut rest, false)?;
    Ok(tokens)
}

fn parse_tokens(rest: &mut &str, nested: bool) -> Result<Vec<Token>, String> {
    let mut tokens = Vec::new();
    loop {
        *rest = rest.trim_start();
        let Some(first) = rest.chars().next() else {
            return if nested { Err("a `{` without `}`".to_owned()) } else { Ok(tokens) };
        };
        match first {
            '#' if !nested => return Ok(tokens),
            '}' if nested => {
                *rest = &rest[1..];
                return Ok(tokens);
            }
            '{' => {
                *rest = &rest[1..];
                tokens.push(Token::Properties(parse_tokens(rest, true)?));
            }
            '"' | '\'' => {
                let (text, behind) = rest[1..].split_once(first).ok_or("a text without its end")?;
                *rest = behind;
                let mut bytes = Vec::new();
                if first == '\'' {
                    bytes.extend_from_slice(&(text.len() as u16).to_be_bytes());
                }
                bytes.extend_from_slice(text.as_bytes());
                let end = rest.find([' ', '}']).unwrap_or(rest.len());
                let count = repetitions(&rest[..end])?;
                *rest = &rest[end..];
                tokens.push(Token::Bytes(bytes.repeat(count)));
            }
            _ => {
                let end = rest.find([' ', '}']).unwrap_or(rest.len());
                tokens.push(parse_word(&rest[..end])?);
                *rest = &rest[end..];
            }
        }
    }
}

fn parse_word(word: &str) -> Result<Token, String> {
    Ok(match word {
        "@" => Token::Length,
        "protocol" => Token::Protocol,
        ".." => Token::Any,
        "*" => Token::Rest,
        "/" => Token::End,
        _ if word.starts_with('$') => Token::Variable(word.to_owned()),
        _ => {
            let digits_end = word.find('x').unwrap_or(word.len());
            let (digits, times) = word.split_at(digits_end);
            if digits.is_empty() || digits.len() % 2 != 0 || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
                return Err(format!("{word}: no pairs of hexadecimal digits"));
            }
            let bytes: Vec<u8> = (0..digits.len())
                .step_by(2)
                .map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap())
                .collect();
            Token::Bytes(bytes.repeat(repetitions(times)?))
        }
    })
}

/// How often a group stands: `x300`, or once.
fn repetitions(text: &str) -> Result<usize, String> {
    match text.strip_prefix('x') {
        None if text.is_empty() => Ok(1),
        Some(count) => count.parse().map_err(|e| format!("{text}: {e}")),
        None => Err(format!("{text}: a space is missing before it")),
    }
}

impl Version {
    /// The Protocol Name as a string, and the Protocol Version.
    pub fn protocol(self) -> &'static [u8] {
        match self {
            Version::V31 => b"\0\x06MQIsdp\x03",
            Version::V311 => b"\0\x04MQTT\x04",
            Version::V5 => b"\0\x04MQTT\x05",
        }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Version::V31 => "3.1",
            Version::V311 => "3.1.1",
            Version::V5 => "5.0",
        })
    }
}
