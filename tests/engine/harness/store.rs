//! A store that commits when the test says so.

use midge::storage::Store;

use crate::harness::Network;
pub use crate::log_store::LogStore as LateStore;

/// Commits, and tells the engine or not.
pub trait Commit {
    /// Commits all changes so far, and tells the engine.
    fn commit(&self, network: &Network);

    /// Commits the first `number` changes, and tells the engine.
    fn commit_up_to(&self, network: &Network, number: usize);

    /// Commits the first `number` changes without telling the engine.
    fn commit_silently(&self, number: usize);

    /// Changes so far.
    fn len(&self) -> usize;
}

impl Commit for LateStore {
    fn commit(&self, network: &Network) {
        let number = self.len();
        self.commit_up_to(network, number);
    }

    fn commit_up_to(&self, network: &Network, number: usize) {
        self.commit_silently(number);
        network.engine.committed(&mut network.turn(), self.committed());
    }

    fn commit_silently(&self, number: usize) {
        self.commit_to(number as u64);
    }

    fn len(&self) -> usize {
        self.appended() as usize
    }
}
