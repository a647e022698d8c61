//! Waiting for clients, subscriptions and messages: until it is so, without looking again and again.

use std::sync::Arc;
use std::time::Duration;

use crate::codec::topic::TopicFilter;
use crate::embed::error::Error;
use crate::embed::shared::Shared;
use crate::embed::testing::bench::Bench;
use crate::embed::testing::broker::TestBroker;

impl TestBroker {
    /// Waits until a client of this identifier is connected; false if `timeout` of real time passed first.
    ///
    /// # Errors
    /// `Stopped`; `InCallback` on a thread of the broker.
    pub fn wait_for_client(&self, client_id: &str, timeout: Duration) -> Result<bool, Error> {
        self.wait_until_connected(client_id, true, timeout)
    }

    /// Waits until no client of this identifier is connected; false if `timeout` of real time passed first.
    ///
    /// # Errors
    /// `Stopped`; `InCallback` on a thread of the broker.
    pub fn wait_for_no_client(&self, client_id: &str, timeout: Duration) -> Result<bool, Error> {
        self.wait_until_connected(client_id, false, timeout)
    }

    /// Waits until a client or the host has subscribed to exactly this filter; false if `timeout` of real time passed
    /// first.
    ///
    /// # Errors
    /// `Filter`; `Stopped`; `InCallback` on a thread of the broker.
    pub fn wait_for_subscription(&self, filter: &str, timeout: Duration) -> Result<bool, Error> {
        parse(filter)?;
        let there = |shared: &Shared, _: &Bench| {
            let all = shared.engine().subscriptions();
            all.iter().any(|subscription| subscription.filter == filter).then_some(())
        };
        Ok(self.wait(timeout, there)?.is_some())
    }

    fn wait_until_connected(&self, client_id: &str, wanted: bool, timeout: Duration) -> Result<bool, Error> {
        let so =
            |shared: &Shared, _: &Bench| (shared.engine().is_connected(client_id) == wanted).then_some(());
        Ok(self.wait(timeout, so)?.is_some())
    }

    /// Waits until `look` finds something; `None` if `timeout` passed first.
    pub(super) fn wait<T>(
        &self,
        timeout: Duration,
        mut look: impl FnMut(&Shared, &Bench) -> Option<T>,
    ) -> Result<Option<T>, Error> {
        let (shared, bench) = self.waiting()?;
        let (shared, bench) = (Arc::clone(shared), Arc::clone(bench));
        let found = bench.bed.wait(Some(timeout), || match look(&shared, &bench) {
            Some(found) => Some(Ok(found)),
            None => shared.has_stopped().then_some(Err(Error::Stopped)),
        });
        found.transpose()
    }
}

/// A Topic Filter, or the error that names it.
pub(super) fn parse(filter: &str) -> Result<TopicFilter<'_>, Error> {
    TopicFilter::parse(filter).map_err(|cause| Error::Filter { filter: filter.to_owned(), cause })
}
