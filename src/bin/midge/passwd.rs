//! `midge passwd`: users of a password file, as mosquitto_passwd has them.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, BufRead, IsTerminal, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

use midge::access::passwords::file::{MAX_BYTES, check_name, split};
use midge::access::passwords::hash::{NewHash, PasswordHash};
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};

use crate::arguments::Passwd;
use crate::failure::Failure;

/// The longest password that a CONNECT can carry.
const LONGEST: usize = u16::MAX as usize;

/// Changes a password file. It is written as a whole or not at all.
pub(crate) fn run(arguments: &Passwd) -> Result<(), Failure> {
    let path = &arguments.file;
    let kind = if arguments.hash == "argon2id" { NewHash::Argon2id } else { NewHash::Sha512Pbkdf2 };
    let old = if arguments.create { String::new() } else { read(path)? };
    let new = match &arguments.user {
        None => upgraded(path, &old, kind)?,
        Some(user) => {
            check_name(user).map_err(|error| Failure::usage(error.to_string()))?;
            if user.contains(':') || user.trim() != user || user.starts_with('#') {
                let cause = "a user name has no colon, no blank at its ends, and does not begin with #";
                return Err(Failure::usage(cause));
            }
            // An error in the file is told before a password is asked for.
            let place = find(path, &old, user)?;
            if arguments.delete {
                let place = place.ok_or_else(|| failed(path, format!("no user {user:?} is in it")))?;
                with_line(&old, Some(place), None)
            } else {
                let password = password(arguments)?;
                let line = format!("{user}:{}", hashed(kind, &password)?);
                with_line(&old, place, Some(&line))
            }
        }
    };
    write(path, &new)
}

fn failed(path: &Path, cause: impl std::fmt::Display) -> Failure {
    Failure::runtime(format!("{}: {cause}", path.display()))
}

fn read(path: &Path) -> Result<String, Failure> {
    let mut text = String::new();
    let file = File::open(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => failed(path, "there is no such file; --create makes one"),
        _ => failed(path, error),
    })?;
    file.take(MAX_BYTES + 1).read_to_string(&mut text).map_err(|error| failed(path, error))?;
    match text.len() as u64 > MAX_BYTES {
        true => Err(failed(path, format!("it has more than {MAX_BYTES} bytes"))),
        false => Ok(text),
    }
}

/// The number of the line, from 0 on, that has this user.
fn find(path: &Path, text: &str, user: &str) -> Result<Option<usize>, Failure> {
    let mut found = None;
    for (number, line) in text.lines().enumerate() {
        let name = split(line.as_bytes()).map_err(|error| at_line(path, number, error))?;
        if name.is_some_and(|(name, _)| name == user) && found.replace(number).is_some() {
            return Err(at_line(path, number, format!("user {user:?} is there twice")));
        }
    }
    Ok(found)
}

fn at_line(path: &Path, number: usize, cause: impl std::fmt::Display) -> Failure {
    failed(path, format!("line {}: {cause}", number + 1))
}

/// The text with another line in this place, or without it; a line without a place comes to the end.
fn with_line(text: &str, place: Option<usize>, line: Option<&str>) -> String {
    let mut lines: Vec<&str> = text.lines().collect();
    match (place, line) {
        (Some(place), Some(line)) => lines.splice(place..=place, [line]).for_each(drop),
        (Some(place), None) => drop(lines.remove(place)),
        (None, Some(line)) => lines.push(line),
        (None, None) => {}
    }
    lines.iter().flat_map(|line| [line, "\n"]).collect()
}

