//! The password file as an authority. It decides who may connect, and verifies passwords on threads of its own.

use std::hash::BuildHasher;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::locks::{Mutex, RwLock};
use hashbrown::{DefaultHashBuilder, HashMap};

use crate::access::files::{Contained, FileContent};
use crate::access::passwords::file::{User, parse};
use crate::access::passwords::hash::{PasswordHash, Scratch};
use crate::access::passwords::pool::Pool;
pub use crate::access::passwords::pool::Spawn;
use crate::access::passwords::throttle::{Guesser, Throttle};
use crate::codec::reason::ReasonCode;
use crate::engine::access::authority::{Authority, Questions, Ruling, abstain};
use crate::engine::access::hooks::{ConnectRequest, Decision, Verdict, defer_in};
use crate::time::Time;

/// What nobody's password is verified against where there is no user: it takes as long as a new hash.
const NOBODY: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$bm9ib2R5IGhlcmU$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// What the authority gets from the broker.
pub struct Surroundings {
    /// Starts its threads.
    pub spawn: Spawn,
    /// The broker's time.
    pub now: Box<dyn Fn() -> Time + Send + Sync>,
    /// Tells this process from its forks.
    pub process: fn() -> u32,
}

/// How the authority decides about those that the file does not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Strangers {
    /// Whether clients without a user name are left to others. They are refused otherwise.
    pub anonymous: bool,
    /// Whether user names that the file does not have are left to the authorities behind. They are refused otherwise.
    pub unknown: bool,
}

/// Decides about clients by their user names and passwords.
pub struct PasswordAuthority {
    users: RwLock<Arc<Users>>,
    strangers: Strangers,
    pool: Pool,
    process: fn() -> u32,
    shared: Arc<Shared>,
}

/// What verifications have in common.
struct Shared {
    throttle: Mutex<Throttle>,
    counts: [AtomicU64; Refused::ALL.len()],
    now: Box<dyn Fn() -> Time + Send + Sync>,
}

/// Why a client is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refused {
    WrongPassword,
    UnknownUser,
    NoUserName,
    Slowed,
    Busy,
}

impl Refused {
    const ALL: [Refused; 5] =
        [Refused::WrongPassword, Refused::UnknownUser, Refused::NoUserName, Refused::Slowed, Refused::Busy];

    /// Its label in the metrics.
    fn label(self) -> &'static str {
        match self {
            Refused::WrongPassword => "wrong_password",
            Refused::UnknownUser => "unknown_user",
            Refused::NoUserName => "no_user_name",
            Refused::Slowed => "slowed",
            Refused::Busy => "busy",
        }
    }

    fn verdict(self) -> Verdict {
        match self {
            Refused::WrongPassword | Refused::UnknownUser => Verdict::Deny,
            Refused::NoUserName => Verdict::DenyWith(ReasonCode::NotAuthorized),
            Refused::Slowed | Refused::Busy => Verdict::DenyWith(ReasonCode::QuotaExceeded),
        }
    }
}

/// The users of the file.
#[derive(Default)]
struct Users {
    by_name: HashMap<String, Option<Arc<PasswordHash>>>,
    /// Their hashes, in the order of the file.
    hashes: Vec<Arc<PasswordHash>>,
    /// Chooses the hash that stands for an unknown user.
    chooser: DefaultHashBuilder,
}

impl Users {
    fn of(users: Vec<User>) -> Users {
        let mut made = Users::default();
        for User { name, hash, .. } in users {
            let hash = hash.map(Arc::new);
            made.hashes.extend(hash.clone());
            made.by_name.insert(name, hash);
        }
        made
    }

    /// The hash that a password is verified against, and whether it is this user's. An unknown name has that of another
    /// user, always the same: so it takes as long as a known one.
    fn hash_of(&self, name: &str) -> (Option<Arc<PasswordHash>>, bool) {
        if let Some(Some(hash)) = self.by_name.get(name) {
            return (Some(Arc::clone(hash)), true);
        }
        let number = self.chooser.hash_one(name) as usize;
        let chosen = number.checked_rem(self.hashes.len()).and_then(|at| self.hashes.get(at));
        (chosen.cloned().or_else(|| PasswordHash::parse(NOBODY).ok().map(Arc::new)), false)
    }
}

/// A password to verify.
struct Guess {
    shared: Arc<Shared>,
    guesser: Guesser,
    password: Box<[u8]>,
    hash: Option<Arc<PasswordHash>>,
    /// Whether the hash is that of the user.
    is_own: bool,
    /// Whether the file has the user.
    is_known: bool,
    /// Whether an unknown user is left to others.
    leaves_unknown: bool,
    decision: Decision,
}

