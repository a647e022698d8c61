//! What a broker is started with.

use crate::config::Config;
use crate::embed::broker::Broker;
use crate::embed::error::Error;
use crate::embed::hooks::Hooks;
use crate::embed::start::Parts;
use crate::embed::testing::TestBroker;

/// A broker that is not started yet, made by [`Broker::builder`].
#[derive(Clone, Debug)]
#[must_use = "a builder does nothing until `start`"]
pub struct BrokerBuilder<'c> {
    config: &'c Config,
    hooks: Hooks,
}

impl Broker {
    /// A broker of these settings, without hooks until [`BrokerBuilder::hooks`].
    ///
    /// ```
    /// use midge::hooks::Verdict;
    /// use midge::{Broker, Config, Hooks};
    ///
    /// let mut config = Config::new();
    /// config.set("listener.tcp.bind", "127.0.0.1:0")?;
    /// let hooks = Hooks::new()
    ///     .authenticate(|client| match (client.username, client.password) {
    ///         (Some("alice"), Some(b"secret")) => Verdict::Allow,
    ///         _ => Verdict::Deny,
    ///     })
    ///     .on_connected(|client| println!("{} is here", client.client_id));
    /// let broker = Broker::builder(&config).hooks(hooks).start()?;
    /// broker.stop(None)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn builder(config: &Config) -> BrokerBuilder<'_> {
        BrokerBuilder { config, hooks: Hooks::new() }
    }

    /// As [`Broker::builder`] and [`BrokerBuilder::start`].
    pub fn start(config: &Config) -> Result<Broker, Error> {
        Broker::builder(config).start()
    }

    /// As [`Broker::builder`], [`BrokerBuilder::hooks`] and [`BrokerBuilder::start`].
    pub fn start_with(config: &Config, hooks: &Hooks) -> Result<Broker, Error> {
        Broker::builder(config).hooks(hooks.clone()).start()
    }
}

impl BrokerBuilder<'_> {
    /// The functions that the broker asks and tells; they replace those given before.
    pub fn hooks(mut self, hooks: Hooks) -> Self {
        self.hooks = hooks;
        self
    }

    /// Starts the broker over a store of a test.
    #[cfg(feature = "internals")]
    #[doc(hidden)]
    pub fn start_over(self, store: std::sync::Arc<dyn crate::storage::Store>) -> Result<Broker, Error> {
        Broker::start_of(self.config, Parts { hooks: self.hooks, store: Some(store), ..Parts::default() })
    }

    /// Starts the broker. When this returns, every listener is bound and takes connections.
    pub fn start(self) -> Result<Broker, Error> {
        Broker::start_of(self.config, Parts { hooks: self.hooks, ..Parts::default() })
    }

    /// Starts the broker in test mode, as [`TestBroker::start`] does.
    pub fn start_test(self) -> Result<TestBroker, Error> {
        TestBroker::start_of(self.config, self.hooks)
    }

    /// Starts a durable broker in test mode, as [`TestBroker::start_durable`] does.
    pub fn start_test_durable(self) -> Result<TestBroker, Error> {
        TestBroker::start_durable_of(self.config, self.hooks)
    }
}