/// The text with a hash for each password in clear text.
fn upgraded(path: &Path, text: &str, kind: NewHash) -> Result<String, Failure> {
    let mut new = String::new();
    for (number, line) in text.lines().enumerate() {
        match split(line.as_bytes()).map_err(|error| at_line(path, number, error))? {
            Some((name, password)) if !password.is_empty() && PasswordHash::parse(password).is_err() => {
                let looks_hashed = ["$argon2", "$7$", "$6$"].iter().any(|mark| password.starts_with(mark));
                if looks_hashed {
                    return Err(at_line(
                        path,
                        number,
                        "the hash is malformed, and no password in clear text",
                    ));
                }
                new.push_str(&format!("{name}:{}", hashed(kind, password)?));
            }
            _ => new.push_str(line),
        }
        new.push('\n');
    }
    Ok(new)
}

fn hashed(kind: NewHash, password: &str) -> Result<String, Failure> {
    let mut salt = [0; 12];
    getrandom::fill(&mut salt).map_err(|error| Failure::runtime(format!("no random numbers: {error}")))?;
    let made = PasswordHash::make(kind, password.as_bytes(), salt);
    made.map(|hash| hash.write()).map_err(|error| Failure::runtime(error.to_string()))
}

/// The password of the command line, of the terminal, or of the first line of the standard input.
fn password(arguments: &Passwd) -> Result<String, Failure> {
    let given = match &arguments.password {
        Some(password) => password.clone(),
        None if io::stdin().is_terminal() => {
            let first = ask("Password: ")?;
            if ask("Password again: ")? != first {
                return Err(Failure::usage("the two passwords differ"));
            }
            first
        }
        None => line()?,
    };
    match given.len() {
        0 => Err(Failure::usage("the password is empty")),
        length if length > LONGEST => Err(Failure::usage("the password is longer than 65535 bytes")),
        _ => Ok(given),
    }
}

/// Asks on the terminal, without echo.
fn ask(question: &str) -> Result<String, Failure> {
    let silence = Silence::begin().map_err(|error| Failure::runtime(format!("the terminal: {error}")))?;
    let mut err = io::stderr();
    let _shown = write!(err, "{question}").and_then(|()| err.flush());
    let answer = line();
    drop(silence);
    let _shown = writeln!(err);
    answer
}

fn line() -> Result<String, Failure> {
    let mut line = String::new();
    let read = io::stdin().lock().take(LONGEST as u64 + 3).read_line(&mut line);
    read.map_err(|error| Failure::runtime(format!("the standard input: {error}")))?;
    Ok(line.trim_end_matches(['\n', '\r']).to_owned())
}

/// A terminal that shows nothing of what is typed until this is dropped.
struct Silence(Termios);

impl Silence {
    fn begin() -> rustix::io::Result<Silence> {
        let before = tcgetattr(io::stdin())?;
        let mut silent = before.clone();
        silent.local_modes.remove(LocalModes::ECHO);
        tcsetattr(io::stdin(), OptionalActions::Flush, &silent)?;
        Ok(Silence(before))
    }
}

impl Drop for Silence {
    fn drop(&mut self) {
        // There is nothing to be done about it.
        let _restored = tcsetattr(io::stdin(), OptionalActions::Flush, &self.0);
    }
}

/// Puts the text in the place of the file, which its owner alone may read and write.
fn write(path: &Path, text: &str) -> Result<(), Failure> {
    // A link stays one.
    let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let name = path.file_name().ok_or_else(|| failed(&path, "this is no file"))?;
    let mut draft = name.to_owned();
    draft.push(format!(".{}.new", std::process::id()));
    let draft = Draft(path.with_file_name(draft));
    let written = (|| {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft.0)?;
        // The mask of the process may have taken bits.
        file.set_permissions(Permissions::from_mode(0o600))?;
        if let Ok(old) = fs::metadata(&path) {
            // Only the superuser can give a file away; for others it is theirs already.
            let _given = chown(&draft.0, Some(old.uid()), Some(old.gid()));
        }
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&draft.0, &path)
    })();
    written.map_err(|error| failed(&path, error))
}

/// A file that is removed unless it was renamed.
struct Draft(PathBuf);

impl Drop for Draft {
    fn drop(&mut self) {
        let _gone = fs::remove_file(&self.0);
    }
}
