//! Passwords verified by the authority, without a broker.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::{PasswordAuthority, Strangers, Surroundings};
use crate::access::files::FileContent;
use crate::access::passwords::hash::{NewHash, PasswordHash};
use crate::access::passwords::throttle::FREE;
use crate::codec::reason::ReasonCode;
use crate::codec::version::Version;
use crate::engine::access::authority::{Authority, Ruling};
use crate::engine::access::hooks::{ConnectRequest, Verdict};
use crate::time::Time;

const REFUSING: Strangers = Strangers { anonymous: false, unknown: false };

/// A hash that takes no time.
const ANN: &str = "$6$mhT+5lp4XJWwYUsd$r4V0fBsHym9JW+N0I/sVC9tzPFgMnu0I1nX6m+MdyUSNOCA6442MoAw2WmLvHEU9tdJ9UC50y/MFezcnjrvT/g==";

fn authority(strangers: Strangers, most_waiting: usize) -> (PasswordAuthority, Arc<AtomicU64>) {
    let time = Arc::new(AtomicU64::new(0));
    let shown = Arc::clone(&time);
    let surroundings = Surroundings {
        spawn: |name, body| std::thread::Builder::new().name(name.to_owned()).spawn(body),
        now: Box::new(move || Time::from_millis(shown.load(Ordering::Relaxed))),
        process: || 0,
    };
    let authority = PasswordAuthority::new(strangers, most_waiting, surroundings);
    authority.replace(format!("ann:{ANN}\nnobody:\n").as_bytes()).unwrap();
    (authority, time)
}

fn request<'r>(user: Option<&'r str>, password: Option<&'r [u8]>) -> ConnectRequest<'r> {
    ConnectRequest {
        connection: 1,
        client_id: "c",
        username: user,
        password,
        address: None,
        listener: None,
        tls: None,
        version: Version::V5,
        clean_start: true,
        keep_alive: 0,
        auth_method: None,
        auth_data: None,
        auth_step: 0,
        reauthenticates: false,
    }
}

/// The outcome; `None`: it abstains.
fn outcome(authority: &PasswordAuthority, request: &ConnectRequest<'_>) -> Option<Verdict> {
    match authority.authenticate(request) {
        Ruling::Abstain => None,
        Ruling::Now(verdict) => Some(verdict),
        Ruling::Later(deferred) => loop {
            match deferred.outcome() {
                Some(outcome) => return outcome,
                None => std::thread::yield_now(),
            }
        },
    }
}

fn count(authority: &PasswordAuthority, reason: &str) -> u64 {
    authority.refusals().into_iter().find(|(name, _)| *name == reason).unwrap().1
}

#[test]
fn the_right_password_alone_lets_in() {
    let (authority, _) = authority(REFUSING, 8);
    let ask = |user, password: Option<&[u8]>| outcome(&authority, &request(user, password));
    assert_eq!(ask(Some("ann"), Some(b"secret")), Some(Verdict::Allow));
    assert_eq!(ask(Some("ann"), Some(b"Secret")), Some(Verdict::Deny));
    assert_eq!(ask(Some("ann"), None), Some(Verdict::Deny));
    assert_eq!(ask(Some("nobody"), Some(b"")), Some(Verdict::Deny));
    assert_eq!(ask(Some("nobody"), Some(b"secret")), Some(Verdict::Deny));
    assert_eq!(count(&authority, "wrong_password"), 4);
    assert_eq!(ask(Some("max"), Some(b"secret")), Some(Verdict::Deny));
    assert_eq!(ask(Some(""), Some(b"")), Some(Verdict::Deny));
    assert_eq!(count(&authority, "unknown_user"), 2);
    assert_eq!(ask(None, Some(b"secret")), Some(Verdict::DenyWith(ReasonCode::NotAuthorized)));
    assert_eq!(count(&authority, "no_user_name"), 1);
    let method = ConnectRequest { auth_method: Some("x"), ..request(Some("ann"), Some(b"secret")) };
    assert_eq!(outcome(&authority, &method), None);
    authority.close();
    assert_eq!(
        outcome(&authority, &request(Some("ann"), Some(b"secret"))),
        Some(Verdict::DenyWith(ReasonCode::QuotaExceeded))
    );
}

