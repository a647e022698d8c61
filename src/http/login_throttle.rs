//! Slows down password guessing: after some failures for a user an address must wait, each time longer. All addresses
//! together have a number of guesses for each user, which comes back with time. It does not count for an address where the
//! user has logged in, so that guesses of others do not keep out those who are known.

use std::collections::HashMap;
use std::net::IpAddr;

use crate::time::Time;

/// Failures without a wait, for typing errors.
const FREE: u32 = 5;
/// The first wait, in milliseconds; each further failure doubles it.
const FIRST_WAIT: u64 = 1_000;
/// The longest wait, in milliseconds.
const LONGEST_WAIT: u64 = 300_000;
/// Milliseconds after the last failure until all are forgotten.
const MEMORY: u64 = 900_000;
/// Pairs of a user and an address that are remembered.
const MOST: usize = 1_024;
/// Wrong guesses for a user from all addresses, before they are as many as come back.
const ALL: u64 = 100;
/// Milliseconds after which one of them comes back.
const ONE_BACK: u64 = 2_000;

/// The recent failed logins by user and address.
#[derive(Debug, Default)]
pub(super) struct LoginThrottle {
    failures: HashMap<Guesser, Failures>,
    /// Where each user has logged in, and when the last time.
    known: HashMap<Guesser, Time>,
    /// For each user the time until which the guesses of all addresses reach, if one is made in [`ONE_BACK`].
    reach: HashMap<usize, Time>,
}

/// A user whose password is guessed, and the address that guesses. Unknown users are one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Guesser {
    user: Option<usize>,
    origin: IpAddr,
}

impl Guesser {
    /// The user of this number, or an unknown one, and an address.
    pub(super) fn new(user: Option<usize>, address: IpAddr) -> Guesser {
        Guesser { user, origin: origin(address) }
    }
}

#[derive(Clone, Copy, Debug)]
struct Failures {
    count: u32,
    last: Time,
    until: Time,
}

impl LoginThrottle {
    /// Seconds until a guesser may try again, at least 1; `None` if it may try now.
    pub(super) fn must_wait(&self, guesser: Guesser, now: Time) -> Option<u64> {
        let until =
            [self.failures.get(&guesser).map(|failures| failures.until), self.until_one_back(guesser, now)];
        let until = until.into_iter().flatten().max()?;
        (until > now).then(|| until.millis_since(now).div_ceil(1000).max(1))
    }

    /// When a newcomer may guess, because the guesses of all addresses are spent.
    fn until_one_back(&self, guesser: Guesser, now: Time) -> Option<Time> {
        let reach = self.reach.get(&guesser.user?).filter(|_| !self.known.contains_key(&guesser))?;
        let spent = reach.millis_since(now);
        spent.checked_sub((ALL - 1) * ONE_BACK).map(|wait| now.plus_millis(wait))
    }

    /// Records a wrong password.
    pub(super) fn failed(&mut self, guesser: Guesser, now: Time) {
        if let Some(user) = guesser.user {
            let reach = self.reach.entry(user).or_insert(now);
            let spent = reach.millis_since(now).min((ALL - 1) * ONE_BACK);
            *reach = now.plus_millis(spent + ONE_BACK);
        }
        if self.failures.len() >= MOST {
            self.forget(now);
        }
        let entry = self.failures.entry(guesser).or_insert(Failures { count: 0, last: now, until: now });
        if now.millis_since(entry.last) > MEMORY {
            entry.count = 0;
        }
        entry.count = entry.count.saturating_add(1);
        entry.last = now;
        if let Some(beyond) = entry.count.checked_sub(FREE) {
            let wait = FIRST_WAIT.saturating_mul(1 << beyond.min(20)).min(LONGEST_WAIT);
            entry.until = now.plus_millis(wait);
        }
    }

    /// Records a correct password.
    pub(super) fn succeeded(&mut self, guesser: Guesser, now: Time) {
        self.failures.remove(&guesser);
        if self.known.len() >= MOST && !self.known.contains_key(&guesser) {
            let oldest = self.known.iter().min_by_key(|(_, last)| **last).map(|(guesser, _)| *guesser);
            oldest.and_then(|guesser| self.known.remove(&guesser));
        }
        self.known.insert(guesser, now);
    }

    /// Makes room: removes expired entries, or else the one with the oldest last failure.
    fn forget(&mut self, now: Time) {
        self.failures.retain(|_, failures| now.millis_since(failures.last) <= MEMORY);
        if self.failures.len() >= MOST {
            let oldest =
                self.failures.iter().min_by_key(|(_, failures)| failures.last).map(|(guesser, _)| *guesser);
            oldest.and_then(|guesser| self.failures.remove(&guesser));
        }
    }
}

