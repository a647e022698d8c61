//! Slows the guessing of passwords: after some wrong passwords for a user, an address must wait, each time longer.
//!
//! The same wrong password again is no new guess, so that a client with an old password, which tries it for ever, does not
//! keep out others of its address.

use std::hash::BuildHasher;
use std::net::{IpAddr, Ipv6Addr};

use hashbrown::{DefaultHashBuilder, HashMap};

use crate::time::Time;

/// Wrong passwords without a wait, for typing errors.
pub(super) const FREE: u32 = 5;
/// The first wait, in milliseconds; each further wrong password doubles it.
const FIRST_WAIT: u64 = 1_000;
/// The longest wait, in milliseconds.
const LONGEST_WAIT: u64 = 60_000;
/// Milliseconds after the last wrong password until all are forgotten.
const MEMORY: u64 = 900_000;
/// Pairs of a user and an address that are remembered.
const MOST: usize = 4_096;

/// The wrong passwords of late, by user and address.
#[derive(Default)]
pub(super) struct Throttle {
    failures: HashMap<Guesser, Failures>,
    hashes: DefaultHashBuilder,
}

/// A user whose password is guessed, and the address that guesses. Names are kept as numbers of a fixed size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Guesser {
    user: u64,
    /// `None`: a process of this machine.
    origin: Option<IpAddr>,
}

#[derive(Clone, Copy)]
struct Failures {
    count: u32,
    last: Time,
    until: Time,
    /// The last wrong password, as a number that a secret of this process makes.
    guess: u64,
}

impl Throttle {
    /// The guesser of a user's password from an address.
    pub(super) fn guesser(&self, user: &str, address: Option<IpAddr>) -> Guesser {
        Guesser { user: self.hashes.hash_one(user), origin: address.map(origin) }
    }

    /// Whether a guesser must wait.
    pub(super) fn must_wait(&self, guesser: Guesser, now: Time) -> bool {
        self.failures.get(&guesser).is_some_and(|failures| failures.until > now)
    }

    /// Notes a wrong password.
    pub(super) fn failed(&mut self, guesser: Guesser, password: &[u8], now: Time) {
        let guess = self.hashes.hash_one(password);
        if self.failures.len() >= MOST && !self.failures.contains_key(&guesser) {
            self.forget(now);
        }
        let none = Failures { count: 0, last: now, until: now, guess: !guess };
        let entry = self.failures.entry(guesser).or_insert(none);
        if now.millis_since(entry.last) > MEMORY {
            *entry = none;
        }
        entry.last = now;
        if entry.guess == guess {
            return;
        }
        entry.guess = guess;
        entry.count = entry.count.saturating_add(1);
        if let Some(beyond) = entry.count.checked_sub(FREE) {
            let wait = FIRST_WAIT.saturating_mul(1 << beyond.min(20)).min(LONGEST_WAIT);
            entry.until = now.plus_millis(wait);
        }
    }

    /// Notes a right password.
    pub(super) fn succeeded(&mut self, guesser: Guesser) {
        self.failures.remove(&guesser);
    }

    /// Makes room: removes what is over, or else the oldest.
    fn forget(&mut self, now: Time) {
        self.failures.retain(|_, failures| now.millis_since(failures.last) <= MEMORY);
        if self.failures.len() >= MOST {
            let oldest = self.failures.iter().min_by_key(|(_, failures)| failures.last);
            let oldest = oldest.map(|(guesser, _)| *guesser);
            oldest.and_then(|guesser| self.failures.remove(&guesser));
        }
    }
}

/// The key of an address: for IPv6 its /64 network, which one user typically owns.
fn origin(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::{FREE, MOST, Throttle};
    use crate::time::Time;

    fn at(seconds: u64) -> Time {
        Time::from_millis(seconds * 1000)
    }

    #[test]
    fn the_wait_doubles_and_ends() {
        let mut throttle = Throttle::default();
        let ann = throttle.guesser("ann", Some("192.0.2.1".parse().unwrap()));
        for guess in 1..FREE {
            throttle.failed(ann, &guess.to_be_bytes(), at(0));
            assert!(!throttle.must_wait(ann, at(0)));
        }
        throttle.failed(ann, b"5", at(0));
        assert!(throttle.must_wait(ann, at(0)) && !throttle.must_wait(ann, at(1)));
        throttle.failed(ann, b"6", at(1));
        assert!(throttle.must_wait(ann, at(2)) && !throttle.must_wait(ann, at(3)));
        for guess in 0..20_u32 {
            throttle.failed(ann, &guess.to_be_bytes(), at(3));
        }
        assert!(throttle.must_wait(ann, at(62)) && !throttle.must_wait(ann, at(63)));
        for (user, address) in [("bob", "192.0.2.1"), ("ann", "192.0.2.2")] {
            assert!(!throttle.must_wait(throttle.guesser(user, Some(address.parse().unwrap())), at(3)));
        }
        assert!(!throttle.must_wait(throttle.guesser("ann", None), at(3)));
        throttle.succeeded(ann);
        assert!(!throttle.must_wait(ann, at(3)));
    }

    #[test]
    fn the_same_wrong_password_counts_once() {
        let mut throttle = Throttle::default();
        let ann = throttle.guesser("ann", None);
        (0..1000).for_each(|second| throttle.failed(ann, b"old", at(second)));
        assert!(!throttle.must_wait(ann, at(999)));
        (1..FREE).for_each(|guess| throttle.failed(ann, &guess.to_be_bytes(), at(1000)));
        assert!(throttle.must_wait(ann, at(1000)));
    }

    #[test]
    fn failures_are_forgotten_and_networks_of_ipv6_count_together() {
        let mut throttle = Throttle::default();
        for host in 0..FREE {
            let address = format!("2001:db8:1:2::{host:x}").parse().unwrap();
            throttle.failed(throttle.guesser("ann", Some(address)), &host.to_be_bytes(), at(0));
        }
        let neighbour = throttle.guesser("ann", Some("2001:db8:1:2:ffff::1".parse().unwrap()));
        assert!(throttle.must_wait(neighbour, at(0)));
        throttle.failed(neighbour, b"later", at(10_000));
        assert!(!throttle.must_wait(neighbour, at(10_000)));
    }

    #[test]
    fn the_memory_is_bounded_and_those_that_failed_last_are_remembered() {
        let mut throttle = Throttle::default();
        for number in 0..2 * MOST as u32 {
            let guesser = throttle.guesser("ann", Some(std::net::Ipv4Addr::from(number).into()));
            throttle.failed(guesser, b"x", Time::from_millis(u64::from(number)));
        }
        assert_eq!(throttle.failures.len(), MOST);
        let last = throttle.guesser("ann", Some(std::net::Ipv4Addr::from(2 * MOST as u32 - 1).into()));
        assert!(throttle.failures.contains_key(&last));
    }
}
