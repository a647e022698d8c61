//! A broker for tests.

use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use crate::config::Config;
use crate::embed::broker::Broker;
use crate::embed::error::Error;
use crate::embed::hooks::Hooks;
use crate::embed::shared::Shared;
use crate::embed::start::Parts;
use crate::embed::testing::bench::{Bench, Origin};
use crate::embed::testing::directory::TemporaryDirectory;
use crate::embed::testing::lives::Waits;
use crate::runtime::on_own_thread;

/// The listener whose default address becomes a free port.
const DEFAULT_BIND: &str = "listener.tcp.bind";
/// The farthest that the clock goes in one call: a hundred years.
const FARTHEST: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// A broker in test mode. It takes from clients and hosts what any broker takes, and does what it would do; but its
/// time stands still until [`TestBroker::advance`], it has faults if [`TestBroker::inject`] says so, and it remembers
/// what was published.
///
/// It stops when it is dropped. Everything that a [`Broker`] can do is done by it, too.
#[derive(Debug)]
#[must_use = "dropping it stops the broker"]
pub struct TestBroker {
    pub(super) broker: Arc<Broker>,
}

impl TestBroker {
    /// Starts a broker in test mode. If `listener.tcp.bind` is left at its default, the listener is at a free port of
    /// 127.0.0.1, so that tests run side by side; [`Broker::address`] tells which.
    pub fn start(config: &Config) -> Result<TestBroker, Error> {
        Broker::builder(config).start_test()
    }

    /// The same, for a host with hooks, as [`Broker::start_with`].
    pub fn start_with(config: &Config, hooks: &Hooks) -> Result<TestBroker, Error> {
        Broker::builder(config).hooks(hooks.clone()).start_test()
    }

    /// Starts a durable broker in test mode. Without the setting `storage.path` its directory is a temporary one, which
    /// is removed when the broker and those that [`TestBroker::restart`] has made of it are dropped.
    ///
    #[cfg_attr(feature = "durable", doc = "```")]
    #[cfg_attr(not(feature = "durable"), doc = "```no_run")]
    /// use midge::protocol::QoS;
    /// use midge::testing::{Crash, TestBroker};
    /// use midge::{Config, PublishOptions};
    ///
    /// # fn main() -> Result<(), midge::Error> {
    /// let broker = TestBroker::start_durable(&Config::new())?;
    /// let retained = PublishOptions::qos(QoS::AtLeastOnce).retained();
    /// broker.publish_acknowledged("meter", "230.1", &retained, None)?;
    ///
    /// broker.crash(Crash::PowerCut)?;
    /// let broker = broker.restart()?; // at the same address, on the same directory
    /// assert_eq!(broker.stats().retained_messages, 1);
    /// # Ok(())
    /// # }
    /// ```
    pub fn start_durable(config: &Config) -> Result<TestBroker, Error> {
        Broker::builder(config).start_test_durable()
    }

    /// What [`BrokerBuilder::start_test`](crate::embed::BrokerBuilder::start_test) does.
    pub(in crate::embed) fn start_of(config: &Config, hooks: Hooks) -> Result<TestBroker, Error> {
        TestBroker::start_in(config.clone(), hooks, None)
    }

    /// What [`BrokerBuilder::start_test_durable`](crate::embed::BrokerBuilder::start_test_durable) does.
    pub(in crate::embed) fn start_durable_of(config: &Config, hooks: Hooks) -> Result<TestBroker, Error> {
        let mut config = config.clone();
        if !config.settings().storage.path.is_empty() {
            return TestBroker::start_in(config, hooks, None);
        }
        let directory = TemporaryDirectory::make()
            .map_err(|source| Error::System { what: "a temporary directory", source })?;
        config.set("storage.path", &directory.path().to_string_lossy())?;
        if config.is_default("storage.log_size") {
            config.set("storage.log_size", "1MiB")?;
        }
        TestBroker::start_in(config, hooks, Some(Arc::new(directory)))
    }

