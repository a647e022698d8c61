//! Any bytes as a password file.

use std::collections::HashSet;

use midge::access::passwords::file::parse;
use midge::access::passwords::hash::PasswordHash;

/// What is read can be written and read again, and no user is there twice.
pub(super) fn passwords(data: &[u8]) {
    let Ok(users) = parse(data) else { return };
    let mut names = HashSet::new();
    for user in &users {
        assert!(names.insert(&user.name));
        if let Some(hash) = &user.hash {
            assert_eq!(PasswordHash::parse(&hash.write()).as_ref(), Ok(hash));
        }
    }
    let written: String = users
        .iter()
        .map(|user| {
            format!("{}:{}\n", user.name, user.hash.as_ref().map(PasswordHash::write).unwrap_or_default())
        })
        .collect();
    // A name that begins with # is read from behind a blank, and would be a comment.
    if !users.iter().any(|user| user.name.starts_with('#')) {
        let again = parse(written.as_bytes()).expect("what was read is a password file");
        assert!(
            again
                .iter()
                .map(|user| (&user.name, &user.hash))
                .eq(users.iter().map(|user| (&user.name, &user.hash)))
        );
    }
}
