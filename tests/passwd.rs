//! `midge passwd`: files before and after, sentences and exit codes.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may fail by a panic")]

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use midge::access::passwords::file::parse;
use midge::access::passwords::hash::Scratch;

/// A directory of a test, which is removed with it.
struct Place(PathBuf);

impl Place {
    fn new(name: &str) -> Place {
        let path = std::env::temp_dir().join(format!("midge-passwd-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Place(path)
    }

    fn file(&self) -> String {
        self.0.join("passwords").display().to_string()
    }

    fn text(&self) -> String {
        fs::read_to_string(self.file()).unwrap()
    }

    /// The users whose password this is.
    fn users_with(&self, password: &str) -> Vec<String> {
        let users = parse(self.text().as_bytes()).unwrap().into_iter();
        let fits = |hash: Option<&midge::access::passwords::hash::PasswordHash>| {
            hash.is_some_and(|hash| hash.is_of(password.as_bytes(), &mut Scratch::default()))
        };
        users.filter(|user| fits(user.hash.as_ref())).map(|user| user.name).collect()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _removed = fs::remove_dir_all(&self.0);
    }
}

/// Runs the command with this on its standard input: the exit code, and what it says.
fn passwd(arguments: &[&str], input: &str) -> (Option<i32>, String) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_midge"))
        .arg("passwd")
        .args(arguments)
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // It may end without reading.
    let _written = child.stdin.take().unwrap().write_all(input.as_bytes());
    let output = child.wait_with_output().unwrap();
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

const DONE: (Option<i32>, String) = (Some(0), String::new());

#[test]
fn users_come_change_and_go_and_the_other_lines_stay() {
    let place = Place::new("users");
    let file = place.file();
    assert_eq!(passwd(&["-c", &file, "ann"], "secret\nmore\n"), DONE);
    assert!(place.text().starts_with("ann:$argon2id$v=19$m=19456,t=2,p=1$"));
    fs::write(&file, format!("# our users\n\n{}nobody:\n", place.text())).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    assert_eq!(passwd(&["-b", "-H", "sha512-pbkdf2", &file, "bob", "hush"], ""), DONE);
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(
        (place.users_with("secret"), place.users_with("hush")),
        (vec!["ann".to_owned()], vec!["bob".to_owned()])
    );
    assert!(place.text().contains("\nbob:$7$210000$"));

    assert_eq!(passwd(&["-b", &file, "ann", "hush"], ""), DONE);
    assert_eq!(place.users_with("hush"), ["ann", "bob"]);
    let lines: Vec<String> = place.text().lines().map(|line| line.chars().take(12).collect()).collect();
    assert_eq!(lines, ["# our users", "", "ann:$argon2i", "nobody:", "bob:$7$21000"]);
    assert_eq!(passwd(&["-D", &file, "ann"], ""), DONE);
    assert_eq!(place.users_with("hush"), ["bob"]);
    assert!(place.text().starts_with("# our users\n\nnobody:\nbob:"));
    // Nothing else is in the directory.
    assert_eq!(fs::read_dir(&place.0).unwrap().count(), 1);
}

#[test]
fn what_cannot_be_done_changes_nothing_and_says_why() {
    let place = Place::new("refused");
    let file = place.file();
    let fails = |arguments: &[&str], input, code, sentence: &str| {
        assert_eq!(passwd(arguments, input), (Some(code), format!("midge: {sentence}\n")));
    };
    fails(&[&file, "ann"], "secret\n", 1, &format!("{file}: there is no such file; --create makes one"));
    fails(&["-c", &file, "ann"], "\n", 2, "the password is empty");
    fails(&["-c", &file, "ann"], "", 2, "the password is empty");
    let name = "a user name has no colon, no blank at its ends, and does not begin with #";
    for user in ["a:b", " a", "#a"] {
        fails(&["-c", &file, user], "x\n", 2, name);
    }
    assert!(!PathBuf::from(&file).exists());
    let text = "ann:\nann:\nbob\n";
    fs::write(&file, text).unwrap();
    fails(&[&file, "ann"], "x\n", 1, &format!("{file}: line 2: user \"ann\" is there twice"));
    fails(&[&file, "max"], "x\n", 1, &format!("{file}: line 3: a line is user:hash"));
    fs::write(&file, "ann:$7$1$x$y\n").unwrap();
    fails(&["-D", &file, "max"], "", 1, &format!("{file}: no user \"max\" is in it"));
    let malformed = "line 1: the hash is malformed, and no password in clear text";
    fails(&["-U", &file], "", 1, &format!("{file}: {malformed}"));
    assert_eq!(place.text(), "ann:$7$1$x$y\n");
    // A directory that cannot be written to.
    let nowhere = format!("{file}/x");
    assert_eq!(passwd(&["-c", &nowhere, "ann"], "x\n").0, Some(1));
    for wrong in
        [&["-c", "-D", &file, "ann"][..], &["-b", &file, "ann"], &[&file, "ann", "x"], &["-U", &file, "ann"]]
    {
        assert_eq!(passwd(wrong, "").0, Some(2), "{wrong:?}");
    }
}

#[test]
fn clear_text_is_hashed_and_hashes_stay() {
    let place = Place::new("upgrade");
    let file = place.file();
    let hash = "$6$mhT+5lp4XJWwYUsd$r4V0fBsHym9JW+N0I/sVC9tzPFgMnu0I1nX6m+MdyUSNOCA6442MoAw2WmLvHEU9tdJ9UC50y/MFezcnjrvT/g==";
    fs::write(&file, format!("# x:y\nann:{hash}\nbob:secret\nmax:$ecret: x \nnobody:\n")).unwrap();
    assert_eq!(passwd(&["-U", &file], ""), DONE);
    assert!(place.text().starts_with(&format!("# x:y\nann:{hash}\nbob:$argon2id$")));
    assert_eq!(place.users_with("secret"), ["ann", "bob"]);
    assert_eq!(place.users_with("$ecret: x"), ["max"]);
}
