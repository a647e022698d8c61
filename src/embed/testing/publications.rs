//! What was published: looked at, waited for, asserted.

use std::time::Duration;

use crate::embed::arena::Batch;
use crate::embed::error::Error;
use crate::embed::message::Message;
use crate::embed::shared::Shared;
use crate::embed::testing::bench::Bench;
use crate::embed::testing::broker::TestBroker;
use crate::embed::testing::capture::batch;
use crate::embed::testing::missing::Missing;
use crate::embed::testing::wait::parse;

impl TestBroker {
    /// The messages that were published to topics that `filter` matches, oldest first: by clients, by the host, and
    /// wills; whether or not anybody heard them. [`Message::tag`] is the broker's time of each, in milliseconds.
    ///
    /// The settings `queue.capacity` and `queue.max_bytes` bound how many are remembered; the oldest are forgotten.
    ///
    /// # Errors
    /// `Filter`.
    pub fn published(&self, filter: &str) -> Result<Vec<Message>, Error> {
        Ok(self.bench()?.capture.matching(&parse(filter)?))
    }

    /// The same as one batch.
    pub(crate) fn published_batch(&self, filter: &str) -> Result<Batch, Error> {
        Ok(batch(&self.published(filter)?))
    }

    /// Forgets what was published so far.
    pub fn forget_published(&self) {
        if let Ok(bench) = self.bench() {
            bench.capture.forget();
        }
    }

    /// Waits until at least `count` messages were published to topics that `filter` matches, since the broker started
    /// or [`TestBroker::forget_published`], and returns all of them.
    ///
    /// # Errors
    /// [`Missing`] after `timeout` of real time says what was published instead.
    pub fn wait_for(&self, filter: &str, count: usize, timeout: Duration) -> Result<Vec<Message>, Missing> {
        match self.wait_for_or_why(filter, count, timeout) {
            Ok(None) => self.published(filter).map_err(Missing::because),
            Ok(Some(missing)) => Err(missing),
            Err(error) => Err(Missing::because(error)),
        }
    }

    /// As [`TestBroker::wait_for`]; what is missing after `timeout`.
    pub(crate) fn wait_for_or_why(
        &self,
        filter: &str,
        count: usize,
        timeout: Duration,
    ) -> Result<Option<Missing>, Error> {
        let parsed = parse(filter)?;
        let enough = |_: &Shared, bench: &Bench| (bench.capture.count(&parsed) >= count).then_some(());
        if self.wait(timeout, enough)?.is_some() {
            return Ok(None);
        }
        let published = self.bench()?.capture.count(&parsed);
        let wanted =
            format!("{count} messages to {filter:?} within {timeout:?}, but there were {published};");
        Ok(Some(Missing::instead_of(&wanted, self.seen())))
    }

    /// Asserts that a message with this payload was published to a topic that `filter` matches.
    ///
    /// It does not wait: what a client has sent may still be on its way. [`TestBroker::settle`] has it handled,
    /// [`TestBroker::wait_for`] waits for it.
    ///
    /// # Panics
    /// If it was not; the text tells what was published instead.
    #[track_caller]
    #[allow(clippy::panic, reason = "an assertion of a test")]
    pub fn assert_published(&self, filter: &str, payload: impl AsRef<[u8]>) {
        let payload = payload.as_ref();
        let found = self.published(filter).unwrap_or_else(|error| panic!("{error}"));
        if !found.iter().any(|message| message.payload() == payload) {
            let wanted = format!("{:?} to {filter:?}, but", String::from_utf8_lossy(payload));
            panic!("{}", Missing::instead_of(&wanted, self.seen()));
        }
    }

    /// Asserts that no message was published to a topic that `filter` matches.
    ///
    /// # Panics
    /// If one was; the text tells which.
    #[track_caller]
    #[allow(clippy::panic, reason = "an assertion of a test")]
    pub fn assert_not_published(&self, filter: &str) {
        let found = self.published(filter).unwrap_or_else(|error| panic!("{error}"));
        if !found.is_empty() {
            panic!("{}", Missing::unwanted(filter, &found));
        }
    }

    /// Everything that is remembered, and how many messages are not.
    fn seen(&self) -> (Vec<Message>, u64) {
        self.bench().map_or((Vec::new(), 0), |bench| (bench.capture.all(), bench.capture.displaced()))
    }
}