impl Guess {
    /// Verifies it, and decides.
    fn decide(self, scratch: &mut Scratch) {
        if !self.decision.is_awaited() {
            return;
        }
        if self.shared.must_wait(self.guesser) {
            // Those that waited with it were wrong meanwhile.
            self.decision.resolve(self.shared.refuse(Refused::Slowed));
            return;
        }
        let fits = self.hash.is_some_and(|hash| hash.is_of(&self.password, scratch));
        if fits && self.is_own {
            self.shared.throttle.lock().succeeded(self.guesser);
            self.decision.resolve(Verdict::Allow);
        } else if self.leaves_unknown && !self.is_known {
            abstain(self.decision);
        } else {
            let now = (self.shared.now)();
            self.shared.throttle.lock().failed(self.guesser, &self.password, now);
            let why = if self.is_known { Refused::WrongPassword } else { Refused::UnknownUser };
            self.decision.resolve(self.shared.refuse(why));
        }
    }
}

impl Shared {
    fn must_wait(&self, guesser: Guesser) -> bool {
        self.throttle.lock().must_wait(guesser, (self.now)())
    }

    /// Counts a refusal.
    fn refuse(&self, why: Refused) -> Verdict {
        let at = Refused::ALL.iter().position(|one| *one == why);
        if let Some(count) = at.and_then(|at| self.counts.get(at)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        why.verdict()
    }
}

impl PasswordAuthority {
    /// An authority without users. `most_waiting`: passwords that may wait to be verified.
    pub fn new(strangers: Strangers, most_waiting: usize, surroundings: Surroundings) -> PasswordAuthority {
        let Surroundings { spawn, now, process } = surroundings;
        let shared = Shared { throttle: Mutex::default(), counts: Default::default(), now };
        PasswordAuthority {
            users: RwLock::default(),
            strangers,
            pool: Pool::new(spawn, most_waiting),
            process,
            shared: Arc::new(shared),
        }
    }

    /// Ends its threads. Passwords that wait are not verified, and those who wait are refused.
    pub fn close(&self) {
        self.pool.close();
    }

    fn refuse(&self, why: Refused) -> Ruling {
        Ruling::Now(self.shared.refuse(why))
    }
}

impl FileContent for PasswordAuthority {
    fn replace(&self, file: &[u8]) -> Result<Contained, String> {
        let users = parse(file).map_err(|error| error.to_string())?;
        let remarks = users.iter().filter(|user| user.hash.is_none()).take(10).map(|user| {
            let name: String = user.name.chars().take(60).collect();
            format!("line {}: user {name:?} has no password and cannot connect", user.line)
        });
        let contained = Contained { summary: format!("{} users", users.len()), remarks: remarks.collect() };
        let users = Arc::new(Users::of(users));
        // Not freed under the lock.
        let old = std::mem::replace(&mut *self.users.write(), users);
        drop(old);
        Ok(contained)
    }
}

impl Authority for PasswordAuthority {
    fn name(&self) -> &str {
        "passwords"
    }

    fn questions(&self) -> Questions {
        Questions { authenticate: true, ..Questions::default() }
    }

    fn authenticate(&self, request: &ConnectRequest<'_>) -> Ruling {
        if request.auth_method.is_some() {
            return Ruling::Abstain;
        }
        let Some(name) = request.username else {
            return if self.strangers.anonymous { Ruling::Abstain } else { self.refuse(Refused::NoUserName) };
        };
        let address: Option<IpAddr> =
            request.address.and_then(|peer| peer.as_socket()).map(|address| address.ip());
        let guesser = self.shared.throttle.lock().guesser(name, address);
        if self.shared.must_wait(guesser) {
            return self.refuse(Refused::Slowed);
        }
        let users = Arc::clone(&self.users.read());
        let (hash, is_own) = users.hash_of(name);
        let (decision, deferred) = defer_in(self.process);
        let guess = Guess {
            shared: Arc::clone(&self.shared),
            guesser,
            // A client without a password is one with a wrong password: an empty one is none.
            password: request.password.unwrap_or_default().into(),
            hash,
            is_own: is_own && request.password.is_some(),
            is_known: users.by_name.contains_key(name),
            leaves_unknown: self.strangers.unknown,
            decision,
        };
        match self.pool.run(Box::new(move |scratch| guess.decide(scratch))) {
            true => Ruling::Later(deferred),
            false => self.refuse(Refused::Busy),
        }
    }

    fn refusals(&self) -> Vec<(&'static str, u64)> {
        let counts = Refused::ALL.iter().zip(&self.shared.counts);
        counts.map(|(why, count)| (why.label(), count.load(Ordering::Relaxed))).collect()
    }
}

#[cfg(test)]
#[path = "authority_tests.rs"]
mod tests;