    fn start_in(
        mut config: Config,
        hooks: Hooks,
        directory: Option<Arc<TemporaryDirectory>>,
    ) -> Result<TestBroker, Error> {
        if config.is_default(DEFAULT_BIND) {
            config.set(DEFAULT_BIND, "127.0.0.1:0")?;
        }
        TestBroker::start_at(Bench::new(Origin { config, hooks, _directory: directory }))
    }

    /// Starts a broker at a bench.
    pub(super) fn start_at(bench: Bench) -> Result<TestBroker, Error> {
        let (config, hooks) = (bench.origin.config.clone(), bench.origin.hooks.clone());
        let parts = Parts { bench: Some(Arc::new(bench)), hooks, ..Parts::default() };
        let broker = Broker::start_of(&config, parts)?;
        Ok(TestBroker { broker: Arc::new(broker) })
    }

    /// A broker that was started in test mode.
    pub(crate) fn of(broker: &Arc<Broker>) -> Result<TestBroker, Error> {
        match broker.shared()?.bench() {
            Some(_) => Ok(TestBroker { broker: Arc::clone(broker) }),
            None => Err(Error::NotInTestMode),
        }
    }

    /// The broker.
    pub(crate) fn into_broker(self) -> Arc<Broker> {
        self.broker
    }

    /// Moves the broker's time on by `by`, in whole milliseconds. Everything that is due in between happens, in its
    /// order and at its time: silent clients are disconnected, sessions and messages expire, delayed wills are
    /// published, packets that a fault has delayed are sent. When this returns, that has happened: what is to be
    /// written to clients is written, as far as they take it, and connections that are to be closed are closed.
    ///
    /// What clients have sent before the call is handled before the time moves, and what they answer meanwhile before
    /// this returns or later. Their own clocks do not know of it: a client that is to ping every minute does not within
    /// an hour that passes at once, so move in smaller steps and let it, or connect it without Keep Alive.
    ///
    /// The time of a broker that has crashed, and of a durable one that has stopped, can be moved until its restart: what
    /// is due meanwhile happens then.
    ///
    /// # Errors
    /// `Argument` for more than a hundred years; `Stopped`; `InCallback` on a thread of the broker.
    pub fn advance(&self, by: Duration) -> Result<(), Error> {
        if by > FARTHEST {
            let cause = "is more than a hundred years".to_owned();
            return Err(Error::Argument { argument: "advance", cause });
        }
        if let Some(bench) = self.down()? {
            bench.bed.pass(by);
            return Ok(());
        }
        let (shared, bench) = self.waiting()?;
        bench.bed.advance(shared.engine(), by, &Waits { shared, bench });
        Ok(())
    }

    /// Handles everything that clients have sent so far, connections that they have made included. Time does not
    /// move. A durable broker has committed and acknowledged it, as far as its disk allows.
    ///
    /// # Errors
    /// As [`TestBroker::advance`].
    pub fn settle(&self) -> Result<(), Error> {
        let (shared, bench) = self.waiting()?;
        bench.bed.settle(&Waits { shared, bench });
        Ok(())
    }

    /// How far the broker's time has come: 0 until it is moved. A restart goes on with it.
    pub fn now(&self) -> Duration {
        self.uptime()
    }

    /// The broker's parts, for calls that wait.
    pub(super) fn waiting(&self) -> Result<(&Arc<Shared>, &Arc<Bench>), Error> {
        if on_own_thread() {
            self.broker.check()?;
            return Err(Error::InCallback);
        }
        let shared = self.broker.shared()?;
        Ok((shared, self.running()?))
    }

    /// The same for calls that do not wait.
    pub(super) fn running(&self) -> Result<&Arc<Bench>, Error> {
        let bench = self.bench()?;
        match self.broker.shared()?.has_stopped() {
            true => Err(Error::Stopped),
            false => Ok(bench),
        }
    }

    /// The same for calls that do not wait and are of use when the broker has stopped.
    pub(super) fn bench(&self) -> Result<&Arc<Bench>, Error> {
        self.broker.shared()?.bench().ok_or(Error::NotInTestMode)
    }
}

impl Deref for TestBroker {
    type Target = Broker;

    fn deref(&self) -> &Broker {
        &self.broker
    }
}
