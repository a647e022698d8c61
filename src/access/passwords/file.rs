//! The lines of a password file: `user:hash`.
//!
//! A line with `#` in its first column is a comment, and an empty line is nothing. Blanks around the name and around the
//! hash do not count. A user with nothing behind the colon has no password: mosquitto lets nobody in with that name, and
//! neither does this.

use std::collections::HashMap;

use crate::access::passwords::hash::{HashError, PasswordHash};

/// The largest file: 100,000 users with the longest usual hashes.
pub const MAX_BYTES: u64 = 16 << 20;
/// The most users.
pub const MAX_USERS: usize = 100_000;
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
    /// It is not UTF-8.
    #[error("the line is not UTF-8")]
    NotUtf8,
    /// No colon is in it.
    #[error("a line is user:hash")]
    NoColon,
    /// Nothing is before the colon.
    #[error("the user name is missing")]
    NoName,
    /// No client can have such a name.
    #[error("the user name is longer than 65535 bytes, or has a control character")]
    Name,
    /// The hash cannot be used.
    #[error("user {user:?}: {error}")]
    Hash {
        /// The beginning of the name.
        user: String,
        /// Why.
        error: HashError,
    },
    /// An earlier line has the user.
    #[error("user {user:?} is in line {line}, too")]
    Twice {
        /// The beginning of the name.
        user: String,
        /// That line.
        line: u32,
    },
    /// More users than a file may have.
    #[error("more than {MAX_USERS} users")]
    TooMany,
}

/// A user of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// The User Name.
    pub name: String,
    /// The hash of the password; `None`: no password is right.
    pub hash: Option<PasswordHash>,
    /// The line.
    pub line: u32,
}

/// Reads a file.
///
/// # Errors
/// Something is wrong with a line; then no line of the file holds.
pub fn parse(file: &[u8]) -> Result<Vec<User>, FileError> {
    let file = file.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(file);
    let mut users: Vec<User> = Vec::new();
    let mut lines: HashMap<&str, u32> = HashMap::new();
    for (line, text) in (1..).zip(file.split(|byte| *byte == b'\n')) {
        let wrong = |cause| FileError { line, cause };
        let Some((name, hash)) = split(text).map_err(wrong)? else {
            continue;
        };
        let user = || name.chars().take(60).collect();
        if let Some(earlier) = lines.insert(name, line) {
            return Err(wrong(LineError::Twice { user: user(), line: earlier }));
        }
        if users.len() == MAX_USERS {
            return Err(wrong(LineError::TooMany));
        }
        let hash = (!hash.is_empty()).then(|| PasswordHash::parse(hash)).transpose();
        let hash = hash.map_err(|error| wrong(LineError::Hash { user: user(), error }))?;
        users.push(User { name: name.to_owned(), hash, line });
    }
    Ok(users)
}

/// The name and the rest of a line; `None` for a comment and an empty line.
///
/// # Errors
/// It is no line of a password file.
pub fn split(line: &[u8]) -> Result<Option<(&str, &str)>, LineError> {
    let line = std::str::from_utf8(line).map_err(|_| LineError::NotUtf8)?;
    if line.starts_with('#') || line.trim().is_empty() {
        return Ok(None);
    }
    let (name, rest) = line.split_once(':').ok_or(LineError::NoColon)?;
    let name = name.trim();
    check_name(name)?;
    Ok(Some((name, rest.trim())))
}

/// Checks a user name.
///
/// # Errors
/// No client, or no line of a file, can have it.
pub fn check_name(name: &str) -> Result<(), LineError> {
    if name.is_empty() {
        return Err(LineError::NoName);
    }
    let is_wrong = name.len() > MAX_NAME || name.chars().any(char::is_control);
    if is_wrong { Err(LineError::Name) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::{FileError, LineError, MAX_USERS, parse};

    const HASH: &str = "$7$101$hqR93+XoHWTzC0sZ$Issi0o4rD/nZ3Kfv/F49KT9rjoLvJt+qSAGopJw9+Q8AzH16vTfYA0Yug9XPWUXDga3V31TNwgRMK8pR4k2uwg==";

    #[test]
    fn a_file_is_read_as_mosquitto_reads_it() {
        let file =
            format!("\u{FEFF}# ann:x\r\nann:{HASH}\r\n\n  \t\n b o b : {HASH} \nnobody:\nnobody else: \n#");
        let users = parse(file.as_bytes()).unwrap();
        let found: Vec<_> =
            users.iter().map(|user| (user.name.as_str(), user.hash.is_some(), user.line)).collect();
        assert_eq!(
            found,
            [("ann", true, 2), ("b o b", true, 5), ("nobody", false, 6), ("nobody else", false, 7)]
        );
        assert_eq!(parse(b""), Ok(Vec::new()));
    }

    #[test]
    fn a_wrong_line_is_named() {
        let long = format!("{}:{HASH}", "u".repeat(65_536));
        let twice = format!("bob:{HASH}");
        let cases: [(&[u8], &str); 9] = [
            (b"ann", "a line is user:hash"),
            (b":x", "the user name is missing"),
            (b" \t:x", "the user name is missing"),
            (b"a\x01b:x", "the user name is longer than 65535 bytes, or has a control character"),
            (b"\xFF:x", "the line is not UTF-8"),
            (long.as_bytes(), "the user name is longer than 65535 bytes, or has a control character"),
            (twice.as_bytes(), "user \"bob\" is in line 1, too"),
            (
                b"ann:secret",
                "user \"ann\": the hash begins with none of $argon2id$, $7$ and $6$; midge passwd -U hashes \
                 passwords in clear text",
            ),
            (b"ann:$7$101$x", "user \"ann\": the hash is malformed: the salt"),
        ];
        for (line, cause) in cases {
            let file = [format!("bob:{HASH}\n\n").as_bytes(), line, b"\nmax:x\n"].concat();
            let error = parse(&file).unwrap_err();
            assert_eq!((error.line, error.cause.to_string()), (3, cause.to_owned()));
            assert!(!error.to_string().contains("secret"), "{error}");
        }
    }

    #[test]
    fn the_number_of_users_is_bounded() {
        let lines = |count| (0..count).map(|number| format!("u{number}:\n")).collect::<String>();
        assert_eq!(parse(lines(MAX_USERS).as_bytes()).unwrap().len(), MAX_USERS);
        let error = parse(lines(MAX_USERS + 1).as_bytes()).unwrap_err();
        assert_eq!(error, FileError { line: MAX_USERS as u32 + 1, cause: LineError::TooMany });
    }
}
