//! The number of a connection within its session.

use std::sync::atomic::{AtomicU32, Ordering};

/// The number of a connection within its session. A connection that takes the session over has another one, so that what
/// was meant for the connection before can be told from what is meant for this one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Epoch(u32);

impl Epoch {
    /// The number of no connection.
    pub const NONE: Epoch = Epoch(0);

    /// The number of the next connection.
    pub fn next(self) -> Epoch {
        Epoch(self.0.wrapping_add(1).max(1))
    }
}

/// The number of a connection, or [`Epoch::NONE`], that is read without a lock.
#[derive(Debug, Default)]
pub(super) struct AtomicEpoch(AtomicU32);

impl AtomicEpoch {
    pub(super) fn set(&self, epoch: Epoch) {
        self.0.store(epoch.0, Ordering::Release);
    }

    pub(super) fn is(&self, epoch: Epoch) -> bool {
        self.0.load(Ordering::Acquire) == epoch.0
    }

    /// Becomes [`Epoch::NONE`] if it is this number.
    pub(super) fn clear_if(&self, epoch: Epoch) {
        if self.is(epoch) {
            self.clear(epoch);
        }
    }

    #[cold]
    fn clear(&self, epoch: Epoch) {
        // Another number that has come meanwhile stays.
        let _ = self.0.compare_exchange(epoch.0, Epoch::NONE.0, Ordering::AcqRel, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::{AtomicEpoch, Epoch};

    #[test]
    fn no_connection_has_the_number_of_none() {
        assert_eq!(Epoch::NONE.next(), Epoch(1));
        assert_eq!(Epoch(u32::MAX).next(), Epoch(1));
    }

    #[test]
    fn a_number_is_cleared_by_its_own_connection_alone() {
        let (old, new) = (Epoch(1), Epoch(2));
        let current = AtomicEpoch::default();
        assert!(current.is(Epoch::NONE));
        current.set(new);
        current.clear_if(old);
        assert!(current.is(new));
        current.clear(old);
        assert!(current.is(new));
        current.clear_if(new);
        assert!(current.is(Epoch::NONE));
    }
}