/// The key of an address: for IPv6 its /64 network, which one user typically owns.
fn origin(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            std::net::Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::{ALL, FREE, Guesser, LoginThrottle, MOST};
    use crate::time::Time;

    fn at(seconds: u64) -> Time {
        Time::from_millis(seconds * 1000)
    }

    fn ip(text: &str) -> Guesser {
        Guesser::new(Some(0), text.parse().unwrap())
    }

    #[test]
    fn the_wait_doubles_and_ends() {
        let (mut throttle, a) = (LoginThrottle::default(), ip("192.0.2.1"));
        for _ in 1..FREE {
            throttle.failed(a, at(0));
            assert_eq!(throttle.must_wait(a, at(0)), None);
        }
        throttle.failed(a, at(0));
        assert_eq!(throttle.must_wait(a, at(0)), Some(1));
        assert_eq!(throttle.must_wait(a, at(1)), None);
        throttle.failed(a, at(1));
        assert_eq!(throttle.must_wait(a, at(1)), Some(2));
        for _ in 0..20 {
            throttle.failed(a, at(1));
        }
        assert_eq!(throttle.must_wait(a, at(1)), Some(300));
        assert_eq!(throttle.must_wait(ip("192.0.2.2"), at(1)), None);
        throttle.succeeded(a, at(1));
        assert_eq!(throttle.must_wait(a, at(1)), None);
    }

    #[test]
    fn failures_are_forgotten_after_a_while() {
        let (mut throttle, a) = (LoginThrottle::default(), ip("192.0.2.1"));
        (0..FREE).for_each(|_| throttle.failed(a, at(0)));
        throttle.failed(a, at(10_000));
        assert_eq!(throttle.must_wait(a, at(10_000)), None);
    }

    #[test]
    fn addresses_of_one_network_of_ipv6_count_together() {
        let mut throttle = LoginThrottle::default();
        for host in 0..FREE {
            throttle.failed(ip(&format!("2001:db8:1:2::{host:x}")), at(0));
        }
        assert_eq!(throttle.must_wait(ip("2001:db8:1:2:ffff::1"), at(0)), Some(1));
        assert_eq!(throttle.must_wait(ip("2001:db8:1:3::1"), at(0)), None);
    }

    /// One guess from each address.
    fn guess_from_everywhere(throttle: &mut LoginThrottle, user: usize, now: Time) -> u32 {
        let guessers =
            (0..5_000u32).map(|number| Guesser::new(Some(user), IpAddr::from(number.to_be_bytes())));
        let may = guessers.filter(|guesser| {
            let may = throttle.must_wait(*guesser, now).is_none();
            if may {
                throttle.failed(*guesser, now);
            }
            may
        });
        may.count() as u32
    }

    #[test]
    fn many_addresses_have_no_more_guesses_together() {
        let mut throttle = LoginThrottle::default();
        throttle.succeeded(ip("192.0.2.1"), at(0));
        assert_eq!(u64::from(guess_from_everywhere(&mut throttle, 0, at(0))), ALL);
        // Newcomers wait, those who are known do not, and no more do guesses of another user's password.
        assert_eq!(throttle.must_wait(ip("192.0.2.2"), at(0)), Some(2));
        assert_eq!(throttle.must_wait(ip("192.0.2.1"), at(0)), None);
        assert_eq!(throttle.must_wait(Guesser::new(Some(1), "192.0.2.2".parse().unwrap()), at(0)), None);
        // One comes back every two seconds.
        assert_eq!(guess_from_everywhere(&mut throttle, 0, at(1)), 0);
        assert_eq!(guess_from_everywhere(&mut throttle, 0, at(20)), 10);
        assert_eq!(u64::from(guess_from_everywhere(&mut throttle, 0, at(100_000))), ALL);
    }

    #[test]
    fn those_who_are_known_are_bounded() {
        let mut throttle = LoginThrottle::default();
        for number in 0..2 * MOST as u32 {
            throttle
                .succeeded(Guesser::new(Some(0), IpAddr::from(number.to_be_bytes())), at(u64::from(number)));
        }
        assert_eq!(throttle.known.len(), MOST);
        assert!(
            throttle
                .known
                .contains_key(&Guesser::new(Some(0), IpAddr::from((2 * MOST as u32 - 1).to_be_bytes())))
        );
    }

    #[test]
    fn the_memory_is_bounded() {
        let mut throttle = LoginThrottle::default();
        for number in 0..3 * MOST as u32 {
            throttle.failed(Guesser::new(None, IpAddr::from(number.to_be_bytes())), at(u64::from(number)));
        }
        assert!(throttle.failures.len() <= MOST);
    }

    #[test]
    fn the_memory_is_bounded_also_where_nothing_is_old() {
        let mut brute = LoginThrottle::default();
        let address = |number: u32| Guesser::new(None, IpAddr::from(number.to_be_bytes()));
        let now = |number: u32| Time::from_millis(u64::from(number));
        for number in 0..2 * MOST as u32 {
            brute.failed(address(number), now(number));
        }
        assert_eq!(brute.failures.len(), MOST);
        // Those that have failed last are remembered.
        assert!((MOST as u32..2 * MOST as u32).all(|number| brute.failures.contains_key(&address(number))));
    }
}
