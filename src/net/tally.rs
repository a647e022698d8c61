//! What a listener counts.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::locks::Mutex;

/// The most reasons that are counted apart.
const REASONS: usize = 16;
/// The longest reason, in characters.
const LONGEST: usize = 120;
/// The reason of those that are not counted apart.
const OTHER: &str = "other reasons";

/// What a listener counts. The counters only grow.
#[derive(Debug, Default)]
pub(super) struct Tally {
    accepted: AtomicU64,
    refused: AtomicU64,
    failures: Mutex<Vec<(Box<str>, u64)>>,
}

impl Tally {
    /// Counts a connection that was accepted.
    pub(super) fn accept(&self) {
        self.accepted.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a connection that a limit has refused.
    pub(super) fn refuse(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a connection that was closed before its handshake was complete.
    pub(super) fn fail(&self, reason: &str) {
        let end = reason.char_indices().nth(LONGEST).map_or(reason.len(), |(end, _)| end);
        let reason = reason.get(..end).unwrap_or_default();
        let mut failures = self.failures.lock();
        let is_known = failures.iter().any(|(known, _)| **known == *reason);
        let reason = if is_known || failures.len() < REASONS { reason } else { OTHER };
        match failures.iter_mut().find(|(known, _)| **known == *reason) {
            Some((_, count)) => *count += 1,
            None => failures.push((reason.into(), 1)),
        }
    }

    pub(super) fn accepted(&self) -> u64 {
        self.accepted.load(Ordering::Relaxed)
    }

    pub(super) fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// The failed handshakes by reason, the most frequent first.
    pub(super) fn failures(&self) -> Vec<(String, u64)> {
        let mut failures: Vec<_> =
            self.failures.lock().iter().map(|(reason, count)| (reason.to_string(), *count)).collect();
        failures.sort_by(|(one, a), (other, b)| b.cmp(a).then_with(|| one.cmp(other)));
        failures
    }
}

#[cfg(test)]
mod tests {
    use super::{LONGEST, OTHER, REASONS, Tally};

    #[test]
    fn reasons_are_bounded_in_number_and_length() {
        let tally = Tally::default();
        for number in 0..1000 {
            tally.fail(&format!("reason {number}"));
        }
        tally.fail("reason 3");
        tally.fail("reason 3");
        let failures = tally.failures();
        assert_eq!(failures.len(), REASONS + 1);
        assert_eq!(failures[0], (OTHER.to_owned(), 1000 - REASONS as u64));
        assert_eq!(failures[1], ("reason 3".to_owned(), 3));
        let long = Tally::default();
        long.fail(&"ü".repeat(1000));
        assert_eq!(long.failures(), [("ü".repeat(LONGEST), 1)]);
    }
}