#[test]
fn strangers_are_left_to_others() {
    let (authority, _) = authority(Strangers { anonymous: true, unknown: true }, 8);
    assert_eq!(outcome(&authority, &request(None, None)), None);
    assert_eq!(outcome(&authority, &request(Some("max"), Some(b"secret"))), None);
    assert_eq!(outcome(&authority, &request(Some("nobody"), Some(b""))), Some(Verdict::Deny));
    assert_eq!(outcome(&authority, &request(Some("ann"), Some(b"x"))), Some(Verdict::Deny));
    assert_eq!(count(&authority, "unknown_user"), 0);
}

#[test]
fn guesses_are_slowed_and_the_right_password_is_not_looked_at_meanwhile() {
    let (authority, time) = authority(REFUSING, 8);
    let slowed = Some(Verdict::DenyWith(ReasonCode::QuotaExceeded));
    for guess in 0..FREE {
        assert_eq!(
            outcome(&authority, &request(Some("ann"), Some(&guess.to_be_bytes()))),
            Some(Verdict::Deny)
        );
    }
    assert_eq!(outcome(&authority, &request(Some("ann"), Some(b"secret"))), slowed);
    for user in ["max", "nobody"] {
        assert_eq!(outcome(&authority, &request(Some(user), Some(b"x"))), Some(Verdict::Deny), "{user}");
    }
    assert_eq!(count(&authority, "slowed"), 1);
    time.store(1000, Ordering::Relaxed);
    assert_eq!(outcome(&authority, &request(Some("ann"), Some(b"secret"))), Some(Verdict::Allow));
    // Users that do not exist are slowed as well, or the answer would tell them apart.
    for guess in 0..FREE {
        outcome(&authority, &request(Some("max"), Some(&guess.to_be_bytes())));
    }
    assert_eq!(outcome(&authority, &request(Some("max"), Some(b"secret"))), slowed);
}

#[test]
fn beyond_the_bound_clients_are_refused() {
    let (authority, _) = authority(REFUSING, 1);
    let slow = PasswordHash::make(NewHash::Argon2id, b"secret", [0; 12]).unwrap();
    authority.replace(format!("ann:{}\n", slow.write()).as_bytes()).unwrap();
    let mut asked = Vec::new();
    let busy = loop {
        match authority.authenticate(&request(Some("ann"), Some(b"secret"))) {
            Ruling::Later(deferred) => asked.push(deferred),
            other => break other,
        }
    };
    assert!(matches!(busy, Ruling::Now(Verdict::DenyWith(ReasonCode::QuotaExceeded))), "{busy:?}");
    assert_eq!(count(&authority, "busy"), 1);
    // Clients that are gone are not verified.
    asked.clear();
    assert!(outcome(&authority, &request(Some("max"), Some(b"secret"))).is_some());
    authority.close();
}

#[test]
fn a_file_with_an_error_changes_nothing() {
    let (authority, _) = authority(REFUSING, 8);
    let error = authority.replace(b"max:\nann:secret\n").unwrap_err();
    assert!(error.starts_with("line 2: user \"ann\": "), "{error}");
    assert_eq!(outcome(&authority, &request(Some("ann"), Some(b"secret"))), Some(Verdict::Allow));
    let contained = authority.replace(b"max:\n").unwrap();
    assert_eq!(contained.summary, "1 users");
    assert_eq!(contained.remarks, ["line 1: user \"max\" has no password and cannot connect"]);
    assert_eq!(outcome(&authority, &request(Some("ann"), Some(b"secret"))), Some(Verdict::Deny));
}

/// An unknown user is verified against the hash of another, so that it takes as long.
#[test]
fn an_unknown_user_has_the_hash_of_another() {
    let (authority, _) = authority(REFUSING, 8);
    let users = Arc::clone(&authority.users.read());
    let (own, is_own) = users.hash_of("ann");
    assert!(is_own);
    for name in ["max", "nobody", ""] {
        assert_eq!(users.hash_of(name), (own.clone(), false));
    }
    authority.replace(b"").unwrap();
    let users = Arc::clone(&authority.users.read());
    let (nobody, is_own) = users.hash_of("max");
    assert!(nobody.unwrap().write().starts_with("$argon2id$") && !is_own);
}
